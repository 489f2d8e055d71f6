//! What comes back: a token and when it ends, or why there is none.
//!
//! # Why
//!
//! Graph's texts are not repeated, as they may quote a token; its code, subcode and trace say as much to whoever looks
//! them up. What mends itself is told from what needs a person by them, not by the status alone: a wrong app secret is
//! code 1, like "an unknown error", and only its text tells the two apart.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use memchr::memmem;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::graph::credential::is_placeholder;
use crate::graph::{GraphError, Verdict, classify};
use crate::net::{HttpClient, HttpClientError};
use crate::token::{ObtainError, Token};
use crate::types::Secret;

use super::request::RequestBuilder;

/// Who answered, and what a person has to do if it is not to be had that way.
pub(super) struct GraphEndpoint {
    name: String,
    remediations: Remediations,
}

/// What a person has to do, in a sentence each.
#[derive(Clone, Copy)]
pub(super) struct Remediations {
    /// If Graph says that the token that was sent is dead.
    pub(super) token_dead: &'static str,
    /// If Graph refuses for a reason that no code tells.
    pub(super) refused: &'static str,
}

/// How a request is sent.
#[derive(Clone, Copy)]
pub(super) enum Method {
    Get,
    Post,
}

/// When a token ends that an answer says nothing of.
#[derive(Clone, Copy)]
pub(super) enum DefaultExpiry {
    /// That is not known.
    Unknown,
    /// After the 60 days that were asked for.
    SixtyDays,
}

/// What an endpoint grants. Its error is an answer without a token.
#[derive(Deserialize)]
struct TokenResponseBody<'a> {
    #[serde(borrow)]
    access_token: Cow<'a, str>,
    expires_in: Option<Value>,
    expires: Option<Value>,
}

// === impl Asked ===

impl GraphEndpoint {
    pub(super) fn new(builder: &RequestBuilder<'_>, remediations: Remediations) -> Self {
        Self {
            name: builder.endpoint_name(),
            remediations,
        }
    }

    /// Sends a request and reads the answer, whatever it says.
    pub(super) async fn send(
        &self,
        caller: &HttpClient,
        builder: &RequestBuilder<'_>,
        method: Method,
    ) -> Result<Response<Bytes>, ObtainError> {
        let request = match method {
            Method::Get => builder.build_get(),
            Method::Post => builder.build_post(),
        };
        let response = caller.send(self.check_request(request)?).await;
        response.map_err(|error| self.call_error(error))
    }

    fn check_request(
        &self,
        request: Result<Request<Full<Bytes>>, http::Error>,
    ) -> Result<Request<Full<Bytes>>, ObtainError> {
        // The cause is about the address, but has nothing of it.
        request.map_err(|error| {
            let message = format!("{} cannot be asked: correct its address", self.name);
            ObtainError::permanent("address", message).with_source(error)
        })
    }

    fn call_error(&self, error: HttpClientError) -> ObtainError {
        let reason = match error {
            HttpClientError::Connect(_) => "unreachable",
            HttpClientError::Interrupted(_) => "broken",
            HttpClientError::ResponseTooLarge => "too_long",
            HttpClientError::TimedOut(_) => "late",
        };
        let message = format!("{} gives no answer", self.name);
        ObtainError::transient(reason, message).with_source(error)
    }

    /// The token that an answer holds, which was asked for at `requested_at`.
    pub(super) fn parse_token(
        &self,
        response: &Response<Bytes>,
        requested_at: SystemTime,
        default_expiry: DefaultExpiry,
    ) -> Result<Token, ObtainError> {
        let parsed = if response.status().is_success() {
            parse_token_response(response.body())
        } else {
            None
        };
        let Some((secret, seconds)) = parsed else {
            return Err(self.error_from_response(response));
        };
        let expires_at = match (seconds, default_expiry) {
            (Some(seconds), _) => add_seconds(requested_at, seconds),
            (None, DefaultExpiry::SixtyDays) => requested_at.checked_add(SIXTY_DAYS),
            (None, DefaultExpiry::Unknown) => None,
        };
        if expires_at.is_some_and(|ends| ends <= requested_at) {
            let message = format!("{} answers with a token that has expired already", self.name);
            return Err(ObtainError::transient("answer_expired", message));
        }
        Ok(Token {
            expires_at,
            ..Token::without_expiry(secret)
        })
    }

