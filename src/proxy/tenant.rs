//! One set of rules with one token.

use std::time::Duration;

use super::advice::Advice;
use super::payload::Limits;
use super::record::Requests;
use super::suspicion::{DeadToken, Suspicion};
use super::upstream::Upstream;
use crate::graph::{Destinations, Presented};
use crate::telemetry::metrics::PathMetrics;
use crate::token::Tokens;
use crate::types::{Clock, TenantId};

/// What the path has to know to serve a request.
#[derive(Debug)]
pub struct Tenant {
    /// Its name.
    pub id: TenantId,
    /// Its credential.
    pub tokens: Tokens,
    /// The time, for proofs that name it.
    pub clock: Clock,
    /// Where its requests go, and nowhere else.
    pub destinations: Destinations,
    /// The way there.
    pub upstream: Upstream,
    /// How much of a body is held.
    pub limits: Limits,
    /// What becomes of credentials that the app sends.
    pub presented: Presented,
    /// Which links in answers lead here.
    pub links: Links,
    /// Whether `Via` is added towards Graph, and `Max-Forwards` obeyed.
    pub via: bool,
    /// The longest wait for a credential.
    pub token_wait: Duration,
    /// After a live credential's rejection, how long requests are held though no newer one is in sight.
    pub hold: Duration,
    /// What becomes of requests after that, until Graph takes the credential again or a newer one comes.
    pub dead_token: DeadToken,
    /// What Graph said when it rejected the credential last.
    pub suspicion: Suspicion,
    /// The longest wait between two frames of an answer's body.
    pub idle: Duration,
    /// Which requests are written to the log.
    pub requests: Requests,
    /// What its operator has been told.
    pub advice: Advice,
    /// Its series.
    pub metrics: PathMetrics,
}

/// Which links in answers are made to lead here (`[links]`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Links {
    /// Those to WhatsApp media.
    pub media: bool,
    /// Those to the next and the previous page.
    pub paging: bool,
}
