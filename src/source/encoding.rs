//! The encoding of a token in a file or a column: its format, and its encryption if there is one.

use std::time::{SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

use super::decode::{self, DecodeError, Format};
use super::fernet::{Fernet, FernetError};
use crate::token::Token;
use crate::types::Secret;

/// The location of the token in the bytes, and the keys it is encrypted with.
#[derive(Clone, Debug)]
pub(super) struct TokenEncoding {
    pub(super) format: Format,
    pub(super) fernet: Option<Fernet>,
}

/// The reason why bytes contain no token, or a token cannot be put into them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum EncodingError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Fernet(#[from] FernetError),
    #[error("it is encrypted with Fernet; set `fernet_key` to the key that decrypts it")]
    Encrypted,
    #[error("the new token contains a character that this format cannot represent; check that it is a token")]
    Unrepresentable,
}

// === impl TokenEncoding ===

impl TokenEncoding {
    /// Decodes the token in these bytes.
    pub(super) fn decode(&self, bytes: &[u8]) -> Result<Token, EncodingError> {
        let token = decode::decode_token(bytes, &self.format, None)?;
        let Some(keys) = &self.fernet else {
            // No token of Graph begins like this.
            let is_encrypted = token.secret.expose().starts_with("gAAAAA");
            return if is_encrypted {
                Err(EncodingError::Encrypted)
            } else {
                Ok(token)
            };
        };
        let plaintext = keys.decrypt(token.secret.expose())?;
        Ok(Token {
            secret: decode::decode(plaintext.as_bytes(), &Format::Raw)?,
            ..token
        })
    }

    /// Returns the bytes with this token instead of the old one; the rest is unchanged.
    pub(super) fn replace_token(&self, bytes: &[u8], token: &Token) -> Result<Zeroizing<Vec<u8>>, EncodingError> {
        let encoded = encode_secret(&token.secret, self.fernet.as_ref());
        let new = decode::replace_token(bytes, &self.format, &encoded, token.expires_at)?;
        // A quotation mark or a byte too many, for example: a token that could not be read must not be written.
        let is_readable = self
            .decode(&new)
            .is_ok_and(|read| same_secret(&read.secret, &token.secret));
        if is_readable {
            Ok(new)
        } else {
            Err(EncodingError::Unrepresentable)
        }
    }
}

/// Encodes a secret, encrypted if there are keys.
pub(super) fn encode_secret(secret: &Secret, keys: Option<&Fernet>) -> Zeroizing<String> {
    Zeroizing::new(match keys {
        Some(keys) => keys.encrypt(secret),
        None => secret.expose().to_owned(),
    })
}

/// Returns Unix time in whole seconds.
pub(super) fn epoch_seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Returns whether two secrets are equal, compared in full.
pub(super) fn same_secret(one: &Secret, other: &Secret) -> bool {
    one.expose() == other.expose()
}

// === impl EncodingError ===

impl EncodingError {
    /// Its name in logs and metrics.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Decode(error) => error.label(),
            Self::Fernet(error) => error.label(),
            Self::Encrypted => "encrypted",
            Self::Unrepresentable => "invalid_character",
        }
    }
}
