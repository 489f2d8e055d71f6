//! Calls that issue and revoke tokens.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::auth::ValidToken;
use crate::call::{Call, CallCredential};
use crate::failure::GraphFailure;
use crate::faults::TokenResponse;
use crate::hosts::TokenFamily;
use crate::invalidation::InvalidationReason;
use crate::proof;
use crate::random;
use crate::reply::Reply;
use crate::state::{State, lock};
use crate::tokens::{Expiry, TokenChange, TokenInfo, TokenType};

/// `/oauth/access_token`
pub(crate) fn access_token(state: &State, call: &Call) -> Result<Reply, GraphFailure> {
    check_client(state, call)?;
    match call.text("grant_type").as_deref() {
        Some("fb_exchange_token") => {
            let old = call.required("fb_exchange_token")?;
            check_exchangeable(state, &old)?;
            Ok(issue_successor(state, call, &old, TokenFamily::Facebook))
        }
        Some("client_credentials") => {
            let token = format!("{}|{}", state.config.app_id, random::app_token_suffix());
            let about = TokenInfo::new(TokenType::App, state.now(), None);
            lock(&state.tokens).add(&token, about);
            Ok(Reply::json(&json!({"access_token": token, "token_type": "bearer"})))
        }
        _ => {
            let code = call.required("code")?;
            let now = state.now();
            let change = lock(&state.codes).redeem(&code, call, now)?;
            let ttl = state.config.token_ttl.unwrap_or(LONG_LIVED_TTL);
            let mut about = TokenInfo::new(change.kind.unwrap_or(TokenType::User), now, Some(ttl));
            about.apply(change);
            let lifetime = about.expires_at.map(|at| at.duration_since(now).unwrap_or_default());
            Ok(issue_described(state, call, about, lifetime, None))
        }
    }
}

/// `GET /oauth/revoke`
pub(crate) fn revoke(state: &State, call: &Call) -> Result<Reply, GraphFailure> {
    check_client(state, call)?;
    let token = call.required("revoke_token")?;
    let now = state.now();
    lock(&state.tokens).invalidate(&token, InvalidationReason::Revoked, now);
    Ok(Reply::success())
}

/// `POST /{system-user-id}/access_tokens`: the only way to a token that does not need one that is about to expire. The
/// answer does not contain the expiry.
pub(crate) fn create_system_user_token(
    state: &State,
    call: &Call,
    caller: &ValidToken,
    id: &str,
) -> Result<Reply, GraphFailure> {
    match caller.kind {
        TokenType::User | TokenType::SystemUser => {}
        TokenType::Page | TokenType::App => return Err(GraphFailure::from_code(200)),
    }
    call.text("appsecret_proof").ok_or_else(proof::missing_proof)?;
    let app = call.required("business_app")?;
    if app != state.config.app_id {
        return Err(GraphFailure::new(100, "(#100) Invalid parameter: business_app"));
    }
    let scope = call.required("scope")?;
    let expires_in_60_days = call.text("set_token_expires_in_60_days").as_deref() == Some("true");
    let ttl = match state.config.token_ttl {
        Some(ttl) => Some(ttl),
        None => expires_in_60_days.then_some(LONG_LIVED_TTL),
    };
    let mut about = TokenInfo::new(TokenType::SystemUser, state.now(), ttl);
    about.scopes = scope.split(',').map(|scope| scope.trim().to_owned()).collect();
    let tokens = lock(&state.tokens);
    let grant = tokens.owners.newest_grant(id).or_else(|| tokens.grant(&caller.token));
    about.grant = grant.cloned().unwrap_or_default();
    drop(tokens);
    if call.token_response == TokenResponse::Expired {
        about.expires_at = Some(about.issued_at);
    }
    let token = state.store_new_token(TokenFamily::Facebook, about);
    let mut answer = json!({"access_token": token});
    if call.token_response == TokenResponse::Oversized {
        add_padding(&mut answer);
    }
    Ok(Reply::json(&answer))
}

/// `DELETE /{system-user-id}/access_tokens`
pub(crate) fn revoke_all(state: &State, id: &str) -> Reply {
    let now = state.now();
    lock(&state.tokens).invalidate_listing(id, InvalidationReason::Revoked, now);
    Reply::success()
}

/// The only user.
pub(crate) const USER_ID: &str = "122094563210074285";
/// Graph's "60 days" are some seconds less.
const LONG_LIVED_TTL: Duration = Duration::from_secs(5_183_944);

