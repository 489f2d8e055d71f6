//! Opens and closes the tenants of a table.
//!
//! # Why
//!
//! A tenant at rest is a row and an entry of the directory. When a request or a renewal is for it, it gets what a tenant of the
//! configuration has: a refresher, a credential, counters, a share of the limits. When it has not been used for a while, that
//! goes again. Closing a tenant gives its row a new cell, so that the refresher that ends does not consume the notification of
//! the next one.

use std::collections::HashMap;
use std::num::NonZeroU8;
use std::sync::{Arc, Mutex, Weak};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::context::BuildContext;
use super::directory::request_tenant;
use super::error::StartError;
use super::open_rows::{OpenLimits, OpenRow, OpenRows};
use super::row_settings::{RowApp, RowSettings};
use super::tenant_look_ups::LookUpSender;
use super::tenants::{RunningTenant, UnstartedTenant};
use super::token_reports::{SharedAlertSender, TokenReports};
use crate::admin::{AdminTenant, TableState};
use crate::config::Config;
use crate::proxy::{BufferBudgets, ConcurrencyLimit, Proxy, Tenant, TenantOpener, TenantShare};
use crate::source::{PlaceWords, StoredToken, TenantRow, TenantRows, TenantTable, TenantsFrom};
use crate::tenants::{Loss, RowCell, RowSource, VisitPolicy};
use crate::token::{Alert, AlertCause, ObtainError, Reconfiguration, Token, TokenProvider, VisitReport, Withdrawal};
use crate::types::{TenantId, error_chain, lock};

/// Opens and closes the tenants of a table.
#[derive(derive_more::Debug)]
#[debug("RowTenants({:?})", self.rows())]
pub(super) struct RowTenants {
    pub(super) context: BuildContext,
    pub(super) proxy: Weak<Proxy>,
    rows: ArcSwap<Arc<dyn TenantRows>>,
    alert_sender: SharedAlertSender,
    pub(super) reports: TokenReports,
    concurrency_limit: ConcurrencyLimit,
    budgets: BufferBudgets,
    settings: ArcSwap<RowSettings>,
    limits: OpenLimits,
    /// Bounds the visits, and the inspections of other tenants, at the same time.
    pub(super) inspections: Arc<Semaphore>,
    pub(super) open: Mutex<OpenRows>,
    table_state: ArcSwap<TableState>,
    /// The cells of all rows, as the newest directory has them: for the operator, and to recognize a replaced cell.
    pub(super) cells: ArcSwap<Vec<Arc<RowCell>>>,
    pub(super) requests: TableRequests,
}

/// Requests reads from the task that reads the table.
pub(super) struct TableRequests {
    /// Of the table, or of another one.
    pub(super) table: mpsc::Sender<TableRequest>,
    /// Of single rows, which do not wait for a read of the table.
    pub(super) rows: LookUpSender,
    /// To close the tenants that are open with earlier settings; then it sends.
    pub(super) reloads: mpsc::Sender<oneshot::Sender<()>>,
}

/// What is requested from the task that reads the table.
pub(super) enum TableRequest {
    /// Read it, and use what is read, whatever is missing in it; then send.
    ReadAgain(oneshot::Sender<()>),
    /// Read another one from now on.
    Replace(Box<dyn TenantTable>),
}

/// Opens one tenant.
#[derive(derive_more::Debug)]
#[debug("RowOpener({})", cell.id())]
pub(super) struct RowOpener {
    pub(super) cell: Arc<RowCell>,
    tenants: Arc<RowTenants>,
}

// === impl RowTenants ===

impl RowTenants {
    /// Creates what opens the tenants of a table; no tenant is open.
    ///
    /// # Errors
    ///
    /// [`StartError`] if a secret cannot be read.
    pub(super) fn new(
        rows: Arc<dyn TenantRows>,
        config: &Config,
        context: &BuildContext,
        alert_sender: &SharedAlertSender,
        proxy: &Arc<Proxy>,
        renewals: NonZeroU8,
        requests: TableRequests,
    ) -> Result<Arc<Self>, StartError> {
        let settings = RowSettings::new(config, Arc::clone(&proxy.tenants.load().settings))?;
        let from = config.tenants_from.as_ref();
        let common = from.map(TenantsFrom::common).cloned().unwrap_or_default();
        Ok(Arc::new(Self {
            context: context.clone(),
            proxy: Arc::downgrade(proxy),
            rows: ArcSwap::from_pointee(rows),
            alert_sender: Arc::clone(alert_sender),
            reports: TokenReports::new(context, alert_sender),
            concurrency_limit: proxy.concurrency_limit.clone(),
            budgets: proxy.budgets.clone(),
            settings: ArcSwap::from_pointee(settings),
            limits: OpenLimits {
                idle: common.idle,
                max_open: common.max_open.get(),
            },
            inspections: Arc::new(Semaphore::new(renewals.get().into())),
            open: Mutex::default(),
            table_state: ArcSwap::from_pointee(TableState::default()),
            cells: ArcSwap::default(),
            requests,
        }))
    }

