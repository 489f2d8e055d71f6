//! A token, and a token made ready to stamp.

use std::fmt;
use std::num::NonZeroU64;
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::graph::{AppSecretProof, ProofMode, ProofSigner, TokenFamily, redact};
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
    /// Since when it has been there at least, if its place says so: the date of a file.
    pub modified_at: Option<SystemTime>,
}

/// A token made ready to stamp. A credential, its header values and its proof belong to the same token.
pub struct Credential {
    generation: Generation,
    token: Token,
    fingerprint: Fingerprint,
    family: Option<TokenFamily>,
    bearer: HeaderValue,
    oauth: HeaderValue,
    proof: CredentialProof,
}

/// What makes the proofs of an app's tokens.
#[derive(Clone, Debug)]
pub struct ProofSettings {
    prover: ProofSigner,
    proving: ProofMode,
}

/// How a credential comes by its proof.
enum CredentialProof {
    None,
    Precomputed(AppSecretProof),
    Timed(ProofSigner),
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
    pub const fn without_expiry(secret: Secret) -> Self {
        Self {
            secret,
            expires_at: None,
            modified_at: None,
        }
    }
}

// === impl Send ===

impl Credential {
    pub(super) fn new(
        generation: Generation,
        token: Token,
        proofs: Option<&ProofSettings>,
    ) -> Result<Self, CredentialError> {
        let header_value = |scheme: &str| {
            let text = Zeroizing::new(format!("{scheme} {}", token.secret.expose()));
            let mut value = HeaderValue::from_str(&text).map_err(CredentialError)?;
            value.set_sensitive(true);
            Ok(value)
        };
        let (bearer, oauth) = (header_value("Bearer")?, header_value("OAuth")?);
        let text = token.secret.expose();
        let proof = match proofs {
            None => CredentialProof::None,
            Some(ProofSettings { prover, proving }) => match proving {
                ProofMode::PerToken => CredentialProof::Precomputed(prover.sign(text.as_bytes())),
                ProofMode::Timestamped => CredentialProof::Timed(prover.clone()),
            },
        };
        Ok(Self {
            generation,
            fingerprint: token.secret.fingerprint(),
            family: TokenFamily::from_token(text),
            token,
            bearer,
            oauth,
            proof,
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

    /// Whose hosts it is for; `None` if the token does not say.
    #[must_use]
    pub const fn family(&self) -> Option<TokenFamily> {
        self.family
    }

    /// Hands `write` the proof of this token, if the app has a secret: the lasting one, or that of this moment.
    pub fn with_proof(&self, now: impl FnOnce() -> SystemTime, write: impl FnOnce(&AppSecretProof)) {
        match &self.proof {
            CredentialProof::None => {}
            CredentialProof::Precomputed(proof) => write(proof),
            CredentialProof::Timed(prover) => {
                write(&prover.sign_at(self.token.secret.expose().as_bytes(), now()));
            }
        }
    }

    /// Which proofs are made of this token, if any.
    #[must_use]
    pub const fn proof_mode(&self) -> Option<ProofMode> {
        match self.proof {
            CredentialProof::None => None,
            CredentialProof::Precomputed(_) => Some(ProofMode::PerToken),
            CredentialProof::Timed(_) => Some(ProofMode::Timestamped),
        }
    }

    /// When the token ends, if that is known.
    #[must_use]
    pub const fn expires_at(&self) -> Option<SystemTime> {
        self.token.expires_at
    }

    /// Since when it has been there at least, if its place says so.
    #[must_use]
    pub const fn modified_at(&self) -> Option<SystemTime> {
        self.token.modified_at
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
    pub fn matches_token(&self, decoded: impl Iterator<Item = u8>) -> bool {
        decoded.eq(self.token.secret.expose().bytes())
    }

    /// The token itself, for the supply.
    pub(super) const fn token(&self) -> &Token {
        &self.token
    }
}

// === impl ProofSettings ===

impl ProofSettings {
    /// With an app's secret.
    #[must_use]
    pub fn new(app_secret: &Secret, proving: ProofMode) -> Self {
        Self {
            prover: ProofSigner::new(app_secret.expose().as_bytes()),
            proving,
        }
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
    fn a_credential_recognizes_its_own_token() {
        let token = Token::without_expiry(Secret::new("EAAGm0PX4/ZCps").unwrap());
        let credential = Credential::new(Generation::FIRST, token, None).unwrap();
        let text = br"Malformed access token EAAGm0PX4\/ZCps";
        let redacted = credential.redacted(text).unwrap();
        assert_eq!(redacted, &b"Malformed access token [redacted]"[..]);
        assert_eq!(credential.redacted(&redacted), None);
        assert!(credential.matches_token(b"EAAGm0PX4/ZCps".iter().copied()));
        assert!(!credential.matches_token(b"EAAGm0PX4/ZCp".iter().copied()));
        assert!(!credential.matches_token(b"EAAGm0PX4/ZCpsB".iter().copied()));
    }
}
