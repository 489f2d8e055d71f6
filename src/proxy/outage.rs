//! Tells the operator that requests are being lost because there is no usable token.
//!
//! # Why
//!
//! A line for each request says what happened to one request, is one of thousands, and is switched off by
//! `log.requests = "none"`. An outage needs a line that says what to do, and how much is lost until that is done. The first
//! lost request causes it, which is after the hold, and then at most one request a minute does. There is no timer: while no
//! request is lost, there is no outage to report, and `/readyz` has the state.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::graph::RejectionReason;
use crate::token::TokenHandle;
use crate::types::{TenantId, lock};

/// The requests of a tenant that were lost because there was no usable token.
#[derive(Debug)]
pub struct OutageLog {
    tenant: TenantId,
    tokens: TokenHandle,
    is_reported: AtomicBool,
    losses: Mutex<Losses>,
}

#[derive(Debug, Default)]
struct Losses {
    /// The number of requests that were lost since the last report.
    unreported: u64,
    total: u64,
    reported_at: Option<Instant>,
}

/// The shortest time between two reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

impl OutageLog {
    /// Creates the log of a tenant.
    #[must_use]
    pub fn new(tenant: TenantId, tokens: TokenHandle) -> Self {
        Self {
            tenant,
            tokens,
            is_reported: AtomicBool::new(false),
            losses: Mutex::default(),
        }
    }

    /// Counts a lost request, and reports the outage if that is due; `sources` says where a new token belongs. A request that was lost although there is a usable token
    /// by now is no outage.
    pub(crate) fn record_loss(&self, rejection: Option<RejectionReason>, sources: &str) {
        if self.tokens.is_usable() {
            return;
        }
        let mut losses = lock(&self.losses);
        losses.unreported += 1;
        losses.total += 1;
        if losses.reported_at.is_some_and(|at| at.elapsed() < REPORT_INTERVAL) {
            return;
        }
        losses.reported_at = Some(Instant::now());
        self.is_reported.store(true, Ordering::Relaxed);
        let error = self.tokens.progress().last_error.map(|error| error.to_string());
        let cause = rejection.map_or(
            "there is no token",
            |_| "Graph rejected the token, and there is no newer one",
        );
        tracing::error!(
            tenant = %self.tenant,
            lost_requests = std::mem::take(&mut losses.unreported),
            lost_in_all = losses.total,
            rejection = rejection.map(RejectionReason::label),
            error,
            remediation = format!("Store a valid token in {sources}."),
            "requests are being lost: {cause}"
        );
    }

    /// Reports the end of the outage, if there was one. Costs one atomic load if not.
    pub(crate) fn record_success(&self) {
        if !self.is_reported.load(Ordering::Relaxed) || !self.tokens.is_usable() {
            return;
        }
        let losses = std::mem::take(&mut *lock(&self.losses));
        if self.is_reported.swap(false, Ordering::Relaxed) {
            tracing::warn!(tenant = %self.tenant, lost_requests = losses.total, "requests succeed again after an outage");
        }
    }
}
