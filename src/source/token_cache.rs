//! A file for the last token that Graph accepted, always encrypted.
//!
//! # Why
//!
//! The file names what the token was for, as a hash of the sources' configuration: if the operator changes the source, a start
//! at which the new one fails must not use the token of the old one.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::decode::Format;
use super::encoding::{EncodedToken, EncodingError, PlainTokens, TokenEncoding, encode_document};
use super::fernet::Fernet;
use super::token_file::{TokenFile, TokenFileError};
use crate::os::watch::MAX_FILE_BYTES;
use crate::token::{BoxFuture, CachedToken, ObtainError, TokenCache};
use crate::types::{Clock, unix_seconds};

/// A [`TokenCache`] in a file.
#[derive(Debug)]
pub struct FileTokenCache {
    file: TokenFile,
    keys: Fernet,
    /// What the cached token is for.
    sources: String,
    clock: Clock,
}

#[derive(Serialize)]
struct CacheJson<'a> {
    #[serde(flatten)]
    token: EncodedToken,
    sources: &'a str,
    source: &'a str,
    stored_at: u64,
}

#[derive(Deserialize)]
struct SourcesJson {
    sources: String,
    source: String,
}

// === impl FileTokenCache ===

impl FileTokenCache {
    /// Creates a cache in this file. `sources` stands for what a cached token is for: another one is ignored.
    #[must_use]
    pub fn new(path: PathBuf, keys: Fernet, sources: String, clock: Clock) -> Self {
        Self {
            file: TokenFile::new(path),
            keys,
            sources,
            clock,
        }
    }

    fn decode(&self, bytes: &[u8]) -> Result<Option<CachedToken>, ObtainError> {
        let mut encoding = TokenEncoding::new(Format::Pointer("/access_token".to_owned()));
        encoding.encrypt_with(Some(self.keys.clone()), PlainTokens::Refuse);
        let decoded = match serde_json::from_slice(bytes) {
            Ok(SourcesJson { sources, .. }) if sources != self.sources => return Ok(None),
            Ok(SourcesJson { source, .. }) => encoding.decode(bytes).map(|token| Some(CachedToken { token, source })),
            Err(_) => Err(EncodingError::Damaged),
        };
        decoded.map_err(|error| {
            let message = format!("the {} was rejected: {error}", self.describe());
            ObtainError::permanent(error.label(), message)
        })
    }

    fn encode(&self, cached: &CachedToken) -> io::Result<Zeroizing<Vec<u8>>> {
        encode_document(&CacheJson {
            token: EncodedToken::new(&cached.token, Some(&self.keys)),
            sources: &self.sources,
            source: &cached.source,
            stored_at: unix_seconds(self.clock.now()),
        })
    }
}

impl TokenCache for FileTokenCache {
    fn load(&mut self) -> BoxFuture<'_, Result<Option<CachedToken>, ObtainError>> {
        Box::pin(async {
            let file = self.file.clone();
            let read = move || file.read_existing(MAX_FILE_BYTES);
            match self.file.run_under_lock(read).await {
                Ok(Some(bytes)) => self.decode(&bytes),
                Ok(None) => Ok(None),
                Err(error) => Err(cache_failed("read", &self.file, error)),
            }
        })
    }

    fn replace<'a>(&'a mut self, token: Option<&'a CachedToken>) -> BoxFuture<'a, Result<(), ObtainError>> {
        let bytes = token.map(|token| self.encode(token));
        Box::pin(async {
            let file = self.file.clone();
            let write = move || match bytes {
                Some(bytes) => file.replace(&bytes.map_err(TokenFileError::Write)?),
                None => file.remove(),
            };
            let written = self.file.run_under_lock(write).await;
            written.map_err(|error| cache_failed("write", &self.file, error))
        })
    }

    fn describe(&self) -> String {
        format!("cache {}", self.file.path().display())
    }
}

/// The error of an action with the file of a cache.
pub(super) fn cache_failed(action: &str, file: &TokenFile, error: TokenFileError) -> ObtainError {
    let message = format!("failed to {action} the cache {}", file.path().display());
    ObtainError::transient("cache_failed", message).with_source(error)
}

#[cfg(test)]
mod tests;
