//! One set of rules with one token.

use std::time::Duration;

use super::payload::Limits;
use super::record::Requests;
use super::upstream::Upstream;
use crate::graph::{Origin, Presented};
use crate::telemetry::metrics::PathMetrics;
use crate::token::Tokens;
use crate::types::TenantId;

/// What the path has to know to serve a request.
#[derive(Debug)]
pub struct Tenant {
    /// Its name.
    pub id: TenantId,
    /// Its credential.
    pub tokens: Tokens,
    /// Where its requests go, and nowhere else.
    pub origin: Origin,
    /// The way there.
    pub upstream: Upstream,
    /// How much of a body is held.
    pub limits: Limits,
    /// What becomes of credentials that the app sends.
    pub presented: Presented,
    /// Whether `Via` is added towards Graph, and `Max-Forwards` obeyed.
    pub via: bool,
    /// The longest wait for a credential.
    pub token_wait: Duration,
    /// After a live credential's rejection, how long requests are held though no newer one is in sight.
    pub hold: Duration,
    /// The longest wait between two frames of an answer's body.
    pub idle: Duration,
    /// Which requests are written to the log.
    pub requests: Requests,
    /// Its series.
    pub metrics: PathMetrics,
}
