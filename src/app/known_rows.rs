//! The rows of the table as they were read last, and what opens their tenants.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use tokio::time::Instant;

use super::directory::{warn_of_shared_objects, with_rows};
use super::row_tenants::{RowOpener, RowTenants};
use crate::proxy::{LazyTenant, Tenant, TenantOpener, Tenants};
use crate::source::{FormerIds, TenantRow};
use crate::tenants::{Directory, Entry, Loss, RowCell, RowChange, Standing, Unowned};
use crate::types::TenantId;

/// The rows of the table, withdrawn ones included.
pub(super) struct KnownRows {
    tenants: Arc<RowTenants>,
    rows: HashMap<TenantId, Arc<RowOpener>>,
    /// Those that the last read lacked, and that are not withdrawn.
    missing: HashSet<TenantId>,
    /// The ids that tenants had before a restart (from the cache), or those of the rows of a read that is withheld.
    reserved: Vec<(Arc<str>, Unowned)>,
    /// When the last read began that was used.
    confirmed_at: Option<Instant>,
    /// Whether an id that no row has is no tenant's, because all rows were read.
    are_complete: bool,
    /// Whether the directory has to be built anew.
    is_changed: bool,
}

/// What a row that was read has changed.
pub(super) enum RowUpdate {
    /// It is the same as before.
    Same,
    /// Its token, app or ids are other ones, or it was withdrawn before.
    Changed(Arc<RowCell>),
    /// It was not known before.
    New(Arc<RowCell>),
    /// What is known of it is newer than this read.
    Outdated,
}

// === impl KnownRows ===

impl KnownRows {
    /// No rows yet.
    pub(super) fn new(tenants: Arc<RowTenants>) -> Self {
        Self {
            tenants,
            rows: HashMap::new(),
            missing: HashSet::new(),
            reserved: Vec::new(),
            confirmed_at: None,
            are_complete: false,
            is_changed: false,
        }
    }

    /// The number of rows of the tenants that are not withdrawn.
    pub(super) fn len(&self) -> usize {
        self.current().filter(|row| row.is_some()).count()
    }

