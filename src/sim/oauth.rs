//! Where tokens come from.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::Reply;
use super::call::{Call, Presented};
use super::death::Death;
use super::failure::Failure;
use super::faults::Grant;
use super::hosts::Family;
use super::messages::required;
use super::proof;
use super::random;
use super::state::{State, locked};
use super::tokens::{About, Change, Kind, Until};

/// `/oauth/access_token`
pub(super) fn access_token(state: &State, call: &Call) -> Result<Reply, Failure> {
    client(state, call)?;
    match call.text("grant_type").as_deref() {
        Some("fb_exchange_token") => {
            let old = call
                .text("fb_exchange_token")
                .ok_or_else(|| required("fb_exchange_token"))?;
            alive(state, &old)?;
            Ok(granted(state, call, &old, Family::Facebook))
        }
        Some("client_credentials") => {
            let token = format!("{}|{}", state.settings.app_id, random::app_half());
            let about = About::new(Kind::App, state.now(), None);
            locked(&state.tokens).add(&token, about);
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

/// `POST /{system-user-id}/access_tokens`: the one way to a token that needs no token that is about to die. When the
/// new one ends is not told.
pub(super) fn mint(state: &State, call: &Call, asking: Kind) -> Result<Reply, Failure> {
    match asking {
        Kind::User | Kind::SystemUser => {}
        Kind::Page | Kind::App => return Err(Failure::known(200)),
    }
    call.text("appsecret_proof").ok_or_else(proof::missing)?;
    let app = call
        .text("business_app")
        .ok_or_else(|| required("business_app"))?;
    if app != state.settings.app_id {
        return Err(Failure::new(100, "(#100) Invalid parameter: business_app"));
    }
    let scope = call.text("scope").ok_or_else(|| required("scope"))?;
    let limited = call.text("set_token_expires_in_60_days").as_deref() == Some("true");
    let ttl = match state.settings.token_ttl {
        Some(ttl) => Some(ttl),
        None => limited.then_some(SIXTY_DAYS),
    };
    let mut about = About::new(Kind::SystemUser, state.now(), ttl);
    about.scopes = scope
        .split(',')
        .map(|scope| scope.trim().to_owned())
        .collect();
    if call.grant == Grant::Stale {
        about.until = Some(about.issued);
    }
    let token = state.grant(Family::Facebook, about);
    let mut answer = json!({"access_token": token});
    if call.grant == Grant::Huge {
        pad(&mut answer);
    }
    Ok(Reply::json(&answer))
}

/// `DELETE /{system-user-id}/access_tokens`
pub(super) fn revoke_all(state: &State) -> Reply {
    let now = state.now();
    locked(&state.tokens).kill_all(Death::Revoked, now);
    Reply::success()
}

/// The one user there is.
pub(super) const USER: &str = "122094563210074285";
/// Graph's "60 days" fall some seconds short.
const SIXTY_DAYS: Duration = Duration::from_secs(5_183_944);

/// The successor of a token, and for how long; it may do what the old one may, which stays as it is.
pub(super) fn granted(state: &State, call: &Call, old: &str, family: Family) -> Reply {
    let ttl = state.settings.token_ttl.unwrap_or(SIXTY_DAYS);
    let now = state.now();
    let known = locked(&state.tokens).about(old);
    let mut about = About::new(Kind::User, now, Some(ttl));
    if let Some(known) = known {
        about = About {
            issued: about.issued,
            until: about.until,
            data_access: known.data_access.and(about.data_access),
            ..known
        };
    }
    let mut seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
    let token = match call.grant {
        Grant::Usual | Grant::Untold | Grant::Form | Grant::Huge => state.grant(family, about),
        Grant::Stale => {
            about.until = Some(now - HOUR);
            seconds = -3600;
            state.grant(family, about)
        }
        Grant::Same => {
            let ends = about.until.map(Until::Then);
            let later = Change {
                ends,
                ..Change::default()
            };
            locked(&state.tokens).change(old, later);
            old.to_owned()
        }
    };
    let mut answer = json!({"access_token": token, "token_type": "bearer"});
    match call.grant {
        Grant::Form => {
            let form = format!("access_token={token}&expires={seconds}");
            return Reply::file(StatusCode::OK, "text/plain; charset=UTF-8", form.into());
        }
        Grant::Untold => {}
        Grant::Usual | Grant::Same | Grant::Stale => put(&mut answer, "expires_in", seconds.into()),
        Grant::Huge => {
            put(&mut answer, "expires_in", seconds.into());
            pad(&mut answer);
        }
    }
    Reply::json(&answer)
}

const HOUR: Duration = Duration::from_secs(60 * 60);

fn put(answer: &mut Value, name: &str, value: Value) {
    if let Some(fields) = answer.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

/// To a length that nobody expects.
fn pad(answer: &mut Value) {
    put(answer, "padding", "x".repeat(100_000).into());
}

/// Only a living token of a user's is exchanged.
pub(super) fn alive(state: &State, token: &str) -> Result<(), Failure> {
    let now = state.now();
    let kind = locked(&state.tokens).check(token, state.app(), now);
    match kind.map_err(|failure| failure.status(StatusCode::BAD_REQUEST))? {
        Kind::User | Kind::Page | Kind::SystemUser => Ok(()),
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
