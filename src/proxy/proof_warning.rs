//! Warns once per token that Graph rejects the `appsecret_proof`.
//!
//! # Why
//!
//! Graph rejects every request with a missing or wrong `appsecret_proof` until an operator has set the app's secret. A
//! line per request would bury the one that says so.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::graph::ProofMode;
use crate::token::Credential;
use crate::types::TenantId;

/// The generation of the token that was last warned about; 0 means none.
#[derive(Debug, Default)]
pub struct ProofWarning(AtomicU64);

impl ProofWarning {
    /// Logs what to do about a missing or rejected proof, unless that has been logged for this credential.
    pub(crate) fn warn_once(&self, tenant: &TenantId, credential: &Credential) {
        let generation = credential.generation().get();
        if self.0.swap(generation, Ordering::Relaxed) == generation {
            return;
        }
        let message = match credential.proof_mode() {
            None => "Graph requires an appsecret_proof: set app.secret to the secret of the app that issued the token",
            Some(ProofMode::PerToken) => {
                "Graph rejected the appsecret_proof: app.secret does not belong to the app that issued the token"
            }
            Some(ProofMode::Timestamped) => {
                "Graph rejected the appsecret_proof: app.secret does not belong to the app that issued the token, or the system clock is off by minutes"
            }
        };
        tracing::warn!(%tenant, generation, "{message}; requests fail until this is fixed, and a new token does not help");
    }
}
