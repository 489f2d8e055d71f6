//! The rest of the small world: one user, phone numbers, templates, a picture.

use serde_json::{Value, json};

use super::answer::Reply;
use super::call::Call;
use super::failure::Failure;
use super::oauth::USER;
use super::pages::{self, fields, narrowed};
use super::state::{State, locked};
use super::tokens::Kind;

/// `GET /me`
pub(super) fn me(call: &Call) -> Reply {
    chosen(call, json!({"name": "Fake Graph System User", "id": USER}))
}

/// `GET /me/permissions`
pub(super) fn permissions(state: &State, token: &str) -> Reply {
    let about = locked(&state.tokens).about(token);
    let scopes = about.map_or_else(Vec::new, |about| about.scopes);
    let granted = scopes
        .iter()
        .map(|scope| json!({"permission": scope, "status": "granted"}));
    Reply::json(&json!({"data": granted.collect::<Vec<_>>()}))
}

/// `GET /{phone-id}`: every number that is not a file's is a phone's, and a business account's with templates.
pub(super) fn phone(state: &State, call: &Call, id: &str) -> Result<Reply, Failure> {
    let mut object = json!({
        "verified_name": "Fake Graph",
        "code_verification_status": "VERIFIED",
        "display_phone_number": "+1 555-010-0100",
        "quality_rating": "GREEN",
        "platform_type": "CLOUD_API",
        "throughput": {"level": "STANDARD"},
        "id": id,
    });
    let asked = call.text("fields").unwrap_or_default();
    let nested = fields(&asked).find(|field| field.name == pages::EDGE);
    if let (Some(field), Some(object)) = (nested, object.as_object_mut()) {
        let page = pages::nested(state, call, id, &field)?;
        object.insert(pages::EDGE.to_owned(), page);
    }
    Ok(chosen(call, object))
}

/// Only the fields asked for, and the id.
pub(super) fn chosen(call: &Call, object: Value) -> Reply {
    let asked = call.text("fields");
    Reply::json(&narrowed(object, asked.as_deref()))
}

/// `GET /{id}/picture`: away, to a CDN, unless told not to.
pub(super) fn picture(call: &Call) -> Reply {
    const CDN: &str = "https://scontent.xx.fbcdn.net/v/t39.30808-1/fake.jpg?stp=c15.0.50.50a&_nc_sid=1&oh=00_AfFake&oe=6A000000";
    if matches!(call.text("redirect").as_deref(), Some("false" | "0")) {
        let picture = json!({"height": 50, "is_silhouette": false, "url": CDN, "width": 50});
        Reply::json(&json!({"data": picture}))
    } else {
        Reply::redirect(CDN)
    }
}

/// `/{app-id}/subscriptions`: for app tokens only.
pub(super) fn subscriptions(call: &Call, kind: Kind) -> Result<Reply, Failure> {
    match kind {
        Kind::User | Kind::Page | Kind::SystemUser => Err(Failure::new(
            15,
            "(#15) This method must be called with an app access_token.",
        )),
        Kind::App if call.method == http::Method::GET => Ok(Reply::json(&json!({"data": []}))),
        Kind::App => Ok(Reply::success()),
    }
}
