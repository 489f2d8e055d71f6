//! The admin listener: liveness, readiness, metrics.
//!
//! | request | response |
//! |---|---|
//! | `GET /livez`, `/healthz` | 200 while the process serves |
//! | `GET /startupz` | 200 once the listeners are bound and the first check of the token sources is done |
//! | `GET /readyz` | 200 or 503, with the reason, as JSON |
//! | `GET /metrics` | Prometheus text, or OpenMetrics, whichever the scraper asks for |
//!
//! # Why
//!
//! Readiness is about this process and its tokens, not about Graph: a probe that follows the upstream takes every replica
//! out of service when it is needed most. One dead account must not take the others out of service either, hence the
//! policy. The admin listener cannot change anything.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Write as _;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT, ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use serde::Serialize;

use crate::net::{Lifecycle, Stage, Tasks};
use crate::telemetry::metrics::{ExpositionFormat, Metrics, TokenMetrics};
use crate::token::{Standing, TokenHandle};
use crate::types::TenantId;

/// The tenants that need a usable token for the process to be ready.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadinessPolicy {
    /// At least one.
    #[default]
    Any,
    /// All tokens.
    All,
    /// No token.
    Ignore,
}

/// When graphward is ready.
#[derive(Clone, Copy, Debug, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadyConfig {
    /// How many tokens have to be usable.
    pub tokens: ReadinessPolicy,
}

/// The state that the admin listener reports.
#[derive(Debug)]
pub struct Admin {
    /// The stage of the process.
    pub lifecycle: Lifecycle,
    /// The tenants.
    pub tenants: Vec<AdminTenant>,
    /// The readiness policy.
    pub readiness: ArcSwap<ReadinessPolicy>,
    /// All metrics.
    pub metrics: Metrics,
    /// The tasks whose panics are counted.
    pub tasks: Tasks,
}

/// The state of a tenant that the admin listener reports.
#[derive(Debug)]
pub struct AdminTenant {
    id: TenantId,
    tokens: TokenHandle,
    metrics: TokenMetrics,
}

/// The body of `/readyz`.
#[derive(Serialize)]
struct Readiness<'a> {
    ready: bool,
    stage: &'static str,
    tenants: BTreeMap<&'a str, TokenState>,
}

/// Whether a tenant has a usable token, or why not.
#[derive(Serialize)]
struct TokenState {
    usable: bool,
    reason: String,
}

const TEXT: &str = "text/plain; charset=utf-8";

// === impl AdminTenant ===

impl AdminTenant {
    /// Takes a tenant's name, its token, and the metrics of the token.
    #[must_use]
    pub const fn new(id: TenantId, tokens: TokenHandle, metrics: TokenMetrics) -> Self {
        Self { id, tokens, metrics }
    }
}

// === impl Admin ===

impl Admin {
    /// Returns the service of a connection.
    pub fn service(
        self: &Arc<Self>,
    ) -> impl Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + use<> {
        let admin = Arc::clone(self);
        service_fn(move |request: Request<Incoming>| std::future::ready(Ok(admin.respond(&request))))
    }

    fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        const NOT_FOUND: &str = "not found; available paths: /livez /healthz /startupz /readyz /metrics\n";
        const NOT_ALLOWED: &str = "method not allowed; use GET or HEAD\n";
        let method = request.method();
        let response = match request.uri().path() {
            "/livez" | "/healthz" => respond(StatusCode::OK, TEXT, "ok\n"),
            "/startupz" => self.startup(),
            "/readyz" => self.readiness(),
            "/metrics" => self.metrics(request.headers()),
            _ => return respond(StatusCode::NOT_FOUND, TEXT, NOT_FOUND),
        };
        if *method == Method::GET || *method == Method::HEAD {
            return response;
        }
        let mut not_allowed = respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, NOT_ALLOWED);
        let allowed = HeaderValue::from_static("GET, HEAD");
        not_allowed.headers_mut().insert(ALLOW, allowed);
        not_allowed
    }

    fn startup(&self) -> Response<Full<Bytes>> {
        const STARTING: &str = "starting: waiting for the first token source check\n";
        if self.lifecycle.current() >= Stage::Serving {
            respond(StatusCode::OK, TEXT, "started\n")
        } else {
            respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, STARTING)
        }
    }

    fn readiness(&self) -> Response<Full<Bytes>> {
        let stage = self.lifecycle.current();
        let states = self.tenants.iter();
        let states = states.map(|tenant| (tenant.id.as_str(), TokenState::of(&tenant.tokens)));
        let tenants: BTreeMap<_, _> = states.collect();
        let tokens_ready = match **self.readiness.load() {
            ReadinessPolicy::Any => tenants.values().any(|state| state.usable),
            ReadinessPolicy::All => tenants.values().all(|state| state.usable),
            ReadinessPolicy::Ignore => true,
        };
        let readiness = Readiness {
            ready: stage == Stage::Serving && tokens_ready,
            stage: stage.label(),
            tenants,
        };
        let status = if readiness.ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        // Maps with text keys, numbers and texts can always be written as JSON.
        let json = serde_json::to_string(&readiness).unwrap_or_default();
        respond(status, "application/json", format!("{json}\n"))
    }

    fn metrics(&self, accepted: &HeaderMap) -> Response<Full<Bytes>> {
        self.metrics.set_task_panics(self.tasks.panic_count());
        for AdminTenant { tokens, metrics, .. } in &self.tenants {
            metrics.set_availability(i64::from(tokens.is_usable()), tokens.waiters());
        }
        let open_metrics = quality(accepted, ACCEPT, "application/openmetrics-text");
        let format = if open_metrics > 0.0 && open_metrics >= quality(accepted, ACCEPT, "text/plain") {
            ExpositionFormat::OpenMetrics
        } else {
            ExpositionFormat::Text
        };
        let text = self.metrics.encode(format).into_bytes();
        if quality(accepted, ACCEPT_ENCODING, "gzip") <= 0.0 {
            return respond(StatusCode::OK, format.content_type(), text);
        }
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        let Ok(compressed) = gzip.write_all(&text).and_then(|()| gzip.finish()) else {
            return respond(StatusCode::OK, format.content_type(), text);
        };
        let mut response = respond(StatusCode::OK, format.content_type(), compressed);
        let headers = response.headers_mut();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    }
}

/// The weight that an `Accept` field gives to a value (RFC 9110, section 12.4.2); 0 if it does not name it.
fn quality(headers: &HeaderMap, field: HeaderName, wanted: &str) -> f32 {
    let fields = headers.get_all(field).into_iter();
    let items = fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','));
    let weights = items.filter_map(|item| {
        let mut parts = item.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case(wanted) {
            return None;
        }
        let weight = parts.find_map(|part| part.strip_prefix("q="));
        weight.map_or(Some(1.0), |weight| weight.parse().ok())
    });
    weights.fold(0.0, f32::max)
}

// === impl TokenState ===

impl TokenState {
    fn of(tokens: &TokenHandle) -> Self {
        let usable = tokens.is_usable();
        let progress = tokens.progress();
        let failure = progress.last_error.map(|failure| failure.to_string());
        let reason = match (progress.generation, failure) {
            _ if usable && tokens.standing() == Standing::Doubted => if tokens.is_unanswerable() {
                "token in use; Graph rejected a request and could not be asked whether it accepts the token; asking again"
            } else {
                "token in use; Graph rejected a request and is being asked whether it accepts the token"
            }
            .to_owned(),
            _ if usable => "token available".to_owned(),
            _ if tokens.is_closed() => "the token refresh task panicked; restart graphward".to_owned(),
            (None, None) => "the first token source check is in progress".to_owned(),
            (_, Some(failure)) if progress.withdrawal.is_some() => format!("the token was withdrawn: {failure}"),
            (None, Some(failure)) => format!("no token: {failure}"),
            (Some(_), None) => "Graph rejected the token; a refresh is in progress, and Graph is asked about the token again".to_owned(),
            (Some(_), Some(failure)) => format!("Graph rejected the token and is asked about it again; the refresh failed: {failure}"),
        };
        Self { usable, reason }
    }
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
