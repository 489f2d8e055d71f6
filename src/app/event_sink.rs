//! Passes the refresher's events on to the metrics and the operators.

use std::slice::from_ref;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::token_reports::TokenReports;
use crate::admin::TokenHistory;
use crate::telemetry::InLog;
use crate::telemetry::metrics::TokenMetrics;
use crate::tenants::RowCell;
use crate::token::{AlertCause, ErrorKind, OperationOutcome, OperationReport, TokenEvent, TokenStatus, TokenUse};
use crate::types::{Clock, TenantId};

/// Where the events of a tenant's refresher go.
pub(super) struct EventReceivers {
    pub(super) tenant: TenantId,
    pub(super) metrics: TokenMetrics,
    pub(super) reports: TokenReports,
    pub(super) history: Arc<TokenHistory>,
    /// The row of the tenant, if it is one of a table.
    pub(super) row: Option<Arc<RowCell>>,
    pub(super) clock: Clock,
}

impl EventReceivers {
    /// Counts an event of the refresher, and reports it to the operators.
    pub(super) fn receive(&self, event: &TokenEvent<'_>) {
        let Self { metrics, reports, .. } = self;
        self.history.observe(event, self.clock.now());
        match event {
            TokenEvent::Used(token_use) => {
                reports.audit(&self.tenant, token_use);
                if self.is_change(token_use) {
                    reports.show(&self.tenant, token_use);
                }
            }
            TokenEvent::OperationFinished(report) => record_attempt(metrics, report),
            TokenEvent::StatusChanged(status) => record_status(metrics, status),
            TokenEvent::SourceFailed(error) => reports.unreadable(&self.tenant, error),
            TokenEvent::SourceRecovered => reports.readable(&self.tenant, "The source of the token can be read again."),
            TokenEvent::Withdrawn(withdrawal) => {
                metrics.forget_current_token();
                metrics.count_alert(AlertCause::Withdrawn.label());
                reports.withdrawn(from_ref(withdrawal), InLog::Present);
            }
            TokenEvent::Alert(alert) => {
                metrics.count_alert(alert.key.cause.label());
                reports.send(alert);
            }
        }
    }

    /// Returns whether the operators have to see it. A tenant of a table is opened and closed as requests come, mostly with the
    /// token that it had before.
    fn is_change(&self, token_use: &TokenUse<'_>) -> bool {
        let Some(row) = self.row.as_ref().filter(|_| token_use.is_obtained()) else {
            return true;
        };
        let before = row.note_use(token_use.token);
        token_use.generation.get() > 1 || before.is_some_and(|before| before != token_use.token)
    }
}

fn record_attempt(metrics: &TokenMetrics, report: &OperationReport<'_>) {
    let result = match &report.outcome {
        OperationOutcome::Renewed(_) | OperationOutcome::Found(_) => "obtained",
        OperationOutcome::Unchanged => "unchanged",
        OperationOutcome::Failed(error) => match error.kind() {
            ErrorKind::NothingNew | ErrorKind::Absent | ErrorKind::Locked => "unchanged",
            ErrorKind::Transient => "failed",
            ErrorKind::Permanent => {
                if !error.is_from_renewer() {
                    metrics.count_rejected_file(error.reason());
                }
                "refused"
            }
        },
    };
    metrics.count_attempt(report.operation.label(), result, report.duration.as_secs_f64());
    if report.is_refresh() {
        metrics.count_refresh(report.outcome.refresh_label());
    }
    if let OperationOutcome::Found(credential) | OperationOutcome::Renewed(credential) = report.outcome {
        let expires_at = credential.expires_at().map(unix_seconds);
        metrics.set_current_token(credential.generation().get(), expires_at);
    }
}

fn record_status(metrics: &TokenMetrics, status: &TokenStatus) {
    metrics.set_renewal_due(status.renew_at.map(unix_seconds));
    metrics.set_expiry_known(i64::from(status.is_expiry_known));
    // Before the first inspection only a source can have given an expiry, and missing scopes are unknown.
    if let Some(at) = status.inspected_at {
        metrics.set_token_details(
            status.expires_at.map(unix_seconds),
            status.data_access_expires_at.map(unix_seconds),
            status.missing_scopes.as_ref().map(Vec::len),
        );
        metrics.set_inspected_at(unix_seconds(at));
    }
}

fn unix_seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
