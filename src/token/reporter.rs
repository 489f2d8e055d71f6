//! Who says aloud what happens to a token: to the log, and to whoever keeps count.

use std::time::{Duration, SystemTime};

use super::alert::{Alert, AlertCause};
use super::credential::Credential;
use super::current::{CurrentToken, TokenStatus};
use super::traits::ObtainError;
use crate::graph::{Expiry, GraphError, explain, is_action_required};
use crate::types::{Rfc3339Timestamp, TenantId, error_chain};

/// What the refresher sets out to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operation {
    /// Look at the source for news.
    Check,
    /// Find or mint a successor.
    Refresh,
}

/// How an errand ended.
#[derive(Debug)]
pub struct OperationReport<'a> {
    /// What it was.
    pub operation: Operation,
    /// How long it took.
    pub took: Duration,
    /// The credential that is live now; nothing; or why not.
    pub outcome: Result<Option<&'a Credential>, &'a ObtainError>,
    /// Whether it came to minting: what failed then is no source's fault.
    pub renewer_called: bool,
}

/// What the refresher tells whoever keeps count.
#[derive(Debug)]
pub enum TokenEvent<'a> {
    /// An errand ended.
    OperationFinished(OperationReport<'a>),
    /// What is known of the live token, whenever that has changed.
    StatusChanged(TokenStatus),
    /// A person should hear something.
    Alert(&'a Alert),
}

/// Who is told.
pub type EventSink = Box<dyn Fn(&TokenEvent<'_>) + Send>;

/// Says aloud what happens to a tenant's token.
pub(super) struct Reporter {
    pub(super) tenant: TenantId,
    pub(super) event_sink: EventSink,
    /// Where tokens are from, for people.
    pub(super) sources: String,
    /// What mints them, if anything does.
    pub(super) renewer: Option<String>,
    /// The failure that was told last.
    last_error: Option<String>,
}

// === impl Operation ===

impl Operation {
    /// The word for metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Check => "look",
            Self::Refresh => "replace",
        }
    }
}

// === impl Reporter ===

impl Reporter {
    pub(super) const fn new(tenant: TenantId, event_sink: EventSink, sources: String, renewer: Option<String>) -> Self {
        Self {
            tenant,
            event_sink,
            sources,
            renewer,
            last_error: None,
        }
    }

    pub(super) fn operation_finished(&self, report: OperationReport<'_>) {
        (self.event_sink)(&TokenEvent::OperationFinished(report));
    }

    pub(super) fn status_changed(&self, live: &CurrentToken) {
        (self.event_sink)(&TokenEvent::StatusChanged(live.status()));
    }

    /// A new token is in use.
    pub(super) fn report_published(&mut self, credential: &Credential, source: &str, expires: Expiry) {
        self.last_error = None;
        let expires = match expires {
            Expiry::At(at) => Rfc3339Timestamp(at).to_string(),
            Expiry::Never => "never".to_owned(),
            Expiry::Unknown => "nobody says".to_owned(),
        };
        tracing::info!(
            tenant = %self.tenant,
            generation = credential.generation().get(),
            fingerprint = %credential.fingerprint(),
            source = source,
            expires,
            "a new token is in use"
        );
    }

    /// At start: renewed tokens would be lost with the process.
    pub(super) fn report_no_writable_store(&self, reasons: &[String], is_every_source: bool) {
        let which = if is_every_source { "" } else { " of some sources" };
        let summary = format!(
            "Renewed tokens{which} can be stored nowhere ({}): each would be lost with this process.",
            reasons.join("; ")
        );
        let action = "Set token.store = { file = \"…\" } to a place that lasts and may be written to.".to_owned();
        self.send_alert(AlertCause::StoreFailed, summary, action);
    }

    /// A renewed token is in use, and would be lost with the process.
    pub(super) fn report_store_failed(&self, error: &ObtainError) {
        let summary = format!("A renewed token is in use, but could not be stored: {error}.");
        let action = "Mend the storage before this process stops, or the token is lost with it; graphward tries again \
                      every minute."
            .to_owned();
        self.send_alert(AlertCause::StoreFailed, summary, action);
    }

    /// Graph rejects the token in use.
    pub(super) fn report_rejected(&self, live: &Credential, error: Option<&GraphError>) {
        let fingerprint = live.fingerprint();
        let Some(error) = error else {
            let summary = format!("Graph rejects the token {fingerprint}.");
            return self.send_alert(AlertCause::Rejected, summary, self.replace_token_hint());
        };
        let explanation = explain(error);
        let summary = format!("Graph rejects the token {fingerprint}: {}", explanation.summary);
        if is_action_required(error) {
            return self.send_alert(AlertCause::ActionRequired, summary, explanation.remediation.to_owned());
        }
        let action = match &self.renewer {
            Some(renewal) => format!(
                "graphward looks for a newer one, and renews it with {renewal} if it can; if that fails, {}",
                self.replace_token_hint()
            ),
            None => format!(
                "graphward looks for a newer one; if there is none, {}",
                self.replace_token_hint()
            ),
        };
        self.send_alert(AlertCause::Rejected, summary, action);
    }

