//! A tenant: one set of rules with one token.

use std::sync::Arc;
use std::time::Duration;

use super::buffer::BodyLimits;
use super::dead_token::{DeadTokenCache, DeadTokenPolicy};
use super::proof_warning::ProofWarning;
use super::record::RequestTelemetry;
use super::upstream::Upstream;
use crate::graph::{ClientCredentialPolicy, Destinations};
use crate::token::TokenHandle;
use crate::types::Clock;

/// The settings and the state that requests of a tenant share.
#[derive(Debug)]
pub struct Tenant {
    /// The current credential.
    pub tokens: TokenHandle,
    /// Wall time, for proofs that contain it.
    pub clock: Clock,
    /// The hosts that requests go to; they go nowhere else.
    pub destinations: Destinations,
    /// The connections to those hosts.
    pub upstream: Upstream,
    /// The limits of what is buffered of a request body.
    pub body_limits: BodyLimits,
    /// The treatment of credentials that the app sends.
    pub client_credentials: ClientCredentialPolicy,
    /// The links in responses that are rewritten to point at graphward.
    pub links: LinkRewriteConfig,
    /// Whether graphward adds `Via` to requests and honors `Max-Forwards`.
    pub via: bool,
    /// The longest wait for a credential.
    pub token_wait: Duration,
    /// The time for which requests are held after the live credential was rejected, even if no newer one is being obtained.
    pub hold_timeout: Duration,
    /// The treatment of requests after that, until Graph accepts the credential again or a newer one arrives.
    pub dead_token_policy: DeadTokenPolicy,
    /// Graph's last rejection of the credential.
    pub dead_token_cache: DeadTokenCache,
    /// The longest wait between two frames of a response body.
    pub idle_timeout: Duration,
    /// The token whose `appsecret_proof` the operator has been warned about.
    pub proof_warning: ProofWarning,
    /// The metrics and the log settings for requests.
    pub telemetry: Arc<RequestTelemetry>,
}

/// The links in responses that are rewritten to point at graphward (`[links]`).
#[derive(Clone, Copy, Debug, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkRewriteConfig {
    /// Links to WhatsApp media.
    pub media: bool,
    /// Links to the next and the previous page.
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
