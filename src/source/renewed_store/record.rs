//! The record of a renewed token: JSON, so that people can read the parts that are not secret.

use std::io;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::super::encoding::{EncodedToken, EncodingError, decode_at_pointer, encode_secret, epoch_seconds};
use super::super::fernet::Fernet;
use super::super::token_file::TokenFileError;
use crate::token::Token;

/// A renewed token, and the token from which it was renewed.
pub(super) struct RenewalRecord {
    pub(super) token: Token,
    /// The fingerprint of the source's token from which it was renewed, directly or not.
    pub(super) renewed_from: String,
    /// The description of that source.
    pub(super) source: String,
    /// The token in use before.
    pub(super) previous: Option<Token>,
}

/// The reason why a file is not a record. The messages repeat nothing of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    #[error("reading failed ({0})")]
    Unreadable(io::ErrorKind),
    #[error(transparent)]
    Token(EncodingError),
    #[error("`renewed_from` or `source` is missing")]
    MissingLineage,
}

#[derive(Serialize)]
struct RecordJson<'a> {
    #[serde(flatten)]
    current: EncodedToken<'a>,
    renewed_from: &'a str,
    source: &'a str,
    stored_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<EncodedToken<'a>>,
}

#[derive(Deserialize)]
struct LineageJson {
    renewed_from: String,
    source: String,
}

// === impl RenewalRecord ===

impl RenewalRecord {
    pub(super) fn decode(bytes: &[u8], keys: Option<&Fernet>) -> Result<Self, RecordError> {
        let token = decode_at_pointer(bytes, "/access_token", keys).map_err(RecordError::Token)?;
        let Ok(LineageJson { renewed_from, source }) = serde_json::from_slice(bytes) else {
            return Err(RecordError::MissingLineage);
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
        let access_token = encode_secret(&self.token.secret, keys);
        let previous_text = self
            .previous
            .as_ref()
            .map(|token| (encode_secret(&token.secret, keys), token.expires_at));
        let previous = previous_text.as_ref().map(|(text, end)| EncodedToken::new(text, *end));
        let json = RecordJson {
            current: EncodedToken::new(&access_token, self.token.expires_at),
            renewed_from: &self.renewed_from,
            source: &self.source,
            stored_at: epoch_seconds(now),
            previous,
        };
        // With its full capacity, escapes included: a vector that grows leaves copies of secrets behind.
        let length = access_token.len() + previous_text.as_ref().map_or(0, |(text, _)| text.len());
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 * (length + self.source.len()) + 512));
        serde_json::to_writer_pretty(&mut *bytes, &json).map_err(|error| TokenFileError::Write(error.into()))?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

// === impl RecordError ===

impl RecordError {
    /// Its name, by which a repeated error is recognized.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::Token(error) => error.label(),
            Self::MissingLineage => "missing_lineage",
        }
    }
}
