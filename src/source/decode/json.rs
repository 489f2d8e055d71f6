//! A token in a JSON document, and the expiry beside it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::value::RawValue;
use zeroize::Zeroizing;

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
    let (value, siblings) = locate(text, pointer)?;
    if !value.starts_with('"') {
        return Err(DecodeError::NotString);
    }
    let token: String = serde_json::from_str(value).map_err(|_lone_surrogate| DecodeError::InvalidCharacter)?;
    let token = Zeroizing::new(token);
    let sibling = |name: &str| serde_json::from_str(siblings.get(name)?.get()).ok();
    Ok(Token {
        expires_at: expires_at(sibling, received_at),
        ..Token::without_expiry(to_secret(&token)?)
    })
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
    let (quoted, siblings) = locate(text, pointer)?;
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

/// Returns the JSON at `pointer`, and the members of the object around it. Nothing is copied but names: the document may
/// contain other secrets.
fn locate<'a>(text: &'a str, pointer: &str) -> Result<(&'a str, BTreeMap<String, &'a RawValue>), DecodeError> {
    let mut value: &RawValue = serde_json::from_str(text).map_err(json_error)?;
    let mut siblings = BTreeMap::new();
    let mut steps = pointer.split('/');
    if steps.next() != Some("") {
        return Err(DecodeError::PointerNotFound);
    }
    for step in steps {
        let name = step.replace("~1", "/").replace("~0", "~");
        siblings = BTreeMap::new();
        let next = if value.get().starts_with('{') {
            siblings = serde_json::from_str::<BTreeMap<String, &RawValue>>(value.get()).map_err(json_error)?;
            siblings.get(&name).copied()
        } else {
            let items: Vec<&RawValue> =
                serde_json::from_str(value.get()).map_err(|_scalar| DecodeError::PointerNotFound)?;
            let is_index = name == "0" || !name.starts_with(['0', '+']);
            let index = name.parse::<usize>().ok().filter(|_| is_index);
            index.and_then(|index| items.get(index).copied())
        };
        value = next.ok_or(DecodeError::PointerNotFound)?;
    }
    Ok((value.get(), siblings))
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
