//! What the requests of all tenants share: settings, and the connections to Graph.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::body::Body;
use super::heal_config::HealConfig;
use crate::graph::Destinations;
use crate::net::TimeLimit;
use crate::types::Clock;
use crate::upstream::Upstream;

/// The path of a request to a tenant begins with it, and the tenant's name.
pub(super) const TENANT_PREFIX: &str = "/-/";

/// What the requests of all tenants share. A reload replaces it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Wall time, for proofs that contain it.
    pub clock: Clock,
    /// The hosts that requests go to; they go nowhere else.
    pub destinations: Destinations,
    /// The connections to those hosts.
    pub upstream: Arc<Upstream<Body>>,
    /// The limit from the end of a request's body to the head of the response.
    pub head_timeout: TimeLimit,
    /// How rejected requests are healed, and the limits of what is buffered of a request body.
    pub heal: HealConfig,
    /// The links in responses that are rewritten to point at graphward.
    pub links: LinkRewriteConfig,
    /// The headers of the app that do not reach Graph, besides those that no proxy forwards.
    pub removed_headers: Arc<[HeaderName]>,
    /// Whether graphward adds `Via` to requests and honors `Max-Forwards`.
    pub via: bool,
    /// The longest wait between two frames of a body.
    pub idle_timeout: Duration,
}

/// The links in responses that are rewritten to point at graphward (`[links]`).
#[derive(Clone, Copy, Debug, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkRewriteConfig {
    /// Links to WhatsApp media.
    pub media: bool,
    /// URLs that take the bytes of an upload; the ids of upload sessions name their tenant.
    pub uploads: bool,
    /// Links to the next and the previous page.
    pub paging: bool,
}
