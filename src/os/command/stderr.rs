//! The stderr of a command, with secrets redacted.
//!
//! # Why
//!
//! The last line explains the failure; without it the operator has only an exit status. But `set -x`, `curl -v` and
//! exception texts repeat tokens. So words that look like a token are redacted, and so are the input and the output of the
//! command: an incomplete sentence is better than half a token in a log.

use memchr::memmem;
use zeroize::{Zeroize as _, Zeroizing};

use crate::types::TOKEN_PREFIXES;

/// The end of what a command wrote to stderr.
#[derive(Default)]
pub(super) struct StderrTail {
    buffer: Zeroizing<Vec<u8>>,
    /// The beginning was discarded, possibly in the middle of a word.
    truncated: bool,
}

/// The number of bytes that are kept.
const MAX_TAIL_BYTES: usize = 4 * 1024;
/// The maximum length shown, in characters.
const MAX_SHOWN_CHARS: usize = 200;
/// The replacement of a redacted word.
const REDACTED: &str = "[redacted]";

/// A word of this length may be a secret …
const MIN_SECRET_BYTES: usize = 16;
/// … if one of its parts, split like a path, has this length and a digit.
const MIN_SECRET_PART_BYTES: usize = 8;
/// A repetition of the input or the output is redacted from this length on.
const MIN_ECHO_BYTES: usize = 6;
/// The prefix of a JWT, which is a JSON object in Base64.
const JWT_PREFIX: &str = "eyJ";

// === impl StderrTail ===

impl StderrTail {
    /// Appends bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        let excess = self.buffer.len().saturating_sub(MAX_TAIL_BYTES);
        if excess > 0 {
            self.truncated = true;
            self.buffer.copy_within(excess.., 0);
            if let Some(rest) = self.buffer.get_mut(MAX_TAIL_BYTES..) {
                rest.zeroize();
            }
            self.buffer.truncate(MAX_TAIL_BYTES);
        }
    }

    /// Returns the last line after a colon, with known and possible secrets redacted.
    pub(super) fn redacted_last_line(&self, known_secrets: &[&[u8]]) -> String {
        let text = Zeroizing::new(String::from_utf8_lossy(&self.buffer).into_owned());
        let text = match text.split_once(is_separator) {
            Some((_half, rest)) if self.truncated => rest,
            None if self.truncated => "",
            Some(_) | None => text.as_str(),
        };
        let Some(line) = text.lines().map(str::trim).rfind(|line| !line.is_empty()) else {
            return String::new();
        };
        let mut shown = String::from(": ");
        let mut in_value = false;
        for word in line.split_inclusive(is_separator) {
            if in_value {
                in_value = !word.ends_with(char::is_whitespace);
                continue;
            }
            let trimmed = word.trim_end_matches(|c: char| !c.is_alphanumeric());
            let trailing = word.get(trimmed.len()..).unwrap_or_default();
            shown.push_str(if is_secret(trimmed, known_secrets) {
                REDACTED
            } else {
                trimmed
            });
            shown.push_str(trailing);
            in_value = trailing.starts_with('=') && names_secret(trimmed);
            if in_value {
                shown.push_str(REDACTED);
                shown.push(' ');
            }
        }
        let to_printable = |sign: char| match sign {
            sign if sign.is_alphanumeric() || sign.is_ascii_graphic() => sign,
            _ => ' ',
        };
        let mut shown: String = shown.chars().map(to_printable).collect();
        if let Some((end, _)) = shown.char_indices().nth(MAX_SHOWN_CHARS) {
            shown.truncate(end);
            shown.push('…');
        }
        shown
    }
}

/// Returns whether a token cannot contain this character.
fn is_separator(c: char) -> bool {
    !c.is_alphanumeric() && !"+/_-.~%|:@".contains(c)
}

/// Returns whether `NAME=` is followed by a secret, however short: all up to the next space.
fn names_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let kinds = ["password", "passwd", "pwd", "secret", "token", "key"];
    kinds.iter().any(|kind| name.ends_with(kind))
}

fn is_secret(word: &str, known_secrets: &[&[u8]]) -> bool {
    let has_prefix = |prefix: &str| word.len() > 2 * prefix.len() && word.contains(prefix);
    (word.len() >= MIN_SECRET_BYTES && looks_random(word))
        || has_prefix(JWT_PREFIX)
        || TOKEN_PREFIXES.iter().any(|(prefix, _)| has_prefix(prefix))
        || (word.contains("://") && word.contains('@'))
        || known_secrets.iter().any(|text| overlaps(word, text))
}

