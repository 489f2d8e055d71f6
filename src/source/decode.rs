//! From the bytes of a file, or of a reply, to a token.

use serde_json::Value;
use zeroize::Zeroize;

use crate::graph::presented::is_placeholder;
use crate::token::Token;
use crate::types::{Secret, SecretError};

/// Where in the bytes the token is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// The bytes are the token, with or without quotes, `Bearer` and white space around it.
    #[default]
    Raw,
    /// `KEY=value` lines, as in a `.env` file; the value of this key, which is not prefixed with `export`.
    Key(String),
    /// JSON; the string at this pointer (RFC 6901), such as `/access_token`.
    Pointer(String),
}

/// Why bytes hold no token. The messages say what to do, and repeat nothing of the content.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// Nothing, white space, a scheme alone, or a word for nothing such as `null`.
    #[error("there is no token in it; put the token there (an empty file is never taken for one)")]
    Empty,
    /// More than [`Secret::MAX_BYTES`] for a token, or than [`MAX_DOCUMENT_BYTES`] for a document around one.
    #[error(
        "it is too long: a token has at most 16 KiB, a JSON or .env document at most 64 KiB; is it the right file?"
    )]
    TooLong,
    /// UTF-16, by its byte order mark.
    #[error(
        "it is UTF-16 text; save it as UTF-8 (PowerShell's > writes UTF-16: use Set-Content -Encoding ascii)"
    )]
    Utf16,
    /// Neither UTF-8 nor free of NUL.
    #[error("it is binary; a token is plain text (is it encrypted, compressed or the wrong file?)")]
    Binary,
    /// A control character, a space or a non-ASCII character inside the token.
    #[error(
        "the token has a space, a control or a non-ASCII character inside; copy the token again, and nothing else"
    )]
    Character,
    /// A quotation mark at one end.
    #[error("the token has a quotation mark at one end only; remove it, or add the other one")]
    Quote,
    /// Several lines where one token should be.
    #[error(
        "it has several lines; leave one line with the token, or say with `key` or `pointer` where the token is"
    )]
    Lines,
    /// JSON where a bare token should be.
    #[error(
        "it is JSON, not a bare token; say where the token is, such as pointer = \"/access_token\""
    )]
    WantsPointer,
    /// `KEY=value` where a bare token should be.
    #[error(
        "it has KEY=value lines, not a bare token; name the key, such as key = \"WHATSAPP_ACCESS_TOKEN\""
    )]
    WantsKey,
    /// No such key.
    #[error("no line assigns the configured `key`; add KEY=token, or correct `key` (case matters)")]
    NoKey,
    /// Not JSON.
    #[error(
        "it is not valid JSON (line {line}, column {column}); mend it, or remove `pointer` if it is a bare token"
    )]
    Json {
        /// From 1.
        line: usize,
        /// From 1; 0 before a line's first character.
        column: usize,
    },
    /// Nothing at the pointer.
    #[error(
        "the JSON has nothing at the configured `pointer`; it should look like /access_token or /data/0/token"
    )]
    NoPointer,
    /// Not a string at the pointer.
    #[error(
        "the JSON value at the configured `pointer` is not a string; point at the token itself"
    )]
    NotString,
}

/// The longest JSON or `.env` document that is searched for a token: 64 KiB.
pub const MAX_DOCUMENT_BYTES: usize = 64 * 1024;

/// Finds the token.
///
/// Tolerated, because people and tools produce it: a UTF-8 byte order mark, CR LF, blank lines, white space, quotes
/// (`"`, `'`, `` ` ``) and `Bearer` or `OAuth` around the token; in `.env` files also `export`, comments and repeated
/// keys, of which the last counts.
///
/// # Errors
///
/// [`DecodeError`] for everything that would come back from Graph as "Malformed access token" or "Cannot parse access
/// token". Better the last good token than such a one.
pub fn decode(bytes: &[u8], format: &Format) -> Result<Secret, DecodeError> {
    let limit = match format {
        Format::Raw => Secret::MAX_BYTES,
        Format::Key(_) | Format::Pointer(_) => MAX_DOCUMENT_BYTES,
    };
    let text = text(bytes, limit)?;
    match format {
        Format::Raw => raw(text),
        Format::Key(key) => assigned(text, key),
        Format::Pointer(pointer) => pointed(text, pointer),
    }
}

/// Finds the token, and when it ends if the document says so.
///
/// # Errors
///
/// As [`decode`].
pub fn token(bytes: &[u8], format: &Format) -> Result<Token, DecodeError> {
    decode(bytes, format).map(Token::lasting)
}

