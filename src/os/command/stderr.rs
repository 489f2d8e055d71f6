//! The stderr of a command, of which the last line is shown: it explains the failure.

use zeroize::Zeroizing;

use crate::types::redact_line;

/// The end of what a command wrote to stderr.
#[derive(Default)]
pub(super) struct StderrTail {
    buffer: Zeroizing<Vec<u8>>,
    /// The beginning was discarded, possibly in the middle of a secret.
    truncated: bool,
}

/// The number of bytes that are kept.
const MAX_TAIL_BYTES: usize = 4 * 1024;

// === impl StderrTail ===

impl StderrTail {
    /// Appends bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        let excess = self.buffer.len().saturating_sub(MAX_TAIL_BYTES);
        if excess > 0 {
            self.truncated = true;
            // What is left after the end is zeroed with the rest of the buffer.
            self.buffer.drain(..excess);
        }
    }

    /// Returns the last line after a colon, with known and possible secrets redacted.
    pub(super) fn redacted_last_line(&self, known_secrets: &[&[u8]]) -> String {
        let text = Zeroizing::new(String::from_utf8_lossy(&self.buffer).into_owned());
        let text = match text.split_once('\n') {
            Some((_half, rest)) if self.truncated => rest,
            None if self.truncated => "",
            Some(_) | None => text.as_str(),
        };
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
        line.map_or_else(String::new, |line| format!(": {}", redact_line(line, known_secrets)))
    }
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
    fn the_last_line_is_shown_without_secrets_and_nothing_if_there_is_none() {
        assert_eq!(shown(""), "");
        assert_eq!(shown(" \n\n"), "");
        assert_eq!(
            shown("Traceback:\n  File x\nKeyError: tenant 'a' is not there\n\n"),
            ": KeyError: tenant 'a' is not there"
        );
        assert_eq!(shown("warning\nI was given s3cr-t."), ": I was given [redacted].");
    }

    #[test]
    fn only_the_end_of_a_flood_is_kept_and_no_partial_line_is_shown() {
        let mut tail = StderrTail::default();
        for _ in 0..100_000 {
            tail.push(b"noise\n");
        }
        tail.push(b"the end");
        assert!(tail.buffer.len() <= MAX_TAIL_BYTES);
        assert_eq!(tail.redacted_last_line(&[]), ": the end");
        // A line whose beginning was discarded may begin with half a token.
        tail.push(&[b'a'; MAX_TAIL_BYTES - 14]);
        tail.push(b" EAAG12345 \"");
        assert_eq!(tail.buffer.len(), MAX_TAIL_BYTES);
        assert_eq!(tail.redacted_last_line(&[]), "");
        tail.push(b"\nthe end");
        assert_eq!(tail.redacted_last_line(&[]), ": the end");
    }
}
