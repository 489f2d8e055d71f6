//! Calls as they arrived: what `GET /calls` of the control API shows, so that a test of any language can say what
//! reached Graph.
//!
//! No secret is in it. A token stands as its fingerprint, `<0123abcd>`, in headers and targets alike; an app's
//! secret as `<secret>`, a proof as `<proof>`.

use std::collections::VecDeque;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING, USER_AGENT};
use http::{HeaderMap, HeaderName, StatusCode, Version};
use serde::Serialize;
use serde_json::Value;

use crate::call::{Call, parse_form};
use crate::clock::unix_seconds;
use crate::faults::EndpointKind;
use crate::state::{State, lock};
use crate::tokens::{TokenType, fingerprint};
use crate::{batch, proof, router};

/// A call as it arrived.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RecordedCall {
    /// The method on the wire, tunnelled or not.
    pub method: String,
    /// The name it was sent to, without the port.
    pub host: String,
    /// Path and query, byte for byte but for secrets.
    pub target: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub http: String,
    /// Whether it is about data; else it is about tokens.
    pub data: bool,
    /// All headers in order: name in lower case, value.
    pub headers: Vec<(String, String)>,
    /// What the `Authorization` header says, if there is one.
    pub authorization: Option<AuthorizationHeader>,
    /// Credentials in parameters: `access_token`, wherever one stands that is not empty.
    pub access_tokens: Vec<ParameterCredential>,
    /// `absent`, `verify` or `wrong`: the `appsecret_proof`, for the credential that counts.
    pub proof: &'static str,
    /// The names of the parameters, each with its place: `query`, `parse_form`, `multipart` or `json`.
    pub parameters: Vec<(&'static str, String)>,
    /// A batch's items.
    pub items: Vec<RecordedBatchItem>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
    /// The `Accept` header.
    pub accept: Option<String>,
    /// The `Content-Type` header.
    pub content_type: Option<String>,
    /// The `Content-Length` header.
    pub content_length: Option<String>,
    /// The `Transfer-Encoding` header.
    pub transfer_encoding: Option<String>,
    /// How long the body was.
    pub body_length: u64,
    /// The body's SHA-256, in hexadecimal.
    pub body_sha256: String,
    /// The status of the answer, once there is one.
    pub status: Option<u16>,
    /// When it arrived, in seconds since 1970.
    pub at: i64,
}

/// An `Authorization` header.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AuthorizationHeader {
    /// The scheme, as it was written.
    pub scheme: String,
    /// The credential's fingerprint.
    pub token: String,
    /// What Graph knows of it: `alive`, `failure`, `app` or `unknown`.
    pub state: &'static str,
}

/// A credential in a parameter.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ParameterCredential {
    /// `query`, `parse_form`, `multipart`, `json` or `batch`.
    pub place: &'static str,
    /// Its fingerprint.
    pub token: String,
    /// What Graph knows of it: `alive`, `failure`, `app` or `unknown`.
    pub state: &'static str,
}

/// An item of a batch.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RecordedBatchItem {
    /// Its method.
    pub method: String,
    /// Its `relative_url`, but for secrets.
    pub relative_url: String,
    /// Its `body`, but for secrets.
    pub body: String,
    /// `absent`, `verify` or `wrong`: the proof that it brings itself.
    pub proof: &'static str,
}

/// What the wire said, before it was made sense of.
pub(crate) struct RawRequest {
    pub(crate) method: http::Method,
    pub(crate) host: String,
    pub(crate) target: String,
    pub(crate) http: Version,
    pub(crate) length: u64,
    pub(crate) sha256: String,
}

/// The last calls.
#[derive(Default)]
pub(crate) struct CallLog {
    dropped: usize,
    entries: VecDeque<RecordedCall>,
}

// === impl CallLog ===

impl CallLog {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &RecordedCall> {
        self.entries.iter()
    }

    /// Forgets them, but not how many there were: an answer may be on its way.
    pub(crate) fn clear(&mut self) {
        self.dropped += self.entries.len();
        self.entries.clear();
    }

    /// Adds one; gives its number.
    pub(crate) fn add(&mut self, call: RecordedCall) -> usize {
        self.entries.push_back(call);
        if self.entries.len() > MAX_RECORDED_CALLS {
            self.entries.pop_front();
            self.dropped += 1;
        }
        self.dropped + self.entries.len()
    }

