//! The encoding of a token in a file or a column: its format, and its encryption if there is one.

use std::io;
use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

use super::decode::{self, DecodeError, Format};
use super::fernet::{Fernet, FernetError};
use crate::token::Token;
use crate::types::{OneOrMany, Secret, SecretRef, unix_seconds};

/// The location of the token in the bytes, and the keys it is encrypted with.
#[derive(Clone, Debug)]
pub(super) struct TokenEncoding {
    pub(super) format: Format,
    pub(super) fernet: Option<Fernet>,
    pub(super) plain: PlainTokens,
}

/// What happens to a token that is not encrypted, where Fernet keys are configured.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum PlainTokens {
    /// It is refused: a key is configured so that no token is stored without encryption.
    #[default]
    Refuse,
    /// It is used: the app has not encrypted all of its rows yet. A renewal encrypts it.
    Accept,
}

/// The encryption of a token in a file or a column.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
pub struct EncryptionConfig {
    /// The Fernet keys that the token is encrypted with; the first one encrypts, all decrypt.
    #[serde(default, rename = "fernet_key")]
    #[schemars(with = "OneOrMany<SecretRef>")]
    pub fernet_keys: Vec<SecretRef>,
    /// What happens to a token that is not encrypted, if there are keys.
    #[serde(default)]
    pub plain: PlainTokens,
}

/// The reason why bytes contain no token, or a token cannot be put into them.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum EncodingError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Fernet(#[from] FernetError),
    #[error("it is encrypted with Fernet; set `fernet_key` to the key that decrypts it")]
    Encrypted,
    #[error("reading failed ({0})")]
    Unreadable(io::ErrorKind),
    #[error("it is not a file that graphward wrote, or is damaged; delete it")]
    Damaged,
    #[error("`renewed_from` or `source` is missing")]
    MissingLineage,
    #[error("the new token contains a character that this format cannot represent; check that it is a token")]
    Unrepresentable,
}

// === impl TokenEncoding ===

impl TokenEncoding {
    /// The encoding of a token in this format, without encryption.
    pub(super) const fn new(format: Format) -> Self {
        Self {
            format,
            fernet: None,
            plain: PlainTokens::Refuse,
        }
    }

    /// Sets the keys, if there are any, and what happens to a token that is not encrypted.
    pub(super) fn encrypt_with(&mut self, keys: Option<Fernet>, plain: PlainTokens) {
        (self.fernet, self.plain) = (keys, plain);
    }

    /// Decodes the token in these bytes.
    pub(super) fn decode(&self, bytes: &[u8]) -> Result<Token, EncodingError> {
        let mut located = decode::locate(bytes, &self.format, None)?;
        // No token of Graph begins like this.
        let is_encrypted = decode::strip_decorations(&located.text).is_ok_and(|text| text.starts_with("gAAAA"));
        match (&self.fernet, self.plain) {
            (None, _) if is_encrypted => return Err(EncodingError::Encrypted),
            (Some(_), PlainTokens::Accept) if !is_encrypted => {}
            (Some(keys), _) => {
                let text = keys.decrypt(decode::strip_decorations(&located.text)?)?;
                located.text = decode::locate(text.as_bytes(), &Format::Raw, None)?.text;
                return Ok(decode::to_token(&located, &Format::Raw)?);
            }
            (None, _) => {}
        }
        Ok(decode::to_token(&located, &self.format)?)
    }

    /// Returns the bytes with this token instead of the old one; the rest is unchanged.
    pub(super) fn replace_token(&self, bytes: &[u8], token: &Token) -> Result<Zeroizing<Vec<u8>>, EncodingError> {
        let encoded = encode_secret(&token.secret, self.fernet.as_ref());
        let new = decode::replace_token(bytes, &self.format, &encoded, token.expires_at)?;
        // A quotation mark or a byte too many, for example: a token that could not be read must not be written.
        let is_readable = self
            .decode(&new)
            .is_ok_and(|read| same_secret(&read.secret, &token.secret));
        if is_readable {
            Ok(new)
        } else {
            Err(EncodingError::Unrepresentable)
        }
    }
}

/// A token in a JSON document of graphward's own.
#[derive(Serialize)]
pub(super) struct EncodedToken {
    #[serde(serialize_with = "as_text")]
    access_token: Zeroizing<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

impl EncodedToken {
    pub(super) fn new(token: &Token, keys: Option<&Fernet>) -> Self {
        Self {
            access_token: encode_secret(&token.secret, keys),
            expires_at: token.expires_at.map(unix_seconds),
        }
    }
}

fn as_text<S: Serializer>(text: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

/// Encodes such a document.
pub(super) fn encode_document(document: &impl Serialize) -> io::Result<Zeroizing<Vec<u8>>> {
    // With room for two tokens, escapes included: a vector that grows leaves copies of secrets behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(5 * Secret::MAX_BYTES));
    serde_json::to_writer_pretty(&mut *bytes, document)?;
    Ok(bytes)
}

/// Encodes a token as `PUT /admin/token` takes it.
///
/// # Errors
///
/// The error of the encoder.
pub fn encode_token(token: &Token) -> io::Result<Zeroizing<Vec<u8>>> {
    encode_document(&EncodedToken::new(token, None))
}

/// Decodes a token in such a document, which may have been written before a key was configured.
pub(super) fn decode_at_pointer(bytes: &[u8], pointer: &str, keys: Option<&Fernet>) -> Result<Token, EncodingError> {
    let encoding = TokenEncoding {
        fernet: keys.cloned(),
        plain: PlainTokens::Accept,
        ..TokenEncoding::new(Format::Pointer(pointer.to_owned()))
    };
    encoding.decode(bytes)
}

/// Encodes a secret, encrypted if there are keys.
pub(super) fn encode_secret(secret: &Secret, keys: Option<&Fernet>) -> Zeroizing<String> {
    Zeroizing::new(match keys {
        Some(keys) => keys.encrypt(secret),
        None => secret.expose().to_owned(),
    })
}

/// Returns whether two expiries are more than a minute apart.
pub(super) fn expiries_differ(one: Option<SystemTime>, other: Option<SystemTime>) -> bool {
    const MINUTE: Duration = Duration::from_secs(60);
    match (one, other) {
        (Some(one), Some(other)) => one.max(other).duration_since(one.min(other)).unwrap_or_default() > MINUTE,
        (None, None) => false,
        (Some(_), None) | (None, Some(_)) => true,
    }
}

/// Returns whether two secrets are equal, compared in full.
pub(super) fn same_secret(one: &Secret, other: &Secret) -> bool {
    one.expose() == other.expose()
}

// === impl EncodingError ===

impl EncodingError {
    /// Returns whether there is no token on purpose.
    pub(super) const fn is_null(&self) -> bool {
        matches!(self, Self::Decode(DecodeError::Null))
    }

    /// Its name in logs and metrics.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Decode(error) => error.label(),
            Self::Fernet(error) => error.label(),
            Self::Encrypted => "encrypted",
            Self::Unreadable(_) => "unreadable",
            Self::Damaged => "damaged",
            Self::MissingLineage => "missing_lineage",
            Self::Unrepresentable => "invalid_character",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiries_within_a_minute_are_equal() {
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert!(!expiries_differ(at(100), at(160)));
        assert!(expiries_differ(at(161), at(100)));
        assert!(expiries_differ(at(100), None));
        assert!(!expiries_differ(None, None));
        assert_eq!(unix_seconds(SystemTime::UNIX_EPOCH + Duration::from_millis(1_500)), 1);
    }
}
