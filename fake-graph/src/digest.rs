//! SHA-256 in hexadecimal.

use sha2::{Digest as _, Sha256};

/// The SHA-256 of these bytes.
pub(crate) fn sha256_hex(bytes: impl AsRef<[u8]>) -> String {
    to_hex(&Sha256::digest(bytes))
}

/// The fingerprint of a token, which logs and records may show: the first eight digits of its SHA-256.
pub(crate) fn fingerprint(token: &str) -> String {
    sha256_hex(token).chars().take(8).collect()
}

/// Lower-case hexadecimal.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
