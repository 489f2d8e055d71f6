//! The record of a renewed token: JSON, so that a person can read what is not secret in it.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::super::decode::Format;
use super::super::fernet::{Fernet, FernetError};
use super::super::place::Hindrance;
use super::super::written::{Written, WrittenError, text};
use crate::token::Token;

/// A renewed token, and what it descends from.
pub(super) struct Record {
    pub(super) token: Token,
    /// The fingerprint of the token with which the line of descent began.
    pub(super) renewed_from: String,
    /// Which place showed that one.
    pub(super) source: String,
    /// What was in force before.
    pub(super) previous: Option<Token>,
}

/// Why a file is no record. The messages repeat nothing of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    #[error("it cannot be read ({0})")]
    Unreadable(io::ErrorKind),
    #[error(transparent)]
    Token(WrittenError),
    #[error("it does not say what its token descends from")]
    Origin,
}

#[derive(Serialize)]
struct Page<'a> {
    #[serde(flatten)]
    now: Piece<'a>,
    renewed_from: &'a str,
    source: &'a str,
    stored_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<Piece<'a>>,
}

#[derive(Serialize)]
struct Piece<'a> {
    access_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

#[derive(Deserialize)]
struct Origin {
    renewed_from: String,
    source: String,
}

// === impl Record ===

impl Record {
    pub(super) fn read(bytes: &[u8], keys: Option<&Fernet>) -> Result<Self, RecordError> {
        let token = read(bytes, "/access_token", keys).map_err(RecordError::Token)?;
        let Ok(Origin {
            renewed_from,
            source,
        }) = serde_json::from_slice(bytes)
        else {
            return Err(RecordError::Origin);
        };
        Ok(Self {
            token,
            renewed_from,
            source,
            previous: read(bytes, "/previous/access_token", keys).ok(),
        })
    }

    /// As it stands in the file.
    pub(super) fn written(
        &self,
        keys: Option<&Fernet>,
        now: SystemTime,
    ) -> Result<Zeroizing<Vec<u8>>, Hindrance> {
        let shown = text(&self.token.secret, keys);
        let before = self
            .previous
            .as_ref()
            .map(|token| (text(&token.secret, keys), token.expires_at));
        let previous = before.as_ref().map(|(text, end)| Piece {
            access_token: text,
            expires_at: end.map(seconds),
        });
        let page = Page {
            now: Piece {
                access_token: &shown,
                expires_at: self.token.expires_at.map(seconds),
            },
            renewed_from: &self.renewed_from,
            source: &self.source,
            stored_at: seconds(now),
            previous,
        };
        // As much as it can take, escaped: what grows leaves copies behind.
        let length = shown.len() + before.as_ref().map_or(0, |(text, _)| text.len());
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 * (length + self.source.len()) + 512));
        serde_json::to_writer_pretty(&mut *bytes, &page)
            .map_err(|error| Hindrance::Write(error.into()))?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

fn read(bytes: &[u8], pointer: &str, keys: Option<&Fernet>) -> Result<Token, WrittenError> {
    let written = |keys| Written {
        format: Format::Pointer(pointer.to_owned()),
        keys,
    };
    match written(keys.cloned()).read(bytes) {
        // It is from before there was a key.
        Err(WrittenError::Fernet(FernetError::NotFernet)) => written(None).read(bytes),
        read => read,
    }
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

// === impl RecordError ===

impl RecordError {
    /// Its name: the same of two in a row is told once.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::Token(error) => error.label(),
            Self::Origin => "origin",
        }
    }
}
