//! What a command wrote to stderr, and what of it may be shown.
//!
//! # Why
//!
//! The last line says what went wrong; without it an operator has a number. But `set -x`, `curl -v` and an exception's
//! text repeat tokens. So what looks like one is taken out, and what the command was given or answered, too: better a
//! hole in a sentence than half a token in a log.

use memchr::memmem;
use zeroize::{Zeroize as _, Zeroizing};

/// The end of what a command wrote to stderr.
#[derive(Default)]
pub(super) struct Said {
    kept: Zeroizing<Vec<u8>>,
    /// Its beginning was lost, and may have been in the middle of a word.
    cut: bool,
}

/// What is kept.
const KEPT: usize = 4 * 1024;
/// What is shown, in characters.
const SHOWN: usize = 200;
/// What stands where a word was.
const HOLE: &str = "[redacted]";

/// A word of so many characters may be a secret …
const LONG: usize = 16;
/// … if a part of it, between the divisions of a path, has so many and a digit.
const LONG_PART: usize = 8;
/// What is repeated of the input or of the answer is hidden from this length on.
const REPEATED: usize = 6;
/// What Meta's tokens begin with, and signed ones of others.
const TOKENS: [&str; 5] = ["EAA", "IGAA", "IGQ", "THAA", "eyJ"];

// === impl Said ===

impl Said {
    /// Adds what was read.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        let more = self.kept.len().saturating_sub(KEPT);
        if more > 0 {
            self.cut = true;
            self.kept.copy_within(more.., 0);
            if let Some(rest) = self.kept.get_mut(KEPT..) {
                rest.zeroize();
            }
            self.kept.truncate(KEPT);
        }
    }

    /// The last line, with a colon before it, less whatever may be a secret or is known to be one.
    pub(super) fn shown(&self, known: &[&[u8]]) -> String {
        let text = Zeroizing::new(String::from_utf8_lossy(&self.kept).into_owned());
        let text = match text.split_once(divides) {
            Some((_half, rest)) if self.cut => rest,
            None if self.cut => "",
            Some(_) | None => text.as_str(),
        };
        let Some(line) = text.lines().map(str::trim).rfind(|line| !line.is_empty()) else {
            return String::new();
        };
        let mut shown = String::from(": ");
        for word in line.split_inclusive(divides) {
            let bare = word.trim_end_matches(|sign: char| !sign.is_alphanumeric());
            let behind = word.get(bare.len()..).unwrap_or_default();
            shown.push_str(if is_secret(bare, known) { HOLE } else { bare });
            shown.push_str(behind);
        }
        let visible = |sign: char| match sign {
            sign if sign.is_alphanumeric() || sign.is_ascii_graphic() => sign,
            _ => ' ',
        };
        let mut shown: String = shown.chars().map(visible).collect();
        if let Some((end, _)) = shown.char_indices().nth(SHOWN) {
            shown.truncate(end);
            shown.push('…');
        }
        shown
    }
}

/// What no token has inside.
fn divides(sign: char) -> bool {
    !sign.is_alphanumeric() && !"+/_-.~%|:@".contains(sign)
}

fn is_secret(word: &str, known: &[&[u8]]) -> bool {
    let begins = |start: &&str| word.len() > 2 * start.len() && word.contains(start);
    (word.len() >= LONG && is_random(word))
        || TOKENS.iter().any(begins)
        || (word.contains("://") && word.contains('@'))
        || known.iter().any(|text| repeats(word, text))
}

/// Digits in what is no part of a path, or as many capitals as no sentence and no name has.
fn is_random(word: &str) -> bool {
    let coded = |part: &str| part.len() >= LONG_PART && part.bytes().any(|b| b.is_ascii_digit());
    let count = |kind: fn(&u8) -> bool| word.bytes().filter(kind).count();
    let (large, small) = (count(u8::is_ascii_uppercase), count(u8::is_ascii_lowercase));
    word.split(['/', '.', ':']).any(coded) || (small > 0 && 2 * large > small)
}

/// Whether one of them is in the other.
fn repeats(word: &str, text: &[u8]) -> bool {
    let word = word.trim_matches(|sign: char| !sign.is_alphanumeric());
    let (word, text) = (word.as_bytes(), text.trim_ascii());
    (word.len() >= REPEATED && memmem::find(text, word).is_some())
        || (text.len() >= REPEATED && memmem::find(word, text).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let mut said = Said::default();
        said.add(text.as_bytes());
        said.shown(&[b"s3cr-t", b"{\"password\":\"kitten\"}"])
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
            (
                "+ curl -H 'Authorization: Bearer EAAGm0PX4ZCps'",
                "EAAGm0PX",
            ),
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
        ] {
            let shown = shown(text);
            assert!(!shown.contains(secret), "{text}: {shown}");
            assert!(shown.contains(HOLE), "{text}: {shown}");
        }
    }

    #[test]
    fn what_is_shown_is_short_and_plain() {
        let shown_ = shown(&format!("{} \u{202e}\u{7}é", "word, ".repeat(100)));
        assert_eq!(shown_.chars().count(), SHOWN + 1);
        assert!(shown_.ends_with('…'));
        assert_eq!(shown("a\u{202e}b\u{7}é\u{1b}"), ": a b é ");
    }

    #[test]
    fn of_a_flood_the_end_is_kept_and_no_half_a_word_of_it_told() {
        let mut said = Said::default();
        for _ in 0..100_000 {
            said.add(b"noise\n");
        }
        said.add(b"the end");
        assert!(said.kept.len() <= KEPT);
        assert_eq!(said.shown(&[]), ": the end");
        // A line of which the beginning is lost may begin with half a token.
        said.add(&[b'a'; KEPT - 12]);
        said.add(b" EAAG12345");
        assert_eq!(said.kept.len(), KEPT);
        assert!(!said.shown(&[]).contains("EAAG"));
    }
}
