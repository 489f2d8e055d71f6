//! What to do about answers that no newer token cures, said once for each token.
//!
//! # Why
//!
//! A missing or wrong `appsecret_proof` makes Graph refuse every request until a person has set the app's secret. A
//! line for each request would bury the one that says so.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::graph::Proving;
use crate::token::Credential;
use crate::types::TenantId;

/// Which token's refusal was explained last, by its generation; 0 is none.
#[derive(Debug, Default)]
pub struct Advice(AtomicU64);

impl Advice {
    /// Graph refuses the proof that went with this credential, or that none did.
    pub(crate) fn on_proof(&self, tenant: &TenantId, credential: &Credential) {
        let generation = credential.generation().get();
        if self.0.swap(generation, Ordering::Relaxed) == generation {
            return;
        }
        let what = match credential.proving() {
            None => {
                "Graph wants an appsecret_proof: set app.secret to the secret of the app that the token is for"
            }
            Some(Proving::Lasting) => {
                "Graph refuses our appsecret_proof: app.secret is not the secret of the app that the token is for"
            }
            Some(Proving::Timed) => {
                "Graph refuses our appsecret_proof: app.secret is not the secret of the app that the token is for, or this machine's clock is wrong by minutes"
            }
        };
        tracing::warn!(%tenant, generation, "{what}; requests fail until then, whatever the token");
    }
}
