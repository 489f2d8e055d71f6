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

use crate::net::{Stage, Stages, Tasks};
use crate::telemetry::metrics::{Metrics, TokenMetrics};
use crate::token::Tokens;
use crate::types::TenantId;

/// When the process is ready, as far as tokens matter.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Ready {
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
    pub stages: Stages,
    /// Each tenant's token.
    pub tenants: Vec<(TenantId, Tokens, TokenMetrics)>,
    /// When the process is ready.
    pub ready: Ready,
    /// All series.
    pub metrics: Metrics,
    /// Whose panics are counted.
    pub tasks: Tasks,
}

impl Admin {
    /// The service for a listener.
    pub fn service(
        self: &Arc<Self>,
    ) -> impl Service<
        Request<Incoming>,
        Response = Response<Full<Bytes>>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + use<> {
        let admin = Arc::clone(self);
        service_fn(move |request: Request<Incoming>| {
            let response = admin.answer(request.method(), request.uri().path());
            std::future::ready(Ok(response))
        })
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let found = match path {
            "/livez" | "/healthz" => text(StatusCode::OK, "ok\n"),
            "/startupz" => self.startup(),
            "/readyz" => self.readiness(),
            "/metrics" => self.metrics(),
            _ => {
                let known = "not here; there are /livez /healthz /startupz /readyz /metrics\n";
                return text(StatusCode::NOT_FOUND, known);
            }
        };
        if *method == Method::GET || *method == Method::HEAD {
            return found;
        }
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        refused
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        refused
    }

    fn startup(&self) -> Response<Full<Bytes>> {
        if self.stages.current() >= Stage::Serving {
            text(StatusCode::OK, "started\n")
        } else {
            text(
                StatusCode::SERVICE_UNAVAILABLE,
                "starting: the first look at the token source is not done\n",
            )
        }
    }

    fn readiness(&self) -> Response<Full<Bytes>> {
        let stage = self.stages.current();
        let states: Vec<(&TenantId, Result<(), String>)> = self
            .tenants
            .iter()
            .map(|(tenant, tokens, _)| (tenant, usable(tokens)))
            .collect();
        let tokens_do = match self.ready {
            Ready::Any => states.iter().any(|(_, state)| state.is_ok()),
            Ready::All => states.iter().all(|(_, state)| state.is_ok()),
            Ready::Ignore => true,
        };
        let ready = stage == Stage::Serving && tokens_do;
        let mut body = format!(
            r#"{{"ready":{ready},"stage":"{}","tenants":{{"#,
            stage.label()
        );
        for (position, (tenant, state)) in states.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            let (usable, reason) = match state {
                Ok(()) => (true, "it has a token that Graph has not rejected"),
                Err(reason) => (false, reason.as_str()),
            };
            let reason = serde_json::Value::from(reason);
            body.push_str(&format!(
                r#"{comma}"{tenant}":{{"usable":{usable},"reason":{reason}}}"#
            ));
        }
        body.push_str("}}\n");
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let mut response = text(status, body);
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        self.metrics.panicked(self.tasks.panics());
        for (_, tokens, metrics) in &self.tenants {
            metrics.state(tokens.usable(), tokens.waiters());
        }
        let mut response = text(StatusCode::OK, self.metrics.text());
        let open_metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(open_metrics));
        response
    }
}

/// Whether a tenant's token may be used, or what is wrong with it in words.
fn usable(tokens: &Tokens) -> Result<(), String> {
    if tokens.usable() {
        return Ok(());
    }
    let progress = tokens.progress();
    let failure = progress.failure.map(|failure| failure.to_string());
    Err(match (progress.generation, failure) {
        _ if tokens.is_abandoned() => {
            "the task that obtains tokens has ended by a fault: restart the process".to_owned()
        }
        (None, None) => "the first look at its token source is under way".to_owned(),
        (None, Some(failure)) => format!("it has no token: {failure}"),
        (Some(_), None) => "Graph rejected its token; a newer one is being looked for".to_owned(),
        (Some(_), Some(failure)) => {
            format!("Graph rejected its token, and there is no newer one: {failure}")
        }
    })
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