    /// Returns what opens the tenant of a row.
    pub(super) fn opener(self: &Arc<Self>, cell: Arc<RowCell>) -> Arc<RowOpener> {
        Arc::new(RowOpener {
            cell,
            tenants: Arc::clone(self),
        })
    }

    /// The state of the table.
    pub(super) fn table_state(&self) -> Arc<TableState> {
        self.table_state.load_full()
    }

    /// Sets the state of the table.
    pub(super) fn set_table_state(&self, state: TableState) {
        self.table_state.store(Arc::new(state));
    }

    /// Replaces the cells of all rows, before the directory with them is published.
    pub(super) fn show(&self, cells: Vec<Arc<RowCell>>) {
        self.cells.store(Arc::new(cells));
    }

    /// The settings now.
    pub(super) fn settings(&self) -> Arc<RowSettings> {
        self.settings.load_full()
    }

    /// Lets another table be read in the place of this one: the secrets with which it is reached may have changed.
    pub(super) async fn replace_table(&self, table: Box<dyn TenantTable>) {
        // If graphward stops, it is not read any more.
        drop(self.requests.table.send(TableRequest::Replace(table)).await);
    }

    /// What reads and writes single rows.
    pub(super) fn rows(&self) -> Arc<dyn TenantRows> {
        Arc::clone(&self.rows.load())
    }

    /// Ends all tenants.
    pub(super) fn end_all(&self) {
        let ended = std::mem::take(&mut *lock(&self.open));
        drop(ended);
    }

    /// Continues with other settings and rows. Tenants that are open are closed, in use or not, so that the next request opens them
    /// with these.
    pub(super) async fn reload(&self, settings: RowSettings, rows: Arc<dyn TenantRows>) {
        // Before the settings: a tenant that was opened with other rows has other settings, too, or is marked below.
        self.rows.store(Arc::new(rows));
        self.settings.store(Arc::new(settings));
        let mark = |row: &mut Box<OpenRow>| row.is_outdated = true;
        lock(&self.open).by_name.values_mut().for_each(mark);
        let (reply, closed) = oneshot::channel();
        // If graphward stops, they end with it.
        drop(self.requests.reloads.send(reply).await);
        drop(closed.await);
    }

    /// The open tenants, for the operator.
    pub(super) fn open_tenants(&self) -> HashMap<TenantId, Arc<AdminTenant>> {
        let open = lock(&self.open);
        let tenants = open.by_name.iter();
        tenants
            .map(|(id, row)| (id.clone(), Arc::clone(&row.running.admin)))
            .collect()
    }

    /// Opens the tenant of a row, or returns the one that is open: each directory that requests began with has an entry for it.
    fn open_tenant(&self, cell: &Arc<RowCell>) -> Tenant {
        // Held all the time, some microseconds: two directories may open it at the same moment, and a reload marks those that are open.
        let mut open = lock(&self.open);
        let settings = self.settings();
        let of_requests = |running: &RunningTenant, share| Tenant {
            is_row: true,
            ..request_tenant(running, &settings.proxy, None, Some(share), &self.context)
        };
        let other = open.by_name.get(cell.id());
        if let Some(same) = other.filter(|other| Arc::ptr_eq(&other.cell, cell)) {
            return of_requests(&same.running, same.share.clone());
        }
        // A directory shows its rows before requests can have it.
        let is_replaced = other.is_some() && !self.cells.load().iter().any(|shown| Arc::ptr_eq(shown, cell));
        let row = cell.row();
        let app_id = row.as_ref().as_ref().and_then(|row| row.app.as_deref());
        // The token in a row whose app is not configured is an error already.
        let app = settings.app_or_own(app_id);
        let (token_side, config) = (
            self.token_side(app, &settings.cell_to_open(cell)),
            Arc::clone(&app.config),
        );
        let (id, row) = (cell.id().clone(), Some(Arc::clone(cell)));
        let tenant = UnstartedTenant::with(&self.context, id, config, token_side, &self.alert_sender, row);
        let running = tenant.start(&self.context);
        let share = TenantShare::new(&self.concurrency_limit, &self.budgets);
        let opened_tenant = of_requests(&running, share.clone());
        let now = Instant::now();
        let opened = OpenRow {
            cell: Arc::clone(cell),
            running,
            share,
            opened_at: now,
            used_at: now,
            idle: self.limits.idle,
            is_visited: false,
            is_outdated: false,
        };
        if is_replaced {
            open.insert_closing(opened);
        } else {
            open.insert(opened);
        }
        opened_tenant
    }

    /// Builds what refreshes the token of a row. Without its renewer, if that cannot be built, its token is served all the same.
    fn token_side(&self, app: &RowApp, cell: &Arc<RowCell>) -> Reconfiguration {
        let source = || RowSource::new(Arc::clone(cell), self.rows());
        let provider = self
            .context
            .row_provider(&app.config, source(), app.secret.clone(), &self.inspections);
        let provider = provider.unwrap_or_else(|error| {
            let (tenant, error) = (cell.id(), error_chain(&error));
            tracing::error!(%tenant, error, "the token of this tenant cannot be renewed");
            TokenProvider::from_source(source())
        });
        Reconfiguration {
            provider,
            previous_sources: vec![None],
            proofs: app.proofs.clone(),
            renew_before: app.config.token.renew_before,
        }
    }

