//! A token, and a token made ready to stamp.

use std::fmt;
use std::num::NonZeroU64;
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::graph::redact;
use crate::types::{Fingerprint, Secret};

/// The how-manyeth credential of its tenant. Only the refresher counts.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Generation(NonZeroU64);

/// A secret, and when it ends.
#[derive(Clone, Debug)]
pub struct Token {
    /// The text that Graph knows.
    pub secret: Secret,
    /// When it ends, if that is known; `None` is "unknown or never".
    pub expires_at: Option<SystemTime>,
}

/// A token made ready to stamp. A credential and its header values belong to the same token.
pub struct Credential {
    generation: Generation,
    token: Token,
    fingerprint: Fingerprint,
    bearer: HeaderValue,
    oauth: HeaderValue,
}

/// Why a token cannot be stamped.
#[derive(Debug, thiserror::Error)]
#[error("the token cannot stand in a header")]
pub struct CredentialError(#[source] http::header::InvalidHeaderValue);

// === impl Generation ===

impl Generation {
    pub(super) const FIRST: Self = Self(NonZeroU64::MIN);

    pub(super) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The number, from 1.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    pub(super) fn from_number(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Token ===

impl Token {
    /// A token whose end is not known.
    #[must_use]
    pub const fn lasting(secret: Secret) -> Self {
        Self {
            secret,
            expires_at: None,
        }
    }
}

// === impl Credential ===

impl Credential {
    pub(super) fn new(generation: Generation, token: Token) -> Result<Self, CredentialError> {
        let stamp = |scheme: &str| {
            let text = Zeroizing::new(format!("{scheme} {}", token.secret.expose()));
            let mut value = HeaderValue::from_str(&text).map_err(CredentialError)?;
            value.set_sensitive(true);
            Ok(value)
        };
        let (bearer, oauth) = (stamp("Bearer")?, stamp("OAuth")?);
        let fingerprint = token.secret.fingerprint();
        Ok(Self {
            generation,
            token,
            fingerprint,
            bearer,
            oauth,
        })
    }

    /// Which credential of its tenant this is.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// What may be shown instead of the token.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// When the token ends, if that is known.
    #[must_use]
    pub const fn expires_at(&self) -> Option<SystemTime> {
        self.token.expires_at
    }

    /// `Bearer <token>`, marked sensitive.
    #[must_use]
    pub const fn bearer(&self) -> &HeaderValue {
        &self.bearer
    }

    /// `OAuth <token>`, marked sensitive: the scheme of Meta's upload documentation.
    #[must_use]
    pub const fn oauth(&self) -> &HeaderValue {
        &self.oauth
    }

    /// The text with `[redacted]` wherever the token stands in it, in any spelling; `None` if it does not.
    #[must_use]
    pub fn redacted(&self, text: &[u8]) -> Option<Bytes> {
        redact(text, self.token.secret.expose().as_bytes())
    }

    /// Whether a decoded text is the token.
    pub fn is_token(&self, decoded: impl Iterator<Item = u8>) -> bool {
        decoded.eq(self.token.secret.expose().bytes())
    }

    /// The token itself, for the supply.
    pub(super) const fn token(&self) -> &Token {
        &self.token
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("generation", &self.generation)
            .field("fingerprint", &self.fingerprint)
            .field("expires_at", &self.token.expires_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_knows_its_token_when_it_sees_it() {
        let token = Token::lasting(Secret::new("EAAGm0PX4/ZCps").unwrap());
        let credential = Credential::new(Generation::FIRST, token).unwrap();
        let text = br"Malformed access token EAAGm0PX4\/ZCps";
        let redacted = credential.redacted(text).unwrap();
        assert_eq!(redacted, &b"Malformed access token [redacted]"[..]);
        assert_eq!(credential.redacted(&redacted), None);
        assert!(credential.is_token(b"EAAGm0PX4/ZCps".iter().copied()));
        assert!(!credential.is_token(b"EAAGm0PX4/ZCp".iter().copied()));
        assert!(!credential.is_token(b"EAAGm0PX4/ZCpsB".iter().copied()));
    }
}
