//! A token in plain text: alone, or as the value of a key.

use super::error::DecodeError;
use crate::graph::credential::is_placeholder;
use crate::types::{Secret, SecretError};

/// Returns the only line, which is the token.
pub(super) fn single_line(text: &str) -> Result<&str, DecodeError> {
    let text = text.trim();
    if text.starts_with(['{', '[']) {
        return Err(DecodeError::MissingPointer);
    }
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_assignment = |line: &str| {
        parse_assignment(line).is_some_and(|(key, value)| {
            // `…==` at the end of base64 is padding.
            is_variable_name(key) && value.bytes().any(|byte| byte != b'=')
        })
    };
    if lines
        .clone()
        .find(|line| !line.starts_with('#'))
        .is_some_and(is_assignment)
    {
        return Err(DecodeError::MissingKey);
    }
    match (lines.next(), lines.next()) {
        (Some(line), None) => Ok(line),
        (Some(_), Some(_)) => Err(DecodeError::MultipleLines),
        (None, _) => Err(DecodeError::Empty),
    }
}

/// Returns the last value that is assigned to `key`.
pub(super) fn value_of_key<'a>(text: &'a str, key: &str) -> Result<&'a str, DecodeError> {
    let (_, value) = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(parse_assignment)
        .rfind(|(name, _)| *name == key)
        .ok_or(DecodeError::KeyNotFound)?;
    for quote in QUOTES {
        let Some(inner) = value.strip_prefix(quote) else {
            continue;
        };
        let (inner, after) = inner.split_once(quote).ok_or(DecodeError::UnbalancedQuote)?;
        let after = after.trim_start();
        return if after.is_empty() || after.starts_with('#') {
            Ok(inner)
        } else {
            Err(DecodeError::UnbalancedQuote)
        };
    }
    Ok(strip_comment(value))
}

/// Returns the token without the decorations that people and tools add.
pub(super) fn strip_decorations(text: &str) -> Result<&str, DecodeError> {
    let text = strip_quotes(strip_scheme(strip_quotes(text.trim()).trim())).trim();
    if is_placeholder(text.bytes()) {
        return Err(DecodeError::Empty);
    }
    if text.starts_with(QUOTES) || text.ends_with(QUOTES) {
        return Err(DecodeError::UnbalancedQuote);
    }
    Ok(text)
}

/// Converts the token to a secret.
pub(super) fn to_secret(text: &str) -> Result<Secret, DecodeError> {
    Secret::new(strip_decorations(text)?).map_err(|error| match error {
        SecretError::Empty => DecodeError::Empty,
        SecretError::InvalidCharacter => DecodeError::InvalidCharacter,
        SecretError::TooLong => DecodeError::TooLong,
    })
}

const QUOTES: [char; 3] = ['"', '\'', '`'];

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

/// Removes a comment after an unquoted value: a `#` begins one only after white space.
fn strip_comment(value: &str) -> &str {
    let mut before = None;
    for (at, sign) in value.char_indices() {
        if sign == '#' && before.is_none_or(char::is_whitespace) {
            return value.get(..at).unwrap_or(value);
        }
        before = Some(sign);
    }
    value
}
