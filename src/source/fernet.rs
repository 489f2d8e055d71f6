//! Fernet, the encryption of the columns and files of Python apps.
//!
//! # Why
//!
//! Fernet is small and will not change (version 0x80: a date, an IV, AES-128-CBC, HMAC-SHA256, all of it in URL-safe
//! base64), so it is implemented by hand over well-known ciphers: the `fernet` crate has one error for a wrong key, a truncated
//! column and a bare token, and the operator needs to know which it is. It reads what Python's `cryptography` reads (checked in `tests/clients`). The
//! date is ignored: a token may be in a column for as long as it is valid.

use std::sync::Arc;

use aes::Aes128;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::types::{Clock, Secret, unix_seconds};

/// Keys: each of them decrypts, and the first one encrypts, so a new key goes before the old one.
#[derive(Clone, derive_more::Debug)]
#[debug("Fernet {{ keys: {} }}", _0.len())]
pub struct Fernet(Arc<[FernetKey]>);

/// The reason why a text cannot be decrypted, or a key cannot be used. The messages repeat nothing of either.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FernetError {
    /// There is no key.
    #[error("no Fernet key is configured; set `fernet_key` to the key that the token is encrypted with")]
    NoKeys,
    /// The key is invalid.
    #[error(
        "invalid Fernet key: it must be 32 bytes in base64 (44 characters); copy the key that the app encrypts with again"
    )]
    InvalidKey,
    /// Not a Fernet token, perhaps a bare token.
    #[error("not a Fernet token (these start with gAAAA); if the token is not encrypted, remove `fernet_key`")]
    NotFernet,
    /// It begins like one, but ends too early.
    #[error("the Fernet token is truncated; check the length of the column or of the copied text")]
    Truncated,
    /// No key decrypts it.
    #[error(
        "no configured Fernet key decrypts it: it was encrypted with another key or was altered; add the key it was \
         encrypted with"
    )]
    WrongKey,
    /// The plain text is not UTF-8.
    #[error("the decrypted Fernet token is not UTF-8 text; check that a token was encrypted")]
    NotText,
    /// The system's random number generator failed.
    #[error("the operating system's random number generator failed")]
    Random,
}

/// The first half signs, the second encrypts.
struct FernetKey {
    signing: Zeroizing<[u8; HALF_KEY_BYTES]>,
    encryption: Zeroizing<[u8; HALF_KEY_BYTES]>,
}

const HALF_KEY_BYTES: usize = 16;
const VERSION: u8 = 0x80;
/// Version, date, IV.
const HEADER_BYTES: usize = 1 + 8 + BLOCK_BYTES;
const BLOCK_BYTES: usize = 16;
const MAC_BYTES: usize = 32;

/// Written with padding, read with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);
/// For a key that was not generated but typed: Python ignores the bits that are too many.
const KEY_BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG.with_decode_allow_trailing_bits(true));
const CONFIG: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

// === impl Fernet ===

impl Fernet {
    /// Creates a cipher from keys; the first one encrypts.
    ///
    /// # Errors
    ///
    /// [`FernetError`] if there is no key, or one is not 32 bytes in base64.
    #[expect(clippy::needless_pass_by_value, reason = "the keys are moved here, and zeroed")]
    pub fn new(keys: Vec<Secret>) -> Result<Self, FernetError> {
        if keys.is_empty() {
            return Err(FernetError::NoKeys);
        }
        let keys: Result<Vec<_>, _> = keys.iter().map(FernetKey::new).collect();
        Ok(Self(keys?.into()))
    }

    /// Generates a key, in the format of a key file.
    ///
    /// # Errors
    ///
    /// [`FernetError::Random`] if the system's random number generator fails.
    pub fn generate() -> Result<Secret, FernetError> {
        let mut bytes = Zeroizing::new([0; 2 * HALF_KEY_BYTES]);
        getrandom::fill(bytes.as_mut()).map_err(|_unknown| FernetError::Random)?;
        let text = Zeroizing::new(BASE64.encode(bytes.as_slice()));
        Secret::new(&text).map_err(|_never| FernetError::InvalidKey)
    }

    /// Returns the text of a key, for `graphward token keygen`.
    #[must_use]
    pub fn expose_key(key: &Secret) -> Zeroizing<String> {
        Zeroizing::new(key.expose().to_owned())
    }

