//! The reason why a request got no response, and what became of it.

use std::fmt::Display;

use http::Request;

use crate::net::BoxError;

/// The reason why a request got no response.
#[derive(derive_more::Debug, thiserror::Error)]
pub enum SendError<B> {
    /// The connection ended before it took the request.
    #[error("the connection ended before it took the request")]
    #[debug("HandedBack")]
    HandedBack(Box<Request<B>>),
    /// The connection, or the stream, ended before the response.
    #[error(transparent)]
    Ended(ConnectionEnded),
}

/// A connection or stream that ended before the response.
#[derive(Debug, thiserror::Error)]
#[error("{fate}")]
pub struct ConnectionEnded {
    /// What became of the request.
    pub fate: Fate,
    source: BoxError,
}

/// What became of a request without a response.
#[derive(Clone, Copy, Debug, Eq, PartialEq, derive_more::Display)]
pub enum Fate {
    /// No byte of it was written.
    #[display("the connection ended before the request was sent")]
    NotSent,
    /// The peer states that it did not process it (RFC 9113, section 8.7).
    #[display("the peer did not process the request")]
    NotProcessed,
    /// A connection that had served others ended before a byte of the response: the usual end of an idle connection, at the
    /// worst moment. The peer may have processed the request.
    #[display("the connection ended before the response")]
    Unanswered,
    /// The peer may have processed it.
    #[display("the connection ended before the response")]
    Unknown,
}

// === impl SendError ===

impl<B> SendError<B> {
    pub(super) fn handed_back(request: Request<B>, error: impl Display) -> Self {
        tracing::debug!(%error, "the connection ended before it took the request");
        Self::HandedBack(Box::new(request))
    }

    /// Returns what became of the request.
    #[must_use]
    pub const fn fate(&self) -> Fate {
        match self {
            Self::HandedBack(_) => Fate::NotSent,
            Self::Ended(ended) => ended.fate,
        }
    }
}

// === impl Fate ===

impl Fate {
    /// The word of the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::NotProcessed => "not_processed",
            Self::Unanswered | Self::Unknown => "unknown",
        }
    }
}

// === impl ConnectionEnded ===

impl ConnectionEnded {
    pub(super) fn new(fate: Fate, source: impl Into<BoxError>) -> Self {
        let source = source.into();
        Self { fate, source }
    }
}
