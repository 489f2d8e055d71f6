//! A rejection by Graph, and what a rejected request may do.

use tokio::time::Instant;

use super::credential::Generation;
use crate::graph::{EndpointId, GraphError, RejectionProof};

/// Whether Graph accepts the current token, as known so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TokenHealth {
    /// Graph accepts it.
    #[default]
    Trusted,
    /// Graph rejected a request, which proves nothing yet. Other requests are sent.
    Doubted,
    /// Graph rejects it.
    Dead,
}

/// Whether requests to an endpoint have succeeded with the token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum EndpointHistory {
    /// One has.
    Succeeded,
    /// None has.
    NeverSucceeded,
}

/// A rejection of a request by Graph.
#[derive(Clone, Copy, Debug)]
pub struct RejectionReport<'a> {
    /// The generation of the token.
    pub generation: Generation,
    /// What the rejection proves.
    pub proof: RejectionProof,
    /// The endpoint of the request.
    pub endpoint: EndpointId,
    /// Graph's error.
    pub error: &'a GraphError,
}

/// A rejected request, which may wait.
#[derive(Clone, Copy, Debug)]
pub struct RejectedRequest {
    pub(super) generation: Generation,
    /// When the hold began.
    pub(super) held_since: Instant,
    /// The number of its rejection.
    pub(super) number: u64,
    pub(super) kind: RequestKind,
}

/// One suspicion against a token, from a rejection to the next acceptance: the number of its first rejection.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct SuspicionId(u64);

/// What is known about a rejected request.
#[derive(Clone, Copy, Debug)]
pub(super) enum RequestKind {
    /// Its rejection proves nothing.
    Unproven(EndpointId, EndpointHistory),
    /// Its rejection proves that the token is dead.
    Proven,
    /// It was not sent, because the token is dead.
    NotSent,
}

/// What a rejected request does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Decision {
    /// It waits for a newer token until the end of the hold.
    Hold,
    /// It waits for a newer token, or for Graph's answer to a question.
    AwaitAnswer,
    /// It does not wait: Graph accepts the token.
    Release,
}

/// Graph's answer to the question whether it accepts a token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Liveness {
    /// It accepts it.
    Alive,
    /// It rejects it.
    Dead(GraphError),
    /// There was no answer, or one that says nothing about the token.
    Unknown,
}

// === impl RejectedRequest ===

impl RejectedRequest {
    /// The generation of its token.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// The suspicion because of which a request was not sent.
    #[must_use]
    pub const fn suspicion(&self) -> SuspicionId {
        SuspicionId(self.number)
    }
}
