//! The record of a renewed token: JSON, so that people can read the parts that are not secret.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::super::encoding::{EncodedToken, EncodingError, decode_at_pointer, encode_document};
use super::super::fernet::Fernet;
use super::super::token_file::TokenFileError;
use crate::token::Token;
use crate::types::unix_seconds;

/// A renewed token, and the token from which it was renewed.
pub(super) struct RenewalRecord {
    pub(super) token: Token,
    /// The fingerprint of the source's token from which it was renewed, directly or not. Empty if the source had no usable one.
    pub(super) renewed_from: String,
    /// The description of that source.
    pub(super) source: String,
    /// The token in use before.
    pub(super) previous: Option<Token>,
}

#[derive(Serialize)]
struct RecordJson<'a> {
    #[serde(flatten)]
    current: EncodedToken,
    renewed_from: &'a str,
    source: &'a str,
    stored_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<EncodedToken>,
}

#[derive(Deserialize)]
struct LineageJson {
    renewed_from: String,
    source: String,
}

// === impl RenewalRecord ===

impl RenewalRecord {
    pub(super) fn decode(bytes: &[u8], keys: Option<&Fernet>) -> Result<Self, EncodingError> {
        let token = decode_at_pointer(bytes, "/access_token", keys)?;
        let Ok(LineageJson { renewed_from, source }) = serde_json::from_slice(bytes) else {
            return Err(EncodingError::MissingLineage);
        };
        Ok(Self {
            token,
            renewed_from,
            source,
            previous: decode_at_pointer(bytes, "/previous/access_token", keys).ok(),
        })
    }

    /// Encodes the record for the file.
    pub(super) fn encode(&self, keys: Option<&Fernet>, now: SystemTime) -> Result<Zeroizing<Vec<u8>>, TokenFileError> {
        let json = RecordJson {
            current: EncodedToken::new(&self.token, keys),
            renewed_from: &self.renewed_from,
            source: &self.source,
            stored_at: unix_seconds(now),
            previous: self.previous.as_ref().map(|token| EncodedToken::new(token, keys)),
        };
        let mut bytes = encode_document(&json).map_err(TokenFileError::Write)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}