    /// Why an answer is none.
    pub(super) fn error_from_response(&self, response: &Response<Bytes>) -> ObtainError {
        let endpoint = &self.name;
        let status = response.status();
        let Some(error) = GraphError::parse(response.body()) else {
            let message = format!("{endpoint} answers {status}, and not as Graph does");
            return ObtainError::transient(reason_for_status(status), message);
        };
        // Errors have been seen under a 200.
        let status = if status.is_success() {
            StatusCode::BAD_REQUEST
        } else {
            status
        };
        let codes = ErrorCodes(&error);
        let transient = |reason, problem| {
            let message = format!("{endpoint} {problem}: Graph says {codes}");
            ObtainError::transient(reason, message)
        };
        let permanent = |reason, remediation| {
            let message = format!("{endpoint} refuses: Graph says {codes}. {remediation}");
            ObtainError::permanent(reason, message)
        };
        if error.app_validation_failed {
            return permanent("app_refused", APP_REMEDIATION);
        }
        match classify(status, response.headers(), response.body()) {
            Verdict::Throttled => transient("throttled", "is asked too often"),
            Verdict::ServerError => transient("graph_error", "is out of order"),
            Verdict::TokenRejected(_) => permanent("token_rejected", self.remediations.token_dead),
            Verdict::ProofRejected => permanent("app_refused", APP_REMEDIATION),
            Verdict::Refused | Verdict::Opaque | Verdict::Success => match error.code {
                Some(190 | 102) => permanent("token_rejected", self.remediations.token_dead),
                Some(101) => permanent("app_refused", APP_REMEDIATION),
                Some(1) if is_app_secret_error(response.body()) => permanent("app_refused", APP_REMEDIATION),
                Some(1 | 2) => transient("graph_error", "is out of order"),
                Some(_) | None => permanent("refused", self.remediations.refused),
            },
        }
    }
}

const APP_REMEDIATION: &str =
    "An operator has to correct app.id and app.secret, which must be those of the token's app.";
const SIXTY_DAYS: Duration = Duration::from_secs(60 * 24 * 60 * 60);

/// What an answer says that has nothing of Graph's.
fn reason_for_status(status: StatusCode) -> &'static str {
    match status {
        StatusCode::TOO_MANY_REQUESTS => "throttled",
        status if status.is_server_error() => "graph_error",
        _ => "not_understood",
    }
}

/// "Error validating client secret.": the parameter's name, in words.
fn is_app_secret_error(body: &[u8]) -> bool {
    memmem::find(body, b"client secret").is_some() || memmem::find(body, b"client_secret").is_some()
}

/// Token and seconds from a body: JSON, or `access_token=…&expires=…` as very old versions answered.
fn parse_token_response(body: &[u8]) -> Option<(Secret, Option<i64>)> {
    if let Ok(response) = serde_json::from_slice::<TokenResponseBody<'_>>(body) {
        let seconds = response.expires_in.as_ref().and_then(parse_integer);
        let seconds = seconds.or_else(|| response.expires.as_ref().and_then(parse_integer));
        let token = Zeroizing::new(response.access_token.into_owned());
        return Some((parse_secret(&token)?, seconds.filter(|it| *it != 0)));
    }
    let text = std::str::from_utf8(body).ok()?.trim_ascii();
    let value = |name: &str| {
        let mut pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find_map(|(key, value)| (key == name).then_some(value))
    };
    let token = percent_decode_str(value("access_token")?).decode_utf8();
    let token = Zeroizing::new(token.ok()?.into_owned());
    let seconds = value("expires").or_else(|| value("expires_in"));
    let seconds = seconds.and_then(|text| text.parse().ok());
    Some((parse_secret(&token)?, seconds.filter(|it| *it != 0)))
}

/// What may be a token.
fn parse_secret(text: &str) -> Option<Secret> {
    if is_placeholder(text.bytes()) {
        return None;
    }
    Secret::new(text).ok()
}

fn parse_integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// `None` if it is so far away that it is "never".
fn add_seconds(start: SystemTime, seconds: i64) -> Option<SystemTime> {
    let offset = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 {
        Some(start.checked_sub(offset).unwrap_or(start))
    } else {
        start.checked_add(offset)
    }
}

/// What an error says, for a line.
struct ErrorCodes<'a>(&'a GraphError);

impl fmt::Display for ErrorCodes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.code {
            Some(code) => write!(f, "code {code}")?,
            None => f.write_str("no code")?,
        }
        if let Some(subcode) = self.0.subcode {
            write!(f, ", subcode {subcode}")?;
        }
        if let Some(trace) = &self.0.fbtrace_id {
            write!(f, ", fbtrace_id {trace}")?;
        }
        Ok(())
    }
}
