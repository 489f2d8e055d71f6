//! What a person should hear about a token, before and when it fails.
//!
//! # Why
//!
//! The worst moment to learn of an expiry is the expiry. A notice is one sentence on what happened and one on who must do
//! what; the log, the metrics and the webhook are told the same one.

use crate::types::TenantId;

/// Something that a person should know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Alert {
    /// Whose token it is about.
    pub tenant: TenantId,
    /// What it is about.
    pub cause: AlertCause,
    /// What happened: one sentence, without a secret.
    pub summary: String,
    /// Who must do what: one sentence.
    pub remediation: String,
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum AlertCause {
    /// The token ends in at most so many days: 14, 7, 3 or 1.
    Expiry(u8),
    /// Its access to data ends in at most so many days.
    DataAccess(u8),
    /// Graph rejects the token in use.
    Rejected,
    /// Graph rejects it for a reason that no newer token cures: its user has to act first.
    ActionRequired,
    /// No newer token could be obtained though one was due.
    RenewalFailed,
    /// A token that a source shows was not taken into service.
    SourceTokenRejected,
    /// The token lacks a permission that WhatsApp needs.
    ScopesMissing,
    /// A renewed token could not be stored: it would be lost with this process.
    StoreFailed,
}

// === impl AlertCause ===

impl AlertCause {
    /// The word for logs, metrics and alerts.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Expiry(_) => "expiry",
            Self::DataAccess(_) => "data_access",
            Self::Rejected => "rejected",
            Self::ActionRequired => "needs_person",
            Self::RenewalFailed => "renewal_failed",
            Self::SourceTokenRejected => "quarantined",
            Self::ScopesMissing => "scopes_missing",
            Self::StoreFailed => "not_stored",
        }
    }
}
