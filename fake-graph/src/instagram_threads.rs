//! Instagram and Threads: hosts, tokens and errors of their own, and only the objects that tokens need.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use crate::auth::authenticate;
use crate::call::Call;
use crate::failure::GraphFailure;
use crate::grants::is_id;
use crate::hosts::{TokenFamily, VirtualHost};
use crate::invalidation::InvalidationReason;
use crate::oauth::{USER_ID, check_exchangeable, issue_successor};
use crate::objects::reply_with_fields;
use crate::reply::Reply;
use crate::state::{State, lock};

/// `GET /access_token`: exchanges a short-lived token for a long-lived one.
pub(crate) fn exchange(state: &State, call: &Call) -> Result<Reply, GraphFailure> {
    let family = requested_family(call, ["ig_exchange_token", "th_exchange_token"])?;
    let secret = call.required("client_secret")?;
    if secret != state.config.app_secret {
        return Err(GraphFailure::new(1, "Error validating client secret.").with_status(StatusCode::BAD_REQUEST));
    }
    let bearer = authenticate(state, call)?;
    check_exchangeable(state, &bearer.token)?;
    Ok(issue_successor(state, call, &bearer.token, family))
}

/// `GET /refresh_access_token`: renews a token without a secret, if it is at least a day old and has not expired.
pub(crate) fn refresh(state: &State, call: &Call) -> Result<Reply, GraphFailure> {
    let family = requested_family(call, ["ig_refresh_token", "th_refresh_token"])?;
    let bearer = authenticate(state, call)?;
    check_exchangeable(state, &bearer.token)?;
    if lock(&state.tokens).family(&bearer.token) != family {
        return Err(InvalidationReason::cannot_parse().with_status(StatusCode::BAD_REQUEST));
    }
    let token_info = lock(&state.tokens).info(&bearer.token);
    let old_enough = token_info.is_some_and(|about| about.issued_at + min_refresh_age(state) <= state.now());
    if !old_enough {
        return Err(GraphFailure::new(100, TOO_YOUNG_MESSAGE));
    }
    Ok(issue_successor(state, call, &bearer.token, family))
}

const TOO_YOUNG_MESSAGE: &str = "The access token must be at least 24 hours old to be refreshed";

/// The minimum age of a token: 24 hours, or a sixtieth of a configured lifetime, as 24 hours are of 60 days.
fn min_refresh_age(state: &State) -> Duration {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    state.config.token_ttl.map_or(DAY, |ttl| ttl / 60)
}

/// `POST /oauth/access_token`, for codes, all of which have been used. This error has no envelope.
pub(crate) fn login(call: &Call) -> Result<Reply, GraphFailure> {
    call.required("code")?;
    Ok(Reply::json(&json!({
        "error_type": "OAuthException",
        "code": 400,
        "error_message": "This authorization code has been used",
    }))
    .with_status(StatusCode::BAD_REQUEST))
}

/// The account of the token, by `me` or by any number.
pub(crate) fn account(call: &Call, path: &[&str]) -> Result<Reply, GraphFailure> {
    match (call.method.as_str(), path) {
        ("GET" | "HEAD", [id]) if *id == "me" || is_id(id) => Ok(reply_with_fields(
            call,
            json!({"user_id": USER_ID, "username": "fake_graph", "name": "Fake Graph", "id": USER_ID}),
        )),
        (_, path) => Err(GraphFailure::unsupported_request(&call.method, &path.join("/"))),
    }
}

/// The family of a grant type. A host refuses another family's grant types.
fn requested_family(call: &Call, grants: [&str; 2]) -> Result<TokenFamily, GraphFailure> {
    let [instagram, threads] = grants;
    let grant = call.required("grant_type")?;
    let family = match grant {
        grant if grant == instagram => TokenFamily::Instagram,
        grant if grant == threads => TokenFamily::Threads,
        _ => return Err(GraphFailure::new(100, "Invalid parameter: grant_type")),
    };
    if call.host == VirtualHost::Any || call.host.accepts(family) {
        Ok(family)
    } else {
        Err(GraphFailure::new(100, "Invalid parameter: grant_type"))
    }
}
