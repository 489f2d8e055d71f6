//! Alerts: what the operator should know about a token, before and when it fails.
//!
//! # Why
//!
//! The worst moment to learn of an expiry is the expiry. An alert is one sentence on what happened and one on what to do;
//! the log, the metrics and the webhook get the same one.

use std::fmt::{self, Debug};
use std::time::{Duration, SystemTime};

use super::traits::BoxFuture;
use crate::types::TenantId;

/// A place where processes note which alerts were delivered. What fails there does not keep an alert from being delivered.
pub trait DeliveryMemory: Debug + Send + Sync + 'static {
    /// Waits while another process delivers an alert, and returns when each of these was delivered last.
    fn begin<'a>(&'a mut self, alerts: &'a [AlertKey], now: SystemTime) -> BoxFuture<'a, Vec<Option<SystemTime>>>;

    /// Ends what `begin` began, and notes when these were delivered; `None` if they were not.
    fn finish<'a>(&'a mut self, alerts: &'a [AlertKey], delivered_at: Option<SystemTime>) -> BoxFuture<'a, ()>;
}

/// The most tenants that a digest in the log names.
const MAX_NAMED: usize = 10;
/// The longest time after which an alert is delivered again: a week.
pub const MAX_REPEAT_INTERVAL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Something that the operator should know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Alert {
    /// What it is about: two alerts with the same key are the same alert.
    pub key: AlertKey,
    /// One sentence on what happened, without a secret.
    pub summary: String,
    /// One sentence on what to do.
    pub remediation: String,
}

/// The unit of delivery and of suppression. Displayed, it is the name of the alert in a memory.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AlertKey {
    /// The cause.
    pub cause: AlertCause,
    /// Tells two alerts of the same cause apart, so that one does not suppress the other: a word of a closed list, the code
    /// and the subcode of Graph's error, or both. Empty if the cause says it all.
    pub reason: String,
    /// The tenant of the token; unnamed if it is about none.
    pub tenant: TenantId,
}

/// The cause of an alert.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum AlertCause {
    /// The token expires within this number of days: 14, 7, 3 or 1.
    Expiry(u8),
    /// The time at which the token expires is unknown.
    ExpiryUnknown,
    /// Its data access expires within this number of days.
    DataAccess(u8),
    /// Graph rejected the current token.
    Rejected,
    /// Graph rejected it for a reason that a new token does not fix: its user must act first.
    ActionRequired,
    /// Meta has blocked or locked the account.
    AccountLocked,
    /// Graph rejects the app's proofs, and accepts requests without them.
    ProofRejected,
    /// The token could not be renewed.
    RenewalFailed,
    /// The token that the renewer depends on expires within this number of days.
    AdminTokenExpiry(u8),
    /// Graph rejects the token that the renewer depends on.
    AdminTokenRejected,
    /// Its source says that there is no token any more.
    Withdrawn,
    /// A token from a source was not used.
    SourceTokenRejected,
    /// The token lacks a permission that WhatsApp requires.
    ScopesMissing,
    /// A renewed token could not be stored, and will be lost when graphward restarts.
    StoreFailed,
    /// Many tenants, tokens or ids are missing in their table at once, which is not believed yet. It is about no tenant.
    TenantsMissing,
}

/// Adds a capital letter and one full stop.
fn to_sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    let text: String = first.into_iter().flatten().chain(letters).collect();
    format!("{}.", text.trim_end_matches('.'))
}

// === impl Alert ===

impl Alert {
    /// Creates an alert of two sentences.
    #[must_use]
    pub fn new(tenant: &TenantId, cause: AlertCause, reason: &str, summary: &str, remediation: &str) -> Self {
        Self {
            key: AlertKey {
                tenant: tenant.clone(),
                cause,
                reason: reason.to_owned(),
            },
            summary: to_sentence(summary),
            remediation: to_sentence(remediation),
        }
    }

    /// Writes it to the log.
    pub fn log(&self) {
        let (tenant, cause) = (self.key.tenant.name(), self.key.cause.label());
        let reason = Some(&self.key.reason).filter(|reason| !reason.is_empty());
        let (summary, remediation) = (&self.summary, &self.remediation);
        tracing::warn!(tenant, cause, reason, remediation, "{summary}");
    }

    /// Writes alerts to the log, in a line for each cause and reason, which has what happened to its first tenant.
    pub fn log_digests(alerts: &mut [Self]) {
        alerts.sort_by(|one, other| one.key.cmp(&other.key));
        for topic in alerts.chunk_by(|one, other| one.key.has_topic_of(&other.key)) {
            let [first, _, ..] = topic else {
                topic.iter().for_each(Self::log);
                continue;
            };
            let names = topic.iter().map(|alert| alert.key.tenant.as_str()).take(MAX_NAMED);
            let (cause, count, tenants) = (first.key.cause, topic.len(), names.collect::<Vec<_>>().join(", "));
            let (what, remediation) = (cause.digest(count), &first.remediation);
            tracing::warn!(
                cause = cause.label(),
                count,
                tenants,
                first = first.summary,
                remediation,
                "{what}"
            );
        }
    }
}

