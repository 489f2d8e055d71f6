//! Tokens that are not taken again.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::types::Fingerprint;

/// Tokens that are not taken again, the newest last.
#[derive(Debug, Default)]
pub(super) struct Refused(VecDeque<(Fingerprint, Why)>);

#[derive(Clone, Debug)]
pub(super) enum Why {
    /// Graph rejected it in service.
    Rejected,
    /// Graph said then that it is dead, and that was told so. Asked again if there is nothing better.
    Inspected(Instant, String),
}

/// So many refused tokens are remembered.
const MOST_REFUSED: usize = 256;

// === impl Refused ===

impl Refused {
    pub(super) fn why(&self, token: Fingerprint) -> Option<Why> {
        let known = self.0.iter().find(|(refused, _)| *refused == token);
        known.map(|(_, why)| why.clone())
    }

    pub(super) fn add(&mut self, token: Fingerprint, why: Why) {
        self.forget(token);
        if self.0.len() == MOST_REFUSED {
            self.0.pop_front();
        }
        self.0.push_back((token, why));
    }

    pub(super) fn forget(&mut self, token: Fingerprint) {
        self.0.retain(|(refused, _)| *refused != token);
    }
}
