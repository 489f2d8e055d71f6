//! `appsecret_proof`: HMAC-SHA256 of the token, by the app's secret, in hexadecimal.
//!
//! The fake does not use the sidecar's code for it: that code would find no fault in the sidecar's proofs.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::call::{Call, CallCredential};
use crate::clock::unix_seconds;
use crate::digest::to_hex;
use crate::failure::GraphFailure;
use crate::state::{ProofPolicy, State};
use crate::tokens::TokenType;

/// Checks a call's proof, and that a required one is there.
pub(crate) fn check(state: &State, call: &Call, token: &str, kind: TokenType) -> Result<(), GraphFailure> {
    let required = state.config.proof == ProofPolicy::Required && kind != TokenType::App;
    match verify(state, call, token) {
        Some(true) => Ok(()),
        Some(false) => Err(method_error("Invalid appsecret_proof provided in the API argument")),
        // The proof of the batch's token was checked with the batch.
        None if required && !call.inherits_batch_token => Err(missing_proof()),
        None => Ok(()),
    }
}

/// Describes a call's proof: `absent`, `right` or `wrong`.
pub(crate) fn proof_state(state: &State, call: &Call) -> &'static str {
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

/// Returns whether the call's proof, if it has one, is that of the token.
fn verify(state: &State, call: &Call, token: &str) -> Option<bool> {
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

/// The error for a missing proof.
pub(crate) fn missing_proof() -> GraphFailure {
    method_error("API calls from the server require an appsecret_proof argument")
}

fn method_error(message: &str) -> GraphFailure {
    GraphFailure::new(100, message).with_type("GraphMethodException")
}

fn hmac_sha256(key: &str, message: &str) -> String {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else {
        return String::new();
    };
    mac.update(message.as_bytes());
    to_hex(&mac.finalize().into_bytes())
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