/// The bytes as text without its byte order mark; something other than white space.
fn text(bytes: &[u8], limit: usize) -> Result<&str, DecodeError> {
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

fn raw(text: &str) -> Result<Secret, DecodeError> {
    let text = text.trim();
    if text.starts_with(['{', '[']) {
        return Err(DecodeError::WantsPointer);
    }
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let assigns = |line: &str| {
        assignment(line).is_some_and(|(key, value)| {
            // `…==` at the end of base64 is padding.
            is_variable(key) && value.bytes().any(|byte| byte != b'=')
        })
    };
    if lines
        .clone()
        .find(|line| !line.starts_with('#'))
        .is_some_and(assigns)
    {
        return Err(DecodeError::WantsKey);
    }
    match (lines.next(), lines.next()) {
        (Some(line), None) => secret(line),
        (Some(_), Some(_)) => Err(DecodeError::Lines),
        (None, _) => Err(DecodeError::Empty),
    }
}

/// The last value that is assigned to `key`.
fn assigned(text: &str, key: &str) -> Result<Secret, DecodeError> {
    let (_, value) = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(assignment)
        .rfind(|(name, _)| *name == key)
        .ok_or(DecodeError::NoKey)?;
    for quote in QUOTES {
        let Some(inner) = value.strip_prefix(quote) else {
            continue;
        };
        let (inner, after) = inner.split_once(quote).ok_or(DecodeError::Quote)?;
        let after = after.trim_start();
        return if after.is_empty() || after.starts_with('#') {
            secret(inner)
        } else {
            Err(DecodeError::Quote)
        };
    }
    secret(uncommented(value))
}

/// The string at `pointer`.
fn pointed(text: &str, pointer: &str) -> Result<Secret, DecodeError> {
    let document = serde_json::from_str(text).map_err(|error| DecodeError::Json {
        line: error.line(),
        column: error.column(),
    })?;
    let document = Wiped(document);
    match document.0.pointer(pointer) {
        Some(Value::String(token)) => secret(token),
        Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_),
        ) => Err(DecodeError::NotString),
        None => Err(DecodeError::NoPointer),
    }
}

/// A token, less what people and tools put around it.
fn secret(text: &str) -> Result<Secret, DecodeError> {
    let text = unquoted(without_scheme(unquoted(text.trim()).trim())).trim();
    if is_placeholder(text.bytes()) {
        return Err(DecodeError::Empty);
    }
    if text.starts_with(QUOTES) || text.ends_with(QUOTES) {
        return Err(DecodeError::Quote);
    }
    Secret::new(text).map_err(|error| match error {
        SecretError::Empty => DecodeError::Empty,
        SecretError::Control => DecodeError::Character,
        SecretError::TooLong => DecodeError::TooLong,
    })
}

const QUOTES: [char; 3] = ['"', '\'', '`'];

/// Less one pair of quotes.
fn unquoted(text: &str) -> &str {
    let quoted = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    QUOTES.into_iter().find_map(quoted).unwrap_or(text)
}

/// Less `Bearer ` or `OAuth `; a scheme alone is nothing.
fn without_scheme(text: &str) -> &str {
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if first.eq_ignore_ascii_case("bearer") || first.eq_ignore_ascii_case("oauth") {
        rest.trim_start()
    } else {
        text
    }
}

/// `KEY=value` or `export KEY=value`, without the white space around key and value.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    let key = match key.split_once(char::is_whitespace) {
        Some(("export", key)) => key,
        _ => key,
    };
    Some((key.trim(), value.trim()))
}

/// A name that a shell would take, short enough not to be a token itself.
fn is_variable(key: &str) -> bool {
    const MAX_NAME: usize = 64;
    (1..=MAX_NAME).contains(&key.len())
        && !key.starts_with(|first: char| first.is_ascii_digit())
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// An unquoted value, less a comment after it: a `#` counts only after white space.
fn uncommented(value: &str) -> &str {
    let mut before = None;
    for (at, sign) in value.char_indices() {
        if sign == '#' && before.is_none_or(char::is_whitespace) {
            return value.get(..at).unwrap_or(value);
        }
        before = Some(sign);
    }
    value
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

// === impl DecodeError ===

impl DecodeError {
    /// Its name in logs and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::Utf16 => "utf16",
            Self::Binary => "binary",
            Self::Character => "character",
            Self::Quote => "quote",
            Self::Lines => "lines",
            Self::WantsPointer => "wants_pointer",
            Self::WantsKey => "wants_key",
            Self::NoKey => "no_key",
            Self::Json { .. } => "json",
            Self::NoPointer => "no_pointer",
            Self::NotString => "not_string",
        }
    }
}

#[cfg(test)]
mod tests;
