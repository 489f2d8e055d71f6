//! `Max-Forwards`, which limits how far a request travels (RFC 9110, section 7.6.2), if `upstream.via` is on.

use http::header::{ALLOW, MAX_FORWARDS};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::body::Body;
use super::record::{Outcome, RequestRecord};
use super::refusal::ALLOWED_METHODS;

/// `OPTIONS` with `Max-Forwards: 0` is meant for graphward itself.
pub(crate) fn is_final_recipient(head: &Parts) -> bool {
    head.method == Method::OPTIONS && head.headers.get(MAX_FORWARDS).is_some_and(|remaining| remaining == "0")
}

/// Answers a request that is meant for graphward itself.
pub(crate) fn options_response(record: &mut RequestRecord) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, ALLOWED_METHODS);
    record.set_outcome(Outcome::Delivered, response.status());
    response
}

/// Decrements `Max-Forwards`. Requests with zero have been answered before.
pub(crate) fn decrement(headers: &mut HeaderMap) {
    let remaining = headers
        .get(MAX_FORWARDS)
        .and_then(|value| value.to_str().ok()?.trim().parse::<u32>().ok());
    if let Some(remaining) = remaining.and_then(|count| count.checked_sub(1)) {
        headers.insert(MAX_FORWARDS, HeaderValue::from(remaining));
    }
}
