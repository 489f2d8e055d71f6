//! A token in a JSON document, and what stands beside it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::Value;
use serde_json::value::RawValue;
use zeroize::Zeroize;

use super::ends::{ABSOLUTE, end, rewritten};
use super::error::DecodeError;
use super::line::{bare, secret};
use crate::token::Token;

/// The string at `pointer`, and when it ends if its neighbours say so.
pub(super) fn pointed(
    text: &str,
    pointer: &str,
    said: Option<SystemTime>,
) -> Result<Token, DecodeError> {
    let document = Wiped(serde_json::from_str(text).map_err(broken)?);
    match document.0.pointer(pointer) {
        Some(Value::String(token)) => {
            let beside = pointer.rsplit_once('/').map(|(parent, _name)| parent);
            let beside = beside.and_then(|parent| document.0.pointer(parent));
            let members = beside.and_then(Value::as_object);
            Ok(Token {
                expires_at: members.and_then(|members| end(members, said)),
                ..Token::lasting(secret(token)?)
            })
        }
        Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_),
        ) => Err(DecodeError::NotString),
        None => Err(DecodeError::NoPointer),
    }
}

/// A piece of a document, and what is to stand there instead.
pub(super) type Change<'a> = (&'a str, String);

/// What has to change in the document for another token: the token's text, which `written` is, and the dates beside
/// it, which would be lies.
pub(super) fn changes<'a>(
    text: &'a str,
    pointer: &str,
    written: &str,
    ends: Option<SystemTime>,
) -> Result<Vec<Change<'a>>, DecodeError> {
    let mut here: &RawValue = serde_json::from_str(text).map_err(broken)?;
    let mut beside = BTreeMap::new();
    for step in pointer.split('/').skip(1) {
        let name = step.replace("~1", "/").replace("~0", "~");
        beside = BTreeMap::new();
        let next = if here.get().starts_with('{') {
            beside =
                serde_json::from_str::<BTreeMap<String, &RawValue>>(here.get()).map_err(broken)?;
            beside.get(&name).copied()
        } else {
            let items: Vec<&RawValue> =
                serde_json::from_str(here.get()).map_err(|_scalar| DecodeError::NoPointer)?;
            name.parse::<usize>()
                .ok()
                .and_then(|at| items.get(at).copied())
        };
        here = next.ok_or(DecodeError::NoPointer)?;
    }
    let quoted = here.get();
    let inner = quoted
        .strip_prefix('"')
        .and_then(|quoted| quoted.strip_suffix('"'))
        .ok_or(DecodeError::NotString)?;
    let whole = serde_json::to_string(written).map_err(broken)?;
    let plain = !inner.contains('\\') && whole.len() == written.len() + 2;
    let token = if plain {
        // A scheme before it stays where it is.
        (bare(inner)?, written.to_owned())
    } else {
        (quoted, whole)
    };
    let dates = ABSOLUTE
        .iter()
        .filter_map(|name| beside.get(*name))
        .filter_map(|date| Some((date.get(), rewritten(date.get(), ends)?)));
    Ok(std::iter::once(token).chain(dates).collect())
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it stands behind map_err, and its text, which may quote the document, is gone"
)]
fn broken(error: serde_json::Error) -> DecodeError {
    DecodeError::Json {
        line: error.line(),
        column: error.column(),
    }
}

/// A document whose strings are zeroed when it is dropped: others than the token may be secrets too.
struct Wiped(Value);

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Recursion ends: the parser refuses more than 127 levels.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
