//! How a token is written down, in clear or sealed: read from there, and put there.

use zeroize::Zeroizing;

use super::decode::{self, DecodeError, Format};
use super::fernet::{Fernet, FernetError};
use crate::token::Token;
use crate::types::Secret;

/// Where in the bytes the token is, and what it is sealed with.
#[derive(Clone, Debug)]
pub(super) struct TokenEncoding {
    pub(super) format: Format,
    pub(super) fernet: Option<Fernet>,
}

/// Why bytes show no token, or take none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum EncodingError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Fernet(#[from] FernetError),
    #[error("it is encrypted with Fernet; set `fernet_key` to the key that decrypts it")]
    Encrypted,
    #[error("the new token has a character that cannot stand there; is it a token?")]
    Unrepresentable,
}

// === impl Written ===

impl TokenEncoding {
    /// The token that these bytes show.
    pub(super) fn decode(&self, bytes: &[u8]) -> Result<Token, EncodingError> {
        let token = decode::token(bytes, &self.format, None)?;
        let Some(keys) = &self.fernet else {
            // No token of Graph's begins like that.
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

    /// The bytes with this token in the place of theirs; all else is as it was.
    pub(super) fn replace_token(&self, bytes: &[u8], token: &Token) -> Result<Zeroizing<Vec<u8>>, EncodingError> {
        let encoded = encode_secret(&token.secret, self.fernet.as_ref());
        let new = decode::replace_token(bytes, &self.format, &encoded, token.expires_at)?;
        // A quotation mark, say, or one byte too many: better not written than not read.
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

/// What is written for a secret.
pub(super) fn encode_secret(secret: &Secret, keys: Option<&Fernet>) -> Zeroizing<String> {
    Zeroizing::new(match keys {
        Some(keys) => keys.encrypt(secret),
        None => secret.expose().to_owned(),
    })
}

/// Whether two secrets are the same, not only by their fingerprints.
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
            Self::Encrypted => "sealed",
            Self::Unrepresentable => "character",
        }
    }
}
