//! The rows of the table as they were read last, and what opens their tenants.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use tokio::time::Instant;

use super::directory::{warn_of_shared_objects, with_rows};
use super::row_tenants::{RowOpener, RowTenants};
use crate::proxy::{LazyTenant, TenantOpener, Tenants};
use crate::source::TenantRow;
use crate::tenants::{Entry, Loss, RowCell, RowChange, Standing};
use crate::token::ObtainError;
use crate::types::TenantId;

/// The rows of the table, withdrawn ones included.
pub(super) struct KnownRows {
    tenants: Arc<RowTenants>,
    rows: HashMap<TenantId, Arc<RowOpener>>,
    /// Whether the directory has to be built anew.
    is_changed: bool,
}

/// What a row is that was read.
pub(super) enum ReadRow {
    /// The same as before.
    Same,
    /// Its token is another one.
    Changed(Arc<RowCell>),
    /// It was not there before.
    New(Arc<RowCell>),
    /// A later token is known already.
    Outdated,
}

// === impl KnownRows ===

impl KnownRows {
    /// No rows yet.
    pub(super) fn new(tenants: Arc<RowTenants>) -> Self {
        Self {
            tenants,
            rows: HashMap::new(),
            is_changed: false,
        }
    }

    /// The number of rows.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether there is, or was, a row of this name.
    pub(super) fn contains(&self, id: &TenantId) -> bool {
        self.rows.contains_key(id)
    }

    /// Returns whether there is a row of this name.
    pub(super) fn is_listed(&self, id: &TenantId) -> bool {
        self.rows.get(id).is_some_and(|known| known.cell.row().is_some())
    }

    /// Notes in a row if its app is not configured.
    pub(super) fn check(&self, row: &mut TenantRow) {
        if let Some(app) = &row.app
            && self.tenants.settings().app(Some(app)).is_none()
        {
            let message = format!(
                "the row of {} names the app {app}, which is neither that of [app] nor of one of [tenants]; add it",
                row.id
            );
            row.token = Err(Arc::new(ObtainError::permanent(TenantRow::UNKNOWN_APP, message)));
        }
    }

    /// Compares the rows of a read with those in use. What a reload of the configuration has ended is no loss.
    pub(super) fn loss(&self, read: &[TenantRow]) -> Loss {
        let (rows, settings): (Vec<_>, _) = (self.current().collect(), self.tenants.settings());
        let in_use = rows.iter().filter_map(|row| row.as_ref().as_ref());
        let in_use = in_use.filter(|row| settings.app(row.app.as_deref()).is_some());
        let in_use = in_use.map(|row| (&row.id, row)).collect();
        Loss::of_rows(read, &in_use, self.tenants.now())
    }

    /// Uses a row of a read that began at `read_at`.
    pub(super) fn put(&mut self, mut row: TenantRow, read_at: Instant) -> ReadRow {
        self.check(&mut row);
        if let Ok(token) = &mut row.token {
            token.modified_at.get_or_insert_with(|| self.tenants.now());
        }
        let Some(known) = self.rows.get(&row.id) else {
            return ReadRow::New(self.insert(RowCell::new(row, read_at)));
        };
        let cell = Arc::clone(&known.cell);
        // A reload may have added its app.
        let keeps_app = |before: &TenantRow| before.app == row.app && before.has_unknown_app() == row.has_unknown_app();
        match &*cell.row() {
            Some(before) if keeps_app(before) && before.object_ids == row.object_ids => {
                match cell.replace(Some(row), read_at) {
                    RowChange::Changed => ReadRow::Changed(cell),
                    RowChange::Same => ReadRow::Same,
                    RowChange::Outdated => ReadRow::Outdated,
                }
            }
            // A look-up may have begun before the tenant was withdrawn.
            Some(_) | None if read_at < cell.known_at() => ReadRow::Outdated,
            // It is opened anew: with another app or other ids, or after it was withdrawn. A request that has begun goes on with
            // the token that belongs to the ids by which it was routed.
            Some(_) | None => {
                self.tenants.close(std::slice::from_ref(&row.id));
                ReadRow::Changed(self.insert(cell.successor(row, read_at)))
            }
        }
    }

    fn insert(&mut self, cell: RowCell) -> Arc<RowCell> {
        let cell = Arc::new(cell);
        let opener = self.tenants.opener(Arc::clone(&cell));
        self.rows.insert(cell.id().clone(), opener);
        self.is_changed = true;
        cell
    }

