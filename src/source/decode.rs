//! Finds the token in the bytes of a file or of a response.

mod edit;
mod error;
mod expiry;
mod json;
mod plain_text;

use std::fmt;
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::Deserialize;
use zeroize::Zeroizing;

pub use error::DecodeError;

use crate::token::{ObtainError, Token};
use crate::types::Secret;

/// The location of the token in the bytes.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(from = "FormatKeys")]
pub enum Format {
    /// The bytes are the token, with or without quotes, `Bearer` and white space around it.
    #[default]
    Raw,
    /// `KEY=value` lines, as in a `.env` file; the value of this key, which is not prefixed with `export`.
    Key(String),
    /// JSON; the string at this pointer (RFC 6901), such as `/access_token`.
    Pointer(String),
}

/// The keys of the configuration that say where the token is. At most one of them is set.
#[derive(Deserialize, JsonSchema)]
struct FormatKeys {
    /// The key of the KEY=value line that holds the token.
    #[schemars(extend("pattern" = r"^[A-Za-z0-9_.-]{1,100}$", "patternErrorMessage" = "must be the key before the = sign in the file, such as \"WHATSAPP_ACCESS_TOKEN\""))]
    key: Option<String>,
    /// The JSON pointer to the token.
    #[schemars(extend("pattern" = r"^(/([^~/]|~[01])*)+$", "patternErrorMessage" = "must be a JSON pointer, such as \"/access_token\" or \"/data/token\""))]
    pointer: Option<String>,
}

impl From<FormatKeys> for Format {
    fn from(keys: FormatKeys) -> Self {
        let pointer = keys.pointer.map_or(Self::Raw, Self::Pointer);
        keys.key.map_or(pointer, Self::Key)
    }
}

/// The largest JSON or `.env` document that is searched for a token: 64 KiB.
pub const MAX_DOCUMENT_BYTES: usize = 64 * 1024;

/// Finds the token.
///
/// Tolerated, because people and tools produce it: a UTF-8 byte order mark, CR LF, blank lines, white space, quotes
/// (`"`, `'`, `` ` ``) and `Bearer` or `OAuth` around the token; in `.env` files also `export`, comments and repeated
/// keys, of which the last counts.
///
/// # Errors
///
/// [`DecodeError`] for everything that Graph would reject as "Malformed access token" or "Cannot parse access token": the
/// last good token is better than such a one.
pub fn decode(bytes: &[u8], format: &Format) -> Result<Secret, DecodeError> {
    decode_token(bytes, format, None).map(|token| token.secret)
}

/// Finds the token, and its expiry if a JSON document has it beside the token: a date, or a number of seconds from
/// `received_at`, which is unknown for a file. An expiry in the past is returned like any other.
///
/// # Errors
///
/// As [`decode`].
pub fn decode_token(bytes: &[u8], format: &Format, received_at: Option<SystemTime>) -> Result<Token, DecodeError> {
    let text = document_text(bytes, format)?;
    let found = match format {
        Format::Raw => plain_text::single_line(text)?,
        Format::Key(key) => plain_text::value_of_key(text, key)?,
        Format::Pointer(pointer) => return json::token_at_pointer(text, pointer, received_at),
    };
    plain_text::to_secret(found).map(Token::without_expiry)
}

/// Finds a text that may have spaces in it, such as a database's URL or the value of a header.
///
/// # Errors
///
/// [`DecodeError`] if it is not there.
pub fn locate_text(bytes: &[u8], format: &Format) -> Result<Zeroizing<String>, DecodeError> {
    let text = document_text(bytes, format)?;
    match format {
        Format::Raw => Ok(plain_text::strip_quotes(text.trim())),
        Format::Key(key) => plain_text::value_of_key(text, key),
        Format::Pointer(pointer) => return json::text_at_pointer(text, pointer),
    }
    .map(|text| Zeroizing::new(text.to_owned()))
}

/// Finds the token in the response of a source, and its expiry, which may count from the moment of the request.
pub(super) fn decode_response(
    bytes: &[u8],
    format: &Format,
    requested_at: SystemTime,
    source: &dyn fmt::Display,
) -> Result<Token, ObtainError> {
    decode_token(bytes, format, Some(requested_at)).map_err(|error| {
        let message = format!("the response of {source} was rejected: {error}");
        ObtainError::permanent(error.label(), message)
    })
}

/// Returns the bytes with another token instead of the old one, and its expiry if they have one; the rest is unchanged.
/// A bare token is replaced as a whole.
///
/// # Errors
///
/// As [`decode`]: bytes without a token cannot get one.
pub(super) fn replace_token(
    bytes: &[u8],
    format: &Format,
    encoded: &str,
    expires_at: Option<SystemTime>,
) -> Result<Zeroizing<Vec<u8>>, DecodeError> {
    let text = document_text(bytes, format)?;
    let edits = match format {
        Format::Raw => {
            let mut line = Zeroizing::new(Vec::with_capacity(encoded.len() + 1));
            line.extend_from_slice(encoded.as_bytes());
            line.push(b'\n');
            return Ok(line);
        }
        Format::Key(key) => {
            let value = plain_text::strip_decorations(plain_text::value_of_key(text, key)?)?;
            vec![(value, encoded.to_owned())]
        }
        Format::Pointer(pointer) => json::edits_for_token(text, pointer, encoded, expires_at)?,
    };
    Ok(edit::apply(bytes, edits))
}

/// Returns the bytes as text without a byte order mark; not only white space.
fn document_text<'a>(bytes: &'a [u8], format: &Format) -> Result<&'a str, DecodeError> {
    let limit = match format {
        Format::Raw => Secret::MAX_BYTES,
        Format::Key(_) | Format::Pointer(_) => MAX_DOCUMENT_BYTES,
    };
    if bytes.len() > limit {
        return Err(DecodeError::TooLong);
    }
    if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
        return Err(DecodeError::Utf16);
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(DecodeError::Binary);
    };
    if text.contains('\0') {
        return Err(DecodeError::Binary);
    }
    if text.trim().is_empty() {
        return Err(DecodeError::Empty);
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
