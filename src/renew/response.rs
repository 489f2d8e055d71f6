//! Graph's responses to these calls: a token and its expiry, or the reason why Graph issued no token.
//!
//! # Why
//!
//! Graph's texts are not repeated, because they may quote a token; its code, subcode and trace id are enough to look the error
//! up. They also tell a temporary failure from one that needs an operator, which the status alone does not: a wrong app
//! secret is code 1, like "an unknown error", and only its text tells the two apart.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::graph::credential::is_placeholder;
use crate::graph::error::as_integer;
use crate::graph::{GraphError, Inspection, Verdict, classify};
use crate::net::HttpClient;
use crate::token::{ObtainError, Token};
use crate::types::Secret;

use super::request::{GraphRequest, TokenLifetime};

/// A response of Graph, whatever its status.
pub(super) struct GraphResponse {
    endpoint: String,
    remediations: Remediations,
    pub(super) response: Response<Bytes>,
}

/// The operator's actions, in a sentence each.
#[derive(Clone, Copy)]
pub(super) struct Remediations {
    /// If Graph says that the token that was sent is dead.
    pub(super) token_dead: &'static str,
    /// If Graph refuses for any other reason.
    pub(super) refused: &'static str,
}

/// The body of a response that grants a token; an error has no `access_token`.
#[derive(Deserialize)]
struct TokenResponseBody<'a> {
    #[serde(borrow)]
    access_token: Cow<'a, str>,
    expires_in: Option<Value>,
    expires: Option<Value>,
}

/// Sends a request to Graph and reads the response.
pub(super) async fn send(
    client: &HttpClient,
    request: GraphRequest<'_>,
    remediations: Remediations,
) -> Result<GraphResponse, ObtainError> {
    let endpoint = request.endpoint();
    let request = request.build().map_err(|error| {
        // The error is about the URL, but does not repeat it.
        let message = format!("invalid URL for {endpoint}: fix upstream.origin or upstream.hosts");
        ObtainError::permanent("invalid_url", message).with_source(error)
    })?;
    let response = client.send(request).await.map_err(|error| {
        let message = format!("no response from {endpoint}");
        ObtainError::transient(error.reason(), message).with_source(error)
    })?;
    Ok(GraphResponse {
        endpoint,
        remediations,
        response,
    })
}

// === impl Remediations ===

impl Remediations {
    /// The error of a renewal that Graph grants to living tokens only. `action` is "exchanged" or "refreshed".
    pub(super) fn dead_token_error(self, action: &str) -> ObtainError {
        let message = format!("an expired or revoked token cannot be {action}. {}", self.token_dead);
        ObtainError::permanent("token_dead", message)
    }
}

// === impl GraphResponse ===

impl GraphResponse {
    /// Reads the token, which was requested at `requested_at` with this lifetime.
    pub(super) fn token(&self, requested_at: SystemTime, lifetime: TokenLifetime) -> Result<Token, ObtainError> {
        let (secret, seconds) = self.granted()?;
        let expires_at = match (seconds, lifetime) {
            (Some(seconds), _) => add_seconds(requested_at, seconds),
            // Not every response says when the token that it grants expires.
            (None, TokenLifetime::SixtyDays) => requested_at.checked_add(SIXTY_DAYS),
            (None, TokenLifetime::Default) => None,
        };
        if expires_at.is_some_and(|expiry| expiry <= requested_at) {
            let message = format!("{} returned a token that has already expired", self.endpoint);
            return Err(ObtainError::transient("answer_expired", message));
        }
        Ok(Token {
            expires_at,
            ..Token::without_expiry(secret)
        })
    }

    /// Reads what the answer to `/me` says about the token that called it.
    pub(super) fn inspection(&self) -> Result<Inspection, ObtainError> {
        let inspection = Inspection::from_me_response(self.response.status(), self.response.body());
        inspection.ok_or_else(|| self.error())
    }

    /// Reads a token that does not expire.
    pub(super) fn secret(&self) -> Result<Secret, ObtainError> {
        self.granted().map(|(secret, _seconds)| secret)
    }

