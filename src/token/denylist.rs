//! Tokens that are not taken again.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::types::Fingerprint;

/// Tokens that are not taken again, the newest last.
#[derive(Debug, Default)]
pub(super) struct TokenDenylist(VecDeque<(Fingerprint, DenyReason)>);

#[derive(Clone, Debug)]
pub(super) enum DenyReason {
    /// Graph rejected it in service.
    RejectedByGraph,
    /// Graph said then that it is dead, and that was told so. Asked again if there is nothing better.
    FailedInspection(Instant, String),
}

/// So many refused tokens are remembered.
const MAX_DENIED_TOKENS: usize = 256;

// === impl Refused ===

impl TokenDenylist {
    pub(super) fn reason(&self, token: Fingerprint) -> Option<DenyReason> {
        let known = self.0.iter().find(|(refused, _)| *refused == token);
        known.map(|(_, why)| why.clone())
    }

    pub(super) fn add(&mut self, token: Fingerprint, why: DenyReason) {
        self.remove(token);
        if self.0.len() == MAX_DENIED_TOKENS {
            self.0.pop_front();
        }
        self.0.push_back((token, why));
    }

    pub(super) fn remove(&mut self, token: Fingerprint) {
        self.0.retain(|(refused, _)| *refused != token);
    }
}
