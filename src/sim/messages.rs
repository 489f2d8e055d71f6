//! `POST /{phone-id}/messages`: checked as far as an app's mistakes go, answered, recorded.

use serde_json::{Value, json};

use super::answer::Reply;
use super::call::Call;
use super::failure::Failure;
use super::random;
use super::router::Bearer;
use super::state::{Accepted, State};
use super::tokens::{Kind, fingerprint};
use crate::types::unix;

/// Sends a message, or marks one as read.
pub(super) fn send(
    state: &State,
    call: &Call,
    bearer: &Bearer,
    phone: &str,
) -> Result<Reply, Failure> {
    if bearer.kind == Kind::App {
        return Err(Failure::known(200));
    }
    let product = call.text("messaging_product");
    match product.as_deref() {
        Some("whatsapp") => {}
        None => return Err(required("messaging_product")),
        Some(other) => {
            return Err(Failure::new(
                100,
                format!(
                    "(#100) Param messaging_product must be one of {{WHATSAPP}} - got \"{other}\"."
                ),
            ));
        }
    }
    if call.text("status").as_deref() == Some("read") {
        call.text("message_id")
            .ok_or_else(|| required("message_id"))?;
        return Ok(Reply::success());
    }
    let to = call.text("to").ok_or_else(|| required("to"))?;
    let number: String = to.chars().filter(char::is_ascii_digit).collect();
    if number.len() < 5 {
        return Err(invalid("Recipient phone number not valid"));
    }
    let kind = call.text("type").unwrap_or_else(|| "text".to_owned());
    content(call, &kind)?;

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
    state.accept(Accepted {
        id,
        phone_id: phone.to_owned(),
        to,
        kind,
        token: fingerprint(&bearer.token),
        at: unix(state.now()),
        said: call.said(),
    });
    Ok(reply)
}

/// The object that a message's type asks for, and the one field of it that cannot be left out.
fn content(call: &Call, kind: &str) -> Result<(), Failure> {
    let needed: &[&str] = match kind {
        "text" => &["body"],
        "template" | "contact" => &["name"],
        "image" | "audio" | "video" | "document" | "sticker" => &["id", "link"],
        "location" => &["latitude"],
        "interactive" => &["type"],
        "reaction" => &["message_id"],
        "contacts" => &[],
        other => {
            return Err(Failure::new(
                100,
                format!(
                    "(#100) Param type must be one of {{AUDIO, CONTACTS, DOCUMENT, IMAGE, INTERACTIVE, LOCATION, \
                     REACTION, STICKER, TEMPLATE, TEXT, VIDEO}} - got \"{other}\"."
                ),
            ));
        }
    };
    let object = call.value(kind).ok_or_else(|| required(kind))?;
    if needed.is_empty() {
        return Ok(());
    }
    let present = |field: &&str| object.get(field).is_some_and(|value| !value.is_null());
    if !needed.iter().any(present) {
        let field = needed.join(" or ");
        return Err(
            Failure::new(131_008, "(#131008) Required parameter is missing").details(format!(
                "Parameter '{field}' is mandatory for type '{kind}'"
            )),
        );
    }
    let text = object.get("body").and_then(Value::as_str);
    match text.map(|text| text.chars().count()) {
        Some(0) => Err(invalid("Parameter value is not valid: text.body is empty")),
        Some(4097..) => Err(Failure::new(
            100,
            "(#100) Param text['body'] must be at most 4096 characters long.",
        )),
        Some(_) | None => Ok(()),
    }
}

/// What Graph says of a missing parameter.
pub(super) fn required(name: &str) -> Failure {
    Failure::new(100, format!("(#100) The parameter {name} is required."))
}

fn invalid(details: &str) -> Failure {
    Failure::new(131_009, "(#131009) Parameter value is not valid").details(details)
}