    /// Decrypts a text that was encrypted with any of the keys.
    ///
    /// # Errors
    ///
    /// [`FernetError`] if the text is invalid, or no key decrypts it.
    pub fn decrypt(&self, text: &str) -> Result<Zeroizing<String>, FernetError> {
        let text = normalized(text);
        if !text.starts_with("gAAAA") {
            return Err(FernetError::NotFernet);
        }
        let bytes = BASE64.decode(text.as_bytes()).map_err(|error| match error {
            base64::DecodeError::InvalidLength(_)
            | base64::DecodeError::InvalidLastSymbol { .. }
            | base64::DecodeError::InvalidPadding => FernetError::Truncated,
            base64::DecodeError::InvalidByte(..) => FernetError::NotFernet,
        })?;
        let (signed, mac) = bytes.split_last_chunk::<MAC_BYTES>().ok_or(FernetError::Truncated)?;
        let (head, ciphertext) = signed
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(FernetError::Truncated)?;
        if ciphertext.is_empty() || ciphertext.len() % BLOCK_BYTES != 0 {
            return Err(FernetError::Truncated);
        }
        let (_date, iv) = head.split_last_chunk::<BLOCK_BYTES>().ok_or(FernetError::Truncated)?;
        let plaintext = self
            .0
            .iter()
            .find(|key| key.has_signed(signed, mac))
            .ok_or(FernetError::WrongKey)?
            .decrypt(iv, ciphertext)?;
        String::from_utf8(plaintext).map(Zeroizing::new).map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            FernetError::NotText
        })
    }

    /// Encrypts a secret with the first key.
    #[must_use]
    pub fn encrypt(&self, secret: &Secret) -> String {
        let date = unix_seconds(Clock::system().now());
        let mut salt = [0; BLOCK_BYTES];
        if getrandom::fill(&mut salt).is_err() {
            // The salt may be half written; `derive_iv` does not depend on it.
            salt = [0; BLOCK_BYTES];
        }
        self.0
            .first()
            .map(|key| key.encrypt(secret, date, key.derive_iv(&salt, date, secret)))
            .unwrap_or_default()
    }
}

// === impl FernetKey ===

impl FernetKey {
    fn new(key: &Secret) -> Result<Self, FernetError> {
        let bytes = KEY_BASE64
            .decode(normalized(key.expose()).as_bytes())
            .map(Zeroizing::new);
        let bytes = bytes.map_err(|_position| FernetError::InvalidKey)?;
        let (signing, encryption) = bytes
            .split_first_chunk::<HALF_KEY_BYTES>()
            .ok_or(FernetError::InvalidKey)?;
        let encryption = encryption.try_into().map_err(|_length| FernetError::InvalidKey)?;
        Ok(Self {
            signing: Zeroizing::new(*signing),
            encryption: Zeroizing::new(encryption),
        })
    }

    fn mac(&self, parts: &[&[u8]]) -> Option<Hmac<Sha256>> {
        // HMAC accepts a key of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(self.signing.as_slice()).ok()?;
        parts.iter().for_each(|part| mac.update(part));
        Some(mac)
    }

    /// Returns whether this key signed the bytes. Takes constant time.
    fn has_signed(&self, bytes: &[u8], mac: &[u8; MAC_BYTES]) -> bool {
        self.mac(&[bytes]).is_some_and(|known| known.verify_slice(mac).is_ok())
    }

    fn decrypt(&self, iv: &[u8; BLOCK_BYTES], ciphertext: &[u8]) -> Result<Vec<u8>, FernetError> {
        let encryption = (&*self.encryption).into();
        cbc::Decryptor::<Aes128>::new(encryption, iv.into())
            .decrypt_padded_vec::<Pkcs7>(ciphertext)
            .map_err(|_padding| FernetError::WrongKey)
    }

    /// Derives an IV that cannot be predicted without the key, even if `salt` can be: it depends on the secret, too.
    fn derive_iv(&self, salt: &[u8; BLOCK_BYTES], date: u64, secret: &Secret) -> [u8; BLOCK_BYTES] {
        // Signed data begins with the version, so this is never a signature.
        let parts = [b"iv", &salt[..], &date.to_be_bytes(), secret.expose().as_bytes()];
        let digest = self.mac(&parts).map(|mac| mac.finalize().into_bytes());
        let first = digest.as_deref().and_then(<[u8]>::first_chunk::<BLOCK_BYTES>);
        first.copied().unwrap_or(*salt)
    }

    fn encrypt(&self, secret: &Secret, date: u64, iv: [u8; BLOCK_BYTES]) -> String {
        let encryption = (&*self.encryption).into();
        let ciphertext = cbc::Encryptor::<Aes128>::new(encryption, (&iv).into())
            .encrypt_padded_vec::<Pkcs7>(secret.expose().as_bytes());
        let mut bytes = vec![VERSION];
        bytes.extend(date.to_be_bytes());
        bytes.extend(iv);
        bytes.extend(ciphertext);
        if let Some(mac) = self.mac(&[&bytes]) {
            bytes.extend(mac.finalize().into_bytes());
        }
        BASE64.encode(bytes)
    }
}

/// Returns a text in the URL-safe alphabet without white space: Python's `urlsafe_b64decode` reads both alphabets, and
/// passes over line breaks.
fn normalized(text: &str) -> Zeroizing<String> {
    let signs = text.chars().filter(|sign| !sign.is_whitespace());
    let url_safe = signs.map(|sign| match sign {
        '+' => '-',
        '/' => '_',
        other => other,
    });
    Zeroizing::new(url_safe.collect())
}

// === impl FernetError ===

impl FernetError {
    /// Its name in logs and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoKeys | Self::InvalidKey | Self::Random => "fernet_key",
            Self::NotFernet => "not_fernet",
            Self::Truncated => "fernet_truncated",
            Self::WrongKey => "fernet_wrong_key",
            Self::NotText => "binary",
        }
    }
}

#[cfg(test)]
mod tests;
