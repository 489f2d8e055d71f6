//! What a token is worth: `GET /debug_token`.

use serde_json::{Value, json};

use super::answer::Reply;
use super::call::Call;
use super::failure::Failure;
use super::messages::required;
use super::oauth::USER;
use super::router::Bearer;
use super::state::{State, locked};
use super::tokens::{About, Kind};
use crate::types::unix;

/// A 200, however dead the token is that it is asked about.
pub(super) fn token(state: &State, call: &Call, bearer: &Bearer) -> Result<Reply, Failure> {
    let input = call
        .text("input_token")
        .ok_or_else(|| required("input_token"))?;
    let now = state.now();
    let tokens = locked(&state.tokens);
    let checked = tokens.check(&input, state.app(), now);
    let asking = tokens.about(&bearer.token).and_then(|about| about.app);
    let about = tokens.about(&input).or_else(|| {
        // The app's id and secret are a token without having been issued.
        let kind = checked.as_ref().ok()?;
        Some(About::new(*kind, now, None))
    });
    drop(tokens);

    let dead = checked.err();
    let mut data = json!({"is_valid": dead.is_none(), "scopes": []});
    let fields = data.as_object_mut().ok_or_else(|| Failure::known(1))?;
    let mut add = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    if about.as_ref().is_some_and(|about| about.app != asking) {
        // Nothing is told of it, not even whether it is alive.
        add("is_valid", false.into());
        add("error", Failure::new(100, STRANGER).debugged());
        return Ok(Reply::json(&json!({"data": data})));
    }
    if let Some(failure) = dead {
        add("error", failure.debugged());
    }
    if let Some(about) = about {
        let app = about.app.as_ref().unwrap_or(&state.settings.app_id);
        add("app_id", app.as_str().into());
        add("application", "Fake Graph".into());
        add("type", shown(about.kind).into());
        add("expires_at", about.until.map_or(0, unix).into());
        add(
            "data_access_expires_at",
            about.data_access.map_or(0, unix).into(),
        );
        add("issued_at", unix(about.issued).into());
        if about.kind != Kind::App {
            add("user_id", USER.into());
            add("granular_scopes", granular(&about));
            add("scopes", about.scopes.into());
        }
        if about.kind == Kind::Page {
            add("profile_id", PAGE.into());
        }
    }
    Ok(Reply::json(&json!({"data": data})))
}

/// What an app is told of another app's token.
const STRANGER: &str = "(#100) The App_id in the input_token did not match the Viewing App";
/// The one page there is.
const PAGE: &str = "104857600000001";

const fn shown(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "USER",
        Kind::Page => "PAGE",
        Kind::SystemUser => "SYSTEM_USER",
        Kind::App => "APP",
    }
}

/// Each scope, and for which objects; without objects it is for all.
fn granular(about: &About) -> Value {
    let scopes = about.scopes.iter().map(|scope| {
        if about.targets.is_empty() {
            json!({"scope": scope})
        } else {
            json!({"scope": scope, "target_ids": about.targets})
        }
    });
    scopes.collect()
}