    /// The token, and the seconds until it expires.
    fn granted(&self) -> Result<(Secret, Option<i64>), ObtainError> {
        let is_success = self.response.status().is_success();
        let granted = parse_token_response(self.response.body()).filter(|_| is_success);
        granted.ok_or_else(|| self.error())
    }

    /// The reason why the response does not hold what was asked for.
    pub(super) fn error(&self) -> ObtainError {
        let endpoint = &self.endpoint;
        let (status, body) = (self.response.status(), self.response.body());
        let Some(error) = GraphError::parse(body) else {
            let message = format!("{endpoint} returned {status} with an unexpected body");
            return ObtainError::transient(reason_for_status(status), message);
        };
        // Graph has been seen to send errors with status 200.
        let status = if status.is_success() {
            StatusCode::BAD_REQUEST
        } else {
            status
        };
        let codes = codes_of(&error);
        let transient = |reason, state| {
            let message = format!("{endpoint} is {state}: {codes}");
            ObtainError::transient(reason, message).with_codes(error.codes())
        };
        let permanent = |reason, remediation| {
            let message = format!("{endpoint} rejected the request: {codes}. {remediation}");
            ObtainError::permanent(reason, message).with_codes(error.codes())
        };
        let Remediations { token_dead, refused } = self.remediations;
        if error.app_validation_failed {
            return permanent("app_refused", APP_REMEDIATION);
        }
        match classify(status, self.response.headers(), body) {
            Verdict::Throttled => transient("throttled", "rate limited"),
            Verdict::ServerError => transient("graph_error", "temporarily unavailable"),
            Verdict::TokenRejected(_) => permanent("token_rejected", token_dead),
            Verdict::ProofRejected => permanent("app_refused", APP_REMEDIATION),
            Verdict::Permission
            | Verdict::AccountLocked
            | Verdict::WrongTokenKind
            | Verdict::Refused
            | Verdict::Opaque
            | Verdict::Success => match error.code {
                Some(190 | 102) => permanent("token_rejected", token_dead),
                Some(101) => permanent("app_refused", APP_REMEDIATION),
                Some(1) if error.app_secret_refused => permanent("app_refused", APP_REMEDIATION),
                Some(1 | 2) => transient("graph_error", "temporarily unavailable"),
                Some(_) | None => permanent("refused", refused),
            },
        }
    }
}

const APP_REMEDIATION: &str = "Operator action: set app.id and app.secret to those of the token's app.";
const SIXTY_DAYS: Duration = Duration::from_secs(60 * 24 * 60 * 60);

/// The reason for a response that is not Graph's, such as a load balancer's page.
fn reason_for_status(status: StatusCode) -> &'static str {
    match status {
        StatusCode::TOO_MANY_REQUESTS => "throttled",
        status if status.is_server_error() => "graph_error",
        _ => "not_understood",
    }
}

/// Reads token and seconds from a body: JSON, or `access_token=…&expires=…` as very old versions of Graph send.
fn parse_token_response(body: &[u8]) -> Option<(Secret, Option<i64>)> {
    if let Ok(response) = serde_json::from_slice::<TokenResponseBody<'_>>(body) {
        let seconds = response.expires_in.as_ref().and_then(as_integer);
        let seconds = seconds.or_else(|| response.expires.as_ref().and_then(as_integer));
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

/// Takes a text as a token, unless it cannot be one.
fn parse_secret(text: &str) -> Option<Secret> {
    if is_placeholder(text.bytes()) {
        return None;
    }
    Secret::new(text).ok()
}

/// Returns `start` for a negative number, and `None`, which means "never", if the sum is out of range.
fn add_seconds(start: SystemTime, seconds: i64) -> Option<SystemTime> {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    start.checked_add(Duration::from_secs(seconds))
}

/// Returns the codes of an error, on one line.
fn codes_of(error: &GraphError) -> String {
    let code = error
        .code
        .map_or_else(|| "no code".to_owned(), |code| format!("code {code}"));
    let subcode = error.subcode.map(|subcode| format!(", subcode {subcode}"));
    let trace = error.fbtrace_id.as_ref().map(|trace| format!(", fbtrace_id {trace}"));
    [code, subcode.unwrap_or_default(), trace.unwrap_or_default()].concat()
}
