//! The task that reads the table of the tenants, and keeps those of the proxy in step with it.
//!
//! # Why
//!
//! One task for all: it alone changes the rows, so what a read, a look-up and an idle tenant change needs no lock. A read goes on
//! while look-ups are answered.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::context::BuildContext;
use super::directory::with_rows;
use super::error::StartError;
use super::event_sink::SharedAlertSender;
use super::row_tenants::{RowOpener, RowTenants};
use super::tenant_look_ups::{LookUps, LookedUp};
use super::tenant_visits::TenantVisits;
use crate::config::Config;
use crate::proxy::{LazyTenant, Proxy, TenantOpener};
use crate::source::{TableContents, TenantRow, TenantTable};
use crate::tenants::{Entry, Roster, RosterDecision, RowCell, Standing};
use crate::token::ObtainError;
use crate::types::{TenantId, error_chain};

/// Reads the table of the tenants.
pub(super) struct TableReader {
    table: Option<Box<dyn TenantTable>>,
    tenants: Arc<RowTenants>,
    proxy: Arc<Proxy>,
    roster: Roster,
    rows: HashMap<TenantId, KnownRow>,
    /// Whether the directory has to be built anew.
    is_changed: bool,
    look_ups: LookUps,
    visits: TenantVisits,
    /// The last failure, which is not logged again.
    failure: Option<String>,
    /// The last faults, which are not logged again.
    faults: Vec<String>,
    has_read: watch::Sender<bool>,
}

/// A row of the table, and what opens its tenant.
struct KnownRow {
    cell: Arc<RowCell>,
    opener: Arc<RowOpener>,
}

/// The most visits at the same time, unless the configuration says otherwise.
const RENEWALS: NonZeroU8 = NonZeroU8::new(4).unwrap();
/// The time between two searches for tenants that are not used any more.
const IDLE_INTERVAL: Duration = Duration::from_secs(10);
/// The most names in one line of the log.
const MAX_NAMES: usize = 10;

// === impl TableReader ===

impl TableReader {
    /// Creates the task for a proxy, whose unlisted tenants it looks up from now on.
    ///
    /// # Errors
    ///
    /// [`StartError`] if a secret cannot be read.
    pub(super) fn new(
        table: Box<dyn TenantTable>,
        config: &Config,
        context: &BuildContext,
        alert_sender: &SharedAlertSender,
        proxy: &Arc<Proxy>,
    ) -> Result<Self, StartError> {
        let tenants = RowTenants::new(table.rows(), config, context, alert_sender, proxy)?;
        let (lookup, look_ups) = LookUps::new(table.rows());
        proxy.tenants.rcu(|before| {
            let mut tenants = with_rows(before, std::iter::empty());
            tenants.reads_signs = true;
            tenants.lookup = Some(Arc::clone(&lookup));
            tenants
        });
        let renewals = config
            .tenants_from
            .as_ref()
            .map_or(RENEWALS, |from| from.common().renewals);
        let visits = TenantVisits::new(Arc::clone(&tenants), Arc::clone(proxy), renewals);
        Ok(Self {
            table: Some(table),
            tenants,
            proxy: Arc::clone(proxy),
            roster: Roster::default(),
            rows: HashMap::new(),
            is_changed: false,
            look_ups,
            visits,
            failure: None,
            faults: Vec::new(),
            has_read: watch::Sender::new(false),
        })
    }

    /// The tenants that are open.
    pub(super) fn tenants(&self) -> Arc<RowTenants> {
        Arc::clone(&self.tenants)
    }

