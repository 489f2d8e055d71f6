//! A token in plain text: alone, or as the value of a key.

use std::time::SystemTime;

use zeroize::Zeroizing;

use super::error::DecodeError;
use crate::graph::credential::is_placeholder;
use crate::types::{Secret, SecretError};

/// The text at the place of the token: a token, something in its place, or an encrypted token.
pub(crate) struct LocatedText {
    pub(crate) text: Zeroizing<String>,
    /// The expiry of the token, if it is beside it.
    pub(crate) expires_at: Option<SystemTime>,
    /// The key of that expiry.
    pub(crate) expiry_key: Option<&'static str>,
}

/// Returns the text around which there may only be white space, if it is neither JSON nor lines with keys.
pub(super) fn bare_text(text: &str) -> Result<&str, DecodeError> {
    let text = text.trim();
    if is_json(text) {
        return Err(DecodeError::MissingPointer);
    }
    let is_assignment = |line: &str| {
        parse_assignment(line).is_some_and(|(key, value)| {
            // `…==` at the end of base64 is padding.
            is_variable_name(key) && value.bytes().any(|byte| byte != b'=')
        })
    };
    let mut lines = text.lines().map(str::trim);
    if lines
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        .is_some_and(is_assignment)
    {
        return Err(DecodeError::MissingKey);
    }
    Ok(text)
}

/// Returns the only line, which is the token.
pub(super) fn single_line(text: &str) -> Result<&str, DecodeError> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    match (lines.next(), lines.next()) {
        (Some(line), None) => Ok(line),
        (Some(_), Some(_)) => Err(DecodeError::MultipleLines),
        (None, _) => Err(DecodeError::Empty),
    }
}

/// Returns the token without the decorations that people and tools add.
pub(crate) fn strip_decorations(text: &str) -> Result<&str, DecodeError> {
    let text = strip_quotes(strip_scheme(strip_quotes(text.trim()).trim())).trim();
    if is_placeholder(text.bytes()) {
        return Err(DecodeError::Empty);
    }
    if text.starts_with(QUOTES) || text.ends_with(QUOTES) {
        return Err(DecodeError::UnbalancedQuote);
    }
    Ok(text)
}

/// Converts a text to a secret.
pub(super) fn to_secret(text: &str) -> Result<Secret, DecodeError> {
    Secret::new(text).map_err(|error| match error {
        SecretError::Empty => DecodeError::Empty,
        SecretError::InvalidCharacter => DecodeError::InvalidCharacter,
        SecretError::TooLong => DecodeError::TooLong,
    })
}

/// The quotation marks that tools put around a value.
pub(super) const QUOTES: [char; 3] = ['"', '\'', '`'];

/// Removes one pair of quotes.
pub(super) fn strip_quotes(text: &str) -> &str {
    let quoted = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    QUOTES.into_iter().find_map(quoted).unwrap_or(text)
}

/// Removes `Bearer ` or `OAuth `; a scheme alone leaves nothing.
fn strip_scheme(text: &str) -> &str {
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if first.eq_ignore_ascii_case("bearer") || first.eq_ignore_ascii_case("oauth") {
        rest.trim_start()
    } else {
        text
    }
}

/// Parses `KEY=value` or `export KEY=value`, without the white space around key and value.
fn parse_assignment(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    let key = match key.split_once(char::is_whitespace) {
        Some(("export", key)) => key,
        _ => key,
    };
    Some((key.trim(), value.trim()))
}

/// Returns whether a shell accepts the name, and it is too short to be a token itself.
fn is_variable_name(key: &str) -> bool {
    const MAX_NAME_BYTES: usize = 64;
    (1..=MAX_NAME_BYTES).contains(&key.len())
        && !key.starts_with(|first: char| first.is_ascii_digit())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Returns whether a text begins like a JSON object or list, and not like `{{ token }}` or `[TOKEN]`.
fn is_json(text: &str) -> bool {
    let begins = |open: char, next: &[char]| {
        let inner = text.strip_prefix(open).map(str::trim_start);
        inner.is_some_and(|inner| inner.is_empty() || inner.starts_with(next))
    };
    begins('{', &['"', '\'', '}']) || begins('[', &['"', '\'', ']', '{', '['])
}
