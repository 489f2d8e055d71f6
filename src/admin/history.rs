//! What is known of a tenant's token beyond its current state: where it is from, and what happened to it last.

use std::sync::Mutex;
use std::time::SystemTime;

use serde::Serialize;

use crate::token::{Alert, AlertCause, OperationOutcome, OperationReport, TokenEvent, TokenStatus};
use crate::types::{Rfc3339Timestamp, lock};

/// The history of a tenant's token, as its refresher reports it.
#[derive(Debug, Default)]
pub struct TokenHistory(Mutex<LastEvents>);

/// What happened last.
#[derive(Clone, Debug, Default)]
pub(super) struct LastEvents {
    /// The description of the source of the current token.
    pub(super) source: Option<String>,
    /// The status of the current token.
    pub(super) status: TokenStatus,
    /// What the operator has to know, until there is another token.
    pub(super) alert: Option<Alert>,
    pub(super) last_refresh: Option<LastRefresh>,
    pub(super) last_rejection: Option<LastRejection>,
}

/// The last attempt to obtain another token than the current one.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LastRefresh {
    at: String,
    outcome: &'static str,
    /// The reason of a failure.
    error: Option<String>,
}

/// The last rejection of a token by Graph.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LastRejection {
    at: String,
    reason: String,
}

// === impl TokenHistory ===

impl TokenHistory {
    /// Notes an event.
    pub fn observe(&self, event: &TokenEvent<'_>, now: SystemTime) {
        let mut last = lock(&self.0);
        match event {
            TokenEvent::Used(token_use) => {
                if token_use.is_obtained() {
                    last.source = Some(token_use.source.to_owned());
                }
            }
            TokenEvent::OperationFinished(report) => last.on_operation(report, now),
            TokenEvent::StatusChanged(status) => {
                last.status = status.clone();
                if status.is_expiry_known {
                    last.forget_alert(AlertCause::ExpiryUnknown);
                }
            }
            TokenEvent::SourceFailed(_) | TokenEvent::SourceRecovered => {}
            TokenEvent::Withdrawn(withdrawal) => {
                (last.source, last.status) = (None, TokenStatus::default());
                last.alert = Some(withdrawal.alert());
            }
            TokenEvent::Alert(alert) => {
                if matches!(alert.key.cause, AlertCause::Rejected | AlertCause::ActionRequired) {
                    last.last_rejection = Some(LastRejection {
                        at: Rfc3339Timestamp(now).to_string(),
                        reason: alert.summary.clone(),
                    });
                }
                last.alert = Some((*alert).clone());
            }
        }
    }

    /// Returns what happened last.
    pub(super) fn last_events(&self) -> LastEvents {
        lock(&self.0).clone()
    }
}

// === impl LastEvents ===

impl LastEvents {
    fn on_operation(&mut self, report: &OperationReport<'_>, now: SystemTime) {
        let mut error = None;
        match report.outcome {
            OperationOutcome::Renewed(_) | OperationOutcome::Found(_) => self.alert = None,
            OperationOutcome::Unchanged => self.forget_alert(AlertCause::SourceTokenRejected),
            OperationOutcome::Failed(failure) => error = Some(failure.to_string()),
        }
        if report.is_refresh() {
            let outcome = report.outcome.refresh_label();
            let error = error.filter(|_| outcome != "unchanged");
            let at = Rfc3339Timestamp(now).to_string();
            self.last_refresh = Some(LastRefresh { at, outcome, error });
        }
    }

    /// Forgets the alert if its cause has gone.
    fn forget_alert(&mut self, cause: AlertCause) {
        self.alert.take_if(|alert| alert.key.cause == cause);
    }
}
