//! The reason why a request got no response, and what became of it.

use std::error::Error;
use std::fmt;

use http::Request;

use crate::net::BoxError;

/// The reason why a request got no response.
pub enum SendError<B> {
    /// The connection ended before it took the request.
    HandedBack(Box<Request<B>>),
    /// The connection, or the stream, ended before the response.
    Ended(ConnectionEnded),
}

/// A connection or stream that ended before the response.
#[derive(Debug)]
pub struct ConnectionEnded {
    /// What became of the request.
    pub fate: Fate,
    source: BoxError,
}

/// What became of a request without a response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// No byte of it was written.
    NotSent,
    /// The peer states that it did not process it (RFC 9113, section 8.7).
    NotProcessed,
    /// A connection that had served others ended before a byte of the response: the usual end of an idle connection, at the
    /// worst moment. The peer may have processed the request.
    Unanswered,
    /// The peer may have processed it.
    Unknown,
}

// === impl SendError ===

impl<B> SendError<B> {
    pub(super) fn handed_back(request: Request<B>, error: impl fmt::Display) -> Self {
        tracing::debug!(%error, "the connection ended before it took the request");
        Self::HandedBack(Box::new(request))
    }
}

impl<B> SendError<B> {
    /// Returns what became of the request.
    #[must_use]
    pub const fn fate(&self) -> Fate {
        match self {
            Self::HandedBack(_) => Fate::NotSent,
            Self::Ended(ended) => ended.fate,
        }
    }
}

impl<B> fmt::Display for SendError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HandedBack(_request) => f.write_str("the connection ended before it took the request"),
            Self::Ended(ended) => ended.fmt(f),
        }
    }
}

impl<B> Error for SendError<B> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::HandedBack(_) => None,
            Self::Ended(ended) => ended.source(),
        }
    }
}

impl<B> fmt::Debug for SendError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HandedBack(_request) => f.write_str("HandedBack"),
            Self::Ended(ended) => f.debug_tuple("Ended").field(ended).finish(),
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

impl fmt::Display for ConnectionEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.fate {
            Fate::NotSent => "the connection ended before the request was sent",
            Fate::NotProcessed => "the peer did not process the request",
            Fate::Unanswered | Fate::Unknown => "the connection ended before the response",
        })
    }
}

impl Error for ConnectionEnded {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
