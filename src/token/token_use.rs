//! What happens to a token outside requests, for the audit.

use super::credential::{Credential, Generation};
use crate::types::Fingerprint;

/// A use of a token outside requests.
#[derive(Clone, Copy, Debug)]
pub struct TokenUse<'a> {
    /// What happened.
    pub action: TokenAction,
    /// The description of the source.
    pub source: &'a str,
    /// The token.
    pub token: Fingerprint,
    /// Its generation.
    pub generation: Generation,
}

/// What happened to a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenAction {
    /// One from a source is now in use.
    Loaded,
    /// One from the renewer is now in use.
    Renewed,
    /// A renewed one was stored.
    Stored,
    /// Graph rejected it.
    Rejected,
    /// Its source withdrew it.
    Withdrawn,
}

impl<'a> TokenUse<'a> {
    pub(super) fn new(action: TokenAction, credential: &Credential, source: &'a str) -> Self {
        Self {
            action,
            source,
            token: credential.fingerprint(),
            generation: credential.generation(),
        }
    }
}

impl TokenAction {
    /// The word for the audit.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Renewed => "renewed",
            Self::Stored => "stored",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
        }
    }
}
