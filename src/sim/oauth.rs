//! Where tokens come from, and where one asks about them.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::Reply;
use super::call::{Call, Presented};
use super::failure::Failure;
use super::hosts::Family;
use super::messages::required;
use super::proof;
use super::random;
use super::state::{State, locked};
use super::tokens::{Death, Kind};
use crate::types::unix;

/// `/oauth/access_token`
pub(super) fn access_token(state: &State, call: &Call) -> Result<Reply, Failure> {
    client(state, call)?;
    match call.text("grant_type").as_deref() {
        Some("fb_exchange_token") => {
            let old = call
                .text("fb_exchange_token")
                .ok_or_else(|| required("fb_exchange_token"))?;
            alive(state, &old)?;
            Ok(granted(state, Family::Facebook))
        }
        Some("client_credentials") => {
            let token = format!("{}|{}", state.settings.app_id, random::app_half());
            let now = state.now();
            locked(&state.tokens).add(&token, Kind::App, now, None);
            Ok(Reply::json(
                &json!({"access_token": token, "token_type": "bearer"}),
            ))
        }
        // Codes come from a login dialog, which a fake does not have: all of them have been used.
        _ if call.text("code").is_some() => {
            Err(Failure::new(100, "This authorization code has been used.").subcode(36_009))
        }
        _ => Err(required("code")),
    }
}

/// `GET /oauth/revoke`
pub(super) fn revoke(state: &State, call: &Call) -> Result<Reply, Failure> {
    client(state, call)?;
    let token = call
        .text("revoke_token")
        .ok_or_else(|| required("revoke_token"))?;
    let now = state.now();
    locked(&state.tokens).kill(&token, Death::Revoked, now);
    Ok(Reply::success())
}

/// `POST /{system-user-id}/access_tokens`: the one way to a token that needs no token that is about to die.
pub(super) fn mint(state: &State, call: &Call) -> Result<Reply, Failure> {
    call.text("appsecret_proof").ok_or_else(proof::missing)?;
    call.text("business_app")
        .ok_or_else(|| required("business_app"))?;
    let limited = call.text("set_token_expires_in_60_days").as_deref() == Some("true");
    let ttl = match state.settings.token_ttl {
        Some(ttl) => Some(ttl),
        None => limited.then_some(SIXTY_DAYS),
    };
    Ok(Reply::json(
        &json!({"access_token": state.issue(Family::Facebook, ttl)}),
    ))
}

/// `DELETE /{system-user-id}/access_tokens`
pub(super) fn revoke_all(state: &State) -> Reply {
    let now = state.now();
    locked(&state.tokens).kill_all(Death::Revoked, now);
    Reply::success()
}

/// `GET /debug_token`: a 200, however dead the token is that it is asked about.
pub(super) fn debug_token(state: &State, call: &Call) -> Result<Reply, Failure> {
    let input = call
        .text("input_token")
        .ok_or_else(|| required("input_token"))?;
    let now = state.now();
    let tokens = locked(&state.tokens);
    let checked = tokens.check(&input, state.app(), now);
    let (issued, until) = tokens.dates(&input);
    let known = tokens.is_known(&input) || checked.is_ok();
    drop(tokens);

    let dead = checked.as_ref().err();
    let mut data = json!({"is_valid": dead.is_none(), "scopes": []});
    let Some(fields) = data.as_object_mut() else {
        return Err(Failure::known(1));
    };
    let mut add = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    if let Some(failure) = dead {
        add("error", failure.debugged());
    }
    if known {
        let app = matches!(checked, Ok(Kind::App));
        add("app_id", state.settings.app_id.as_str().into());
        add("application", "Fake Graph".into());
        add("type", if app { "APP" } else { "SYSTEM_USER" }.into());
        add("expires_at", until.map_or(0, unix).into());
        add("data_access_expires_at", 0.into());
        if let Some(issued) = issued {
            add("issued_at", unix(issued).into());
        }
        if !app {
            add("user_id", USER.into());
            add("scopes", json!(SCOPES));
            let granular = SCOPES.map(|scope| json!({"scope": scope}));
            add("granular_scopes", granular.as_slice().into());
        }
    }
    Ok(Reply::json(&json!({"data": data})))
}

/// The one user there is.
pub(super) const USER: &str = "122094563210074285";
/// What it may do.
pub(super) const SCOPES: [&str; 3] = [
    "business_management",
    "whatsapp_business_management",
    "whatsapp_business_messaging",
];
/// Graph's "60 days" fall some seconds short.
const SIXTY_DAYS: Duration = Duration::from_secs(5_183_944);

/// A new token, and for how long. The old one stays as it is.
pub(super) fn granted(state: &State, family: Family) -> Reply {
    let ttl = state.settings.token_ttl.unwrap_or(SIXTY_DAYS);
    Reply::json(&json!({
        "access_token": state.issue(family, Some(ttl)),
        "token_type": "bearer",
        "expires_in": ttl.as_secs(),
    }))
}

/// Only a living token of a user's is exchanged.
pub(super) fn alive(state: &State, token: &str) -> Result<(), Failure> {
    let now = state.now();
    let kind = locked(&state.tokens).check(token, state.app(), now);
    match kind.map_err(|failure| failure.status(StatusCode::BAD_REQUEST))? {
        Kind::User => Ok(()),
        Kind::App => Err(Failure::token(None, "Invalid OAuth access token data.")
            .status(StatusCode::BAD_REQUEST)),
    }
}

/// `client_id` and `client_secret`.
fn client(state: &State, call: &Call) -> Result<(), Failure> {
    let id = call
        .text("client_id")
        .ok_or_else(|| Failure::new(101, "Missing client_id parameter."))?;
    if id != state.settings.app_id {
        return Err(Failure::new(
            101,
            "Error validating application. Cannot get application info due to a system error.",
        ));
    }
    let secret = call.text("client_secret");
    let bare_app = matches!(&call.presented, Presented::Parameter(token)
        if *token == format!("{id}|{}", state.settings.app_secret));
    if secret.as_deref() == Some(&state.settings.app_secret) || (secret.is_none() && bare_app) {
        Ok(())
    } else {
        Err(Failure::new(1, "Error validating client secret.").status(StatusCode::BAD_REQUEST))
    }
}