/// Issues the successor of a token, with the same scopes. The old token stays valid.
pub(crate) fn issue_successor(state: &State, call: &Call, old: &str, family: TokenFamily) -> Reply {
    let ttl = state.config.token_ttl.unwrap_or(LONG_LIVED_TTL);
    let now = state.now();
    let known = lock(&state.tokens).info(old);
    let mut about = TokenInfo::new(TokenType::User, now, Some(ttl));
    if let Some(known) = known {
        about = TokenInfo {
            issued_at: about.issued_at,
            expires_at: about.expires_at,
            data_access_expires_at: known.data_access_expires_at.and(about.data_access_expires_at),
            ..known
        };
    }
    let predecessor = Predecessor { token: old, family };
    issue_described(state, call, about, Some(ttl), Some(predecessor))
}

/// The token that a new one replaces.
struct Predecessor<'a> {
    token: &'a str,
    family: TokenFamily,
}

/// Issues a token with these properties and this lifetime, and answers as the call's fault says.
fn issue_described(
    state: &State,
    call: &Call,
    mut about: TokenInfo,
    lifetime: Option<Duration>,
    predecessor: Option<Predecessor<'_>>,
) -> Reply {
    let mut seconds = lifetime.map(|lifetime| i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX));
    let family = predecessor.as_ref().map_or(TokenFamily::Facebook, |old| old.family);
    let token = match (call.token_response, predecessor) {
        (TokenResponse::Expired, _) => {
            about.expires_at = Some(state.now() - HOUR);
            seconds = Some(-3600);
            state.store_new_token(family, about)
        }
        (TokenResponse::SameToken, Some(old)) => {
            let later = TokenChange {
                expires_at: about.expires_at.map(Expiry::At),
                ..TokenChange::default()
            };
            lock(&state.tokens).update(old.token, later);
            old.token.to_owned()
        }
        (
            TokenResponse::Normal
            | TokenResponse::WithoutExpiry
            | TokenResponse::FormEncoded
            | TokenResponse::SameToken
            | TokenResponse::Oversized,
            _,
        ) => state.store_new_token(family, about),
    };
    if call.token_response == TokenResponse::FormEncoded {
        let expires = seconds.map(|seconds| format!("&expires={seconds}")).unwrap_or_default();
        let form = format!("access_token={token}{expires}");
        return Reply::file(StatusCode::OK, "text/plain; charset=UTF-8", form.into());
    }
    let mut answer = json!({"access_token": token, "token_type": "bearer"});
    let seconds = seconds.filter(|_| call.token_response != TokenResponse::WithoutExpiry);
    if let Some(seconds) = seconds {
        insert_field(&mut answer, "expires_in", seconds.into());
    }
    if call.token_response == TokenResponse::Oversized {
        add_padding(&mut answer);
    }
    Reply::json(&answer)
}

const HOUR: Duration = Duration::from_secs(60 * 60);

fn insert_field(answer: &mut Value, name: &str, value: Value) {
    if let Some(fields) = answer.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

/// Makes the answer longer than clients expect.
fn add_padding(answer: &mut Value) {
    insert_field(answer, "padding", "x".repeat(100_000).into());
}

/// Only a valid token of a user is exchanged.
pub(crate) fn check_exchangeable(state: &State, token: &str) -> Result<(), GraphFailure> {
    let now = state.now();
    let kind = lock(&state.tokens).check(token, state.app_credentials(), now);
    match kind.map_err(|failure| failure.with_status(StatusCode::BAD_REQUEST))? {
        TokenType::User | TokenType::Page | TokenType::SystemUser => Ok(()),
        TokenType::App => {
            Err(GraphFailure::invalid_token(None, "Invalid OAuth access token data.")
                .with_status(StatusCode::BAD_REQUEST))
        }
    }
}

/// `client_id` and `client_secret`.
fn check_client(state: &State, call: &Call) -> Result<(), GraphFailure> {
    let id = call
        .text("client_id")
        .ok_or_else(|| GraphFailure::new(101, "Missing client_id parameter."))?;
    if id != state.config.app_id {
        return Err(GraphFailure::new(
            101,
            "Error validating application. Cannot get application info due to a system error.",
        ));
    }
    let secret = call.text("client_secret");
    let has_app_token = matches!(&call.credential, CallCredential::Parameter(token)
        if *token == format!("{id}|{}", state.config.app_secret));
    if secret.as_deref() == Some(&state.config.app_secret) || (secret.is_none() && has_app_token) {
        Ok(())
    } else {
        Err(GraphFailure::new(1, "Error validating client secret.").with_status(StatusCode::BAD_REQUEST))
    }
}
