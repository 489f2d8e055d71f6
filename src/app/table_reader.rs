//! The task that reads the table of the tenants, and keeps those of the proxy in step with it.
//!
//! # Why
//!
//! One task for all: it alone changes the rows, so what a read, a look-up and an idle tenant change needs no lock. A read goes on
//! while look-ups are answered.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::OptionFuture;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until};

use super::cache_writer::CacheWriter;
use super::context::BuildContext;
use super::directory::with_rows;
use super::error::StartError;
use super::known_rows::{KnownRows, RowUpdate};
use super::row_tenants::{RowTenants, TableRequest, TableRequests};
use super::table_reports::TableReports;
use super::tenant_look_ups::LookUps;
use super::tenant_visits::TenantVisits;
use super::token_reports::SharedAlertSender;
use crate::admin::TableState;
use crate::config::Config;
use crate::proxy::{FirstRead, Proxy, Tenants};
use crate::source::{CachedTable, TableContents, TenantRow, TenantTable, TenantsFrom};
use crate::telemetry::InLog;
use crate::tenants::{Roster, RosterDecision};
use crate::token::{ObtainError, Withdrawal};
use crate::types::{TenantId, error_chain};

/// Reads the table of the tenants.
pub(super) struct TableReader {
    table: Option<ReadTable>,
    pub(super) tenants: Arc<RowTenants>,
    pub(super) proxy: Arc<Proxy>,
    pub(super) roster: Roster,
    pub(super) rows: KnownRows,
    /// When tenants that are not used any more are searched for.
    idle: Interval,
    reloads: Reloads,
    cache: Option<CacheWriter>,
    pub(super) look_ups: LookUps,
    pub(super) visits: TenantVisits,
    reports: TableReports,
    /// Notified to read the table again soon: a single row could be read although the table could not, or an id is undecided.
    pub(super) read_soon: Arc<Notify>,
    /// The tenants of the cache are in use.
    has_cached: bool,
    first_read: watch::Sender<FirstRead>,
}

/// The table, and the requests about it.
struct ReadTable {
    table: Box<dyn TenantTable>,
    requests: mpsc::Receiver<TableRequest>,
}

/// Requests to close the tenants that are open with earlier settings.
type Reloads = mpsc::Receiver<oneshot::Sender<()>>;

/// The time between two searches for tenants that are not used any more.
const IDLE_INTERVAL: Duration = Duration::from_secs(10);
/// The time to the next read after one that began before a token became known that it does not have.
const OUTDATED_PAUSE: Duration = Duration::from_secs(2);
/// The shortest time from a read to the next one, if single rows show meanwhile that it failed or is outdated.
const RECOVERY_PAUSE: Duration = Duration::from_secs(1);

// === impl TableReader ===

impl TableReader {
    /// Creates the task for a proxy, if there is a table: the given one, or that of the configuration. Unlisted tenants are looked
    /// up from now on.
    ///
    /// # Errors
    ///
    /// [`StartError`] if the table cannot be used as configured, or a secret cannot be read.
    pub(super) fn build(
        table: Option<Box<dyn TenantTable>>,
        config: &Config,
        context: &BuildContext,
        alert_sender: &SharedAlertSender,
        proxy: &Arc<Proxy>,
    ) -> Result<Option<Self>, StartError> {
        let table = match (table, &config.tenants_from) {
            (Some(table), _) => table,
            (None, Some(from)) => context.tenant_table(from)?,
            (None, None) => return Ok(None),
        };
        let (sender, requests) = mpsc::channel(1);
        let (reloads, reload_requests) = mpsc::channel(1);
        let from = config.tenants_from.as_ref();
        let renewals = from.map(TenantsFrom::common).cloned().unwrap_or_default().renewals;
        let (lookup, look_ups) = LookUps::new(table.rows());
        let senders = TableRequests {
            table: sender,
            rows: lookup.clone(),
            reloads,
        };
        let tenants = RowTenants::new(table.rows(), config, context, alert_sender, proxy, renewals, senders)?;
        let first_read = watch::Sender::new(FirstRead::Pending);
        proxy.tenants.rcu(|before| Tenants {
            reads_signs: true,
            lookup: Some(Arc::new(lookup.clone())),
            first_read: table.has_ids().then(|| first_read.subscribe()),
            ..with_rows(before, before, std::iter::empty())
        });
        let visits = TenantVisits::new(Arc::clone(&tenants), Arc::clone(proxy), renewals);
        let mut idle = interval(IDLE_INTERVAL);
        idle.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let cache = from.map(|from| context.tenants_cache(from));
        let cache = cache.transpose()?.flatten();
        Ok(Some(Self {
            table: Some(ReadTable { table, requests }),
            proxy: Arc::clone(proxy),
            roster: Roster::default(),
            rows: KnownRows::new(Arc::clone(&tenants)),
            reports: TableReports::new(Arc::clone(&tenants)),
            tenants,
            idle,
            reloads: reload_requests,
            cache,
            look_ups,
            visits,
            read_soon: Arc::default(),
            has_cached: false,
            first_read,
        }))
    }