    /// Returns what becomes true when the tenants are known for the first time.
    pub(super) fn has_read(&self) -> watch::Receiver<bool> {
        self.has_read.subscribe()
    }

    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        // Apart, because it is read while everything else goes on.
        let Some(mut table) = self.table.take() else {
            return;
        };
        loop {
            let contents = self.serve_while(table.read()).await;
            let read_again_at = self.on_read(contents);
            let changed = async {
                tokio::select! {
                    () = table.changed() => {}
                    () = wait_until(read_again_at) => {}
                }
            };
            self.serve_while(changed).await;
        }
    }

    /// Waits for something, and does everything else meanwhile.
    async fn serve_while<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let mut idle = interval(IDLE_INTERVAL);
        idle.set_missed_tick_behavior(MissedTickBehavior::Delay);
        idle.reset();
        loop {
            // Cancel-safe: all of them only wait.
            tokio::select! {
                done = &mut work => return done,
                found = self.look_ups.next(|name| self.rows.contains_key(name)) => self.on_looked_up(found),
                never = self.visits.run() => match never {},
                _ = idle.tick() => self.close_idle(),
            }
            self.publish();
        }
    }

    /// Uses what a read found; returns when the table is to be read again, if that is before it announces a change.
    fn on_read(&mut self, contents: Result<Option<TableContents>, ObtainError>) -> Option<Instant> {
        let contents = match contents {
            Ok(contents) => contents,
            Err(error) => {
                let error = error_chain(&error);
                if self.failure.as_ref() != Some(&error) {
                    let known = self.rows.len();
                    tracing::error!(
                        error,
                        known,
                        "cannot read the tenants: those that are known stay in use"
                    );
                    self.failure = Some(error);
                }
                return None;
            }
        };
        if self.failure.take().is_some() {
            tracing::info!("the tenants can be read again");
        }
        let read_again_at = contents.and_then(|contents| self.use_contents(contents));
        self.publish();
        self.has_read.send_replace(true);
        read_again_at
    }

    fn use_contents(&mut self, contents: TableContents) -> Option<Instant> {
        if !contents.faults.is_empty() && contents.faults != self.faults {
            let (faults, count) = (first_names(contents.faults.iter()), contents.faults.len());
            tracing::warn!(faults, count, "rows of the tenants that are not used; correct them");
        }
        self.faults = contents.faults;
        let listed: HashSet<&TenantId> = contents.rows.iter().map(|row| &row.id).collect();
        match self.roster.on_read(&listed, Instant::now()) {
            RosterDecision::Withhold {
                missing,
                known,
                read_again_at,
                is_first,
            } => {
                if is_first {
                    tracing::error!(
                        missing,
                        known,
                        "many tenants are missing at once, so what was read is not used for 5 minutes: look whether the table was truncated \
                         or the wrong database answers"
                    );
                }
                Some(read_again_at)
            }
            RosterDecision::Apply { withdrawn, confirm_at } => {
                drop(listed);
                let before = self.unusable();
                let new: Vec<_> = contents.rows.into_iter().filter_map(|row| self.put(row)).collect();
                for id in &withdrawn {
                    self.withdraw(id);
                }
                self.report(&new, &withdrawn, &before);
                confirm_at
            }
        }
    }

    /// Uses a row; returns its name if it is new.
    fn put(&mut self, mut row: TenantRow) -> Option<TenantId> {
        if let Some(app) = &row.app
            && self.tenants.settings().app(Some(app)).is_none()
        {
            let message = format!(
                "the row of {} names the app {app}, which is neither that of [app] nor of one of [tenants]; add it",
                row.id
            );
            row.token = Err(Arc::new(ObtainError::permanent("unknown_app", message)));
        }
        let known = self.rows.get(&row.id).map(|known| known.cell.row());
        match known.as_deref() {
            Some(Some(before)) if before.app == row.app => {
                self.is_changed |= before.object_ids != row.object_ids;
                if let Some(known) = self.rows.get(&row.id) {
                    let cell = Arc::clone(&known.cell);
                    if cell.replace(Some(row)) {
                        self.visits.schedule(&cell);
                    }
                }
                None
            }
            // It is opened anew: with another app, or after it was withdrawn.
            Some(_) => {
                self.tenants.end(&row.id);
                let cell = self.insert(row);
                self.visits.schedule(&cell);
                None
            }
            None => {
                let cell = self.insert(row);
                self.visits.schedule(&cell);
                Some(cell.id().clone())
            }
        }
    }

    fn insert(&mut self, row: TenantRow) -> Arc<RowCell> {
        let id = row.id.clone();
        let cell = Arc::new(RowCell::new(row));
        let opener = self.tenants.opener(Arc::clone(&cell));
        let known = KnownRow {
            cell: Arc::clone(&cell),
            opener,
        };
        self.rows.insert(id, known);
        self.is_changed = true;
        cell
    }

    fn withdraw(&mut self, id: &TenantId) {
        if let Some(known) = self.rows.get(id) {
            known.cell.replace(None);
            self.visits.cancel(id);
            self.tenants.end(id);
            self.is_changed = true;
        }
    }

    /// The tenants whose token cannot be used.
    fn unusable(&self) -> BTreeSet<TenantId> {
        let rows = self.rows.values().map(|known| known.cell.row());
        let faulty = rows.filter_map(|row| {
            let row = row.as_ref().as_ref()?;
            row.token.is_err().then(|| row.id.clone())
        });
        faulty.collect()
    }

    fn report(&self, new: &[TenantId], withdrawn: &[TenantId], unusable_before: &BTreeSet<TenantId>) {
        if !new.is_empty() || !withdrawn.is_empty() {
            let all = self.rows.len();
            let (added, gone) = (first_names(new.iter()), first_names(withdrawn.iter()));
            let (new, withdrawn) = (new.len(), withdrawn.len());
            tracing::info!(new, withdrawn, all, added, gone, "the tenants have changed");
        }
        let unusable = self.unusable();
        let newly: Vec<_> = unusable.difference(unusable_before).collect();
        let example = newly
            .first()
            .and_then(|id| self.rows.get(*id))
            .map(|known| known.cell.row());
        let example = example.as_deref().and_then(|row| row.as_ref()?.token.as_ref().err());
        if let Some(error) = example {
            let (tenants, count) = (first_names(newly.iter()), unusable.len());
            tracing::warn!(tenants, count, %error, "tenants whose token cannot be used, with the reason of the first");
        }
    }

    /// Gives the proxy the tenants as they are now, if they are others than before.
    fn publish(&mut self) {
        if std::mem::take(&mut self.is_changed) {
            let rows = &self.rows;
            self.proxy.tenants.rcu(|before| {
                let entries = rows.values().map(|known| {
                    let before = before.directory.find(known.cell.id().as_str());
                    let kept = before.filter(|entry| known.is_in(entry));
                    kept.map_or_else(|| Arc::new(known.entry(before)), Arc::clone)
                });
                with_rows(before, entries)
            });
        }
    }

    /// Replaces tenants that are not used any more by closed ones.
    fn close_idle(&mut self) {
        for id in self.tenants.take_idle(Instant::now()) {
            let row = self.rows.get(&id).map(|known| known.cell.row());
            if let Some(row) = row.as_deref().cloned().flatten() {
                drop(self.insert(row));
            }
        }
    }

    fn on_looked_up(&mut self, LookedUp { name, row }: LookedUp) {
        let result = match row {
            Ok(Some(row)) => {
                self.roster.on_row(&name);
                drop(self.put(row));
                Ok(())
            }
            Ok(None) => {
                self.look_ups.note_unknown(name.clone());
                Ok(())
            }
            Err(error) => Err(Arc::new(error)),
        };
        // Those who wait read the proxy's tenants when they are told.
        self.publish();
        self.look_ups.finish(&name, &result);
    }
}

