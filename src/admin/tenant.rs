//! A tenant of the admin listener: the state of its token.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::history::TokenHistory;
use crate::telemetry::metrics::{TokenMetrics, TokenState};
use crate::token::{OperatorHandle, TokenHandle, TokenHealth};
use crate::types::TenantId;

/// The state of a tenant that the admin listener reports.
#[derive(Debug)]
pub struct AdminTenant {
    /// Its name.
    pub id: TenantId,
    /// Its token.
    pub tokens: TokenHandle,
    /// What changes the token.
    pub operator: OperatorHandle,
    /// The metrics of the token.
    pub metrics: TokenMetrics,
    /// What happened to the token.
    pub history: Arc<TokenHistory>,
}

/// Whether a tenant has a usable token, or why not.
#[derive(Default, Serialize)]
pub(super) struct TenantStatus {
    pub(super) usable: bool,
    pub(super) reason: String,
    /// The fingerprint of the token, if there is one.
    pub(super) token: Option<String>,
    pub(super) generation: Option<u64>,
}

// === impl AdminTenant ===

impl AdminTenant {
    /// Returns the time at which the token expires, if that is known.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.history.last_events().status.expires_at
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