    /// What opens and closes the tenants of the table.
    pub(super) fn tenants(&self) -> Arc<RowTenants> {
        Arc::clone(&self.tenants)
    }

    /// The progress of the first read.
    pub(super) fn first_read(&self) -> watch::Receiver<FirstRead> {
        self.first_read.subscribe()
    }

    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        // Apart, because it is read while everything else goes on.
        let Some(ReadTable {
            mut table,
            mut requests,
        }) = self.table.take()
        else {
            return;
        };
        self.use_cache().await;
        let mut operator: Option<oneshot::Sender<()>> = None;
        loop {
            let read_at = Instant::now();
            let contents = self.serve_while(table.read()).await;
            let has_failed = contents.is_err();
            if !has_failed && operator.is_some() {
                self.roster.accept_loss();
            }
            let read_again_at = self.on_read(contents, read_at);
            // The answer to the operator, who may have given up.
            operator.take().map(|reply| reply.send(()).ok());
            let read_soon = Arc::clone(&self.read_soon);
            let read_soon = async {
                sleep(RECOVERY_PAUSE).await;
                read_soon.notified().await;
            };
            let read_again = OptionFuture::from(read_again_at.map(sleep_until));
            let changed = async {
                tokio::select! {
                    () = table.changed() => None,
                    () = read_soon => None,
                    Some(()) = read_again => None,
                    Some(request) = requests.recv() => Some(request),
                }
            };
            match self.serve_while(changed).await {
                Some(TableRequest::ReadAgain(reply)) => operator = Some(reply),
                Some(TableRequest::Replace(other)) => {
                    self.look_ups.replace_rows(other.rows());
                    table = other;
                }
                None => {}
            }
        }
    }

    /// Begins with the tenants of the cache, so that a table that cannot be read, or has lost many of them, ends none.
    async fn use_cache(&mut self) {
        let Some(cache) = &self.cache else {
            return;
        };
        let read_at = Instant::now();
        let CachedTable { rows, former } = cache.load().await;
        self.has_cached = !rows.is_empty();
        if self.has_cached {
            tracing::info!(
                tenants = rows.len(),
                "the tenants of the cache are used until they are read"
            );
        }
        for row in rows {
            self.roster.on_row(&row.id);
            drop(self.update(row, read_at));
        }
        self.rows.reserve(former);
        self.publish();
    }

    /// Waits for something, and does everything else meanwhile.
    async fn serve_while<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            // Cancel-safe: all of them only wait.
            tokio::select! {
                done = &mut work => return done,
                found = self.look_ups.next(|name| self.rows.has_row(name)) => self.on_looked_up(found),
                never = self.visits.run() => match never {},
                Some(reply) = self.reloads.recv() => {
                    self.close_idle(0);
                    self.publish();
                    // The one who waits may have been stopped.
                    reply.send(()).ok();
                }
                _ = self.idle.tick() => {
                    self.close_idle(0);
                    self.reports.on_tick(&self.rows);
                    self.proxy.tenants.load().unnamed.telemetry.notices.report_unknown_tenants();
                }
            }
            self.publish();
        }
    }

    /// Uses what a read found; returns when the table is to be read again, if that is before it announces a change.
    fn on_read(&mut self, contents: Result<Option<TableContents>, ObtainError>, read_at: Instant) -> Option<Instant> {
        let contents = contents.inspect_err(|error| self.on_failure(error_chain(error))).ok()?;
        let lists_tenants = contents.is_some();
        self.reports.on_success();
        self.tenants.set_table_state(TableState {
            lists_tenants,
            failure: None,
        });
        let read_again_at = contents.and_then(|contents| self.use_contents(contents, read_at));
        let is_withholding = self.roster.is_withholding();
        if !is_withholding {
            self.rows.note_complete();
        }
        self.publish();
        if is_withholding {
            self.note_first_read(FirstRead::Unavailable);
            return read_again_at;
        }
        let tenants = self.proxy.tenants.load();
        // What a place that cannot list its tenants has not said replaces nothing.
        if let Some(cache) = &mut self.cache
            && lists_tenants
        {
            cache.save(&self.rows, &tenants);
        }
        self.note_first_read(FirstRead::Done);
        let confirm_at = tenants.directory.confirm_at();
        read_again_at.into_iter().chain(confirm_at).min()
    }

    /// Publishes the progress of the first read; requests may wait for it. Once it is done, it stays so.
    fn note_first_read(&self, progress: FirstRead) {
        if *self.first_read.borrow() != FirstRead::Done {
            self.first_read.send_replace(progress);
        }
    }

    fn on_failure(&self, error: String) {
        self.reports.on_failure(error, self.rows.len());
        // With those of the cache, it can serve. A row that was looked up says nothing of the others.
        if self.has_cached {
            self.note_first_read(FirstRead::Unavailable);
        }
    }

    fn use_contents(&mut self, mut contents: TableContents, read_at: Instant) -> Option<Instant> {
        self.reports.on_faults(contents.faults);
        let settings = self.tenants.settings();
        contents.rows.iter_mut().for_each(|row| settings.check(row));
        let loss = self.rows.loss(&contents.rows);
        let listed: HashSet<&TenantId> = contents.rows.iter().map(|row| &row.id).collect();
        self.rows.note_missing(&listed, read_at);
        match self.roster.on_read(&listed, loss, Instant::now()) {
            RosterDecision::Withhold {
                new_loss,
                read_again_at,
            } => {
                self.rows.withhold(&contents.rows);
                new_loss.iter().for_each(|loss| self.tenants.report_loss(loss));
                Some(read_again_at)
            }
            RosterDecision::Apply { withdrawn, confirm_at } => {
                drop(listed);
                self.rows.confirm(read_at, &self.proxy.tenants.load().directory);
                let mut read_again_at = confirm_at;
                let mut new = Vec::new();
                for row in contents.rows {
                    match self.update(row, read_at) {
                        RowUpdate::New(cell) => new.push(cell.id().clone()),
                        RowUpdate::Outdated => read_again_at = Some(Instant::now() + OUTDATED_PAUSE),
                        RowUpdate::Same | RowUpdate::Changed(_) => {}
                    }
                }
                let withdrawals = self.withdraw(&withdrawn);
                self.tenants.reports.withdrawn(&withdrawals, InLog::Missing);
                self.reports.on_change(&self.rows, &new, &withdrawn);
                self.reports.on_hidden(&self.rows, &self.proxy.tenants.load());
                read_again_at
            }
        }
    }

    /// Uses a row.
    pub(super) fn update(&mut self, row: TenantRow, read_at: Instant) -> RowUpdate {
        let update = self.rows.update(row, read_at);
        match &update {
            RowUpdate::Changed(cell) | RowUpdate::New(cell) => self.visits.schedule(cell),
            RowUpdate::Same | RowUpdate::Outdated => {}
        }
        update
    }

    /// Gives the proxy the tenants as they are now, if they are others than before.
    pub(super) fn publish(&mut self) {
        if self.rows.take_change() {
            let rows = &self.rows;
            self.proxy.tenants.rcu(|before| rows.merged_into(before));
        }
    }

    /// Withdraws tenants; returns what is to be reported.
    pub(super) fn withdraw(&mut self, ids: &[TenantId]) -> Vec<Withdrawal> {
        if ids.is_empty() {
            return Vec::new();
        }
        ids.iter().for_each(|id| self.visits.cancel(id));
        let rows: Vec<_> = ids.iter().filter_map(|id| self.rows.withdraw(id)).collect();
        // The next requests are refused before those that wait are told.
        self.publish();
        rows.iter().filter_map(|row| self.tenants.withdraw(row)).collect()
    }
}

/// The tenants end with the task that reads them.
impl Drop for TableReader {
    fn drop(&mut self) {
        self.tenants.end_all();
    }
}
