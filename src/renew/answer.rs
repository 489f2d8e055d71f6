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

use crate::graph::presented::is_placeholder;
use crate::graph::{GraphError, Verdict, classify};
use crate::net::{CallError, Caller};
use crate::token::{ObtainError, Token};
use crate::types::Secret;

use super::ask::Ask;

/// Who answered, and what a person has to do if it is not to be had that way.
pub(super) struct Asked {
    endpoint: String,
    remedies: Remedies,
}

/// What a person has to do, in a sentence each.
#[derive(Clone, Copy)]
pub(super) struct Remedies {
    /// If Graph says that the token that was sent is dead.
    pub(super) dead: &'static str,
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
pub(super) enum Silence {
    /// That is not known.
    Unknown,
    /// After the 60 days that were asked for.
    SixtyDays,
}

/// What an endpoint grants. Its error is an answer without a token.
#[derive(Deserialize)]
struct Grant<'a> {
    #[serde(borrow)]
    access_token: Cow<'a, str>,
    expires_in: Option<Value>,
    expires: Option<Value>,
}

// === impl Asked ===

impl Asked {
    pub(super) fn new(ask: &Ask<'_>, remedies: Remedies) -> Self {
        Self {
            endpoint: ask.endpoint(),
            remedies,
        }
    }

    /// Sends a request and reads the answer, whatever it says.
    pub(super) async fn send(
        &self,
        caller: &Caller,
        ask: &Ask<'_>,
        method: Method,
    ) -> Result<Response<Bytes>, ObtainError> {
        let request = match method {
            Method::Get => ask.get(),
            Method::Post => ask.post(),
        };
        let answer = caller.call(self.sendable(request)?).await;
        answer.map_err(|error| self.failed(error))
    }

    fn sendable(
        &self,
        request: Result<Request<Full<Bytes>>, http::Error>,
    ) -> Result<Request<Full<Bytes>>, ObtainError> {
        // The cause is about the address, but has nothing of it.
        request.map_err(|error| {
            let what = format!("{} cannot be asked: correct its address", self.endpoint);
            ObtainError::permanent("address", what).because(error)
        })
    }

    fn failed(&self, error: CallError) -> ObtainError {
        let reason = match error {
            CallError::Connect(_) => "unreachable",
            CallError::Broken(_) => "broken",
            CallError::TooLong => "too_long",
            CallError::Late(_) => "late",
        };
        let what = format!("{} gives no answer", self.endpoint);
        ObtainError::transient(reason, what).because(error)
    }

    /// The token that an answer holds, which was asked for at `asked_at`.
    pub(super) fn granted(
        &self,
        answer: &Response<Bytes>,
        asked_at: SystemTime,
        silence: Silence,
    ) -> Result<Token, ObtainError> {
        let grant = if answer.status().is_success() {
            read(answer.body())
        } else {
            None
        };
        let Some((secret, seconds)) = grant else {
            return Err(self.refused(answer));
        };
        let ends = match (seconds, silence) {
            (Some(seconds), _) => after(asked_at, seconds),
            (None, Silence::SixtyDays) => asked_at.checked_add(SIXTY_DAYS),
            (None, Silence::Unknown) => None,
        };
        if ends.is_some_and(|ends| ends <= asked_at) {
            let what = format!(
                "{} answers with a token that has expired already",
                self.endpoint
            );
            return Err(ObtainError::transient("answer_expired", what));
        }
        Ok(Token {
            expires_at: ends,
            ..Token::lasting(secret)
        })
    }

    /// Why an answer is none.
    pub(super) fn refused(&self, answer: &Response<Bytes>) -> ObtainError {
        let endpoint = &self.endpoint;
        let status = answer.status();
        let Some(error) = GraphError::parse(answer.body()) else {
            let what = format!("{endpoint} answers {status}, and not as Graph does");
            return ObtainError::transient(wordless(status), what);
        };
        // Errors have been seen under a 200.
        let status = if status.is_success() {
            StatusCode::BAD_REQUEST
        } else {
            status
        };
        let says = Says(&error);
        let transient = |reason, why| {
            let what = format!("{endpoint} {why}: Graph says {says}");
            ObtainError::transient(reason, what)
        };
        let permanent = |reason, remedy| {
            let what = format!("{endpoint} refuses: Graph says {says}. {remedy}");
            ObtainError::permanent(reason, what)
        };
        if error.blames_app {
            return permanent("app_refused", APP);
        }
        match classify(status, answer.headers(), answer.body()) {
            Verdict::Throttled => transient("throttled", "is asked too often"),
            Verdict::ServerError => transient("graph_error", "is out of order"),
            Verdict::TokenRejected(_) => permanent("token_rejected", self.remedies.dead),
            Verdict::ProofRejected => permanent("app_refused", APP),
            Verdict::Refused | Verdict::Opaque | Verdict::Success => match error.code {
                Some(190 | 102) => permanent("token_rejected", self.remedies.dead),
                Some(101) => permanent("app_refused", APP),
                Some(1) if blames_app(answer.body()) => permanent("app_refused", APP),
                Some(1 | 2) => transient("graph_error", "is out of order"),
                Some(_) | None => permanent("refused", self.remedies.refused),
            },
        }
    }
}

const APP: &str =
    "An operator has to correct app.id and app.secret, which must be those of the token's app.";
const SIXTY_DAYS: Duration = Duration::from_secs(60 * 24 * 60 * 60);

/// What an answer says that has nothing of Graph's.
fn wordless(status: StatusCode) -> &'static str {
    match status {
        StatusCode::TOO_MANY_REQUESTS => "throttled",
        status if status.is_server_error() => "graph_error",
        _ => "not_understood",
    }
}

/// "Error validating client secret.": the parameter's name, in words.
fn blames_app(body: &[u8]) -> bool {
    memmem::find(body, b"client secret").is_some() || memmem::find(body, b"client_secret").is_some()
}

/// Token and seconds from a body: JSON, or `access_token=…&expires=…` as very old versions answered.
fn read(body: &[u8]) -> Option<(Secret, Option<i64>)> {
    if let Ok(grant) = serde_json::from_slice::<Grant<'_>>(body) {
        let seconds = grant.expires_in.as_ref().and_then(number);
        let seconds = seconds.or_else(|| grant.expires.as_ref().and_then(number));
        let token = Zeroizing::new(grant.access_token.into_owned());
        return Some((secret(&token)?, seconds.filter(|it| *it != 0)));
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
    Some((secret(&token)?, seconds.filter(|it| *it != 0)))
}

/// What may be a token.
fn secret(text: &str) -> Option<Secret> {
    if is_placeholder(text.bytes()) {
        return None;
    }
    Secret::new(text).ok()
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// `None` if it is so far away that it is "never".
fn after(start: SystemTime, seconds: i64) -> Option<SystemTime> {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 {
        Some(start.checked_sub(distance).unwrap_or(start))
    } else {
        start.checked_add(distance)
    }
}

/// What an error says, for a line.
struct Says<'a>(&'a GraphError);

impl fmt::Display for Says<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.code {
            Some(code) => write!(f, "code {code}")?,
            None => f.write_str("no code")?,
        }
        if let Some(subcode) = self.0.subcode {
            write!(f, ", subcode {subcode}")?;
        }
        if let Some(trace) = &self.0.trace {
            write!(f, ", fbtrace_id {trace}")?;
        }
        Ok(())
    }
}