    /// A failure: one line, and once, since what goes on failing for the same reason is not said again. That there is
    /// nothing new was said when the token was rejected.
    pub(super) fn report_failure(
        &mut self,
        (errand, minting): (Operation, bool),
        why: &ObtainError,
        live: Option<&Credential>,
    ) {
        let error = why.to_string();
        let (tenant, label) = (&self.tenant, errand.label());
        if self.last_error.as_ref() == Some(&error) || matches!(why, ObtainError::NothingNew) {
            tracing::debug!(%tenant, errand = label, error, "no newer token");
            return;
        }
        let (cause, reason) = (std::error::Error::source(why).map(error_chain), why.reason());
        let cause_suffix = cause.as_ref().map(|cause| format!(" ({cause})"));
        let behind = cause_suffix.unwrap_or_default();
        if !minting && matches!(reason, "quarantined" | "rejected_before" | "expired") {
            let summary = format!("{error}{behind}.");
            self.send_alert(AlertCause::SourceTokenRejected, summary, self.replace_token_hint());
        } else if errand == Operation::Refresh && self.renewer.is_some() {
            let summary = format!("No newer token could be obtained: {error}{behind}.");
            let what = if why.is_transient() {
                "graphward tries again by itself; if this stays, mend what it names"
            } else {
                "mend what it names"
            };
            let action = format!("{what}, or {}", self.replace_token_hint());
            self.send_alert(AlertCause::RenewalFailed, summary, action);
        } else if live.is_some() {
            tracing::warn!(%tenant, reason, error, cause, "no newer token; the one before stays in use");
        } else {
            tracing::warn!(%tenant, reason, error, cause, "there is no token yet");
        }
        self.last_error = Some(error);
    }

    /// The token's end comes near, and nobody renews it, or has managed to.
    pub(super) fn warn_expiry(&self, days: u8, expires_at: SystemTime, now: SystemTime, live: &CurrentToken) {
        let summary = format!(
            "The token ends {}, at {}.",
            format_time_left(expires_at, now),
            Rfc3339Timestamp(expires_at)
        );
        let action = match live.status().renew_at {
            Some(due) => format!(
                "It should have been renewed at {}: see why that fails, or {}",
                Rfc3339Timestamp(due),
                self.replace_token_hint()
            ),
            None => self.replace_token_hint(),
        };
        self.send_alert(AlertCause::Expiry(days), summary, action);
    }

    /// The token's access to data ends soon. Renewing it does not change that.
    pub(super) fn warn_data_access_expiry(&self, days: u8, expires_at: SystemTime, now: SystemTime) {
        let summary = format!(
            "The token's access to data ends {}, at {}; from then on Graph refuses its calls.",
            format_time_left(expires_at, now),
            Rfc3339Timestamp(expires_at)
        );
        let action = "Its user has to log in to the app again, and the token that this gives has to be put in place.";
        self.send_alert(AlertCause::DataAccess(days), summary, action.to_owned());
    }

    /// Permissions that are missing.
    pub(super) fn report_missing_scopes(&self, missing: &[&str]) {
        let summary = format!("The token lacks {}, which WhatsApp needs.", missing.join(" and "));
        let action = "Whoever made the token has to make one with that permission, if the app sends WhatsApp messages."
            .to_owned();
        self.send_alert(AlertCause::ScopesMissing, summary, action);
    }

    fn replace_token_hint(&self) -> String {
        format!("put a new token into {}.", self.sources)
    }

    fn send_alert(&self, cause: AlertCause, summary: String, remediation: String) {
        let (summary, remediation) = (to_sentence(&summary), to_sentence(&remediation));
        tracing::warn!(tenant = %self.tenant, cause = cause.label(), remediation, "{summary}");
        (self.event_sink)(&TokenEvent::Alert(&Alert {
            tenant: self.tenant.clone(),
            cause,
            summary,
            remediation,
        }));
    }
}

/// With a capital letter, and one full stop.
fn to_sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    let text: String = first.into_iter().flatten().chain(letters).collect();
    format!("{}.", text.trim_end_matches('.'))
}

fn format_time_left(expires_at: SystemTime, now: SystemTime) -> String {
    let left = expires_at.duration_since(now).unwrap_or_default();
    const HOUR: u64 = 60 * 60;
    let (number, unit) = match left.as_secs() {
        0 => return "now".to_owned(),
        seconds if seconds < 2 * 60 => (seconds, "seconds"),
        seconds if seconds < 2 * HOUR => (seconds / 60, "minutes"),
        seconds if seconds < 48 * HOUR => (seconds / HOUR, "hours"),
        seconds => (seconds / (24 * HOUR), "days"),
    };
    format!("in {number} {unit}")
}
