//! The token of a call, checked.

use http::StatusCode;

use crate::call::{Call, CallCredential};
use crate::failure::GraphFailure;
use crate::invalidation::InvalidationReason;
use crate::state::{State, lock};
use crate::tokens::TokenType;

/// A call's token, checked.
pub(crate) struct ValidToken {
    pub(crate) token: String,
    pub(crate) kind: TokenType,
}

/// Checks a call's token.
pub(crate) fn authenticate(state: &State, call: &Call) -> Result<ValidToken, GraphFailure> {
    let (token, status) = match &call.credential {
        CallCredential::Header(token) => (token, StatusCode::UNAUTHORIZED),
        CallCredential::Parameter(token) => (token, StatusCode::BAD_REQUEST),
        CallCredential::Missing if call.path.first().is_some_and(|first| first == "me") => {
            return Err(no_user_error());
        }
        CallCredential::Missing => {
            return Err(GraphFailure::new(
                104,
                "An access token is required to request this resource.",
            ));
        }
    };
    let now = state.now();
    let tokens = lock(&state.tokens);
    if !call.host.accepts(tokens.family(token)) {
        return Err(InvalidationReason::cannot_parse().with_status(status));
    }
    let kind = tokens.check(token, state.app_credentials(), now);
    let bearer = ValidToken {
        token: token.clone(),
        kind: kind.map_err(|failure| failure.with_status(status))?,
    };
    Ok(bearer)
}

/// Graph's answer to a malformed token, on command: it echoes the call's token.
pub(crate) fn malformed_token(call: &Call) -> GraphFailure {
    let (token, status) = match &call.credential {
        CallCredential::Parameter(token) => (token.as_str(), StatusCode::BAD_REQUEST),
        CallCredential::Header(token) => (token.as_str(), StatusCode::UNAUTHORIZED),
        CallCredential::Missing => ("", StatusCode::BAD_REQUEST),
    };
    GraphFailure::malformed_token(token)
        .with_status(status)
        .for_host(call.host)
}

/// Graph's answer where a user is needed and the call has none.
pub(crate) fn no_user_error() -> GraphFailure {
    GraphFailure::new(
        2500,
        "An active access token must be used to query information about the current user.",
    )
}