    /// Lets the refresher of an open tenant do what is due, and stores the expiry of its token if the row lacks it. `None` if it is
    /// not open.
    pub(super) async fn visit(&self, id: &TenantId) -> Option<VisitReport> {
        let cell = self.cell(id)?;
        let operator = lock(&self.open).by_name.get(id)?.running.operator.clone();
        let report = operator.visit().await?;
        if let Some(row) = cell.row().as_ref()
            && let Ok(token) = &row.token
            && let (None, Some(_)) = (token.expires_at, report.expires_at)
            && let Err(error) = self.store_expiry(&row.id, token, report.expires_at).await
            && !error.is_locked()
        {
            let (tenant, error) = (&row.id, error_chain(&error));
            tracing::info!(%tenant, error, "the expiry of the token could not be stored");
        }
        Some(report)
    }

    /// The row of an open tenant.
    pub(super) fn cell(&self, id: &TenantId) -> Option<Arc<RowCell>> {
        lock(&self.open).by_name.get(id).map(|row| Arc::clone(&row.cell))
    }

    async fn store_expiry(
        &self,
        id: &TenantId,
        token: &Token,
        expires_at: Option<SystemTime>,
    ) -> Result<(), ObtainError> {
        let rows = self.rows();
        if rows.check_writable(id).is_err() {
            return Ok(());
        }
        let _lock = rows.lock(id).await?;
        let stored = StoredToken {
            token: &Token {
                expires_at,
                ..token.clone()
            },
            expected: Some(token.secret.fingerprint()),
        };
        rows.store(id, stored).await.map(drop)
    }

    /// Changes what is known of a tenant, if it is open.
    pub(super) fn change_open(&self, id: &TenantId, change: impl FnOnce(&mut OpenRow)) {
        if let Some(row) = lock(&self.open).by_name.get_mut(id) {
            change(row);
        }
    }

    /// Tells the operator that many tenants, tokens or ids are missing in the table.
    pub(super) fn report_loss(&self, lost: &Loss) {
        let PlaceWords { whole, loss, .. } = self.rows().words();
        let (known, missing, tokens, ids) = (lost.known, lost.tenants, lost.tokens, lost.ids);
        tracing::error!(
            known,
            missing,
            tokens,
            ids,
            "many tenants, tokens or ids are missing at once, so what was read is not used for 5 minutes: look whether {loss}"
        );
        let (tenant, cause) = (TenantId::unnamed(), AlertCause::TenantsMissing);
        self.context.metrics.token_metrics(&tenant).count_alert(cause.label());
        self.reports.send(&Alert::new(
            &tenant,
            cause,
            "",
            &format!(
                "Of {known} tenants in their {whole}, {missing} are missing, {tokens} have lost their tokens and {ids} have lost \
                 ids at once; what they had stays in use for 5 minutes"
            ),
            &format!("Look whether {loss}; if this is on purpose, send POST /admin/refresh-token"),
        ));
    }

    /// What visits are for.
    pub(super) fn visit_policy(&self) -> VisitPolicy {
        self.settings.load().visit_policy()
    }

    /// Wall time.
    pub(super) fn now(&self) -> SystemTime {
        self.context.clock.now()
    }

    /// Closes the tenants that have not been used for a while, and the least recently used ones until `more` can be opened.
    pub(super) fn close_idle(&self, more: usize) -> Vec<TenantId> {
        let limits = OpenLimits {
            max_open: self.limits.max_open.saturating_sub(more),
            ..self.limits
        };
        lock(&self.open).take_idle(limits, Instant::now())
    }

    /// Closes tenants. They end when no request can use them any more.
    pub(super) fn close(&self, ids: &[TenantId]) {
        lock(&self.open).close(ids, Instant::now());
    }

    /// Ends a tenant that had this row and was withdrawn: the requests that wait for its token are refused. Returns what is to be
    /// reported; `None` if its refresher has reported it.
    pub(super) fn withdraw(&self, row: &TenantRow) -> Option<Withdrawal> {
        let open = lock(&self.open).by_name.remove(&row.id);
        let source = self.rows().describe(&row.id);
        let statement = RowSource::row_gone(&source);
        match open {
            Some(open) => open.running.withdrawal(statement),
            None => Some(Withdrawal {
                tenant: row.id.clone(),
                source,
                token: row.token.as_ref().ok().map(|token| token.secret.fingerprint()),
                generation: None,
                statement,
            }),
        }
    }
}

// === impl RowOpener ===

impl TenantOpener for RowOpener {
    fn open(&self) -> Tenant {
        self.tenants.open_tenant(&self.cell)
    }
}

#[cfg(test)]
mod tests;
