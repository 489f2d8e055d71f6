//! How a token is written down, in clear or sealed: read from there, and put there.

use zeroize::Zeroizing;

use super::decode::{self, DecodeError, Format};
use super::fernet::{Fernet, FernetError};
use crate::token::Token;
use crate::types::Secret;

/// Where in the bytes the token is, and what it is sealed with.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) format: Format,
    pub(super) keys: Option<Fernet>,
}

/// Why bytes show no token, or take none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum WrittenError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Fernet(#[from] FernetError),
    #[error("it is a Fernet text, not a token; name the key that opens it with `fernet_key`")]
    Sealed,
    #[error("the new token has a character that cannot stand there; is it a token?")]
    Unfit,
}

// === impl Written ===

impl Written {
    /// The token that these bytes show.
    pub(super) fn read(&self, bytes: &[u8]) -> Result<Token, WrittenError> {
        let token = decode::token(bytes, &self.format, None)?;
        let Some(keys) = &self.keys else {
            // No token of Graph's begins like that.
            let is_sealed = token.secret.expose().starts_with("gAAAAA");
            return if is_sealed {
                Err(WrittenError::Sealed)
            } else {
                Ok(token)
            };
        };
        let opened = keys.open(token.secret.expose())?;
        Ok(Token {
            secret: decode::decode(opened.as_bytes(), &Format::Raw)?,
            ..token
        })
    }

    /// The bytes with this token in the place of theirs; all else is as it was.
    pub(super) fn rewrite(
        &self,
        bytes: &[u8],
        token: &Token,
    ) -> Result<Zeroizing<Vec<u8>>, WrittenError> {
        let text = text(&token.secret, self.keys.as_ref());
        let new = decode::with(bytes, &self.format, &text, token.expires_at)?;
        // A quotation mark, say, or one byte too many: better not written than not read.
        let reads = self
            .read(&new)
            .is_ok_and(|read| same(&read.secret, &token.secret));
        if reads {
            Ok(new)
        } else {
            Err(WrittenError::Unfit)
        }
    }
}

/// What is written for a secret.
pub(super) fn text(secret: &Secret, keys: Option<&Fernet>) -> Zeroizing<String> {
    Zeroizing::new(match keys {
        Some(keys) => keys.seal(secret),
        None => secret.expose().to_owned(),
    })
}

/// Whether two secrets are the same, not only by their fingerprints.
pub(super) fn same(one: &Secret, other: &Secret) -> bool {
    one.expose() == other.expose()
}

// === impl WrittenError ===

impl WrittenError {
    /// Its name in logs and metrics.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Decode(error) => error.label(),
            Self::Fernet(error) => error.label(),
            Self::Sealed => "sealed",
            Self::Unfit => "character",
        }
    }
}
