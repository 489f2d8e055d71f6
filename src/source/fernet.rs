//! Tokens that somebody encrypted with Fernet: the columns and files of Python apps.
//!
//! # Why
//!
//! Fernet is small and fixed for good (version 0x80: a date, an IV, AES-128-CBC, HMAC-SHA256, all of it in URL-safe
//! base64), so it is written here over the ciphers that the proofs already trust, and read the way Python's
//! `cryptography` reads it. Its date is not looked at: a token may lie in a column for as long as it lives.

use std::fmt;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use aes::Aes128;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::types::{Clock, Secret};

/// Keys that open what any of them sealed, and seal with the first: a new key is put before the old one.
#[derive(Clone)]
pub struct Fernet(Arc<[FernetKey]>);

/// Why a text cannot be opened, or a key not used. The messages repeat nothing of either.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FernetError {
    /// There is no key.
    #[error("there is no Fernet key; `graphward token keygen` makes one")]
    NoKeys,
    /// The key is none.
    #[error(
        "the Fernet key is not one: it is 32 bytes in URL-safe base64, 44 characters; copy it again, or make one with \
         `graphward token keygen`"
    )]
    InvalidKey,
    /// Something else than a Fernet text, a bare token perhaps.
    #[error("it is no Fernet text, which starts with gAAAA; if it is not encrypted, remove `fernet_key`")]
    NotFernet,
    /// It starts like one, and ends early or where none can end.
    #[error("the Fernet text is cut short; is the column, or what was copied, long enough for it?")]
    Truncated,
    /// No key fits.
    #[error("no Fernet key opens it: it was sealed with another key, or altered; add the key that it was sealed with")]
    WrongKey,
    /// It was opened, and it is no text.
    #[error("the Fernet text opens to something that is not text; was a token sealed?")]
    NotText,
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
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

/// As everybody writes it, with padding; as everybody reads it, with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

// === impl Fernet ===

impl Fernet {
    /// These keys, the one that seals first.
    ///
    /// # Errors
    ///
    /// [`FernetError`] if there is none, or one is not 32 bytes in URL-safe base64.
    #[expect(clippy::needless_pass_by_value, reason = "the keys are handed over, and zeroed here")]
    pub fn new(keys: Vec<Secret>) -> Result<Self, FernetError> {
        if keys.is_empty() {
            return Err(FernetError::NoKeys);
        }
        let keys: Result<Vec<_>, _> = keys.iter().map(FernetKey::new).collect();
        Ok(Self(keys?.into()))
    }

    /// A new key, as it is kept in a file.
    ///
    /// # Errors
    ///
    /// [`FernetError::Random`] if the system has none to give.
    pub fn generate() -> Result<Secret, FernetError> {
        let mut bytes = Zeroizing::new([0; 2 * HALF_KEY_BYTES]);
        getrandom::fill(bytes.as_mut()).map_err(|_unknown| FernetError::Random)?;
        let text = Zeroizing::new(BASE64.encode(bytes.as_slice()));
        Secret::new(&text).map_err(|_never| FernetError::InvalidKey)
    }

    /// A key as its file has it, for who asked for a new one.
    #[must_use]
    pub fn expose_key(key: &Secret) -> Zeroizing<String> {
        Zeroizing::new(key.expose().to_owned())
    }

    /// What was sealed with any of the keys.
    ///
    /// # Errors
    ///
    /// [`FernetError`] says what is wrong with the text, in words for whoever put it there.
    pub fn decrypt(&self, text: &str) -> Result<Zeroizing<String>, FernetError> {
        let text = text.trim();
        if !text.starts_with("gAAAA") {
            return Err(FernetError::NotFernet);
        }
        let bytes = BASE64.decode(text).map_err(|error| match error {
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

    /// The secret, sealed with the first key.
    #[must_use]
    pub fn encrypt(&self, secret: &Secret) -> String {
        let since = Clock::system().now().duration_since(UNIX_EPOCH);
        let date = since.unwrap_or_default().as_secs();
        let mut salt = [0; BLOCK_BYTES];
        if getrandom::fill(&mut salt).is_err() {
            // Whatever was written to it: `derive_iv` can do without.
            salt = [0; BLOCK_BYTES];
        }
        self.0
            .first()
            .map(|key| key.encrypt(secret, date, key.derive_iv(&salt, date, secret)))
            .unwrap_or_default()
    }
}

impl fmt::Debug for Fernet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fernet").field("keys", &self.0.len()).finish()
    }
}

// === impl Key ===

impl FernetKey {
    fn new(key: &Secret) -> Result<Self, FernetError> {
        let bytes = BASE64.decode(key.expose()).map(Zeroizing::new);
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
        // A key of any length is taken.
        let mut mac = Hmac::<Sha256>::new_from_slice(self.signing.as_slice()).ok()?;
        parts.iter().for_each(|part| mac.update(part));
        Some(mac)
    }

    /// Whether this key signed it; as long in coming whatever the answer.
    fn has_signed(&self, bytes: &[u8], mac: &[u8; MAC_BYTES]) -> bool {
        self.mac(&[bytes]).is_some_and(|known| known.verify_slice(mac).is_ok())
    }

    fn decrypt(&self, iv: &[u8; BLOCK_BYTES], ciphertext: &[u8]) -> Result<Vec<u8>, FernetError> {
        let encryption = (&*self.encryption).into();
        cbc::Decryptor::<Aes128>::new(encryption, iv.into())
            .decrypt_padded_vec::<Pkcs7>(ciphertext)
            .map_err(|_padding| FernetError::WrongKey)
    }

    /// An IV that nobody without the key can foretell, even if `salt` could be: it hangs on the secret, too.
    fn derive_iv(&self, salt: &[u8; BLOCK_BYTES], date: u64, secret: &Secret) -> [u8; BLOCK_BYTES] {
        // What is signed begins with the version, so that this is never a signature.
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

// === impl FernetError ===

impl FernetError {
    /// Its name in logs and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoKeys | Self::InvalidKey | Self::Random => "fernet_key",
            Self::NotFernet => "not_fernet",
            Self::Truncated => "fernet_truncated",
            Self::WrongKey => "fernet_closed",
            Self::NotText => "binary",
        }
    }
}

#[cfg(test)]
mod tests;