    /// Returns whether there is a row of this name.
    pub(super) fn has_row(&self, id: &TenantId) -> bool {
        self.rows.get(id).is_some_and(|known| known.cell.row().is_some())
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
    pub(super) fn update(&mut self, mut row: TenantRow, read_at: Instant) -> RowUpdate {
        self.tenants.settings().check(&mut row);
        if let Ok(token) = &mut row.token {
            token.modified_at.get_or_insert_with(|| self.tenants.now());
        }
        self.is_changed |= self.missing.remove(&row.id);
        let Some(known) = self.rows.get(&row.id) else {
            return RowUpdate::New(self.insert(RowCell::new(row, read_at)));
        };
        let cell = Arc::clone(&known.cell);
        // A reload may have added its app.
        let keeps_app = |before: &TenantRow| before.app == row.app && before.has_unknown_app() == row.has_unknown_app();
        match &*cell.row() {
            Some(before) if keeps_app(before) && before.object_ids == row.object_ids => {
                match cell.update(Some(row), read_at) {
                    RowChange::Changed => RowUpdate::Changed(cell),
                    RowChange::Same => RowUpdate::Same,
                    RowChange::Outdated => RowUpdate::Outdated,
                }
            }
            // A look-up may have begun before the tenant was withdrawn.
            Some(_) | None if read_at < cell.known_at() => RowUpdate::Outdated,
            // It is opened anew: with another app or other ids, or after it was withdrawn. A request that has begun goes on with
            // the token that belongs to the ids by which it was routed.
            Some(_) | None => {
                self.tenants.close(std::slice::from_ref(&row.id));
                RowUpdate::Changed(self.insert(cell.successor(row, read_at)))
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
        cell.update(None, Instant::now());
        self.is_changed = true;
        (*before).clone()
    }

    /// Notes which rows a read lacks that began at `read_at`. They stay, and give their ids to others that have them.
    pub(super) fn note_missing(&mut self, listed: &HashSet<&TenantId>, read_at: Instant) {
        let is_missing = |cell: &&Arc<RowCell>| cell.known_at() < read_at && !listed.contains(cell.id());
        let cells = self.rows.values().map(|known| &known.cell);
        let missing = cells.filter(|cell| cell.row().is_some()).filter(is_missing);
        let missing = missing.map(|cell| cell.id().clone()).collect();
        self.is_changed |= missing != self.missing;
        self.missing = missing;
    }

    /// Reserves the ids that tenants had before a restart.
    pub(super) fn reserve(&mut self, former: FormerIds) {
        let former = former.into_iter();
        self.reserved = former
            .map(|(id, tenant)| (id, Unowned::former(vec![tenant], None)))
            .collect();
        self.is_changed = true;
    }

    /// Reserves the ids of rows that are not used yet.
    pub(super) fn withhold(&mut self, rows: &[TenantRow]) {
        let ids = rows
            .iter()
            .flat_map(|row| row.object_ids.iter().map(|id| (Arc::clone(id), &row.id)));
        self.reserved = ids
            .map(|(id, tenant)| (id, Unowned::withheld(tenant.clone())))
            .collect();
        self.is_changed = true;
    }

    /// Notes that a read is used that began at `read_at`: it decides what was undecided in the directory.
    pub(super) fn confirm(&mut self, read_at: Instant, directory: &Directory<LazyTenant>) {
        self.is_changed |= !self.reserved.is_empty() || directory.confirm_at().is_some();
        self.reserved.clear();
        self.confirmed_at = Some(read_at);
    }

    /// Notes that a read is used: an id that no row has is no tenant's.
    pub(super) fn note_complete(&mut self) {
        self.is_changed |= !self.are_complete;
        self.are_complete = true;
    }

    /// Replaces a tenant that is open by a closed one.
    pub(super) fn close(&mut self, id: &TenantId) {
        let cell = self.rows.get(id).map(|known| &known.cell);
        if let Some(cell) = cell.map(Arc::clone)
            && let Some(row) = (*cell.row()).clone()
        {
            drop(self.insert(cell.successor(row, cell.known_at())));
        }
    }

    /// Forgets a tenant. Its name is looked up when it is used again.
    pub(super) fn forget(&mut self, id: &TenantId) {
        self.is_changed |= self.rows.remove(id).is_some();
    }

    /// The rows of the tenants that are not withdrawn.
    pub(super) fn rows_in_use(&self) -> impl Iterator<Item = TenantRow> {
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

    fn standing_of(&self, known: &RowOpener) -> Standing {
        if known.cell.row().is_none() {
            Standing::Inactive
        } else if self.missing.contains(known.cell.id()) {
            Standing::Missing
        } else {
            Standing::Active
        }
    }

    /// Returns the tenants of the proxy with the rows as they are now. Those that are open, and have not changed, stay open.
    pub(super) fn merged_into(&self, before: &Tenants) -> Tenants {
        let entries = self.rows.values().map(|known| {
            let before = before.directory.find(known.cell.id().as_str());
            let (before, standing) = (before.filter(|entry| known.is_of(entry)), self.standing_of(known));
            let kept = before.filter(|entry| known.is_in(entry, standing));
            kept.map_or_else(|| Arc::new(known.entry(standing, before)), Arc::clone)
        });
        let mut tenants = with_rows(before, before, entries);
        tenants.first_read = tenants.first_read.filter(|_| !self.are_complete);
        tenants.directory.forget_withheld();
        // A row with the name of the default tenant is not used.
        let default_tenant = tenants.directory.default_tenant().map(|entry| entry.id.clone());
        let is_used = |claimant: &TenantId| Some(claimant) != default_tenant.as_ref();
        for (id, unowned) in &self.reserved {
            if unowned.claimants.iter().any(is_used) {
                tenants.directory.reserve(id, unowned.clone());
            }
        }
        if let Some(read_at) = self.confirmed_at {
            tenants.directory.confirm(read_at);
        }
        warn_of_shared_objects(&tenants, Some(before));
        tenants
    }
}

// === impl RowOpener ===

impl RowOpener {
    /// Returns whether an entry of the directory is that of this row.
    fn is_of(self: &Arc<Self>, entry: &Entry<LazyTenant>) -> bool {
        let opener = entry.tenant.opener();
        opener.is_some_and(|opener| std::ptr::addr_eq(Arc::as_ptr(opener), Arc::as_ptr(self)))
    }

    /// Returns whether an entry of this row is as it is now.
    fn is_in(&self, entry: &Entry<LazyTenant>, standing: Standing) -> bool {
        let row = self.cell.row();
        let row = row.as_ref().as_ref();
        entry.standing == standing && row.is_none_or(|row| row.object_ids == entry.object_ids)
    }

    /// An entry of the directory for this row. If it was there `before`, it stays open unless the tenant is withdrawn.
    fn entry(self: &Arc<Self>, standing: Standing, before: Option<&Arc<Entry<LazyTenant>>>) -> Entry<LazyTenant> {
        let row = self.cell.row();
        let row = row.as_ref().as_ref();
        let opener: Arc<dyn TenantOpener> = Arc::<Self>::clone(self);
        let before = before.filter(|_| standing != Standing::Inactive);
        Entry {
            id: self.cell.id().clone(),
            object_ids: row.map(|row| Arc::clone(&row.object_ids)).unwrap_or_default(),
            standing,
            tenant: before.map_or_else(
                || LazyTenant::closed(opener),
                |before| before.tenant.with(Tenant::clone),
            ),
        }
    }
}
