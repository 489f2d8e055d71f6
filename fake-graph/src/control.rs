//! The control listener: a small JSON API by which a test in any language controls the fake.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};
use hyper::service::Service;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::body::ResponseBody;
use crate::clock::unix_seconds;
use crate::faults::{Effect, EndpointKind, Fault, FaultTiming, TokenResponse};
use crate::hosts::TokenFamily;
use crate::invalidation::InvalidationReason;
use crate::server::BoxError;
use crate::state::{State, lock};
use crate::tokens::{Expiry, TokenChange, TokenInfo, TokenType};
use crate::usage;

/// The control API as a service.
#[derive(Clone)]
pub(crate) struct ControlApi(Arc<State>);

/// `POST /tokens`, and `POST /tokens/set` for an existing one. Times count from now on, or are `never`; an age counts
/// back from now.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenRequest {
    token: Option<String>,
    family: Option<TokenFamily>,
    ttl: Option<String>,
    kind: Option<TokenType>,
    age: Option<String>,
    data_access: Option<String>,
    scopes: Option<Vec<String>>,
    targets: Option<Vec<String>>,
    app_id: Option<String>,
}

/// `POST /tokens/expire`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InvalidateRequest {
    token: Option<String>,
    #[serde(default)]
    all: bool,
    reason: Option<InvalidationReason>,
}

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

/// An answer that is not a 200: status and reason.
type ApiError = (StatusCode, String);

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
            ("POST", "/tokens") => issue_token(state, parse_body(body)?),
            ("POST", "/tokens/set") => update_token(state, parse_body(body)?),
            ("POST", "/tokens/expire") => invalidate_tokens(state, parse_body(body)?),
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
                    "the control API has GET /state, GET /messages, GET /calls, POST /tokens, POST /tokens/set, \
                     POST /tokens/expire, POST /edges, POST /faults, POST /usage and POST /reset"
                        .to_owned(),
                )),
            },
        }
    }
}

/// The one method of a path.
fn allowed_method(path: &str) -> Option<&'static str> {
    match path {
        "/state" | "/messages" | "/calls" => Some("GET"),
        "/tokens" | "/tokens/set" | "/tokens/expire" | "/edges" | "/faults" | "/usage" | "/reset" => Some("POST"),
        _ => None,
    }
}

fn issue_token(state: &State, request: TokenRequest) -> Result<Value, ApiError> {
    let change = parse_change(state, &request)?;
    let ttl = state.config.token_ttl;
    let token = match request.token {
        None => state.issue(request.family.unwrap_or_default(), ttl),
        Some(token) => {
            let known = TokenFamily::from_token(&token);
            if known.is_some() && request.family.is_some_and(|family| Some(family) != known) {
                return Err(bad_request("\"family\" contradicts the first letters of \"token\""));
            }
            let about = TokenInfo {
                family: request.family,
                ..TokenInfo::new(TokenType::SystemUser, state.now(), ttl)
            };
            lock(&state.tokens).add(&token, about);
            token
        }
    };
    apply_change(state, &token, change)
}

fn update_token(state: &State, mut request: TokenRequest) -> Result<Value, ApiError> {
    let token = request.token.take();
    let token = token.ok_or_else(|| bad_request("\"token\" is missing"))?;
    if request.family.is_some() {
        return Err(bad_request(
            "a token's family follows from its first letters or its registration, and cannot be changed",
        ));
    }
    apply_change(state, &token, parse_change(state, &request)?)
}

fn apply_change(state: &State, token: &str, change: TokenChange) -> Result<Value, ApiError> {
    let mut tokens = lock(&state.tokens);
    if !tokens.update(token, change) {
        return Err((StatusCode::NOT_FOUND, "the token is unknown".to_owned()));
    }
    let until = tokens.info(token).and_then(|about| about.expires_at);
    Ok(json!({"access_token": token, "expires_at": until.map(unix_seconds)}))
}

/// Reads the requested change. By default, a user's token has access to data for 90 days from its issue.
fn parse_change(state: &State, request: &TokenRequest) -> Result<TokenChange, ApiError> {
    let now = state.now();
    let until = |text: &Option<String>| match text.as_deref() {
        None => Ok(None),
        Some("never") => Ok(Some(Expiry::Never)),
        Some(text) => Ok(Some(Expiry::At(now + parse_duration(text).map_err(bad_request)?))),
    };
    let age = request.age.as_deref().map(parse_duration).transpose();
    let issued = age.map_err(bad_request)?.map(|age| now - age);
    let is_user_token = request.kind == Some(TokenType::User);
    let user_data_access = TokenInfo::new(TokenType::User, issued.unwrap_or(now), None).data_access_expires_at;
    let default_data_access = user_data_access.filter(|_| is_user_token).map(Expiry::At);
    Ok(TokenChange {
        kind: request.kind,
        issued_at: issued,
        expires_at: until(&request.ttl)?,
        data_access_expires_at: until(&request.data_access)?.or(default_data_access),
        scopes: request.scopes.clone(),
        target_ids: request.targets.clone(),
        app_id: request.app_id.clone(),
    })
}

fn invalidate_tokens(state: &State, request: InvalidateRequest) -> Result<Value, ApiError> {
    let reason = request.reason.unwrap_or(InvalidationReason::Expired);
    let now = state.now();
    let mut tokens = lock(&state.tokens);
    let invalidated = match (request.token, request.all) {
        (None, true) => tokens.invalidate_all(reason, now),
        (Some(token), false) if tokens.is_known(&token) => usize::from(tokens.invalidate(&token, reason, now)),
        (Some(_), false) => {
            return Err((StatusCode::NOT_FOUND, "the token is unknown".to_owned()));
        }
        (Some(_), true) | (None, false) => {
            return Err(bad_request("give either \"token\": \"…\" or \"all\": true"));
        }
    };
    Ok(json!({"expired": invalidated}))
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

fn bad_request(why: impl Into<String>) -> ApiError {
    (StatusCode::BAD_REQUEST, why.into())
}

/// Parses a JSON body. An empty body is an empty object.
fn parse_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| bad_request(format!("the body is invalid: {error}")))
}

/// Parses a duration: `250ms`, `4s`, `10m`, `2h`.
///
/// # Errors
///
/// A message that says what is wrong.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = text.strip_prefix(digits).unwrap_or_default();
    let number: u32 = digits
        .parse()
        .map_err(|_no_number| format!("{text:?} is not a duration: write 250ms, 4s, 10m or 2h"))?;
    let unit = match unit {
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(60 * 60),
        _ => return Err(format!("{text:?} needs a unit: ms, s, m or h")),
    };
    Ok(unit * number)
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
            let answer = match Limited::new(body, 1024 * 1024).collect().await {
                Ok(body) => control.handle(&head.method, path, &body.to_bytes()),
                Err(error) => Err(bad_request(format!("the body cannot be read: {error}"))),
            };
            Ok(to_response(answer, allowed_method(path)))
        })
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("10m"), Ok(Duration::from_secs(600)));
        for wrong in ["", "4", "s", "-4s", "4 s", "4d", "4294967296s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
