//! Finds the token in the bytes of a file or of a response.

mod edit;
mod env_file;
mod error;
mod expiry;
mod json;
mod not_a_token;
mod plain_text;

use std::fmt;
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::Deserialize;
use zeroize::Zeroizing;

pub use error::DecodeError;
pub(super) use not_a_token::check_resolved;
pub(super) use plain_text::{LocatedText, strip_decorations};

use super::absent::AbsentPolicy;
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

/// Finds a secret of any service; one of Meta is found by [`decode_token`], which knows what it cannot be.
///
/// Tolerated, because people and tools produce it: a UTF-8 byte order mark, CR LF, blank lines, white space, quotes
/// (`"`, `'`, `` ` ``) and `Bearer` or `OAuth` around the secret; in `.env` files what their loaders read.
///
/// # Errors
///
/// [`DecodeError`] if the content holds no secret, or one that another tool should have replaced.
pub fn decode(bytes: &[u8], format: &Format) -> Result<Secret, DecodeError> {
    let located = locate(bytes, format, None)?;
    let text = undecorated(&located.text, format)?;
    check_resolved(text)?;
    plain_text::to_secret(text)
}

/// Finds the token, and its expiry if a JSON document has it beside the token: a date, or a number of seconds from
/// `received_at`, which is unknown for a file. An expiry in the past is returned like any other.
///
/// # Errors
///
/// [`DecodeError`] as for [`decode`], and for everything that Graph would reject as "Malformed access token" or "Cannot parse
/// access token": the last good token is better than such a one.
pub fn decode_token(bytes: &[u8], format: &Format, received_at: Option<SystemTime>) -> Result<Token, DecodeError> {
    to_token(&locate(bytes, format, received_at)?, format)
}

/// Finds the text at the place of the token.
pub(super) fn locate(
    bytes: &[u8],
    format: &Format,
    received_at: Option<SystemTime>,
) -> Result<LocatedText, DecodeError> {
    let document = document(bytes, format)?;
    let text = match format {
        Format::Raw => Zeroizing::new(plain_text::bare_text(utf8(document)?)?.to_owned()),
        Format::Key(key) => env_file::value_of_key(document, key)?,
        Format::Pointer(pointer) => return json::text_at_pointer(utf8(document)?, pointer, received_at),
    };
    Ok(LocatedText {
        text,
        expires_at: None,
        expiry_key: None,
    })
}

/// Converts a text to a token. This is the one place where it is decided what a token is.
pub(super) fn to_token(located: &LocatedText, format: &Format) -> Result<Token, DecodeError> {
    let text = undecorated(&located.text, format)?;
    not_a_token::check(text)?;
    Ok(Token {
        expires_at: located.expires_at,
        expiry_key: located.expiry_key.map(Into::into),
        ..Token::without_expiry(plain_text::to_secret(text)?)
    })
}

fn undecorated<'a>(text: &'a str, format: &Format) -> Result<&'a str, DecodeError> {
    let line = match format {
        Format::Raw => plain_text::single_line(text)?,
        Format::Key(_) | Format::Pointer(_) => text,
    };
    strip_decorations(line)
}

/// Finds a text that may have spaces in it, such as a database's URL or the value of a header.
///
/// # Errors
///
/// As [`decode`].
pub fn locate_text(bytes: &[u8], format: &Format) -> Result<Zeroizing<String>, DecodeError> {
    let text = if *format == Format::Raw {
        let text = utf8(document(bytes, format)?)?.trim();
        Zeroizing::new(plain_text::strip_quotes(text).to_owned())
    } else {
        locate(bytes, format, None)?.text
    };
    check_resolved(&text)?;
    Ok(text)
}

/// Finds the token in the response of a source, and its expiry, which may count from the moment of the request.
pub(super) fn decode_response(
    bytes: &[u8],
    format: &Format,
    requested_at: SystemTime,
    source: &dyn fmt::Display,
    absent: AbsentPolicy,
) -> Result<Token, ObtainError> {
    decode_token(bytes, format, Some(requested_at)).map_err(|error| {
        let message = format!("the response of {source} was rejected: {error}");
        let rejected = ObtainError::permanent(error.label(), message).about_content(bytes);
        if error == DecodeError::Null {
            absent.apply(rejected)
        } else {
            rejected
        }
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
    let edits = match format {
        Format::Raw => {
            let mut line = Zeroizing::new(Vec::with_capacity(encoded.len() + 1));
            line.extend_from_slice(encoded.as_bytes());
            line.push(b'\n');
            return Ok(line);
        }
        Format::Key(key) => {
            let value = env_file::written_value(document(bytes, format)?, key)?;
            vec![(strip_decorations(value)?, encoded.to_owned())]
        }
        Format::Pointer(pointer) => {
            let text = utf8(document(bytes, format)?)?;
            json::edits_for_token(text, pointer, encoded, expires_at)?
        }
    };
    Ok(edit::apply(bytes, edits))
}

/// Returns the bytes without a byte order mark; text, perhaps in another encoding than UTF-8, and not only white space.
fn document<'a>(bytes: &'a [u8], format: &Format) -> Result<&'a [u8], DecodeError> {
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
    if bytes.contains(&b'\0') {
        return Err(DecodeError::Binary);
    }
    if bytes.trim_ascii().is_empty() {
        return Err(DecodeError::Empty);
    }
    Ok(bytes)
}

fn utf8(document: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(document).map_err(|_position| DecodeError::Binary)
}

#[cfg(test)]
mod tests;
