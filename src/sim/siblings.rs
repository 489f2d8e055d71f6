//! Instagram and Threads: hosts, tokens and errors of their own, and only as much of a world as tokens need.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use super::answer::Reply;
use super::call::Call;
use super::death::Death;
use super::failure::Failure;
use super::hosts::{Family, Host};
use super::messages::required;
use super::oauth::{USER, alive, granted};
use super::objects::chosen;
use super::router;
use super::state::{State, locked};
use super::tokens::is_id;

/// `GET /access_token`: a short-lived token and the app's secret buy a long-lived one.
pub(super) fn exchange(state: &State, call: &Call) -> Result<Reply, Failure> {
    let family = family(call, ["ig_exchange_token", "th_exchange_token"])?;
    let secret = call
        .text("client_secret")
        .ok_or_else(|| required("client_secret"))?;
    if secret != state.settings.app_secret {
        return Err(
            Failure::new(1, "Error validating client secret.").status(StatusCode::BAD_REQUEST)
        );
    }
    let bearer = router::admit(state, call)?;
    alive(state, &bearer.token)?;
    Ok(granted(state, call, &bearer.token, family))
}

/// `GET /refresh_access_token`: no secret, the token renews itself; but only from its first day on, and never once it
/// has expired.
pub(super) fn refresh(state: &State, call: &Call) -> Result<Reply, Failure> {
    let family = family(call, ["ig_refresh_token", "th_refresh_token"])?;
    let bearer = router::admit(state, call)?;
    alive(state, &bearer.token)?;
    if Family::of(&bearer.token) != family {
        return Err(Death::unparsable().status(StatusCode::BAD_REQUEST));
    }
    let issued = locked(&state.tokens).about(&bearer.token);
    let ripe = issued.is_some_and(|about| about.issued + youth(state) <= state.now());
    if !ripe {
        return Err(Failure::new(100, YOUNG));
    }
    Ok(granted(state, call, &bearer.token, family))
}

const YOUNG: &str = "The access token must be at least 24 hours old to be refreshed";

/// How old a token has to be: 24 hours, or as much of a shorter life as they are of 60 days.
fn youth(state: &State) -> Duration {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    state.settings.token_ttl.map_or(DAY, |ttl| ttl / 60)
}

/// `POST /oauth/access_token`, for codes, all of which have been used. The error is no envelope there.
pub(super) fn login(call: &Call) -> Result<Reply, Failure> {
    call.text("code").ok_or_else(|| required("code"))?;
    Ok(Reply::json(&json!({
        "error_type": "OAuthException",
        "code": 400,
        "error_message": "This authorization code has been used",
    }))
    .status(StatusCode::BAD_REQUEST))
}

/// The account of the token, by `me` or by any number.
pub(super) fn object(call: &Call, path: &[&str]) -> Result<Reply, Failure> {
    match (call.method.as_str(), path) {
        ("GET" | "HEAD", [id]) if *id == "me" || is_id(id) => Ok(chosen(
            call,
            json!({"user_id": USER, "username": "fake_graph", "name": "Fake Graph", "id": USER}),
        )),
        (_, path) => Err(Failure::unsupported(&call.method, &path.join("/"))),
    }
}

/// Whose grant it is. One that is another host's is nobody's.
fn family(call: &Call, grants: [&str; 2]) -> Result<Family, Failure> {
    let [instagram, threads] = grants;
    let grant = call
        .text("grant_type")
        .ok_or_else(|| required("grant_type"))?;
    let family = match grant {
        grant if grant == instagram => Family::Instagram,
        grant if grant == threads => Family::Threads,
        _ => return Err(Failure::new(100, "Invalid parameter: grant_type")),
    };
    if call.host == Host::Other || call.host.takes(family) {
        Ok(family)
    } else {
        Err(Failure::new(100, "Invalid parameter: grant_type"))
    }
}
