//! `appsecret_proof`: proves that the sender of a token also knows the app's secret.
//!
//! [Securing requests](https://developers.facebook.com/docs/graph-api/guides/secure-requests): the HMAC-SHA256 of the
//! token as it is, keyed with the app's secret, in lower-case hexadecimal; or of `token|unix seconds`, sent together
//! with `appsecret_time` and good for five minutes.
//!
//! # Why
//!
//! A proof belongs to one token, so the app's proof is wrong as soon as graphward replaces the token, and Graph
//! rejects a wrong proof even where it does not demand one.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The kind of proofs (`app.proof`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
pub enum ProofMode {
    /// One for each token.
    #[default]
    #[serde(rename = "auto")]
    PerToken,
    /// One for each attempt, with `appsecret_time`.
    #[serde(rename = "timed")]
    Timestamped,
    /// No proofs.
    #[serde(rename = "off")]
    Off,
}

/// A proof as the query parameters that carry it: `appsecret_proof=…`, and `appsecret_time=…` if it is timed.
#[derive(Clone, Eq, PartialEq, derive_more::Debug)]
// Never the proof.
#[debug("AppSecretProof")]
pub struct AppSecretProof(Box<str>);

/// The HMAC, keyed with an app's secret; the secret itself is not kept. Clones share it.
#[derive(Clone, derive_more::Debug)]
#[debug("ProofSigner")]
pub struct ProofSigner(Arc<Hmac<Sha256>>);

// === impl ProofSigner ===

impl ProofSigner {
    /// Signs with an app's secret.
    #[must_use]
    pub fn new(app_secret: &[u8]) -> Self {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        Self(Arc::new(Hmac::new_from_slice(app_secret).expect("any length")))
    }

    /// The proof of a token.
    #[must_use]
    pub fn sign(&self, token: &[u8]) -> AppSecretProof {
        AppSecretProof(format!("appsecret_proof={}", self.hmac_hex(&[token])).into())
    }

    /// The proof of a token at this time; a time before 1970 counts as 1970.
    #[must_use]
    pub fn sign_at(&self, token: &[u8], at: SystemTime) -> AppSecretProof {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = since.as_secs().to_string();
        let hex = self.hmac_hex(&[token, b"|", seconds.as_bytes()]);
        AppSecretProof(format!("appsecret_proof={hex}&appsecret_time={seconds}").into())
    }

    fn hmac_hex(&self, message: &[&[u8]]) -> String {
        let mut mac = Hmac::clone(&self.0);
        for part in message {
            mac.update(part);
        }
        let digest = mac.finalize().into_bytes();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

// === impl AppSecretProof ===

impl AppSecretProof {
    /// The parameters, ready for a query.
    #[must_use]
    pub fn as_query(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_proof_is_the_hmac_of_rfc_4231_in_lowercase() {
        let signer = ProofSigner::new(b"Jefe");
        assert_eq!(
            signer.sign(b"what do ya want for nothing?").as_query(),
            "appsecret_proof=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn a_timestamped_proof_signs_the_token_a_bar_and_the_seconds() {
        let signer = ProofSigner::new(b"secret");
        let at = UNIX_EPOCH + Duration::from_millis(1_700_000_000_900);
        let hex = signer.hmac_hex(&[b"EAAB|1700000000"]);
        assert_eq!(
            signer.sign_at(b"EAAB", at).as_query(),
            format!("appsecret_proof={hex}&appsecret_time=1700000000")
        );
    }

    #[test]
    fn debug_output_shows_neither_the_secret_nor_the_proof() {
        let signer = ProofSigner::new(b"app secret");
        let shown = format!("{signer:?} {:?}", signer.sign(b"EAAB"));
        assert_eq!(shown, "ProofSigner AppSecretProof");
    }
}
