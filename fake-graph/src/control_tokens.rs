//! The control API's requests about tokens, codes and accounts.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::unix_seconds;
use crate::codes::CodeRequest;
use crate::control_request::{ApiError, bad_request, parse_body, parse_duration};
use crate::hosts::TokenFamily;
use crate::invalidation::InvalidationReason;
use crate::state::{State, lock};
use crate::tokens::{Expiry, TokenChange, TokenInfo, TokenType};

/// `POST /tokens`, and `POST /tokens/set` for an existing one. Times count from now on, or are `never`; an age counts
/// back from now.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenRequest {
    token: Option<String>,
    family: Option<TokenFamily>,
    ttl: Option<String>,
    kind: Option<TokenType>,
    age: Option<String>,
    data_access: Option<String>,
    scopes: Option<Vec<String>>,
    targets: Option<Vec<String>>,
    app_id: Option<String>,
    name: Option<String>,
}

/// `POST /codes`. The `token` has the fields of `POST /tokens` except `token` and `family`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CodeForm {
    redirect_uri: Option<String>,
    ttl: Option<String>,
    #[serde(default)]
    token: TokenRequest,
}

/// `POST /tokens/expire`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InvalidateRequest {
    token: Option<String>,
    #[serde(default)]
    all: bool,
    reason: Option<InvalidationReason>,
}

/// Issues one token, or as many as a list has.
pub(crate) fn issue_tokens(state: &State, body: &[u8]) -> Result<Value, ApiError> {
    if !body.trim_ascii_start().starts_with(b"[") {
        return issue_token(state, parse_body(body)?);
    }
    let requests: Vec<TokenRequest> = parse_body(body)?;
    let issued = requests.into_iter().map(|request| issue_token(state, request));
    Ok(json!({"data": issued.collect::<Result<Vec<_>, _>>()?}))
}

/// Issues an authorization code.
pub(crate) fn issue_code(state: &State, request: CodeForm) -> Result<Value, ApiError> {
    if request.token.token.is_some() || request.token.family.is_some() {
        return Err(bad_request("the token of a code has neither \"token\" nor \"family\""));
    }
    let ttl = request.ttl.as_deref().map(parse_duration).transpose();
    let code = CodeRequest {
        redirect_uri: request.redirect_uri,
        ttl: ttl.map_err(bad_request)?,
        token: parse_change(state, &request.token)?,
    };
    Ok(json!({"code": lock(&state.codes).issue(code, state.now())}))
}

/// Sets the phone numbers of business accounts.
pub(crate) fn set_accounts(state: &State, accounts: BTreeMap<String, Vec<String>>) -> Value {
    let mut tokens = lock(&state.tokens);
    for (account, ids) in accounts {
        tokens.owners.set_phone_numbers(account, ids);
    }
    json!({"success": true})
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

pub(crate) fn update_token(state: &State, mut request: TokenRequest) -> Result<Value, ApiError> {
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
        name: request.name.clone(),
    })
}

pub(crate) fn invalidate_tokens(state: &State, request: InvalidateRequest) -> Result<Value, ApiError> {
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
