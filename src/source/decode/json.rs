//! A token in a JSON document, and the expiry beside it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::Value;
use serde_json::value::RawValue;
use zeroize::Zeroize;

use super::error::DecodeError;
use super::expiry::{EXPIRES_AT_KEYS, expires_at, rewrite_date};
use super::plain_text::{strip_decorations, to_secret};
use crate::token::Token;

/// Returns the string at `pointer`, and its expiry if a sibling has it.
pub(super) fn token_at_pointer(
    text: &str,
    pointer: &str,
    received_at: Option<SystemTime>,
) -> Result<Token, DecodeError> {
    let document = ZeroizingJson(serde_json::from_str(text).map_err(json_error)?);
    match document.0.pointer(pointer) {
        Some(Value::String(token)) => {
            let parent = pointer.rsplit_once('/').map(|(parent, _name)| parent);
            let beside = parent.and_then(|parent| document.0.pointer(parent));
            let members = beside.and_then(Value::as_object);
            Ok(Token {
                expires_at: members.and_then(|members| expires_at(members, received_at)),
                ..Token::without_expiry(to_secret(token)?)
            })
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(DecodeError::NotString)
        }
        None => Err(DecodeError::PointerNotFound),
    }
}

/// A piece of a document and its replacement.
pub(super) type JsonEdit<'a> = (&'a str, String);

/// Returns the edits that put another token into the document: its text, and the dates beside it, which would be wrong.
pub(super) fn edits_for_token<'a>(
    text: &'a str,
    pointer: &str,
    encoded: &str,
    expires_at: Option<SystemTime>,
) -> Result<Vec<JsonEdit<'a>>, DecodeError> {
    let mut value: &RawValue = serde_json::from_str(text).map_err(json_error)?;
    let mut siblings = BTreeMap::new();
    for step in pointer.split('/').skip(1) {
        let name = step.replace("~1", "/").replace("~0", "~");
        siblings = BTreeMap::new();
        let next = if value.get().starts_with('{') {
            siblings = serde_json::from_str::<BTreeMap<String, &RawValue>>(value.get()).map_err(json_error)?;
            siblings.get(&name).copied()
        } else {
            let items: Vec<&RawValue> =
                serde_json::from_str(value.get()).map_err(|_scalar| DecodeError::PointerNotFound)?;
            name.parse::<usize>().ok().and_then(|at| items.get(at).copied())
        };
        value = next.ok_or(DecodeError::PointerNotFound)?;
    }
    let quoted = value.get();
    let inner = quoted
        .strip_prefix('"')
        .and_then(|quoted| quoted.strip_suffix('"'))
        .ok_or(DecodeError::NotString)?;
    let quoted_token = serde_json::to_string(encoded).map_err(json_error)?;
    let is_unescaped = !inner.contains('\\') && quoted_token.len() == encoded.len() + 2;
    let token = if is_unescaped {
        // A scheme before the token stays.
        (strip_decorations(inner)?, encoded.to_owned())
    } else {
        (quoted, quoted_token)
    };
    let dates = EXPIRES_AT_KEYS
        .iter()
        .filter_map(|name| siblings.get(*name))
        .filter_map(|date| Some((date.get(), rewrite_date(date.get(), expires_at)?)));
    Ok(std::iter::once(token).chain(dates).collect())
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "map_err passes it by value, and its text, which may quote the document, must be dropped"
)]
fn json_error(error: serde_json::Error) -> DecodeError {
    DecodeError::InvalidJson {
        line: error.line(),
        column: error.column(),
    }
}

/// A document whose strings are zeroed on drop: it may contain other secrets than the token.
struct ZeroizingJson(Value);

impl Drop for ZeroizingJson {
    fn drop(&mut self) {
        zeroize_json(&mut self.0);
    }
}

/// The recursion is bounded: the parser refuses more than 127 levels.
fn zeroize_json(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(zeroize_json),
        Value::Object(fields) => fields.values_mut().for_each(zeroize_json),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
