//! Text that must not be shown.

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Text that must not be shown: no `Display`, no `Serialize`, no `Deref`; `Debug` shows the [`Fingerprint`];
/// the memory is zeroed when it is dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Box<str>>);

/// The first 8 hexadecimal digits of a secret's SHA-256: enough to distinguish secrets in a log, not enough to guess one.
#[derive(Clone, Copy, Eq, Hash, PartialEq, derive_more::Debug)]
#[debug("{self}")]
pub struct Fingerprint([u8; 4]);

/// The reason why a text cannot be a secret. The text itself is never part of the message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SecretError {
    /// Nothing, or only white space.
    #[error("it is empty")]
    Empty,
    /// A byte that is not allowed in a header value.
    #[error("it contains a control character, a space or a non-ASCII character; check that only the secret was pasted")]
    InvalidCharacter,
    /// More than [`Secret::MAX_BYTES`].
    #[error("it is longer than 16 KiB")]
    TooLong,
}

// === impl Secret ===

impl Secret {
    /// The longest secret: 16 KiB.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// Creates a secret from a text without its line end.
    ///
    /// # Errors
    ///
    /// [`SecretError`] if it is empty, longer than [`Self::MAX_BYTES`], or contains anything but visible ASCII: a value must
    /// not be able to end its header.
    pub fn new(text: &str) -> Result<Self, SecretError> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.trim().is_empty() {
            return Err(SecretError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(SecretError::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SecretError::InvalidCharacter);
        }
        Ok(Self(Zeroizing::new(Box::from(text))))
    }

    /// The text. `tests/law` lists the callers.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns whether it has fewer characters than this.
    #[must_use]
    pub fn is_shorter_than(&self, length: usize) -> bool {
        self.0.len() < length
    }

    /// Returns whether a client has presented it. The time that this takes says nothing about it.
    #[must_use]
    pub fn is_presented_as(&self, text: &[u8]) -> bool {
        let digests = [self.0.as_bytes(), text].map(Sha256::digest);
        let [own, presented] = digests.each_ref();
        let differences = own.iter().zip(presented).map(|(one, other)| one ^ other);
        differences.fold(0, |all, one| all | one) == 0
    }

    /// The fingerprint, which may be shown instead.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let digest = Sha256::digest(self.0.as_bytes());
        Fingerprint(digest.first_chunk().copied().unwrap_or_default())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.fingerprint())
    }
}

// === impl Fingerprint ===

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_a_fingerprint_and_nothing_of_the_text() {
        let secret = Secret::new("EAAGm0PX4ZCpsBAKZA").unwrap();
        let shown = format!("{secret:?}");
        assert_eq!(shown, format!("Secret({})", secret.fingerprint()));
        assert_eq!(shown.len(), "Secret(01234567)".len());
        assert!(!shown.contains("EAAG"));
    }

    #[test]
    fn only_the_whole_secret_is_accepted_from_a_client() {
        let secret = Secret::new("correct-horse-battery").unwrap();
        assert!(secret.is_presented_as(b"correct-horse-battery"));
        for wrong in [
            "",
            "correct-horse-batter",
            "correct-horse-battery ",
            "Correct-horse-battery",
        ] {
            assert!(!secret.is_presented_as(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn one_line_end_is_trimmed_and_anything_that_could_end_a_header_is_refused() {
        assert_eq!(Secret::new("abc\r\n").unwrap().expose(), "abc");
        assert_eq!(Secret::new("").unwrap_err(), SecretError::Empty);
        assert_eq!(Secret::new(" \n").unwrap_err(), SecretError::Empty);
        assert_eq!(Secret::new("a\nb").unwrap_err(), SecretError::InvalidCharacter);
        assert_eq!(Secret::new("a\0b").unwrap_err(), SecretError::InvalidCharacter);
        assert_eq!(Secret::new("a b").unwrap_err(), SecretError::InvalidCharacter);
        assert_eq!(Secret::new("tökén").unwrap_err(), SecretError::InvalidCharacter);
        assert_eq!(
            Secret::new(&"a".repeat(Secret::MAX_BYTES + 1)).unwrap_err(),
            SecretError::TooLong
        );
    }
}