/// Waits until this time, or for ever.
async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The first of several names, as one text.
fn first_names<T: ToString>(names: impl Iterator<Item = T>) -> String {
    let names: Vec<_> = names.take(MAX_NAMES).map(|name| name.to_string()).collect();
    names.join(", ")
}

// === impl KnownRow ===

impl KnownRow {
    /// Returns whether an entry of the directory is this row as it is now.
    fn is_in(&self, entry: &Entry<LazyTenant>) -> bool {
        let row = self.cell.row();
        let is_same_opener = entry
            .tenant
            .opener()
            .is_some_and(|opener| std::ptr::addr_eq(Arc::as_ptr(opener), Arc::as_ptr(&self.opener)));
        let ids = row.as_ref().as_ref().map(|row| row.object_ids.iter().map(|id| &**id));
        let is_same_row = ids.map_or(entry.standing == Standing::Inactive, |ids| {
            entry.standing == Standing::Active && ids.eq(entry.object_ids.iter().map(|id| &**id))
        });
        is_same_opener && is_same_row
    }

    /// An entry of the directory for this row. A tenant that was withdrawn keeps the ids that it had `before`.
    fn entry(&self, before: Option<&Arc<Entry<LazyTenant>>>) -> Entry<LazyTenant> {
        let row = self.cell.row();
        let row = row.as_ref().as_ref();
        let opener: Arc<dyn TenantOpener> = Arc::<RowOpener>::clone(&self.opener);
        Entry {
            id: self.cell.id().clone(),
            object_ids: match (row, before) {
                (Some(row), _) => row.object_ids.iter().map(|id| Arc::from(&**id)).collect(),
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