    /// Writes down how one was answered, if it is still remembered.
    pub(crate) fn record_status(&mut self, sequence: usize, status: StatusCode) {
        let place = sequence.checked_sub(self.dropped + 1);
        if let Some(seen) = place.and_then(|place| self.entries.get_mut(place)) {
            seen.status = Some(status.as_u16());
        }
    }
}

/// So many calls are remembered.
const MAX_RECORDED_CALLS: usize = 1000;

/// Describes a call.
pub(crate) fn record(state: &State, call: &Call, wire: &RawRequest) -> RecordedCall {
    let text = |name: HeaderName| {
        let value = call.headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let items = batch::parse_items(call);
    let mut tokens: Vec<(&'static str, String)> = call
        .params_with_location()
        .filter(|(_, name, value)| *name == "access_token" && !value.is_empty())
        .map(|(place, _, value)| (place, value))
        .collect();
    let item_tokens = items.iter().filter_map(|item| item.text("access_token"));
    tokens.extend(item_tokens.map(|token| ("batch", token)));
    let authorization = text(AUTHORIZATION);
    let (scheme, credential) = authorization.as_deref().map_or(("", ""), split_authorization);

    RecordedCall {
        method: wire.method.to_string(),
        host: wire.host.clone(),
        target: mask_target(&wire.target),
        http: format!("{:?}", wire.http),
        data: router::classify(call) == EndpointKind::Data,
        headers: masked_headers(&call.headers, &tokens),
        authorization: authorization.is_some().then(|| AuthorizationHeader {
            scheme: scheme.to_owned(),
            token: fingerprint(credential.trim()),
            state: token_state(state, credential.trim()),
        }),
        proof: proof::proof_state(state, call),
        parameters: call
            .params_with_location()
            .map(|(place, name, _)| (place, name.to_owned()))
            .collect(),
        items: record_batch_items(state, call, &items),
        access_tokens: tokens
            .into_iter()
            .map(|(place, token)| ParameterCredential {
                place,
                token: fingerprint(&token),
                state: token_state(state, &token),
            })
            .collect(),
        user_agent: text(USER_AGENT),
        accept: text(ACCEPT),
        content_type: text(CONTENT_TYPE),
        content_length: text(CONTENT_LENGTH),
        transfer_encoding: text(TRANSFER_ENCODING),
        body_length: wire.length,
        body_sha256: wire.sha256.clone(),
        status: None,
        at: unix_seconds(state.now()),
    }
}

fn record_batch_items(state: &State, call: &Call, items: &[Call]) -> Vec<RecordedBatchItem> {
    let raw_items = call.value("batch").unwrap_or_default();
    let written = raw_items.as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |item: &Value, name| {
        let text = item.get(name).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let items_with_calls = written.iter().zip(items);
    items_with_calls
        .map(|(item, call)| RecordedBatchItem {
            method: text(item, "method"),
            relative_url: mask_target(&text(item, "relative_url")),
            body: mask_pairs(&text(item, "body")),
            proof: proof::proof_state(state, call),
        })
        .collect()
}

/// What Graph knows of a text that may be a token.
fn token_state(state: &State, token: &str) -> &'static str {
    let now = state.now();
    let tokens = lock(&state.tokens);
    match tokens.check(token, state.app_credentials(), now) {
        Ok(TokenType::App) => "app",
        Ok(TokenType::User | TokenType::Page | TokenType::SystemUser) => "alive",
        Err(_) if tokens.is_known(token) => "dead",
        Err(_) => "unknown",
    }
}

/// Headers, less the credentials: the header's own, and those that stand in parameters.
fn masked_headers(headers: &HeaderMap, tokens: &[(&'static str, String)]) -> Vec<(String, String)> {
    let shown = headers.iter().map(|(name, value)| {
        let mut value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if name == AUTHORIZATION {
            let (scheme, token) = split_authorization(&value);
            value = match (scheme, token.trim()) {
                (scheme, "") => scheme.to_owned(),
                ("", token) => format!("<{}>", fingerprint(token)),
                (scheme, token) => format!("{scheme} <{}>", fingerprint(token)),
            };
        }
        for (_, token) in tokens.iter().filter(|(_, token)| token.len() >= 8) {
            value = value.replace(token, &format!("<{}>", fingerprint(token)));
        }
        (name.as_str().to_owned(), value)
    });
    shown.collect()
}

/// The scheme and the credential of an `Authorization`. What has no scheme may be a credential.
fn split_authorization(field: &str) -> (&str, &str) {
    let scheme = |word: &&str| {
        ["bearer", "oauth", "basic"]
            .iter()
            .any(|known| word.eq_ignore_ascii_case(known))
    };
    match field.split_once(' ') {
        Some(halves) => halves,
        None => Some(field).filter(scheme).map_or(("", field), |scheme| (scheme, "")),
    }
}

/// A target, less the secrets in its query.
fn mask_target(target: &str) -> String {
    match target.split_once('?') {
        Some((path, query)) => format!("{path}?{}", mask_pairs(query)),
        None => target.to_owned(),
    }
}

/// A query or a form, less its secrets. The other bytes stay as they are, which a parser would not see to.
fn mask_pairs(text: &str) -> String {
    let shown = text.split('&').map(|pair| {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        let parsed = parse_form(pair).pop();
        let Some((key, value)) = parsed.filter(|(_, value)| !value.is_empty()) else {
            return pair.to_owned();
        };
        match key.as_str() {
            "access_token" | "input_token" | "fb_exchange_token" | "revoke_token" => {
                format!("{name}=<{}>", fingerprint(&value))
            }
            "client_secret" | "code" => format!("{name}=<secret>"),
            "appsecret_proof" => format!("{name}=<proof>"),
            "batch" => format!("{name}=<batch>"),
            _ => pair.to_owned(),
        }
    });
    shown.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_the_other_bytes_are_not_touched() {
        let print = fingerprint("EAAx|y");
        assert_eq!(
            mask_target("/v1.0//me/?a=%7C&&access%5Ftoken=EAAx%7Cy&b+=%zz&client_secret=s&access_token="),
            format!("/v1.0//me/?a=%7C&&access%5Ftoken=<{print}>&b+=%zz&client_secret=<secret>&access_token=")
        );
        assert_eq!(mask_target("/me"), "/me");
    }

    #[test]
    fn a_credential_without_a_scheme_is_one() {
        assert_eq!(split_authorization("Bearer EAAx"), ("Bearer", "EAAx"));
        assert_eq!(split_authorization("OAuth"), ("OAuth", ""));
        assert_eq!(split_authorization("EAAx"), ("", "EAAx"));
        let sent = HeaderMap::from_iter([(AUTHORIZATION, "EAAsecret".parse().unwrap())]);
        let shown = format!("<{}>", fingerprint("EAAsecret"));
        assert_eq!(masked_headers(&sent, &[]), [("authorization".to_owned(), shown)]);
    }

    #[test]
    fn an_answer_finds_its_call_although_others_were_forgotten() {
        let mut calls = CallLog::default();
        let seen = |method: &str| RecordedCall {
            method: method.to_owned(),
            host: String::new(),
            target: String::new(),
            http: String::new(),
            data: true,
            headers: Vec::new(),
            authorization: None,
            access_tokens: Vec::new(),
            proof: "absent",
            parameters: Vec::new(),
            items: Vec::new(),
            user_agent: None,
            accept: None,
            content_type: None,
            content_length: None,
            transfer_encoding: None,
            body_length: 0,
            body_sha256: String::new(),
            status: None,
            at: 0,
        };
        let first = calls.add(seen("FIRST"));
        calls.clear();
        let second = calls.add(seen("SECOND"));
        calls.record_status(first, StatusCode::OK);
        assert_eq!(calls.iter().next().unwrap().status, None);
        for _ in 1..MAX_RECORDED_CALLS {
            calls.add(seen("MORE"));
        }
        calls.record_status(second, StatusCode::OK);
        assert_eq!(calls.iter().next().unwrap().status, Some(200));
        calls.add(seen("LAST"));
        assert_eq!(calls.iter().count(), MAX_RECORDED_CALLS);
        calls.record_status(second, StatusCode::CREATED);
        assert!(calls.iter().all(|seen| seen.status.is_none()));
    }
}
