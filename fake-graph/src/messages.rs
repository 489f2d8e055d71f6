//! `POST /{phone-id}/messages`: checks for the usual mistakes of apps, answers, and records the message.

use serde_json::{Value, json};

use crate::auth::ValidToken;
use crate::call::Call;
use crate::clock::unix_seconds;
use crate::digest::fingerprint;
use crate::failure::GraphFailure;
use crate::objects::TEST_PHONE_ID;
use crate::random;
use crate::reply::Reply;
use crate::state::{AcceptedMessage, State};
use crate::tokens::TokenType;

/// Sends a message, or marks one as read.
pub(crate) fn send(state: &State, call: &Call, bearer: &ValidToken, phone: &str) -> Result<Reply, GraphFailure> {
    if bearer.kind == TokenType::App {
        return Err(GraphFailure::from_code(200));
    }
    let product = call.text("messaging_product");
    match product.as_deref() {
        Some("whatsapp") => {}
        None => return Err(GraphFailure::missing_parameter("messaging_product")),
        Some(other) => {
            return Err(GraphFailure::new(
                100,
                format!("(#100) Param messaging_product must be one of {{WHATSAPP}} - got \"{other}\"."),
            ));
        }
    }
    if call.text("status").as_deref() == Some("read") {
        call.required("message_id")?;
        return Ok(Reply::success());
    }
    let to = call.required("to")?;
    let number: String = to.chars().filter(char::is_ascii_digit).collect();
    if number.len() < 5 {
        return Err(invalid_value("Recipient phone number not valid"));
    }
    let kind = call.text("type").unwrap_or_else(|| "text".to_owned());
    check_content(call, &kind)?;
    if phone != TEST_PHONE_ID && is_hello_world(call, &kind) {
        return Err(GraphFailure::hello_world());
    }

    let id = random::wamid();
    let mut message = json!({"id": id});
    if let (true, Some(message)) = (kind == "template", message.as_object_mut()) {
        message.insert("message_status".to_owned(), "accepted".into());
    }
    let reply = Reply::json(&json!({
        "messaging_product": "whatsapp",
        "contacts": [{"input": to, "wa_id": number}],
        "messages": [message],
    }));
    state.record_message(AcceptedMessage {
        id,
        phone_id: phone.to_owned(),
        to,
        kind,
        token: fingerprint(&bearer.token),
        at: unix_seconds(state.now()),
        params: call.recorded_params(),
    });
    Ok(reply)
}

/// Checks the object that a message's type requires, and its one required field.
fn check_content(call: &Call, kind: &str) -> Result<(), GraphFailure> {
    let required_fields: &[&str] = match kind {
        "text" => &["body"],
        "template" | "contact" => &["name"],
        "image" | "audio" | "video" | "document" | "sticker" => &["id", "link"],
        "location" => &["latitude"],
        "interactive" => &["type"],
        "reaction" => &["message_id"],
        "contacts" => &[],
        other => {
            return Err(GraphFailure::new(
                100,
                format!(
                    "(#100) Param type must be one of {{AUDIO, CONTACTS, DOCUMENT, IMAGE, INTERACTIVE, LOCATION, \
                     REACTION, STICKER, TEMPLATE, TEXT, VIDEO}} - got \"{other}\"."
                ),
            ));
        }
    };
    let object = call.value(kind).ok_or_else(|| GraphFailure::missing_parameter(kind))?;
    if required_fields.is_empty() {
        return Ok(());
    }
    let present = |field: &&str| object.get(field).is_some_and(|value| !value.is_null());
    if !required_fields.iter().any(present) {
        let field = required_fields.join(" or ");
        return Err(GraphFailure::new(131_008, "(#131008) Required parameter is missing")
            .with_details(format!("Parameter '{field}' is mandatory for type '{kind}'")));
    }
    let text = object.get("body").and_then(Value::as_str);
    match text.map(|text| text.chars().count()) {
        Some(0) => Err(invalid_value("Parameter value is not valid: text.body is empty")),
        Some(4097..) => Err(GraphFailure::new(
            100,
            "(#100) Param text['body'] must be at most 4096 characters long.",
        )),
        Some(_) | None => Ok(()),
    }
}

/// Whether a message is the template that every account has, and that production numbers may not send.
fn is_hello_world(call: &Call, kind: &str) -> bool {
    kind == "template"
        && call
            .value(kind)
            .is_some_and(|template| template.get("name").is_some_and(|name| name == "hello_world"))
}

fn invalid_value(details: &str) -> GraphFailure {
    GraphFailure::new(131_009, "(#131009) Parameter value is not valid").with_details(details)
}
