//! `GET /debug_token`.

use serde_json::{Value, json};

use crate::auth::ValidToken;
use crate::call::Call;
use crate::clock::unix_seconds;
use crate::failure::GraphFailure;
use crate::oauth::USER_ID;
use crate::reply::Reply;
use crate::state::{State, lock};
use crate::tokens::{TokenInfo, TokenType};

/// Inspects a token. The answer is a 200 even if the token is dead. A system user is no developer of the app, so its token
/// may not even inspect itself.
pub(crate) fn inspect(state: &State, call: &Call, bearer: &ValidToken) -> Result<Reply, GraphFailure> {
    if bearer.kind == TokenType::SystemUser {
        return Err(GraphFailure::new(100, NOT_A_DEVELOPER_MESSAGE));
    }
    let input = call.required("input_token")?;
    let now = state.now();
    let tokens = lock(&state.tokens);
    let checked = tokens.check(&input, state.app_credentials(), now);
    let asking_app = tokens.info(&bearer.token).and_then(|about| about.app_id);
    let about = tokens.info(&input);
    let targets = about
        .as_ref()
        .map(|about| tokens.owners.scope_targets(&about.grant.targets));
    let about = about.or_else(|| {
        // The app's id and secret are a token that was never issued.
        let kind = checked.as_ref().ok()?;
        Some(TokenInfo::new(*kind, now, None))
    });
    drop(tokens);

    let failure = checked.err();
    let mut data = json!({"is_valid": failure.is_none(), "scopes": []});
    let fields = data.as_object_mut().ok_or_else(|| GraphFailure::from_code(1))?;
    let mut add = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    if about.as_ref().is_some_and(|about| about.app_id != asking_app) {
        // The answer says nothing about it, not even whether it is alive.
        add("is_valid", false.into());
        add(
            "error",
            GraphFailure::new(100, APP_MISMATCH_MESSAGE).to_debug_token_error(),
        );
        return Ok(Reply::json(&json!({"data": data})));
    }
    if let Some(failure) = failure {
        add("error", failure.to_debug_token_error());
    }
    if let Some(about) = about {
        let app = about.app_id.as_ref().unwrap_or(&state.config.app_id);
        add("app_id", app.as_str().into());
        add("application", "Fake Graph".into());
        add("type", kind_name(about.kind).into());
        add("expires_at", about.expires_at.map_or(0, unix_seconds).into());
        add(
            "data_access_expires_at",
            about.data_access_expires_at.map_or(0, unix_seconds).into(),
        );
        add("issued_at", unix_seconds(about.issued_at).into());
        if about.kind != TokenType::App {
            add("user_id", USER_ID.into());
            add(
                "granular_scopes",
                granular_scopes(&about.scopes, &targets.unwrap_or_default()),
            );
            add("scopes", about.scopes.into());
        }
        if about.kind == TokenType::Page {
            add("profile_id", PAGE_ID.into());
        }
    }
    Ok(Reply::json(&json!({"data": data})))
}

/// The error for another app's token.
const APP_MISMATCH_MESSAGE: &str = "(#100) The App_id in the input_token did not match the Viewing App";
/// The error for a token that may not inspect.
const NOT_A_DEVELOPER_MESSAGE: &str = "(#100) You must provide an app access token, or a user access token that is an owner or \
     developer of the app";
/// The only page.
const PAGE_ID: &str = "104857600000001";

const fn kind_name(kind: TokenType) -> &'static str {
    match kind {
        TokenType::User => "USER",
        TokenType::Page => "PAGE",
        TokenType::SystemUser => "SYSTEM_USER",
        TokenType::App => "APP",
    }
}

/// Each scope and its objects. Without objects, it is for all.
fn granular_scopes(scopes: &[String], targets: &[String]) -> Value {
    let scopes = scopes.iter().map(|scope| {
        if targets.is_empty() {
            json!({"scope": scope})
        } else {
            json!({"scope": scope, "target_ids": targets})
        }
    });
    scopes.collect()
}
