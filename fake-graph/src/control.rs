//! The control listener: a small JSON API by which a test in any language controls the fake.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};
use hyper::service::Service;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::ResponseBody;
use crate::control_request::{ApiError, bad_request, parse_body, parse_duration};
use crate::faults::{Effect, EndpointKind, Fault, FaultTiming, TokenResponse};
use crate::server::BoxError;
use crate::state::{State, lock};
use crate::{control_tokens, usage};

/// The control API as a service.
#[derive(Clone)]
pub(crate) struct ControlApi(Arc<State>);

/// `POST /edges`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EdgesRequest {
    page_token: BTreeSet<String>,
}

/// `POST /faults`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultRequest {
    kind: String,
    #[serde(default)]
    on: EndpointKind,
    code: Option<i64>,
    subcode: Option<i64>,
    status: Option<u16>,
    r#for: Option<String>,
    #[serde(default = "default_times")]
    times: u32,
    #[serde(default)]
    after: bool,
}

const fn default_times() -> u32 {
    1
}

impl ControlApi {
    pub(crate) const fn new(state: Arc<State>) -> Self {
        Self(state)
    }

    fn handle(&self, method: &Method, path: &str, body: &[u8]) -> Result<Value, ApiError> {
        let state = &*self.0;
        match (method.as_str(), path) {
            ("GET", "/state") => Ok(json!({
                "tokens": lock(&state.tokens).summaries(state.now()),
                "counts": state.counts(),
                "faults_pending": lock(&state.faults).pending_count(),
            })),
            ("GET", "/messages") => Ok(json!({"data": *lock(&state.messages)})),
            ("GET", "/calls") => {
                let calls = lock(&state.calls);
                Ok(json!({"data": calls.iter().collect::<Vec<_>>()}))
            }
            ("GET", "/objects") => {
                let uses = lock(&state.object_uses);
                Ok(json!({"data": uses.uses(), "violations": uses.violations()}))
            }
            ("POST", "/tokens") => control_tokens::issue_tokens(state, body),
            ("POST", "/tokens/set") => control_tokens::update_token(state, parse_body(body)?),
            ("POST", "/tokens/expire") => control_tokens::invalidate_tokens(state, parse_body(body)?),
            ("POST", "/codes") => control_tokens::issue_code(state, parse_body(body)?),
            ("POST", "/accounts") => Ok(control_tokens::set_accounts(state, parse_body(body)?)),
            ("POST", "/edges") => {
                let EdgesRequest { page_token } = parse_body(body)?;
                *lock(&state.page_edges) = page_token;
                Ok(json!({"success": true}))
            }
            ("POST", "/faults") => {
                let (endpoint, fault) = parse_fault(parse_body(body)?)?;
                let mut faults = lock(&state.faults);
                faults.add(endpoint, fault);
                Ok(json!({"faults_pending": faults.pending_count()}))
            }
            ("POST", "/usage") => {
                usage::set_headers(&mut lock(&state.usage), &parse_body(body)?).map_err(bad_request)?;
                Ok(json!({"success": true}))
            }
            ("POST", "/reset") => {
                state.reset();
                Ok(json!({"success": true}))
            }
            (_, path) => match allowed_method(path) {
                Some(allowed) => Err((StatusCode::METHOD_NOT_ALLOWED, format!("{path} accepts only {allowed}"))),
                None => Err((
                    StatusCode::NOT_FOUND,
                    "this is the control API of the fake Graph, which itself is at the address of --listen; it has GET /state, GET /messages, GET /calls, GET /objects, POST /tokens, \
                     POST /tokens/set, POST /tokens/expire, POST /codes, POST /accounts, POST /edges, POST /faults, POST /usage and POST /reset"
                        .to_owned(),
                )),
            },
        }
    }
}

/// The one method of a path.
fn allowed_method(path: &str) -> Option<&'static str> {
    match path {
        "/state" | "/messages" | "/calls" | "/objects" => Some("GET"),
        "/tokens" | "/tokens/set" | "/tokens/expire" | "/codes" | "/accounts" | "/edges" | "/faults" | "/usage"
        | "/reset" => Some("POST"),
        _ => None,
    }
}

fn parse_fault(request: FaultRequest) -> Result<(EndpointKind, Fault), ApiError> {
    let status = request.status.map(StatusCode::from_u16).transpose();
    let status = status.map_err(|_range| bad_request("\"status\" must be a number from 100 to 999"))?;
    let effect = match request.kind.as_str() {
        "error" => Effect::Error {
            code: request.code.ok_or_else(|| bad_request("an error needs a \"code\""))?,
            subcode: request.subcode,
            status,
        },
        "html_page" => Effect::HtmlPage(status.unwrap_or(StatusCode::BAD_GATEWAY)),
        "delay" => {
            let by = request
                .r#for
                .as_deref()
                .ok_or_else(|| bad_request("a delay needs a \"for\""))?;
            Effect::Delay(parse_duration(by).map_err(bad_request)?)
        }
        "malformed_token" => Effect::MalformedToken,
        "null_item" => Effect::NullBatchItem,
        "hang" => Effect::Hang,
        "stall" => Effect::Stall,
        "truncate" => Effect::Truncate,
        "reset" => Effect::Reset,
        "without_expiry" => Effect::TokenResponse(TokenResponse::WithoutExpiry),
        "form_encoded" => Effect::TokenResponse(TokenResponse::FormEncoded),
        "same_token" => Effect::TokenResponse(TokenResponse::SameToken),
        "expired" => Effect::TokenResponse(TokenResponse::Expired),
        "oversized" => Effect::TokenResponse(TokenResponse::Oversized),
        _ => {
            return Err(bad_request(
                "\"kind\" must be error, malformed_token, html_page, null_item, delay, hang, stall, truncate or reset; \
                 on a token endpoint also without_expiry, form_encoded, same_token, expired or oversized",
            ));
        }
    };
    let fault = Fault {
        effect,
        timing: if request.after {
            FaultTiming::AfterHandling
        } else {
            FaultTiming::BeforeHandling
        },
        times: request.times,
    };
    Ok((request.on, fault))
}

impl<B> Service<Request<B>> for ControlApi
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let control = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let path = head.uri.path();
            let answer = match Limited::new(body, MAX_BODY_BYTES).collect().await {
                Ok(body) => control.handle(&head.method, path, &body.to_bytes()),
                Err(error) => Err(bad_request(format!("the body cannot be read: {error}"))),
            };
            Ok(to_response(answer, allowed_method(path)))
        })
    }
}

/// The largest body: tens of thousands of tokens.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

fn to_response(answer: Result<Value, ApiError>, allowed: Option<&'static str>) -> Response<ResponseBody> {
    let (status, value) = match answer {
        Ok(value) => (StatusCode::OK, value),
        Err((status, why)) => (status, json!({"error": why})),
    };
    let body = Bytes::from(format!("{value:#}\n"));
    let length = body.len();
    let mut response = Response::new(ResponseBody::full(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, length.into());
    if let (StatusCode::METHOD_NOT_ALLOWED, Some(allowed)) = (status, allowed) {
        headers.insert(ALLOW, HeaderValue::from_static(allowed));
    }
    response
}