/// Returns whether a word has digits like an encoded value, or more capitals than words and names have.
fn looks_random(word: &str) -> bool {
    let looks_encoded = |part: &str| part.len() >= MIN_SECRET_PART_BYTES && part.bytes().any(|b| b.is_ascii_digit());
    let count = |kind: fn(&u8) -> bool| word.bytes().filter(kind).count();
    let (upper, lower) = (count(u8::is_ascii_uppercase), count(u8::is_ascii_lowercase));
    word.split(['/', '.', ':']).any(looks_encoded) || (lower > 0 && 2 * upper > lower)
}

/// Returns whether one of them contains the other.
fn overlaps(word: &str, text: &[u8]) -> bool {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    let (word, text) = (word.as_bytes(), text.trim_ascii());
    (word.len() >= MIN_ECHO_BYTES && memmem::find(text, word).is_some())
        || (text.len() >= MIN_ECHO_BYTES && memmem::find(word, text).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let mut tail = StderrTail::default();
        tail.push(text.as_bytes());
        tail.redacted_last_line(&[b"s3cr-t", b"{\"password\":\"kitten\"}"])
    }

    #[test]
    fn the_last_line_is_shown_and_nothing_if_there_is_none() {
        assert_eq!(shown(""), "");
        assert_eq!(shown(" \n\n"), "");
        assert_eq!(
            shown("Traceback:\n  File x\nKeyError: tenant 'a' is not there\n\n"),
            ": KeyError: tenant 'a' is not there"
        );
        for text in [
            "cat: /var/run/secrets/tenants/token: Permission denied",
            "/usr/lib/python3.11/runpy.py: botocore.exceptions.NoCredentialsError: no credentials",
            "sh: 1: vault: not found",
        ] {
            assert_eq!(shown(text), format!(": {text}"));
        }
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        for (text, secret) in [
            ("+ curl -H 'Authorization: Bearer EAAGm0PX4ZCps'", "EAAGm0PX"),
            ("GET /me?access_token=EAAGm0PX4ZCps&x=y: 400", "EAAGm0PX"),
            ("bad token IGQVJabc1", "IGQVJabc1"),
            ("bad token \u{1b}[31mTHAAabcdef1", "THAAabcdef1"),
            ("hvs.CAESIJ-abc/def+ghi12", "CAESIJ"),
            ("secret 0123456789abcdef0123456789abcdef", "0123456789ab"),
            ("eyJhbGciOi.eyJzdWIi.abc", "eyJzd"),
            ("NullPointerAAAABBBBccccdddd", "AAAABBBB"),
            ("cannot reach postgres://me:kitty@db/x", "kitty"),
            ("I was given s3cr-t.", "s3cr-t"),
            ("I was given token:s3cr-t", "s3cr-t"),
            ("the answer was kitten", "kitten"),
            ("psql: cannot use password=mouse: refused", "mouse"),
            ("+ PGPASSWORD='mo!use' psql", "use'"),
            ("client_secret=mouse&x=y", "mouse"),
            ("VAULT_TOKEN=mo$use vault", "use "),
        ] {
            let shown = shown(text);
            assert!(!shown.contains(secret), "{text}: {shown}");
            assert!(shown.contains(REDACTED), "{text}: {shown}");
        }
    }

    #[test]
    fn what_is_shown_is_short_and_plain() {
        let shown_ = shown(&format!("{} \u{202e}\u{7}é", "word, ".repeat(100)));
        assert_eq!(shown_.chars().count(), MAX_SHOWN_CHARS + 1);
        assert!(shown_.ends_with('…'));
        assert_eq!(shown("a\u{202e}b\u{7}é\u{1b}"), ": a b é ");
    }

    #[test]
    fn only_the_end_of_a_flood_is_kept_and_no_partial_word_is_shown() {
        let mut tail = StderrTail::default();
        for _ in 0..100_000 {
            tail.push(b"noise\n");
        }
        tail.push(b"the end");
        assert!(tail.buffer.len() <= MAX_TAIL_BYTES);
        assert_eq!(tail.redacted_last_line(&[]), ": the end");
        // A line whose beginning was discarded may begin with half a token.
        tail.push(&[b'a'; MAX_TAIL_BYTES - 12]);
        tail.push(b" EAAG12345");
        assert_eq!(tail.buffer.len(), MAX_TAIL_BYTES);
        assert!(!tail.redacted_last_line(&[]).contains("EAAG"));
    }
}