// === impl AlertKey ===

impl AlertKey {
    /// Returns whether both are alerts of one cause and reason, of two tenants.
    fn has_topic_of(&self, other: &Self) -> bool {
        self.cause == other.cause && self.reason == other.reason
    }

    /// Returns whether both are alerts of one cause and tenant, for different reasons or thresholds.
    #[must_use]
    pub fn has_cause_of(&self, other: &Self) -> bool {
        self.tenant == other.tenant && self.cause.label() == other.cause.label()
    }
}

impl fmt::Display for AlertKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.cause.label())?;
        match self.cause.days() {
            Some(days) => write!(f, "/{days}"),
            None if self.reason.is_empty() => Ok(()),
            None => write!(f, "/{}", self.reason),
        }
    }
}

// === impl AlertCause ===

impl AlertCause {
    /// The word for logs, metrics and alerts.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.properties().0
    }

    /// The severity, as in `config/prometheus/alerts.yaml`.
    #[must_use]
    pub const fn severity(self) -> &'static str {
        self.properties().1
    }

    /// What has happened to the tokens of several tenants: a clause that their names follow.
    #[must_use]
    pub fn digest(self, count: usize) -> String {
        let within = |days: u8| {
            if days == 1 {
                "a day".to_owned()
            } else {
                format!("{days} days")
            }
        };
        match self {
            Self::Expiry(days) => format!("{count} tokens expire within {}", within(days)),
            Self::ExpiryUnknown => format!("graphward does not know when {count} tokens expire"),
            Self::DataAccess(days) => format!("The data access of {count} tokens expires within {}", within(days)),
            Self::Rejected => format!("Graph rejected {count} tokens"),
            Self::ActionRequired => format!("Graph requires an action of the users of {count} tokens"),
            Self::AccountLocked => format!("Meta has blocked or locked the accounts of {count} tenants"),
            Self::ProofRejected => format!("Graph rejects the appsecret_proof of {count} tenants"),
            Self::RenewalFailed => format!("{count} tokens could not be renewed"),
            Self::AdminTokenExpiry(days) => {
                format!(
                    "The admin tokens that renew {count} tokens expire within {}",
                    within(days)
                )
            }
            Self::AdminTokenRejected => format!("Graph rejects the admin tokens that renew {count} tokens"),
            Self::Withdrawn => format!("{count} tokens were withdrawn by their sources"),
            Self::SourceTokenRejected => format!("{count} new tokens are not used"),
            Self::ScopesMissing => format!("{count} tokens lack a permission that WhatsApp requires"),
            Self::StoreFailed => format!("{count} renewed tokens could not be stored and are lost at a restart"),
            // It has no tenant, so there is no digest of several.
            Self::TenantsMissing => "Many tenants, tokens or ids are missing in their table".to_owned(),
        }
    }

    /// The day threshold of an alert about an expiry.
    #[must_use]
    pub const fn days(self) -> Option<u8> {
        self.properties().2
    }

    /// The time after which it is delivered again.
    #[must_use]
    pub const fn repeat_interval(self) -> Duration {
        if matches!(self, Self::ExpiryUnknown) {
            MAX_REPEAT_INTERVAL
        } else {
            Duration::from_secs(24 * 60 * 60)
        }
    }

    const fn properties(self) -> (&'static str, &'static str, Option<u8>) {
        match self {
            Self::Expiry(days @ ..=3) => ("expiry", "page", Some(days)),
            Self::Expiry(days) => ("expiry", "ticket", Some(days)),
            Self::ExpiryUnknown => ("expiry_unknown", "ticket", None),
            Self::DataAccess(days @ ..=3) => ("data_access", "page", Some(days)),
            Self::DataAccess(days) => ("data_access", "ticket", Some(days)),
            Self::Rejected => ("rejected", "page", None),
            Self::ActionRequired => ("action_required", "page", None),
            Self::AccountLocked => ("account_locked", "page", None),
            Self::ProofRejected => ("proof_rejected", "ticket", None),
            Self::RenewalFailed => ("renewal_failed", "ticket", None),
            Self::AdminTokenExpiry(days) => ("admin_token_expiry", "ticket", Some(days)),
            Self::AdminTokenRejected => ("admin_token_rejected", "ticket", None),
            Self::Withdrawn => ("withdrawn", "page", None),
            Self::SourceTokenRejected => ("source_token_rejected", "ticket", None),
            Self::ScopesMissing => ("scopes_missing", "ticket", None),
            Self::StoreFailed => ("store_failed", "page", None),
            Self::TenantsMissing => ("tenants_missing", "page", None),
        }
    }
}
