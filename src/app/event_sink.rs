//! Passes the refresher's events on to the metrics, the operators and the alert webhook.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;

use crate::admin::TokenHistory;
use crate::alert::AlertSender;
use crate::telemetry::metrics::TokenMetrics;
use crate::telemetry::{AuditLog, AuditRecord, EventLog, InLog};
use crate::token::{
    ErrorKind, Operation, OperationOutcome, OperationReport, TokenAction, TokenEvent, TokenStatus, TokenUse,
};
use crate::types::{Clock, TenantId};

/// The webhook that is configured at the moment, if one is.
pub(super) type SharedAlertSender = Arc<ArcSwapOption<AlertSender>>;

/// Where the events of a tenant's refresher go.
pub(super) struct EventReceivers {
    pub(super) tenant: TenantId,
    pub(super) metrics: TokenMetrics,
    pub(super) webhook: SharedAlertSender,
    pub(super) audit: AuditLog,
    pub(super) events: EventLog,
    pub(super) history: Arc<TokenHistory>,
    pub(super) clock: Clock,
}

/// Returns the sink that counts the refresher's events, sends its alerts, writes the audit, and shows all to the operators.
pub(super) fn event_sink(receivers: EventReceivers) -> impl Fn(&TokenEvent<'_>) + Send {
    let EventReceivers {
        tenant,
        metrics,
        webhook,
        audit,
        events,
        history,
        clock,
    } = receivers;
    move |event| {
        history.observe(event, clock.now());
        match event {
            TokenEvent::Used(token_use) => {
                record_use(&audit, &tenant, token_use);
                add_use(&events, &tenant, token_use);
            }
            TokenEvent::OperationFinished(report) => record_attempt(&metrics, report),
            TokenEvent::StatusChanged(status) => record_status(&metrics, status),
            TokenEvent::Withdrawn => metrics.forget_current_token(),
            TokenEvent::Alert(alert) => {
                let cause = alert.key.cause.label();
                metrics.count_alert(cause);
                events.add(&tenant, cause, alert.summary.as_str());
                if let Some(sender) = &*webhook.load() {
                    sender.send(alert);
                }
            }
        }
    }
}

/// Shows the operators a use of a token. An alert says why one was rejected or withdrawn.
fn add_use(events: &EventLog, tenant: &TenantId, token_use: &TokenUse<'_>) {
    let TokenUse { source, token, .. } = token_use;
    let reason = match token_use.action {
        TokenAction::Loaded => format!("The token {token} from {source} is in use."),
        TokenAction::Renewed => format!("The token was renewed by {source}; {token} is in use."),
        TokenAction::Stored => format!("The renewed token {token} was stored in {source}."),
        TokenAction::Rejected | TokenAction::Withdrawn => return,
    };
    events.add(tenant, token_use.action.label(), reason);
}

fn record_use(audit: &AuditLog, tenant: &TenantId, token_use: &TokenUse<'_>) {
    let record = AuditRecord {
        tenant: tenant.as_str(),
        action: token_use.action.label(),
        source: token_use.source,
        token: &token_use.token.to_string(),
        generation: Some(token_use.generation.get()),
        peer: None,
    };
    let in_log = match token_use.action {
        TokenAction::Stored => InLog::Missing,
        TokenAction::Loaded | TokenAction::Renewed | TokenAction::Rejected | TokenAction::Withdrawn => InLog::Present,
    };
    audit.record(&record, in_log);
}

fn record_attempt(metrics: &TokenMetrics, report: &OperationReport<'_>) {
    let (result, refresh) = match &report.outcome {
        OperationOutcome::Renewed(_) => ("obtained", "renewed"),
        OperationOutcome::Found(_) => ("obtained", "found"),
        OperationOutcome::Unchanged => ("unchanged", "unchanged"),
        OperationOutcome::Failed(error) => match error.kind() {
            // After a withdrawal, the alert says so, and the source is in order.
            ErrorKind::NothingNew | ErrorKind::Absent => ("unchanged", "unchanged"),
            ErrorKind::Transient => ("failed", "failed"),
            ErrorKind::Permanent if error.is_from_renewer() => ("refused", "action_required"),
            ErrorKind::Permanent => {
                metrics.count_rejected_file(error.reason());
                let refresh = if error.is_about_source_token() {
                    "rejected_by_verify"
                } else {
                    "action_required"
                };
                ("refused", refresh)
            }
        },
    };
    metrics.count_attempt(report.operation.label(), result, report.duration.as_secs_f64());
    // A check that finds the current token is not a refresh.
    if report.operation == Operation::Refresh || refresh != "unchanged" {
        metrics.count_refresh(refresh);
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
