//! The other objects: one user, phone numbers, templates, a picture.

use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::failure::GraphFailure;
use crate::grants::is_id;
use crate::oauth::USER_ID;
use crate::pages::{self, PagedEdge, parse_fields, select_fields};
use crate::reply::Reply;
use crate::state::{State, lock};
use crate::tokens::TokenType;

/// `GET /me`: a token with a name answers with it, so that a test sees which token a call had.
pub(crate) fn me(state: &State, call: &Call, token: &str) -> Reply {
    let tokens = lock(&state.tokens);
    let name = tokens.grant(token).and_then(|grant| grant.name.as_deref());
    let user = json!({"name": name.unwrap_or("Fake Graph System User"), "id": USER_ID});
    drop(tokens);
    reply_with_fields(call, user)
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

/// `GET /{id}`: every id that is not a file's is a phone number's, and a business account's with templates. An account whose
/// phone numbers were set has no fields of a phone number, and a phone number in the place of its id is no object.
pub(crate) fn phone(state: &State, call: &Call, id: &str) -> Result<Reply, GraphFailure> {
    if id.len() == DISPLAY_DIGITS.len() + 4 && id.starts_with(DISPLAY_DIGITS) {
        return Err(GraphFailure::unsupported_request(&call.method, id));
    }
    let is_account = lock(&state.tokens).owners.phone_numbers(id).is_some();
    let asked = call.text("fields").unwrap_or_default();
    let foreign = parse_fields(&asked).find(|field| PHONE_FIELDS.contains(&field.name));
    match foreign {
        Some(field) if is_account => Err(GraphFailure::nonexisting_field(field.name, "WhatsAppBusinessAccount")),
        Some(_) | None => Ok(reply_with_fields(call, phone_with_templates(state, call, id)?)),
    }
}

/// The digits that all phone numbers begin with.
const DISPLAY_DIGITS: &str = "1555010";
/// The fields of a phone number that a business account lacks.
const PHONE_FIELDS: [&str; 4] = [
    "display_phone_number",
    "verified_name",
    "code_verification_status",
    "quality_rating",
];

/// `GET /?ids=1,2`: the objects of [`phone`] by their ids.
pub(crate) fn by_ids(state: &State, call: &Call) -> Result<Reply, GraphFailure> {
    let ids = call.required("ids")?;
    let fields = call.text("fields");
    let mut objects = Map::new();
    for id in ids.split(',').map(str::trim) {
        if !is_id(id) {
            return Err(GraphFailure::unsupported_request(&call.method, id));
        }
        let object = select_fields(phone_with_templates(state, call, id)?, fields.as_deref());
        objects.insert(id.to_owned(), object);
    }
    Ok(Reply::json(&objects))
}

/// `GET /{waba-id}/phone_numbers`: those that were set for the account, or one.
pub(crate) fn phone_numbers(state: &State, call: &Call, account: &str) -> Result<Reply, GraphFailure> {
    let tokens = lock(&state.tokens);
    let ids = tokens.owners.phone_numbers(account).map(<[String]>::to_vec);
    let is_phone = tokens.owners.account(account).is_some();
    drop(tokens);
    if is_phone {
        let kind = "WhatsAppBusinessPhoneNumber";
        return Err(GraphFailure::nonexisting_field("phone_numbers", kind));
    }
    let ids = ids.unwrap_or_else(|| vec![TEST_PHONE_ID.to_owned()]);
    let list = PagedEdge {
        owner: account,
        name: "phone_numbers",
        length: ids.len(),
        item: &|index| ids.get(index).map_or(Value::Null, |id| phone_object(state, id)),
    };
    Ok(Reply::json(&pages::list(state, call, &list)?))
}

/// The phone number of an account whose phone numbers were not set: one of the test numbers that Meta lends to each app.
pub(crate) const TEST_PHONE_ID: &str = "106540352242922";

fn phone_with_templates(state: &State, call: &Call, id: &str) -> Result<Value, GraphFailure> {
    let mut object = phone_object(state, id);
    let asked = call.text("fields").unwrap_or_default();
    let nested = parse_fields(&asked).find(|field| field.name == pages::TEMPLATES_EDGE);
    if let (Some(field), Some(object)) = (nested, object.as_object_mut()) {
        let page = pages::nested_templates(state, call, id, &field)?;
        object.insert(pages::TEMPLATES_EDGE.to_owned(), page);
    }
    Ok(object)
}

/// A phone number. The numbers of an account differ in their last digits.
fn phone_object(state: &State, id: &str) -> Value {
    let has_account = lock(&state.tokens).owners.account(id).is_some();
    let last_digits = id.get(id.len().saturating_sub(4)..).filter(|_| has_account);
    json!({
        "verified_name": "Fake Graph",
        "code_verification_status": "VERIFIED",
        "display_phone_number": format!("+1 555-010-{:0>4}", last_digits.unwrap_or("0100")),
        "quality_rating": "GREEN",
        "platform_type": "CLOUD_API",
        "throughput": {"level": "STANDARD"},
        "id": id,
    })
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
