//! Why a body ends early.

use std::io;

use super::refusal::Refusal;
use crate::graph::scrub::ScrubError;
use crate::net::BoxError;
use crate::tenants::RouteError;

/// The reason why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The peer that sends the body ended it early.
    #[error("the body was interrupted")]
    Interrupted(#[source] BoxError),
    /// No frame within the idle timeout.
    #[error("timed out waiting for body data")]
    IdleTimeout,
    /// The spooled part cannot be read.
    #[error("cannot read the spooled request body")]
    Spool(#[source] io::Error),
    /// The body has a client credential that must not be forwarded and cannot be removed.
    #[error("cannot remove client credentials from the body")]
    ScrubFailed(#[from] ScrubError),
    /// The body names another tenant than the head of the request, or one that does not exist.
    #[error("the body does not name the tenant of the request")]
    Route(#[from] RouteError),
}

/// The reason why a request body ended early: the kind of a [`BodyError`]. A connection that sends the body says only that
/// it broke off.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum BodyFailure {
    Interrupted,
    IdleTimeout,
    Spool,
    ScrubFailed(ScrubError),
    Route(RouteError),
}

// === impl BodyFailure ===

impl From<&BodyError> for BodyFailure {
    fn from(error: &BodyError) -> Self {
        match error {
            BodyError::Interrupted(_) => Self::Interrupted,
            BodyError::IdleTimeout => Self::IdleTimeout,
            BodyError::Spool(_) => Self::Spool,
            BodyError::ScrubFailed(error) => Self::ScrubFailed(*error),
            BodyError::Route(error) => Self::Route(error.clone()),
        }
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        BodyFailure::from(&error).into()
    }
}

impl From<BodyFailure> for Refusal {
    fn from(failure: BodyFailure) -> Self {
        match failure {
            // The app's fault, not Graph's: these must not count against the upstream.
            BodyFailure::Interrupted => Self::BodyInterrupted,
            BodyFailure::IdleTimeout => Self::BodyTimeout,
            BodyFailure::ScrubFailed(error) => error.into(),
            BodyFailure::Route(error) => Self::Route(error),
            BodyFailure::Spool => Self::ConnectionTerminated,
        }
    }
}
