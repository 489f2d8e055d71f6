//! The rest of the small world: one user, phone numbers, templates, a picture.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::answer::{Reply, effective};
use super::call::Call;
use super::failure::Failure;
use super::oauth::{SCOPES, USER};
use super::state::State;
use super::tokens::Kind;

/// `GET /me`
pub(super) fn me(call: &Call) -> Reply {
    chosen(call, json!({"name": "Fake Graph System User", "id": USER}))
}

/// `GET /me/permissions`
pub(super) fn permissions() -> Reply {
    let granted = SCOPES.map(|scope| json!({"permission": scope, "status": "granted"}));
    Reply::json(&json!({"data": granted}))
}

/// `GET /{phone-id}`: every number that is not a file's is a phone's.
pub(super) fn phone(call: &Call, id: &str) -> Reply {
    chosen(
        call,
        json!({
            "verified_name": "Fake Graph",
            "code_verification_status": "VERIFIED",
            "display_phone_number": "+1 555-010-0100",
            "quality_rating": "GREEN",
            "platform_type": "CLOUD_API",
            "throughput": {"level": "STANDARD"},
            "id": id,
        }),
    )
}

/// Only the fields asked for, and the id.
fn chosen(call: &Call, mut object: Value) -> Reply {
    if let (Some(fields), Some(object)) = (call.text("fields"), object.as_object_mut()) {
        let fields: Vec<_> = fields.split(',').map(str::trim).collect();
        object.retain(|name, _| name == "id" || fields.contains(&name.as_str()));
    }
    Reply::json(&object)
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
        Kind::User => Err(Failure::new(
            15,
            "(#15) This method must be called with an app access_token.",
        )),
        Kind::App if call.method == http::Method::GET => Ok(Reply::json(&json!({"data": []}))),
        Kind::App => Ok(Reply::success()),
    }
}

/// `GET /{waba-id}/message_templates`: pages, with absolute URLs of the next and the previous one.
///
/// They are on the effective version, and have the token in them if it came as a parameter.
pub(super) fn templates(state: &State, call: &Call, id: &str) -> Result<Reply, Failure> {
    let bad = |_error| Failure::new(100, "(#100) Invalid cursors values.");
    let cursor = |name: &str| match call.text(name) {
        None => Ok(None),
        Some(text) => {
            let place = text.strip_prefix(CURSOR).unwrap_or("none");
            place.parse::<usize>().map(Some).map_err(bad)
        }
    };
    let limit = call.text("limit").and_then(|limit| limit.parse().ok());
    let limit: usize = limit.unwrap_or(25).clamp(1, 100);
    let first = match (cursor("after")?, cursor("before")?) {
        (Some(after), _) => after.saturating_add(1),
        (None, Some(before)) => before.saturating_sub(limit),
        (None, None) => 0,
    };
    let end = first.saturating_add(limit).min(TEMPLATES);
    let data: Vec<_> = (first..end).map(template).collect();

    let mut answer = json!({"data": data});
    if let (Some(fields), Some(answer)) = (call.text("summary"), answer.as_object_mut()) {
        answer.insert("summary".to_owned(), summary(&fields));
    }
    if first < end {
        let (before, after) = (format!("{CURSOR}{first}"), format!("{CURSOR}{}", end - 1));
        let link = |direction: &str, cursor: &str| {
            let origin = &state.settings.graph_origin;
            let version = effective(call.version);
            let kept = call
                .kept()
                .map(|(name, value)| format!("{}={}&", encoded(name), encoded(value)));
            let kept: String = kept.collect();
            format!(
                "{origin}/{version}/{id}/message_templates?{kept}limit={limit}&{direction}={cursor}"
            )
        };
        let mut paging = json!({"cursors": {"before": before, "after": after}});
        if let Some(paging) = paging.as_object_mut() {
            if end < TEMPLATES {
                paging.insert("next".to_owned(), link("after", &after).into());
            }
            if first > 0 {
                paging.insert("previous".to_owned(), link("before", &before).into());
            }
        }
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("paging".to_owned(), paging);
        }
    }
    Ok(Reply::json(&answer))
}

/// How many templates there are.
const TEMPLATES: usize = 57;
/// What a cursor begins with. Behind it is a place, which clients must not know.
const CURSOR: &str = "QVFIUmxZA";

fn template(place: usize) -> Value {
    json!({
        "name": format!("fake_template_{place}"),
        "language": "en_US",
        "status": "APPROVED",
        "category": "UTILITY",
        "parameter_format": "POSITIONAL",
        "components": [{"type": "BODY", "text": "Your code is {{1}}."}],
        "id": (900_000_000_000_000_usize + place).to_string(),
    })
}

/// What is said of all templates together, in the fields asked for.
fn summary(fields: &str) -> Value {
    let mut summary = json!({
        "total_count": TEMPLATES,
        "message_template_count": TEMPLATES,
        "message_template_limit": 250,
        "are_translations_complete": true,
    });
    if let Some(summary) = summary.as_object_mut() {
        summary.retain(|name, _| fields.split(',').any(|field| field.trim() == name));
    }
    summary
}

fn encoded(text: &str) -> String {
    const KEEP: AsciiSet = NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    utf8_percent_encode(text, &KEEP).to_string()
}
