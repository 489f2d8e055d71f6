//! Tokens that are not taken again.

use std::collections::VecDeque;

use crate::types::Fingerprint;

/// Tokens that are not taken again, the newest last.
#[derive(Debug, Default)]
pub(super) struct Refused(VecDeque<(Fingerprint, Why)>);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Why {
    /// Graph rejected it in service.
    Rejected,
    /// Graph said that it is dead when it was asked. Asked again if there is nothing better.
    Inspected,
}

/// So many refused tokens are remembered.
const MOST_REFUSED: usize = 256;

// === impl Refused ===

impl Refused {
    pub(super) fn why(&self, token: Fingerprint) -> Option<Why> {
        let known = self.0.iter().find(|(refused, _)| *refused == token);
        known.map(|(_, why)| *why)
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
