//! A token in a JSON document, and the expiry beside it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::edit::{self, Edit};
use super::error::DecodeError;
use super::expiry::{EXPIRES_AT_KEYS, expires_at, expiry_key, rewrite_date};
use super::plain_text::{LocatedText, strip_decorations};

/// What a pointer leads to.
enum Located<'a, 'p> {
    /// A value, and the members of the object around it.
    Value(&'a str, BTreeMap<String, &'a RawValue>),
    /// A string into which the pointer leads on: some services put a JSON document into one.
    InString(InString<'a, 'p>),
}

struct InString<'a, 'p> {
    quoted: &'a str,
    /// The part of the pointer that leads to the string.
    pointer: &'p str,
    /// The part that leads on in it.
    rest: &'p str,
}

/// Returns the string at `pointer`, and its expiry if a sibling has it.
pub(super) fn text_at_pointer(
    text: &str,
    pointer: &str,
    received_at: Option<SystemTime>,
) -> Result<LocatedText, DecodeError> {
    let (value, siblings) = match locate(text, pointer)? {
        Located::Value(value, siblings) => (value, siblings),
        Located::InString(string) => {
            let found = text_at_pointer(&unquote(string.quoted)?, string.rest, received_at);
            return found.map_err(|error| string.locate_error(error));
        }
    };
    if value == "null" {
        return Err(DecodeError::Null);
    }
    let sibling = |name: &str| serde_json::from_str(siblings.get(name)?.get()).ok();
    Ok(LocatedText {
        text: unquote(value)?,
        expires_at: expires_at(sibling, received_at),
        expiry_key: expiry_key(sibling),
    })
}

/// Returns the edits that put another token into the document: its text, and the dates beside it, which would be wrong.
pub(super) fn edits_for_token<'a>(
    text: &'a str,
    pointer: &str,
    encoded: &str,
    expires_at: Option<SystemTime>,
) -> Result<Vec<Edit<'a>>, DecodeError> {
    let (quoted, siblings) = match locate(text, pointer)? {
        Located::Value(value, siblings) => (value, siblings),
        Located::InString(string) => {
            let document = unquote(string.quoted)?;
            let edits = edits_for_token(&document, string.rest, encoded, expires_at);
            let edits = edits.map_err(|error| string.locate_error(error))?;
            let edited = edit::apply(document.as_bytes(), edits);
            let edited = std::str::from_utf8(&edited).map_err(|_not_utf8| DecodeError::Binary)?;
            return Ok(vec![(
                string.quoted,
                serde_json::to_string(edited).map_err(json_error)?,
            )]);
        }
    };
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

// === impl InString ===

impl InString<'_, '_> {
    /// Says which string is not JSON: a line and a column would be those of the text in it.
    fn locate_error(&self, error: DecodeError) -> DecodeError {
        let inner = if let DecodeError::NotJsonInString { pointer } = &error {
            pointer
        } else if matches!(error, DecodeError::InvalidJson { .. }) {
            ""
        } else {
            return error;
        };
        DecodeError::NotJsonInString {
            pointer: format!("{}{inner}", self.pointer).into(),
        }
    }
}

/// Follows a pointer. Nothing is copied but names: the document may contain other secrets.
fn locate<'a, 'p>(text: &'a str, pointer: &'p str) -> Result<Located<'a, 'p>, DecodeError> {
    let mut value: &RawValue = serde_json::from_str(text).map_err(json_error)?;
    let (mut siblings, mut rest) = (BTreeMap::new(), pointer);
    while !rest.is_empty() {
        if value.get().starts_with('"') {
            return Ok(Located::InString(InString {
                quoted: value.get(),
                pointer: pointer.strip_suffix(rest).unwrap_or(pointer),
                rest,
            }));
        }
        let steps = rest.strip_prefix('/').ok_or(DecodeError::PointerNotFound)?;
        let (step, after) = steps.split_at(steps.find('/').unwrap_or(steps.len()));
        rest = after;
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
    Ok(Located::Value(value.get(), siblings))
}

/// Returns the text of a JSON string.
fn unquote(value: &str) -> Result<Zeroizing<String>, DecodeError> {
    if !value.starts_with('"') {
        return Err(DecodeError::NotString);
    }
    let text = serde_json::from_str(value).map_err(|_lone_surrogate| DecodeError::InvalidCharacter)?;
    Ok(Zeroizing::new(text))
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
