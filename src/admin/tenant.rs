//! A tenant of the admin listener: the state of its token.

use std::time::SystemTime;

use serde::Serialize;

use crate::telemetry::metrics::{TokenMetrics, TokenState};
use crate::token::{OperatorHandle, TokenHandle, TokenHealth};
use crate::types::TenantId;

/// The state of a tenant that the admin listener reports.
#[derive(Debug)]
pub struct AdminTenant {
    pub(super) id: TenantId,
    pub(super) tokens: TokenHandle,
    pub(super) operator: OperatorHandle,
    pub(super) metrics: TokenMetrics,
}

/// Whether a tenant has a usable token, or why not.
#[derive(Serialize)]
pub(super) struct TenantStatus {
    usable: bool,
    reason: String,
    /// The fingerprint of the token, if there is one.
    token: Option<String>,
    generation: Option<u64>,
}

// === impl TenantStatus ===

impl TenantStatus {
    /// The status of a tenant whose token is usable, by its row.
    pub(super) const fn usable(reason: String) -> Self {
        Self {
            usable: true,
            reason,
            token: None,
            generation: None,
        }
    }

    /// The status of a tenant whose token is not usable, by its row.
    pub(super) fn unusable(reason: String) -> Self {
        Self {
            usable: false,
            ..Self::usable(reason)
        }
    }
}

// === impl AdminTenant ===

impl AdminTenant {
    /// Takes a tenant's name, its token, what changes the token, and the metrics of the token.
    #[must_use]
    pub const fn new(id: TenantId, tokens: TokenHandle, operator: OperatorHandle, metrics: TokenMetrics) -> Self {
        Self {
            id,
            tokens,
            operator,
            metrics,
        }
    }

    /// Returns the state of the token.
    pub(super) fn token_state(&self, now: SystemTime) -> TokenState {
        if self.tokens.is_usable() {
            return TokenState::of_usable(self.metrics.expires_at(), now);
        }
        let progress = self.tokens.progress();
        match progress.last_error {
            _ if progress.withdrawal.is_some() => TokenState::Withdrawn,
            Some(error) if error.is_about_encryption() => TokenState::Undecryptable,
            Some(_) | None => TokenState::Dead,
        }
    }

    /// Returns the state of the token in words.
    pub(super) fn status(&self) -> TenantStatus {
        let tokens = &self.tokens;
        let usable = tokens.is_usable();
        let progress = tokens.progress();
        let failure = progress.last_error.map(|failure| failure.to_string());
        let reason = match (progress.generation, failure) {
            _ if usable && tokens.health() == TokenHealth::Doubted => if tokens.is_unanswerable() {
                "token in use; Graph rejected a request and could not be asked whether it accepts the token; asking again"
            } else {
                "token in use; Graph rejected a request and is being asked whether it accepts the token"
            }
            .to_owned(),
            _ if usable => "token available".to_owned(),
            _ if tokens.is_closed() => "the token refresh task panicked; restart graphward".to_owned(),
            (None, None) => "the first token source check is in progress".to_owned(),
            (_, Some(failure)) if progress.withdrawal.is_some() => format!("the token was withdrawn: {failure}"),
            (None, Some(failure)) => format!("no token: {failure}"),
            (Some(_), None) => "Graph rejected the token; a refresh is in progress, and Graph is asked about the token again".to_owned(),
            (Some(_), Some(failure)) => format!("Graph rejected the token and is asked about it again; the refresh failed: {failure}"),
        };
        let current = tokens.current();
        TenantStatus {
            usable,
            reason,
            token: current.as_ref().map(|current| current.fingerprint().to_string()),
            generation: current.map(|current| current.generation().get()),
        }
    }
}
