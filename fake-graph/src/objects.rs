//! The other objects: one user, phone numbers, templates, a picture.

use serde_json::{Value, json};

use crate::call::Call;
use crate::failure::GraphFailure;
use crate::oauth::USER_ID;
use crate::pages::{self, parse_fields, select_fields};
use crate::reply::Reply;
use crate::state::{State, lock};
use crate::tokens::TokenType;

/// `GET /me`
pub(crate) fn me(call: &Call) -> Reply {
    reply_with_fields(call, json!({"name": "Fake Graph System User", "id": USER_ID}))
}

/// `GET /me/permissions`
pub(crate) fn permissions(state: &State, token: &str) -> Reply {
    let about = lock(&state.tokens).info(token);
    let scopes = about.map_or_else(Vec::new, |about| about.scopes);
    let granted = scopes
        .iter()
        .map(|scope| json!({"permission": scope, "status": "granted"}));
    Reply::json(&json!({"data": granted.collect::<Vec<_>>()}))
}

/// `GET /{phone-id}`: every id that is not a file's is a phone number's, and a business account's with templates.
pub(crate) fn phone(state: &State, call: &Call, id: &str) -> Result<Reply, GraphFailure> {
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
    let nested = parse_fields(&asked).find(|field| field.name == pages::TEMPLATES_EDGE);
    if let (Some(field), Some(object)) = (nested, object.as_object_mut()) {
        let page = pages::nested_templates(state, call, id, &field)?;
        object.insert(pages::TEMPLATES_EDGE.to_owned(), page);
    }
    Ok(reply_with_fields(call, object))
}

/// An edge without objects.
pub(crate) fn empty_list() -> Reply {
    Reply::json(&json!({"data": []}))
}

/// The requested fields and the id.
pub(crate) fn reply_with_fields(call: &Call, object: Value) -> Reply {
    let asked = call.text("fields");
    Reply::json(&select_fields(object, asked.as_deref()))
}

/// `GET /{id}/picture`: a redirect to a CDN, unless `redirect` is false.
pub(crate) fn picture(call: &Call) -> Reply {
    const CDN: &str =
        "https://scontent.xx.fbcdn.net/v/t39.30808-1/fake.jpg?stp=c15.0.50.50a&_nc_sid=1&oh=00_AfFake&oe=6A000000";
    if matches!(call.text("redirect").as_deref(), Some("false" | "0")) {
        let picture = json!({"height": 50, "is_silhouette": false, "url": CDN, "width": 50});
        Reply::json(&json!({"data": picture}))
    } else {
        Reply::redirect(CDN)
    }
}

/// `/{app-id}/subscriptions`: for app tokens only.
pub(crate) fn subscriptions(call: &Call, kind: TokenType) -> Result<Reply, GraphFailure> {
    match kind {
        TokenType::User | TokenType::Page | TokenType::SystemUser => Err(GraphFailure::new(
            15,
            "(#15) This method must be called with an app access_token.",
        )),
        TokenType::App if call.method == http::Method::GET => Ok(Reply::json(&json!({"data": []}))),
        TokenType::App => Ok(Reply::success()),
    }
}
