//! What to do about answers that no newer token cures, said once for each token.
//!
//! # Why
//!
//! A missing or wrong `appsecret_proof` makes Graph refuse every request until a person has set the app's secret. A
//! line for each request would bury the one that says so.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::graph::ProofMode;
use crate::token::Credential;
use crate::types::TenantId;

/// Which token's refusal was explained last, by its generation; 0 is none.
#[derive(Debug, Default)]
pub struct ProofWarning(AtomicU64);

impl ProofWarning {
    /// Graph refuses the proof that went with this credential, or that none did.
    pub(crate) fn warn_once(&self, tenant: &TenantId, credential: &Credential) {
        let generation = credential.generation().get();
        if self.0.swap(generation, Ordering::Relaxed) == generation {
            return;
        }
        let message = match credential.proof_mode() {
            None => "Graph wants an appsecret_proof: set app.secret to the secret of the app that the token is for",
            Some(ProofMode::PerToken) => {
                "Graph refuses our appsecret_proof: app.secret is not the secret of the app that the token is for"
            }
            Some(ProofMode::Timestamped) => {
                "Graph refuses our appsecret_proof: app.secret is not the secret of the app that the token is for, or this machine's clock is wrong by minutes"
            }
        };
        tracing::warn!(%tenant, generation, "{message}; requests fail until then, whatever the token");
    }
}
