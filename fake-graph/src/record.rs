//! Records a call as it arrived, without its secrets.

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING, USER_AGENT};
use http::{HeaderMap, HeaderName, Version};
use serde_json::Value;

use crate::call::{Call, parse_form};
use crate::call_log::{AuthorizationHeader, ParameterCredential, RecordedBatchItem, RecordedCall};
use crate::clock::unix_seconds;
use crate::digest::fingerprint;
use crate::faults::EndpointKind;
use crate::state::{State, lock};
use crate::tokens::TokenType;
use crate::{proof, router};

/// A request on the wire, before it is parsed.
pub(crate) struct RawRequest {
    pub(crate) method: http::Method,
    pub(crate) host: String,
    pub(crate) target: String,
    pub(crate) http: Version,
    pub(crate) length: u64,
    pub(crate) sha256: String,
}

/// Describes a call and its batch items.
pub(crate) fn record(state: &State, call: &Call, items: &[Call], wire: &RawRequest) -> RecordedCall {
    let text = |name: HeaderName| {
        let value = call.headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let mut tokens: Vec<(&'static str, String)> = call
        .params_with_location()
        .filter(|(_, name, value)| *name == "access_token" && !value.is_empty())
        .map(|(location, _, value)| (location, value))
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
            .map(|(location, name, _)| (location, name.to_owned()))
            .collect(),
        items: record_batch_items(state, call, items),
        access_tokens: tokens
            .into_iter()
            .map(|(location, token)| ParameterCredential {
                location,
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

/// The state of a possible token.
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

/// The headers, with credentials masked: those of `Authorization`, and those that are also in parameters.
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

/// The scheme and the credential of an `Authorization` header. A text without a scheme is taken as a credential.
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
}
