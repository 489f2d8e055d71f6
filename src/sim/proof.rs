//! `appsecret_proof`: HMAC-SHA256 of the token, by the app's secret, in hexadecimal.
//!
//! Written out here although the sidecar has its own: a fake that checked the sidecar's proofs with the
//! sidecar's code would find no fault in them.

use sha2::{Digest as _, Sha256};

use super::call::{Call, CallCredential};
use super::failure::GraphFailure;
use super::multipart::to_hex;
use super::state::{ProofPolicy, SimState};
use super::tokens::SimTokenKind;
use crate::types::unix_seconds;

/// Checks the proof that a call brings, and that it brings one if it must.
pub(super) fn check(state: &SimState, call: &Call, token: &str, kind: SimTokenKind) -> Result<(), GraphFailure> {
    let required = state.config.proof == ProofPolicy::Required && kind != SimTokenKind::App;
    match verify(state, call, token) {
        Some(true) => Ok(()),
        Some(false) => Err(method_error("Invalid appsecret_proof provided in the API argument")),
        // Whoever checked the batch has checked the proof of its token.
        None if required && !call.inherits_batch_token => Err(missing_proof()),
        None => Ok(()),
    }
}

/// `absent`, `verify` or `wrong`.
pub(super) fn proof_state(state: &SimState, call: &Call) -> &'static str {
    let token = match &call.credential {
        CallCredential::Parameter(token) | CallCredential::Header(token) => token.as_str(),
        CallCredential::Missing => "",
    };
    match verify(state, call, token) {
        None => "absent",
        Some(true) => "right",
        Some(false) => "wrong",
    }
}

/// Whether the proof is that of the token, if there is one.
fn verify(state: &SimState, call: &Call, token: &str) -> Option<bool> {
    let proof = call.text("appsecret_proof")?;
    let secret = &state.config.app_secret;
    Some(match call.text("appsecret_time") {
        None => proof == hmac_sha256(secret, token),
        Some(time) => {
            let recent = time
                .parse::<i64>()
                .is_ok_and(|time| (unix_seconds(state.now()) - time).abs() <= 5 * 60);
            recent && proof == hmac_sha256(secret, &format!("{token}|{time}"))
        }
    })
}

/// A call that must have a proof has none.
pub(super) fn missing_proof() -> GraphFailure {
    method_error("API calls from the server require an appsecret_proof argument")
}

fn method_error(message: &str) -> GraphFailure {
    GraphFailure::new(100, message).with_type("GraphMethodException")
}

fn hmac_sha256(key: &str, message: &str) -> String {
    const BLOCK: usize = 64;
    let mut key = key.as_bytes().to_vec();
    if key.len() > BLOCK {
        key = Sha256::digest(&key).to_vec();
    }
    key.resize(BLOCK, 0);
    let padded = |pad: u8| key.iter().map(|byte| byte ^ pad).collect::<Vec<_>>();
    let inner = Sha256::new()
        .chain_update(padded(0x36))
        .chain_update(message)
        .finalize();
    let outer = Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize();
    to_hex(&outer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_agrees_with_rfc_4231() {
        assert_eq!(
            hmac_sha256("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let long_key = "a".repeat(131);
        assert_ne!(hmac_sha256(&long_key, "x"), hmac_sha256(&"a".repeat(130), "x"));
    }
}
