//! A token in an error's text, and the text without it.
//!
//! # Why
//!
//! "Malformed access token EAAB…" repeats the whole token, to an app that must not have it and to its logs. A token is
//! mostly letters and digits, which nobody escapes; the few other characters may be percent-encoded, escaped as JSON
//! does, or both, and once more inside a batch. So its first letters and digits are searched for as they are, which
//! costs next to nothing when nothing is found, and what follows is compared in every spelling.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

/// What stands where a token was.
pub const REDACTED: &[u8] = b"[redacted]";

/// A shorter token would be found in ordinary words.
const SHORTEST: usize = 8;
/// Those of an escaped backslash, three strings deep.
const MOST_SLASHES: usize = 16;

/// Whether a character that may be the beginning of a longer spelling is taken for itself.
#[derive(Clone, Copy)]
enum Reading {
    Escapes,
    Bytes,
}

/// The text with [`REDACTED`] for every occurrence of the token, in any spelling. `None` if there is none.
///
/// The text is a body or the value of a header. JSON stays JSON, but for a token with a quote or a backslash in it, which
/// is none. A token of fewer than eight bytes is not looked for.
#[must_use]
pub fn redact(text: &[u8], token: &[u8]) -> Option<Bytes> {
    if token.len() < SHORTEST {
        return None;
    }
    let mut redacted = Vec::new();
    let mut kept = 0;
    while let Some(place) = find(text, token, kept) {
        redacted.extend_from_slice(text.get(kept..place.start)?);
        redacted.extend_from_slice(REDACTED);
        kept = place.end;
    }
    if kept == 0 {
        return None;
    }
    redacted.extend_from_slice(text.get(kept..)?);
    Some(redacted.into())
}

/// The first occurrence at or behind `from`.
fn find(text: &[u8], token: &[u8], from: usize) -> Option<Range<usize>> {
    let plain = token
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric())
        .unwrap_or(token.len());
    let anchor = token.get(..plain)?;
    let finder = memmem::Finder::new(anchor);
    let mut at = from;
    loop {
        let start = at + finder.find(text.get(at..)?)?;
        let here = text.get(start..)?;
        let length = spelled(here, token, Reading::Escapes);
        if let Some(length) = length.or_else(|| spelled(here, token, Reading::Bytes)) {
            let escape = escape_before(text.get(from..start)?);
            return Some(start - escape..start + length);
        }
        at = start + 1;
    }
}

/// How long the spelling is of a token that stands at the beginning of `text`.
fn spelled(text: &[u8], token: &[u8], reading: Reading) -> Option<usize> {
    let mut rest = text;
    for expected in token {
        let (byte, behind) = match (reading, rest.split_first()?) {
            (Reading::Bytes, (byte, behind)) if byte == expected => (*byte, behind),
            _ => percent_decoded(rest)?,
        };
        if byte != *expected {
            return None;
        }
        rest = behind;
    }
    Some(text.len() - rest.len())
}

fn percent_decoded(text: &[u8]) -> Option<(u8, &[u8])> {
    let (byte, rest) = unescaped(text)?;
    if byte == b'%'
        && let Some((digits, behind)) = rest.split_at_checked(2)
        && let Some(byte) = hexadecimal(digits)
    {
        return Some((byte, behind));
    }
    Some((byte, rest))
}

/// The character behind any number of backslashes: one for each depth of strings in strings, and those of its own.
fn unescaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let slashes = text.iter().take(MOST_SLASHES);
    let slashes = slashes.take_while(|byte| **byte == b'\\').count();
    let (byte, rest) = text.get(slashes..)?.split_first()?;
    if slashes > 0
        && *byte == b'u'
        && let Some((b"00", digits)) = rest.split_at_checked(2)
        && let Some((digits, behind)) = digits.split_at_checked(2)
        && let Some(byte) = hexadecimal(digits)
    {
        return Some((byte, behind));
    }
    Some((*byte, rest))
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0, |sum: u8, digit| {
        let digit = u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
        Some(sum << 4 | digit)
    })
}

/// How much of an escape, of which the first letters of a token are the end, stands before them: `\t` is no backslash
/// and the `t` of a token, and half of it would be no JSON.
fn escape_before(text: &[u8]) -> usize {
    let is_escape = |length: usize| {
        let before = text.len().checked_sub(length)?;
        let (before, escape) = text.split_at_checked(before)?;
        let slashes = before.iter().rev().take_while(|byte| **byte == b'\\');
        let begins = matches!(escape, [b'\\'] | [b'\\', b'u', ..]) && slashes.count() % 2 == 0;
        begins.then_some(length)
    };
    (1..=5).find_map(is_escape).unwrap_or(0)
}

#[cfg(test)]
mod tests;
