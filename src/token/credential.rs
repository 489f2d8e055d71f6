//! A token, and a token prepared for requests.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderValue;
use http::header::InvalidHeaderValue;
use zeroize::Zeroizing;

use crate::graph::{AppSecretProof, ProofMode, ProofSigner, redact};
use crate::types::{Fingerprint, Secret, TokenFamily};

/// The number of a credential among those of its tenant. Only the refresher assigns it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, derive_more::Display)]
pub struct Generation(NonZeroU64);

/// A secret and its expiry.
#[derive(Clone, Debug)]
pub struct Token {
    /// The text.
    pub secret: Secret,
    /// The time at which it expires; `None` means unknown or never.
    pub expires_at: Option<SystemTime>,
    /// The key or the column beside it that says so, for messages.
    pub expiry_key: Option<Box<str>>,
    /// The time at which its source was modified, if the source knows: the date of a file. The token is at least that old.
    pub modified_at: Option<SystemTime>,
}

/// A token prepared for requests: its header value and its proof belong to the same token.
#[derive(derive_more::Debug)]
#[debug("Credential({generation}, {fingerprint}, expires_at: {:?})", token.expires_at)]
pub struct Credential {
    generation: Generation,
    token: Token,
    fingerprint: Fingerprint,
    /// The family of hosts that it is for; `None` if neither its prefix nor its inspection tells it.
    pub family: Option<TokenFamily>,
    /// `Bearer <token>`, marked sensitive.
    pub bearer: HeaderValue,
    proof: CredentialProof,
}

/// The settings for the proofs of an app's tokens. Clones share whether proofs are suspended.
#[derive(Clone, Debug)]
pub struct ProofSettings {
    signer: ProofSigner,
    mode: ProofMode,
    /// The fingerprint of the app's secret.
    secret: Fingerprint,
    /// Graph refuses the proofs of this secret, and accepts requests without one.
    is_suspended: Arc<AtomicBool>,
}

/// The way in which a credential gets its proof.
enum CredentialProof {
    None,
    /// Not sent while suspended.
    Precomputed(AppSecretProof, Arc<AtomicBool>),
    Timed(ProofSigner),
}

/// The token cannot be sent in a header.
#[derive(Debug, thiserror::Error)]
#[error("the token contains characters that are not allowed in an HTTP header")]
pub struct CredentialError(#[source] InvalidHeaderValue);

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

    #[cfg(test)]
    pub(super) fn from_number(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }
}

// === impl Token ===

impl Token {
    /// Creates a token whose expiry is unknown.
    #[must_use]
    pub const fn without_expiry(secret: Secret) -> Self {
        Self {
            secret,
            expires_at: None,
            expiry_key: None,
            modified_at: None,
        }
    }
}

// === impl Credential ===

impl Credential {
    pub(super) fn new(
        generation: Generation,
        token: Token,
        inspected_family: Option<TokenFamily>,
        proofs: Option<&ProofSettings>,
    ) -> Result<Self, CredentialError> {
        let bearer = header_value("Bearer", &token.secret).map_err(CredentialError)?;
        let text = token.secret.expose();
        let proof = match proofs.map(|settings| (settings.mode, settings)) {
            None | Some((ProofMode::Off, _)) => CredentialProof::None,
            Some((ProofMode::PerToken, settings)) => {
                let proof = settings.signer.sign(text.as_bytes());
                CredentialProof::Precomputed(proof, Arc::clone(&settings.is_suspended))
            }
            Some((ProofMode::Timestamped, settings)) => CredentialProof::Timed(settings.signer.clone()),
        };
        Ok(Self {
            generation,
            fingerprint: token.secret.fingerprint(),
            family: TokenFamily::from_token(text).or(inspected_family),
            token,
            bearer,
            proof,
        })
    }

    /// The same token in the same generation, with the proof of these settings.
    pub(super) fn with_proofs(&self, proofs: Option<&ProofSettings>) -> Result<Self, CredentialError> {
        Self::new(self.generation, self.token.clone(), self.family, proofs)
    }

