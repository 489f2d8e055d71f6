//! Reports what happens to a token: to the log, the metrics and the webhook.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::alert::{Alert, AlertCause};
use super::credential::Credential;
use super::current::{CurrentToken, TokenStatus};
use super::error::{ErrorKind, ObtainError};
use super::provider::TokenProvider;
use super::token_use::{TokenUse, Withdrawal};
use super::warnings::{expiry_alert, format_expiry};
use crate::graph::{Expiry, GraphError, explain, is_action_required};
use crate::telemetry::AuditAction;
use crate::types::{Rfc3339Timestamp, TenantId, error_chain};

/// An operation of the refresher.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operation {
    /// Read the sources for a new token.
    Check,
    /// Obtain another token than the current one.
    Refresh,
}

/// The result of an operation.
#[derive(Debug)]
pub struct OperationReport<'a> {
    /// The operation.
    pub operation: Operation,
    /// Its duration.
    pub duration: Duration,
    /// What it led to.
    pub outcome: OperationOutcome<'a>,
    /// Whether the operator requested it.
    pub is_requested: bool,
}

/// What an operation led to.
#[derive(Clone, Copy, Debug)]
pub enum OperationOutcome<'a> {
    /// There is no new token.
    Unchanged,
    /// A token from a source is now current.
    Found(&'a Credential),
    /// A token from the renewer is now current.
    Renewed(&'a Credential),
    /// There is no new token, for this reason.
    Failed(&'a ObtainError),
}

/// An event in the life of a token.
#[derive(Debug)]
pub enum TokenEvent<'a> {
    /// An operation ended.
    OperationFinished(OperationReport<'a>),
    /// The status of the current token has changed.
    StatusChanged(TokenStatus),
    /// The sources cannot be read, for this reason. No alert is sent: the current token stays in use, and they are read again.
    SourceFailed(&'a str),
    /// They can be read again.
    SourceRecovered,
    /// The source withdrew the current token.
    Withdrawn(&'a Withdrawal),
    /// The token was used outside requests.
    Used(TokenUse<'a>),
    /// The operator should know something.
    Alert(&'a Alert),
}

/// The receiver of events.
pub type EventSink = Box<dyn Fn(&TokenEvent<'_>) + Send>;

/// Reports what happens to a tenant's token.
pub(super) struct Reporter {
    pub(super) tenant: TenantId,
    event_sink: EventSink,
    /// The operation in progress, or the last one, and its start.
    operation: (Operation, Instant),
    /// Whether the operator requested the next operation, or that in progress.
    pub(super) is_requested: bool,
    /// The description of the sources.
    pub(super) sources: Arc<str>,
    /// The description of the renewer, if there is one.
    renewer: Option<String>,
    /// The identity of the error that was reported last.
    last_error: Option<String>,
    /// The content that it was about.
    last_content: Option<u64>,
    /// The sources could not be read, which was reported.
    is_unreadable: bool,
}

// === impl Operation ===

impl Operation {
    /// The word for metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Refresh => "refresh",
        }
    }
}

// === impl OperationReport ===

impl OperationReport<'_> {
    /// Returns whether it counts as a refresh. A check that finds the current token does not, unless the operator requested it.
    #[must_use]
    pub fn is_refresh(&self) -> bool {
        self.is_requested || self.operation == Operation::Refresh || self.outcome.refresh_label() != "unchanged"
    }
}

// === impl OperationOutcome ===

impl OperationOutcome<'_> {
    /// The word for a refresh that ended so, in metrics and in the status.
    #[must_use]
    pub fn refresh_label(&self) -> &'static str {
        match self {
            Self::Renewed(_) => "renewed",
            Self::Found(_) => "found",
            Self::Unchanged => "unchanged",
            Self::Failed(error) => match error.kind() {
                // After a withdrawal, the alert says so, and the source is in order.
                ErrorKind::NothingNew | ErrorKind::Absent | ErrorKind::Locked => "unchanged",
                ErrorKind::Transient => "failed",
                ErrorKind::Permanent if !error.is_from_renewer() && error.is_about_source_token() => {
                    "rejected_by_verify"
                }
                ErrorKind::Permanent => "action_required",
            },
        }
    }
}

// === impl Reporter ===

impl Reporter {
    pub(super) fn new(tenant: TenantId, event_sink: EventSink, sources: Arc<str>, renewer: Option<String>) -> Self {
        Self {
            tenant,
            event_sink,
            operation: (Operation::Check, Instant::now()),
            is_requested: false,
            sources,
            renewer,
            last_error: None,
            last_content: None,
            is_unreadable: false,
        }
    }

    /// Replaces the descriptions of the sources and of the renewer. A failure is reported again.
    pub(super) fn set_origins(&mut self, sources: Arc<str>, renewer: Option<String>) {
        (self.sources, self.renewer, self.last_error) = (sources, renewer, None);
    }

    /// Notes the beginning of an operation.
    pub(super) fn operation_started(&mut self, operation: Operation) {
        self.operation = (operation, Instant::now());
    }

    /// Reports the end of the operation. Once the sources can be read again, the next failure is reported even if it is the last one again.
    pub(super) fn operation_finished(&mut self, outcome: OperationOutcome<'_>) {
        let (operation, started_at) = self.operation;
        if matches!(outcome, OperationOutcome::Unchanged) && self.last_content.take().is_some() {
            self.last_error = None;
        }
        if matches!(outcome, OperationOutcome::Unchanged | OperationOutcome::Found(_))
            && std::mem::take(&mut self.is_unreadable)
        {
            self.last_error = None;
            (self.event_sink)(&TokenEvent::SourceRecovered);
        }
        (self.event_sink)(&TokenEvent::OperationFinished(OperationReport {
            operation,
            duration: started_at.elapsed(),
            outcome,
            is_requested: std::mem::take(&mut self.is_requested),
        }));
    }

    /// Reports for the audit what happened to a token from this source, or from the sources.
    pub(super) fn audit(&self, action: AuditAction, token: &Credential, source: Option<&str>) {
        let source = source.unwrap_or(&self.sources);
        (self.event_sink)(&TokenEvent::Used(TokenUse::new(action, token, source)));
    }

    pub(super) fn status_changed(&self, current: &CurrentToken) {
        (self.event_sink)(&TokenEvent::StatusChanged(current.status()));
    }

    /// Reports a new current token.
    pub(super) fn report_published(&mut self, credential: &Credential, source: &str, expires: Expiry) {
        self.last_error = None;
        let expires = match expires {
            Expiry::At(at) => Rfc3339Timestamp(at).to_string(),
            Expiry::Never => "never".to_owned(),
            Expiry::Unknown => "unknown".to_owned(),
        };
        tracing::info!(
            tenant = %self.tenant,
            generation = credential.generation().get(),
            fingerprint = %credential.fingerprint(),
            source = source,
            expires,
            "using a new token"
        );
    }

    /// Reports at start that renewed tokens cannot be stored in some of the sources, or in all of them.
    pub(super) fn report_read_only_sources(&self, provider: &TokenProvider) {
        let reasons = provider.sources.read_only_reasons();
        if provider.renewer().is_none() || reasons.is_empty() {
            return;
        }
        let which = if reasons.len() == provider.sources.len() {
            ""
        } else {
            " of some sources"
        };
        let reasons = reasons.join("; ");
        self.send_alert(
            AlertCause::StoreFailed,
            "read_only",
            &format!("Renewed tokens{which} cannot be stored ({reasons}); they will be lost when graphward restarts."),
            "Set token.store = { file = \"…\" } to a persistent, writable path.",
        );
    }

    /// Reports that the current token was renewed but not stored.
    pub(super) fn report_store_failed(&self, error: &ObtainError) {
        self.send_alert(
            AlertCause::StoreFailed,
            error.reason(),
            &format!("The renewed token is in use but could not be stored: {error}."),
            "Fix the storage before graphward restarts; the renewed token exists only in memory. graphward retries every \
             minute.",
        );
    }

    /// Reports that Graph rejected the current token.
    pub(super) fn report_rejected(&self, current: &Credential, error: Option<&GraphError>) {
        let fingerprint = current.fingerprint();
        self.audit(AuditAction::Rejected, current, None);
        let Some(error) = error else {
            let summary = format!("Graph rejected the token {fingerprint}.");
            return self.send_alert(AlertCause::Rejected, "", &summary, &self.replace_token_hint());
        };
        let explanation = explain(error);
        let summary = format!("Graph rejected the token {fingerprint}: {}", explanation.summary);
        if is_action_required(error) {
            return self.send_alert(
                AlertCause::ActionRequired,
                &error.codes(),
                &summary,
                explanation.remediation,
            );
        }
        let then = match &self.renewer {
            Some(renewer) => format!(" and will renew it with {renewer} if there is none; if that fails"),
            None => "; if there is none".to_owned(),
        };
        let hint = self.replace_token_hint();
        let remediation = format!("graphward is checking its sources for a newer token{then}, {hint}");
        self.send_alert(AlertCause::Rejected, &error.codes(), &summary, &remediation);
    }

    /// Reports that the source of the current token withdrew it.
    pub(super) fn report_withdrawn(&mut self, current: &Credential, statement: &ObtainError) {
        let withdrawal = Withdrawal {
            tenant: self.tenant.clone(),
            source: self.sources.to_string(),
            token: Some(current.fingerprint()),
            generation: Some(current.generation()),
            statement: statement.repeat(),
        };
        withdrawal.alert().log();
        (self.event_sink)(&TokenEvent::Withdrawn(&withdrawal));
        (self.last_error, self.last_content) = (Some(statement.identity()), None);
    }

    /// Reports a failure in one line. A repeated error is reported once; that the sources have no newer token was reported
    /// when the token was rejected.
    pub(super) fn report_failure(&mut self, error: &ObtainError, current: Option<&Credential>) {
        let (operation, _started_at) = self.operation;
        let (tenant, reason, cause) = (&self.tenant, error.reason(), std::error::Error::source(error));
        let (message, cause) = (error.to_string(), cause.map(error_chain));
        let (identity, content) = (error.identity(), error.refused_content());
        let is_repeated = self.last_error.as_ref() == Some(&identity) && self.last_content == content;
        if is_repeated || matches!(error.kind(), ErrorKind::NothingNew | ErrorKind::Locked) {
            tracing::debug!(%tenant, operation = operation.label(), error = message, "no newer token");
            return;
        }
        let suffix = cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
        if error.is_refusal() {
            let summary = format!("{message}{suffix}.");
            let remediation = if error.is_about_place() {
                format!("The place is not as it is configured: {message}.")
            } else {
                self.replace_token_hint()
            };
            let reason = error.alert_reason();
            self.send_alert(AlertCause::SourceTokenRejected, &reason, &summary, &remediation);
        } else if operation == Operation::Refresh && self.renewer.is_some() {
            let advice = if error.is_transient() {
                "graphward retries automatically; if the error persists, fix its cause"
            } else {
                "Fix the cause of the error"
            };
            let summary = format!("The token could not be renewed: {message}{suffix}.");
            let remediation = format!("{advice}, or {}", self.replace_token_hint());
            self.send_alert(AlertCause::RenewalFailed, &error.alert_reason(), &summary, &remediation);
        } else {
            if current.is_some() {
                tracing::warn!(%tenant, reason, error = message, cause, "no newer token; the current token stays in use");
            } else {
                tracing::warn!(%tenant, reason, error = message, cause, "no token is available yet");
            }
            self.is_unreadable = true;
            (self.event_sink)(&TokenEvent::SourceFailed(&format!("{message}{suffix}")));
        }
        (self.last_error, self.last_content) = (Some(identity), content);
    }

    /// Warns that the token expires soon, and is not renewed.
    pub(super) fn warn_expiry(&self, days: u8, expires_at: SystemTime, now: SystemTime, current: &CurrentToken) {
        let remediation = match current.status().renew_at {
            Some(due) => format!(
                "It should have been renewed at {}: check the log for the reason of the failure, or {}",
                Rfc3339Timestamp(due),
                self.replace_token_hint()
            ),
            None => self.replace_token_hint(),
        };
        self.send(&expiry_alert(&self.tenant, days, expires_at, now, &remediation));
    }

    /// Reports on the token that the renewer depends on.
    pub(super) fn report_admin_token(&self, cause: AlertCause, reason: &str, what: &str) {
        let summary = format!("The admin token of `mint` {what}; graphward cannot renew the token without it.");
        let remediation = "Create a new admin token in Business settings, System users, and put it where token.renew.mint.token \
             refers to.";
        self.send_alert(cause, reason, &summary, remediation);
    }

    /// Warns that the token's data access expires soon. A renewal does not change that.
    pub(super) fn warn_data_access_expiry(&self, days: u8, expires_at: SystemTime, now: SystemTime) {
        self.send_alert(
            AlertCause::DataAccess(days),
            "",
            &format!(
                "The token's data access expires {}; Graph will then reject its requests.",
                format_expiry(expires_at, now)
            ),
            "The user of the token must log in to the app again; then replace the token with the new one.",
        );
    }

    /// Reports that Meta has locked the account.
    pub(super) fn report_account_lock(&self, error: &GraphError) {
        let explanation = explain(error);
        let (summary, remediation) = (&explanation.summary, explanation.remediation);
        self.send_alert(AlertCause::AccountLocked, &error.codes(), summary, remediation);
    }

    /// Reports missing permissions.
    pub(super) fn report_missing_scopes(&self, missing: &[&str]) {
        self.send_alert(
            AlertCause::ScopesMissing,
            &missing.join("+"),
            &format!(
                "The token lacks the permission {}, which WhatsApp requires.",
                missing.join(" and ")
            ),
            "The app calls WhatsApp: issue a token with that permission.",
        );
    }

    fn replace_token_hint(&self) -> String {
        format!("store a new token in {}.", self.sources)
    }

    pub(super) fn send_alert(&self, cause: AlertCause, reason: &str, summary: &str, remediation: &str) {
        self.send(&Alert::new(&self.tenant, cause, reason, summary, remediation));
    }

    /// Logs an alert and passes it on.
    pub(super) fn send(&self, alert: &Alert) {
        alert.log();
        (self.event_sink)(&TokenEvent::Alert(alert));
    }
}
