//! The responses of the admin listener.

use std::fmt;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use serde_json::json;

/// A response with its whole body.
pub(super) type AdminResponse = Response<Full<Bytes>>;

pub(super) const TEXT: &str = "text/plain; charset=utf-8";

pub(super) fn not_allowed(allowed: &str, listener: &str) -> AdminResponse {
    let message = format!("method not allowed; use {}: {listener}", allowed.replace(", ", " or "));
    let mut response = error_response(StatusCode::METHOD_NOT_ALLOWED, &message);
    if let Ok(allowed) = allowed.parse() {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

/// Answers why a request is not served, as Graph does.
pub(super) fn error_response(status: StatusCode, error: &impl fmt::Display) -> AdminResponse {
    json_response(status, &json!({ "error": { "message": error.to_string() } }))
}

pub(super) fn json_response(status: StatusCode, body: &impl Serialize) -> AdminResponse {
    // Maps with text keys, numbers and texts can always be written as JSON.
    let json = serde_json::to_string(body).unwrap_or_default();
    respond(status, "application/json", format!("{json}\n"))
}

pub(super) fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> AdminResponse {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