    /// `OAuth <token>`, marked sensitive: the scheme of Meta's upload documentation.
    ///
    /// # Panics
    ///
    /// Never: the token is valid in `bearer`.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the same text is in `bearer`")]
    pub fn oauth(&self) -> HeaderValue {
        header_value("OAuth", &self.token.secret).expect("valid")
    }

    /// The number of this credential.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// The fingerprint, which may be shown instead of the token.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Passes the proof of this token to `write`, if the app has a secret: the precomputed one, or one for this moment.
    pub fn with_proof(&self, now: impl FnOnce() -> SystemTime, write: impl FnOnce(&AppSecretProof)) {
        match &self.proof {
            CredentialProof::Precomputed(proof, is_suspended) if !is_suspended.load(Ordering::Relaxed) => write(proof),
            CredentialProof::None | CredentialProof::Precomputed(..) => {}
            CredentialProof::Timed(signer) => {
                write(&signer.sign_at(self.token.secret.expose().as_bytes(), now()));
            }
        }
    }

    /// The kind of proofs of this token.
    #[must_use]
    pub const fn proof_mode(&self) -> ProofMode {
        match self.proof {
            CredentialProof::None => ProofMode::Off,
            CredentialProof::Precomputed(..) => ProofMode::PerToken,
            CredentialProof::Timed(_) => ProofMode::Timestamped,
        }
    }

    /// The time at which the token expires, if that is known.
    #[must_use]
    pub const fn expires_at(&self) -> Option<SystemTime> {
        self.token.expires_at
    }

    /// Returns the text with `[redacted]` in place of the token, in any encoding; `None` if the text does not contain it.
    #[must_use]
    pub fn redacted(&self, text: &[u8]) -> Option<Bytes> {
        redact(text, self.token.secret.expose().as_bytes())
    }

    /// Returns whether a decoded text is the token.
    pub fn matches_token(&self, decoded: impl Iterator<Item = u8>) -> bool {
        decoded.eq(self.token.secret.expose().bytes())
    }

    /// The token itself, for the provider.
    #[must_use]
    pub const fn token(&self) -> &Token {
        &self.token
    }
}

/// Returns a header value with a token, marked sensitive.
fn header_value(scheme: &str, token: &Secret) -> Result<HeaderValue, InvalidHeaderValue> {
    let text = Zeroizing::new(format!("{scheme} {}", token.expose()));
    let mut value = HeaderValue::from_str(&text)?;
    value.set_sensitive(true);
    Ok(value)
}

// === impl ProofSettings ===

impl ProofSettings {
    /// Creates the settings from an app's secret.
    #[must_use]
    pub fn new(app_secret: &Secret, mode: ProofMode) -> Self {
        Self {
            signer: ProofSigner::new(app_secret.expose().as_bytes()),
            mode,
            secret: app_secret.fingerprint(),
            is_suspended: Arc::default(),
        }
    }

    /// Keeps what is known about the proofs of the same secret.
    pub(super) fn continue_from(&mut self, old: &Self) {
        if self.secret == old.secret {
            self.is_suspended = Arc::clone(&old.is_suspended);
        }
    }

    /// Sends no proofs of this secret any more.
    pub(super) fn suspend(&self) {
        self.is_suspended.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.is_suspended.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_recognizes_its_own_token() {
        let token = Token::without_expiry(Secret::new("EAAGm0PX4/ZCps").unwrap());
        let credential = Credential::new(Generation::FIRST, token, None, None).unwrap();
        let text = br"Malformed access token EAAGm0PX4\/ZCps";
        let redacted = credential.redacted(text).unwrap();
        assert_eq!(redacted, &b"Malformed access token [redacted]"[..]);
        assert_eq!(credential.redacted(&redacted), None);
        assert!(credential.matches_token(b"EAAGm0PX4/ZCps".iter().copied()));
        assert!(!credential.matches_token(b"EAAGm0PX4/ZCp".iter().copied()));
        assert!(!credential.matches_token(b"EAAGm0PX4/ZCpsB".iter().copied()));
    }
}
