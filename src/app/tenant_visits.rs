//! Visits the tenants of a table, so that what is due for their tokens is done without a request.

use std::convert::Infallible;
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;

use super::row_tenants::RowTenants;
use crate::proxy::{LazyTenant, Proxy};
use crate::tenants::{Entry, RowCell, Standing, VisitQueue};
use crate::token::{BoxFuture, VisitReport};
use crate::types::TenantId;

/// The visits that are due, and those that run.
pub(super) struct TenantVisits {
    tenants: Arc<RowTenants>,
    proxy: Arc<Proxy>,
    queue: VisitQueue,
    running: FuturesUnordered<BoxFuture<'static, Visited>>,
    /// The most visits at the same time. Each may renew a token.
    max_running: usize,
}

/// A visit that is over.
struct Visited {
    id: TenantId,
    /// `None` if it took too long, or its tenant is gone.
    report: Option<VisitReport>,
}

/// The longest visit.
const VISIT_TIMEOUT: Duration = Duration::from_secs(90);

// === impl TenantVisits ===

impl TenantVisits {
    /// No visits yet, and then so many at the same time.
    pub(super) fn new(tenants: Arc<RowTenants>, proxy: Arc<Proxy>, max_running: NonZeroU8) -> Self {
        Self {
            max_running: max_running.get().into(),
            tenants,
            proxy,
            queue: VisitQueue::default(),
            running: FuturesUnordered::new(),
        }
    }

    /// Sets the first visit of a tenant whose token is new.
    pub(super) fn schedule(&mut self, cell: &RowCell) {
        let row = cell.row();
        let token = row.as_ref().as_ref().and_then(|row| row.token.as_ref().ok());
        let now = self.tenants.now();
        let policy = self.tenants.visit_policy();
        let at = token.and_then(|token| policy.first_visit(token.expires_at, now, fastrand::f64()));
        self.queue
            .set(cell.id(), at.map(|at| at.duration_since(now).unwrap_or_default()));
    }

    /// Visits a tenant no more.
    pub(super) fn cancel(&mut self, id: &TenantId) {
        self.queue.set(id, None);
    }

    /// Makes the visits that are due, a few at a time. Cancel-safe: what it waits for is kept.
    pub(super) async fn run(&mut self) -> Infallible {
        loop {
            tokio::select! {
                id = self.queue.next(), if self.running.len() < self.max_running => self.start(id),
                Some(visited) = self.running.next() => self.finish(visited),
            }
        }
    }

    fn start(&self, id: TenantId) {
        let tenants = self.proxy.tenants.load();
        let Some(entry) = tenants.directory.find(id.as_str()) else {
            return;
        };
        let was_closed = entry.tenant.if_open().is_none();
        entry.tenant.get();
        self.tenants.change_open(&id, |row| {
            row.is_visited = true;
            if was_closed {
                // It is closed when it is not busy any more, unless requests use it meanwhile.
                row.idle = Duration::ZERO;
            }
        });
        let tenants = Arc::clone(&self.tenants);
        self.running.push(Box::pin(async move {
            let inspections = Arc::clone(&tenants.inspections);
            // It cannot fail: the semaphore is never closed.
            let _counted = inspections.acquire_owned().await;
            let report = timeout(VISIT_TIMEOUT, tenants.visit(&id)).await.unwrap_or_default();
            Visited { id, report }
        }));
    }

    fn finish(&mut self, Visited { id, report }: Visited) {
        self.tenants.change_open(&id, |row| row.is_visited = false);
        let tenants = self.proxy.tenants.load();
        let is_active = |entry: &Arc<Entry<LazyTenant>>| entry.standing != Standing::Inactive;
        if tenants.directory.find(id.as_str()).is_some_and(is_active) {
            let now = self.tenants.now();
            let policy = self.tenants.visit_policy();
            let next = policy.next_visit(report, now, fastrand::f64());
            self.queue
                .set(&id, next.map(|at| at.duration_since(now).unwrap_or_default()));
        }
    }
}