    /// Withdraws a tenant; returns the row that it had.
    pub(super) fn withdraw(&mut self, id: &TenantId) -> Option<TenantRow> {
        let cell = &self.rows.get(id)?.cell;
        let before = cell.row();
        cell.replace(None, Instant::now());
        self.is_changed = true;
        (*before).clone()
    }

    /// Replaces a tenant that is open by a closed one.
    pub(super) fn close(&mut self, id: &TenantId) {
        let cell = self.rows.get(id).map(|known| &known.cell);
        if let Some((Some(row), known_at)) = cell.map(|cell| ((*cell.row()).clone(), cell.known_at())) {
            drop(self.insert(RowCell::new(row, known_at)));
        }
    }

    /// Forgets a tenant. Its name is looked up when it is used again.
    pub(super) fn forget(&mut self, id: &TenantId) {
        self.is_changed |= self.rows.remove(id).is_some();
    }

    /// The rows of the tenants that are not withdrawn.
    pub(super) fn listed(&self) -> impl Iterator<Item = TenantRow> {
        self.current().filter_map(|row| (*row).clone())
    }

    /// All rows as they are now, `None` in place of those of withdrawn tenants.
    pub(super) fn current(&self) -> impl Iterator<Item = Arc<Option<TenantRow>>> {
        self.rows.values().map(|known| known.cell.row())
    }

    /// A checksum of the rows: the cache is written when it changes.
    pub(super) fn checksum(&self) -> u64 {
        let hashes = self.current().map(|row| {
            let mut hasher = DefaultHasher::new();
            if let Some(row) = &*row {
                (&row.id, &row.object_ids, &row.app).hash(&mut hasher);
                let token = row.token.as_ref().map_err(ToString::to_string);
                token
                    .map(|token| (token.secret.fingerprint(), token.expires_at))
                    .hash(&mut hasher);
            }
            hasher.finish()
        });
        // They have no order.
        hashes.fold(0, u64::wrapping_add)
    }

    /// Returns whether the directory has to be built anew, once. The operator sees the rows as they are now.
    pub(super) fn take_change(&mut self) -> bool {
        let is_changed = std::mem::take(&mut self.is_changed);
        if is_changed {
            let cells = self.rows.values().map(|known| Arc::clone(&known.cell));
            self.tenants.show(cells.collect());
        }
        is_changed
    }

    /// Returns the same tenants with the rows as they are now. Those that are open, and have not changed, stay as they are.
    pub(super) fn in_place_of(&self, before: &Tenants) -> Tenants {
        let entries = self.rows.values().map(|known| {
            let before = before.directory.find(known.cell.id().as_str());
            let kept = before.filter(|entry| known.is_in(entry));
            kept.map_or_else(|| Arc::new(known.entry(before)), Arc::clone)
        });
        let tenants = with_rows(before, entries);
        warn_of_shared_objects(&tenants, Some(before));
        tenants
    }
}

// === impl RowOpener ===

impl RowOpener {
    /// Returns whether an entry of the directory is this row as it is now.
    fn is_in(self: &Arc<Self>, entry: &Entry<LazyTenant>) -> bool {
        let row = self.cell.row();
        let is_same_opener = entry
            .tenant
            .opener()
            .is_some_and(|opener| std::ptr::addr_eq(Arc::as_ptr(opener), Arc::as_ptr(self)));
        let ids = row.as_ref().as_ref().map(|row| row.object_ids.iter().map(|id| &**id));
        let is_same_row = ids.map_or(entry.standing == Standing::Inactive, |ids| {
            entry.standing == Standing::Active && ids.eq(entry.object_ids.iter().map(|id| &**id))
        });
        is_same_opener && is_same_row
    }

    /// An entry of the directory for this row. A tenant that was withdrawn keeps the ids that it had `before`.
    fn entry(self: &Arc<Self>, before: Option<&Arc<Entry<LazyTenant>>>) -> Entry<LazyTenant> {
        let row = self.cell.row();
        let row = row.as_ref().as_ref();
        let opener: Arc<dyn TenantOpener> = Arc::<Self>::clone(self);
        Entry {
            id: self.cell.id().clone(),
            object_ids: match (row, before) {
                (Some(row), _) => row.object_ids.iter().map(Arc::clone).collect(),
                (None, before) => before.map(|before| before.object_ids.clone()).unwrap_or_default(),
            },
            standing: if row.is_some() {
                Standing::Active
            } else {
                Standing::Inactive
            },
            tenant: LazyTenant::closed(opener),
        }
    }
}
