//! Removes a token from the text of an error.
//!
//! # Why
//!
//! "Malformed access token EAAB…" repeats the whole token, and would disclose it to the app and to the app's logs. A token is
//! mostly letters and digits, which are never escaped; the few other characters may be percent-encoded, escaped as
//! JSON does, or both, and once more inside a batch. So graphward searches for the first letters and digits as they
//! are, which is cheap when nothing is found, and compares the rest in every spelling.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use super::parameter::parse_hex;

/// The replacement of a token.
pub const REDACTED: &[u8] = b"[redacted]";

/// A shorter token would be found in ordinary words.
const MIN_TOKEN_BYTES: usize = 8;
/// The backslashes of an escaped backslash, three strings deep.
const MAX_BACKSLASHES: usize = 16;

/// The reading of a character that may start an escape.
#[derive(Clone, Copy)]
enum TokenMatchMode {
    Decoded,
    Literal,
}

/// The text with [`REDACTED`] for every occurrence of the token, in any spelling. `None` if the token does not occur.
///
/// The text is a body or the value of a header. JSON stays valid, unless the token has a quote or a backslash in it,
/// which no token has. A token of fewer than eight bytes is not searched for.
#[must_use]
pub fn redact(text: &[u8], token: &[u8]) -> Option<Bytes> {
    if token.len() < MIN_TOKEN_BYTES {
        return None;
    }
    let mut redacted = Vec::new();
    let mut kept = 0;
    while let Some(range) = find_token(text, token, kept) {
        redacted.extend_from_slice(text.get(kept..range.start)?);
        redacted.extend_from_slice(REDACTED);
        kept = range.end;
    }
    if kept == 0 {
        return None;
    }
    redacted.extend_from_slice(text.get(kept..)?);
    Some(redacted.into())
}

/// The first occurrence at or after `from`.
fn find_token(text: &[u8], token: &[u8], from: usize) -> Option<Range<usize>> {
    let anchor_len = token
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric())
        .unwrap_or(token.len());
    let anchor = token.get(..anchor_len)?;
    let finder = memmem::Finder::new(anchor);
    let mut at = from;
    loop {
        let start = at + finder.find(text.get(at..)?)?;
        let candidate = text.get(start..)?;
        let length = matched_len(candidate, token, TokenMatchMode::Decoded);
        if let Some(length) = length.or_else(|| matched_len(candidate, token, TokenMatchMode::Literal)) {
            let escape = partial_escape_len(text.get(from..start)?);
            return Some(start - escape..start + length);
        }
        at = start + 1;
    }
}

/// The length of the spelling of a token at the start of `text`.
fn matched_len(text: &[u8], token: &[u8], mode: TokenMatchMode) -> Option<usize> {
    let mut rest = text;
    for expected in token {
        let (byte, after) = match (mode, rest.split_first()?) {
            (TokenMatchMode::Literal, (byte, after)) if byte == expected => (*byte, after),
            _ => next_percent_decoded(rest)?,
        };
        if byte != *expected {
            return None;
        }
        rest = after;
    }
    Some(text.len() - rest.len())
}

fn next_percent_decoded(text: &[u8]) -> Option<(u8, &[u8])> {
    let (byte, rest) = next_unescaped(text)?;
    if byte == b'%'
        && let Some((digits, after)) = rest.split_at_checked(2)
        && let Some(Ok(byte)) = parse_hex(digits).map(u8::try_from)
    {
        return Some((byte, after));
    }
    Some((byte, rest))
}

/// Reads a character and the backslashes before it: strings inside strings add some.
fn next_unescaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let backslashes = text.iter().take(MAX_BACKSLASHES);
    let backslashes = backslashes.take_while(|byte| **byte == b'\\').count();
    let (byte, rest) = text.get(backslashes..)?.split_first()?;
    if backslashes > 0
        && *byte == b'u'
        && let Some((b"00", digits)) = rest.split_at_checked(2)
        && let Some((digits, after)) = digits.split_at_checked(2)
        && let Some(Ok(byte)) = parse_hex(digits).map(u8::try_from)
    {
        return Some((byte, after));
    }
    Some((*byte, rest))
}

/// The length of a partial escape at the end of `text`, whose last letters are the first letters of a token: `\t` must
/// go whole, since half of it would not be JSON.
fn partial_escape_len(text: &[u8]) -> usize {
    let escape_len = |length: usize| {
        let before = text.len().checked_sub(length)?;
        let (before, escape) = text.split_at_checked(before)?;
        let slashes = before.iter().rev().take_while(|byte| **byte == b'\\');
        let is_escape = matches!(escape, [b'\\'] | [b'\\', b'u', ..]) && slashes.count() % 2 == 0;
        is_escape.then_some(length)
    };
    (1..=5).find_map(escape_len).unwrap_or(0)
}

#[cfg(test)]
mod tests;
