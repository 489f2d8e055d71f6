//! The result of a check or a refresh.

use super::credential::Token;
use super::sources::SourcedToken;
use super::traits::ObtainError;
use crate::graph::Inspection;

/// A token that may be used.
#[derive(Debug)]
pub(super) struct ObtainedToken {
    pub(super) token: Token,
    /// The result of its inspection, if Graph could be asked.
    pub(super) inspection: Option<Inspection>,
    /// Whether the renewer returned it.
    pub(super) renewed: bool,
    /// The description of its source or renewer.
    pub(super) source: String,
    /// The reason why it would be lost at a restart, if it would.
    pub(super) store_error: Option<ObtainError>,
    /// The reason why a token of a source before it was not used, if there was one.
    pub(super) skipped_error: Option<ObtainError>,
}

/// The reason why a refresh failed.
#[derive(Debug)]
pub(super) struct RefreshFailure {
    pub(super) error: ObtainError,
    /// Whether the renewer was called: then the error is not about a token of a source.
    pub(super) renewer_called: bool,
}

/// The result of reading the sources.
pub(super) struct Check {
    pub(super) found: Result<Option<ObtainedToken>, ObtainError>,
    /// The first token that may not be used, if there is no current one.
    pub(super) dead_candidate: Option<SourcedToken>,
}

// === impl ObtainedToken ===

impl ObtainedToken {
    pub(super) const fn new(token: Token, inspection: Option<Inspection>, source: String) -> Self {
        Self {
            token,
            inspection,
            renewed: false,
            source,
            store_error: None,
            skipped_error: None,
        }
    }
}

// === impl Check ===

impl Check {
    pub(super) const fn of(found: Result<Option<ObtainedToken>, ObtainError>) -> Self {
        Self {
            found,
            dead_candidate: None,
        }
    }
}

impl From<ObtainError> for RefreshFailure {
    fn from(error: ObtainError) -> Self {
        Self {
            error,
            renewer_called: false,
        }
    }
}
