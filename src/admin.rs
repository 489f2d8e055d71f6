//! The operators' listener: is it alive, is it ready, what does it count.
//!
//! | request | answer |
//! |---|---|
//! | `GET /livez`, `/healthz` | 200 while the process serves |
//! | `GET /startupz` | 200 once listeners are bound and the first look at the sources is done |
//! | `GET /readyz` | 200 or 503, and why, as JSON |
//! | `GET /metrics` | Prometheus text |
//!
//! # Why
//!
//! Readiness is about this process and its tokens, not about Graph: a probe that follows the upstream takes
//! every replica out of service at the moment it is needed most. One dead account must not take the others with
//! it either, hence the policy. Nothing here can change anything.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};

use crate::net::{Lifecycle, Stage, Tasks};
use crate::telemetry::metrics::{Metrics, TokenMetrics};
use crate::token::TokenHandle;
use crate::types::TenantId;

/// When the process is ready, as far as tokens matter.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadinessPolicy {
    /// At least one tenant has a usable token.
    #[default]
    Any,
    /// All have.
    All,
    /// Tokens do not matter.
    Ignore,
}

/// What the operators' listener can see.
#[derive(Debug)]
pub struct Admin {
    /// Where the process is in its life.
    pub lifecycle: Lifecycle,
    /// Each tenant's token.
    pub tenants: Vec<(TenantId, TokenHandle, TokenMetrics)>,
    /// When the process is ready.
    pub readiness: ReadinessPolicy,
    /// All series.
    pub metrics: Metrics,
    /// Whose panics are counted.
    pub tasks: Tasks,
}

impl Admin {
    /// The service for a listener.
    pub fn service(
        self: &Arc<Self>,
    ) -> impl Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + use<> {
        let admin = Arc::clone(self);
        service_fn(move |request: Request<Incoming>| {
            let response = admin.respond(request.method(), request.uri().path());
            std::future::ready(Ok(response))
        })
    }

    fn respond(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let response = match path {
            "/livez" | "/healthz" => text_response(StatusCode::OK, "ok\n"),
            "/startupz" => self.startup(),
            "/readyz" => self.readiness(),
            "/metrics" => self.metrics(),
            _ => {
                let known = "not here; there are /livez /healthz /startupz /readyz /metrics\n";
                return text_response(StatusCode::NOT_FOUND, known);
            }
        };
        if *method == Method::GET || *method == Method::HEAD {
            return response;
        }
        let mut not_allowed = text_response(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        not_allowed
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        not_allowed
    }

    fn startup(&self) -> Response<Full<Bytes>> {
        if self.lifecycle.current() >= Stage::Serving {
            text_response(StatusCode::OK, "started\n")
        } else {
            text_response(
                StatusCode::SERVICE_UNAVAILABLE,
                "starting: the first look at the token source is not done\n",
            )
        }
    }

    fn readiness(&self) -> Response<Full<Bytes>> {
        let stage = self.lifecycle.current();
        let states: Vec<(&TenantId, Result<(), String>)> = self
            .tenants
            .iter()
            .map(|(tenant, tokens, _)| (tenant, token_status(tokens)))
            .collect();
        let tokens_ready = match self.readiness {
            ReadinessPolicy::Any => states.iter().any(|(_, state)| state.is_ok()),
            ReadinessPolicy::All => states.iter().all(|(_, state)| state.is_ok()),
            ReadinessPolicy::Ignore => true,
        };
        let ready = stage == Stage::Serving && tokens_ready;
        let mut body = format!(r#"{{"ready":{ready},"stage":"{}","tenants":{{"#, stage.label());
        for (position, (tenant, state)) in states.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            let (usable, reason) = match state {
                Ok(()) => (true, "it has a token that Graph has not rejected"),
                Err(reason) => (false, reason.as_str()),
            };
            let reason = serde_json::Value::from(reason);
            body.push_str(&format!(r#"{comma}"{tenant}":{{"usable":{usable},"reason":{reason}}}"#));
        }
        body.push_str("}}\n");
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let mut response = text_response(status, body);
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        self.metrics.set_task_panics(self.tasks.panic_count());
        for (_, tokens, metrics) in &self.tenants {
            metrics.set_availability(tokens.is_usable(), tokens.waiters());
        }
        let mut response = text_response(StatusCode::OK, self.metrics.text());
        let open_metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(open_metrics));
        response
    }
}

/// Whether a tenant's token may be used, or what is wrong with it in words.
fn token_status(tokens: &TokenHandle) -> Result<(), String> {
    if tokens.is_usable() {
        return Ok(());
    }
    let progress = tokens.progress();
    let failure = progress.last_error.map(|failure| failure.to_string());
    Err(match (progress.generation, failure) {
        _ if tokens.is_closed() => "the task that obtains tokens has ended by a fault: restart the process".to_owned(),
        (None, None) => "the first look at its token source is under way".to_owned(),
        (None, Some(failure)) => format!("it has no token: {failure}"),
        (Some(_), None) => "Graph rejected its token; a newer one is being looked for".to_owned(),
        (Some(_), Some(failure)) => {
            format!("Graph rejected its token, and there is no newer one: {failure}")
        }
    })
}

fn text_response(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
