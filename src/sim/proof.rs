//! `appsecret_proof`: HMAC-SHA256 of the token, by the app's secret, in hexadecimal.
//!
//! Written out here although the sidecar has its own: a fake that checked the sidecar's proofs with the
//! sidecar's code would find no fault in them.

use sha2::{Digest as _, Sha256};

use super::call::{Call, Presented};
use super::failure::Failure;
use super::multipart::hex;
use super::state::{Proof, State};
use super::tokens::Kind;
use crate::types::unix;

/// Checks the proof that a call brings, and that it brings one if it must.
pub(super) fn check(state: &State, call: &Call, token: &str, kind: Kind) -> Result<(), Failure> {
    let required = state.settings.proof == Proof::Required && kind != Kind::App;
    match right(state, call, token) {
        Some(true) => Ok(()),
        Some(false) => Err(method(
            "Invalid appsecret_proof provided in the API argument",
        )),
        // Whoever checked the batch has checked the proof of its token.
        None if required && !call.covered => Err(missing()),
        None => Ok(()),
    }
}

/// `absent`, `right` or `wrong`.
pub(super) fn standing(state: &State, call: &Call) -> &'static str {
    let token = match &call.presented {
        Presented::Parameter(token) | Presented::Header(token) => token.as_str(),
        Presented::Nothing => "",
    };
    match right(state, call, token) {
        None => "absent",
        Some(true) => "right",
        Some(false) => "wrong",
    }
}

/// Whether the proof is that of the token, if there is one.
fn right(state: &State, call: &Call, token: &str) -> Option<bool> {
    let proof = call.text("appsecret_proof")?;
    let secret = &state.settings.app_secret;
    Some(match call.text("appsecret_time") {
        None => proof == hmac(secret, token),
        Some(time) => {
            let recent = time
                .parse::<i64>()
                .is_ok_and(|time| (unix(state.now()) - time).abs() <= 5 * 60);
            recent && proof == hmac(secret, &format!("{token}|{time}"))
        }
    })
}

/// A call that must have a proof has none.
pub(super) fn missing() -> Failure {
    method("API calls from the server require an appsecret_proof argument")
}

fn method(message: &str) -> Failure {
    Failure::new(100, message).kind("GraphMethodException")
}

fn hmac(key: &str, message: &str) -> String {
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
    let outer = Sha256::new()
        .chain_update(padded(0x5c))
        .chain_update(inner)
        .finalize();
    hex(&outer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_agrees_with_rfc_4231() {
        assert_eq!(
            hmac("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let long_key = "a".repeat(131);
        assert_ne!(hmac(&long_key, "x"), hmac(&"a".repeat(130), "x"));
    }
}
