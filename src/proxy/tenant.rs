//! One set of rules with one token.

use std::time::Duration;

use super::buffer::BodyLimits;
use super::dead_token::{DeadTokenCache, DeadTokenPolicy};
use super::proof_warning::ProofWarning;
use super::record::AccessLogFilter;
use super::upstream::Upstream;
use crate::graph::{ClientCredentialPolicy, Destinations};
use crate::telemetry::metrics::RequestMetrics;
use crate::token::TokenHandle;
use crate::types::{Clock, TenantId};

/// What the path has to know to serve a request.
#[derive(Debug)]
pub struct Tenant {
    /// Its name.
    pub id: TenantId,
    /// Its credential.
    pub tokens: TokenHandle,
    /// The time, for proofs that name it.
    pub clock: Clock,
    /// Where its requests go, and nowhere else.
    pub destinations: Destinations,
    /// The way there.
    pub upstream: Upstream,
    /// How much of a body is held.
    pub body_limits: BodyLimits,
    /// What becomes of credentials that the app sends.
    pub client_credentials: ClientCredentialPolicy,
    /// Which links in answers lead here.
    pub links: LinkRewriteConfig,
    /// Whether `Via` is added towards Graph, and `Max-Forwards` obeyed.
    pub via: bool,
    /// The longest wait for a credential.
    pub token_wait: Duration,
    /// After a live credential's rejection, how long requests are held though no newer one is in sight.
    pub hold_timeout: Duration,
    /// What becomes of requests after that, until Graph takes the credential again or a newer one comes.
    pub dead_token_policy: DeadTokenPolicy,
    /// What Graph said when it rejected the credential last.
    pub dead_token_cache: DeadTokenCache,
    /// The longest wait between two frames of an answer's body.
    pub idle_timeout: Duration,
    /// Which requests are written to the log.
    pub access_log: AccessLogFilter,
    /// What its operator has been told.
    pub proof_warning: ProofWarning,
    /// Its series.
    pub metrics: RequestMetrics,
}

/// Which links in answers are made to lead here (`[links]`).
#[derive(Clone, Copy, Debug, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkRewriteConfig {
    /// Those to WhatsApp media.
    pub media: bool,
    /// Those to the next and the previous page.
    pub paging: bool,
}

impl Default for LinkRewriteConfig {
    fn default() -> Self {
        Self {
            media: true,
            paging: false,
        }
    }
}
