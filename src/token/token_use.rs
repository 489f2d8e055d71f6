//! What happens to a token outside requests, for the audit.

use super::alert::{Alert, AlertCause};
use super::credential::{Credential, Generation};
use super::error::ObtainError;
use crate::telemetry::AuditAction;
use crate::types::{Fingerprint, TenantId};

/// A use of a token outside requests.
#[derive(Clone, Copy, Debug)]
pub struct TokenUse<'a> {
    /// What happened.
    pub action: AuditAction,
    /// The description of the source.
    pub source: &'a str,
    /// The token.
    pub token: Fingerprint,
    /// Its generation.
    pub generation: Generation,
}

/// A token that was withdrawn: its place has it no longer, and the requests of its tenant are refused.
#[derive(Debug)]
pub struct Withdrawal {
    /// The tenant.
    pub tenant: TenantId,
    /// The description of the place.
    pub source: String,
    /// The token, if it was known.
    pub token: Option<Fingerprint>,
    /// Its generation, if it was in use.
    pub generation: Option<Generation>,
    /// What the place says.
    pub statement: ObtainError,
}

impl<'a> TokenUse<'a> {
    pub(super) fn new(action: AuditAction, credential: &Credential, source: &'a str) -> Self {
        Self {
            action,
            source,
            token: credential.fingerprint(),
            generation: credential.generation(),
        }
    }

    /// Returns whether the token is in use from now on.
    #[must_use]
    pub const fn is_obtained(&self) -> bool {
        matches!(self.action, AuditAction::Loaded | AuditAction::Renewed)
    }
}

impl Withdrawal {
    /// The alert about it.
    #[must_use]
    pub fn alert(&self) -> Alert {
        let Self { source, statement, .. } = self;
        let token = self.token.map(|token| format!(" {token}")).unwrap_or_default();
        let summary = format!("Requests are refused, because the token{token} was withdrawn: {statement}.");
        let remediation = format!("If this is intended, do nothing; otherwise store a new token in {source}.");
        let reason = statement.reason();
        Alert::new(&self.tenant, AlertCause::Withdrawn, reason, &summary, &remediation)
    }
}
