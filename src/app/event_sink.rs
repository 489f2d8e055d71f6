//! Passes the refresher's events on to the metrics and to the alert webhook.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;

use super::state::state_dir;
use crate::alert::{AlertMemory, AlertSender};
use crate::config::StateConfig;
use crate::telemetry::metrics::TokenMetrics;
use crate::token::{
    Alert, BoxFuture, DeliveryMemory, ErrorKind, Operation, OperationOutcome, OperationReport, TokenEvent, TokenStatus,
};
use crate::types::Fingerprint;

/// Where alerts are sent at the moment.
#[derive(Debug)]
pub(super) struct AlertTarget {
    /// The fingerprint of the webhook's URL.
    pub(super) url: Fingerprint,
    /// Sends to the webhook.
    pub(super) sender: AlertSender,
}

/// The target that is configured at the moment, if one is.
pub(super) type SharedAlertTarget = Arc<ArcSwapOption<AlertTarget>>;

/// Remembers when the operator was last told of an unknown expiry: with a webhook, its deliveries, which it notes itself; without
/// one, the lines in the log.
#[derive(Debug)]
struct NoticeMemory {
    deliveries: AlertMemory,
    alert_target: SharedAlertTarget,
}

/// Returns the memory of the last notice of an unknown expiry, if there is a state directory.
pub(super) fn notice_memory(config: &StateConfig, alert_target: &SharedAlertTarget) -> Option<impl DeliveryMemory> {
    Some(NoticeMemory {
        deliveries: AlertMemory::new(&state_dir(config)?),
        alert_target: Arc::clone(alert_target),
    })
}

/// Returns the sink that counts the refresher's events and sends its alerts.
pub(super) fn event_sink(metrics: TokenMetrics, alert_target: SharedAlertTarget) -> impl Fn(&TokenEvent<'_>) + Send {
    move |event| match event {
        TokenEvent::OperationFinished(report) => record_attempt(&metrics, report),
        TokenEvent::StatusChanged(status) => record_status(&metrics, status),
        TokenEvent::Withdrawn => metrics.forget_current_token(),
        TokenEvent::Alert(alert) => {
            metrics.count_alert(alert.cause.label());
            if let Some(target) = &*alert_target.load() {
                target.sender.send(alert);
            }
        }
    }
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
            status.missing_scope_count,
        );
        metrics.set_inspected_at(unix_seconds(at));
    }
}

impl DeliveryMemory for NoticeMemory {
    fn begin<'a>(&'a mut self, alert: &'a Alert, now: SystemTime) -> BoxFuture<'a, Option<SystemTime>> {
        self.deliveries.begin(alert, now)
    }

    fn finish<'a>(&'a mut self, alert: &'a Alert, delivered_at: Option<SystemTime>) -> BoxFuture<'a, ()> {
        let in_log_only = delivered_at.filter(|_| self.alert_target.load().is_none());
        self.deliveries.finish(alert, in_log_only)
    }
}

fn unix_seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::alert::Webhook;
    use crate::net::HttpClient;
    use crate::telemetry::metrics::Metrics;
    use crate::token::AlertCause;
    use crate::types::{Clock, Secret, TenantId};

    #[tokio::test]
    async fn a_notice_in_the_log_is_remembered_only_if_no_webhook_tells_it() {
        let (state, now) = (
            tempfile::tempdir().unwrap(),
            UNIX_EPOCH + Duration::from_secs(1_759_276_800),
        );
        let config = StateConfig {
            dir: Some(state.path().to_owned()),
        };
        let alert_target = SharedAlertTarget::default();
        let mut memory = notice_memory(&config, &alert_target).unwrap();
        let alert = Alert {
            tenant: TenantId::default(),
            cause: AlertCause::ExpiryUnknown,
            reason: String::new(),
            summary: String::new(),
            remediation: String::new(),
        };
        let url = Secret::new("https://hooks.example.com/x").unwrap();
        let client = HttpClient::from_fn(|_request| std::future::pending(), Duration::from_secs(1));
        let alert_metrics = Metrics::new().alert_metrics();
        let (sender, _webhook) = Webhook::new(url.clone(), &client, Clock::system(), alert_metrics).unwrap();
        let target = AlertTarget {
            url: url.fingerprint(),
            sender,
        };
        alert_target.store(Some(Arc::new(target)));
        memory.finish(&alert, Some(now)).await;
        assert_eq!(memory.begin(&alert, now).await, None);
        alert_target.store(None);
        memory.finish(&alert, None).await;
        assert_eq!(memory.begin(&alert, now).await, None);
        memory.finish(&alert, Some(now)).await;
        assert_eq!(memory.begin(&alert, now).await, Some(now));
    }
}
