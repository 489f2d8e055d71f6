//! A file for renewed tokens, for a source that is read-only.
//!
//! # Why
//!
//! A variable, a mounted secret or a service has the token that the operator put there, and its renewal must survive a
//! restart all the same. The record names the token from which it was renewed: as long as the source has that one, the
//! record's is newer. If the operator puts another token there, the record is ignored, and the operator need not delete it.
//!
//! The date in the record decides nothing here: Graph is asked about its token, and then about the source's, which may live
//! longer. To choose between them by their dates was rejected, since dates are hints.

mod record;

use std::path::PathBuf;

use record::RenewalRecord;

use super::encoding::{EncodingError, expiries_differ, same_secret};
use super::fernet::Fernet;
use super::previous_tokens::no_previous;
use super::token_file::TokenFile;
use crate::os::watch::WatchedFiles;
use crate::token::{BoxFuture, LookInterval, ObtainError, RefreshLock, Source, StoreFuture, StoreOutcome, Token};
use crate::types::{Clock, Fingerprint, error_chain};

/// A source, and a file for tokens that were renewed from it.
#[derive(derive_more::Debug)]
#[debug("RenewedTokenStore({})", self.describe())]
pub struct RenewedTokenStore {
    inner: Box<dyn Source>,
    /// The last token of `inner`, which may be unreachable when a token must be stored.
    last_seen: Option<Token>,
    files: WatchedFiles<1>,
    file: TokenFile,
    keys: Option<Fernet>,
    clock: Clock,
    /// The last warning about the record, so that it is not repeated each second.
    last_warning: Option<&'static str>,
}

/// The token in use, and what it was renewed from.
struct Lineage {
    token: Token,
    /// The fingerprint of the inner source's token from which it was renewed.
    root_fingerprint: String,
    /// The record that the token is from, if it is.
    record: Option<RenewalRecord>,
}

impl RenewedTokenStore {
    /// Creates a source for the tokens of `inner`, and for those in `path` that were renewed from them.
    #[must_use]
    pub fn new(inner: Box<dyn Source>, path: PathBuf, clock: Clock) -> Self {
        Self {
            inner,
            last_seen: None,
            files: WatchedFiles::new([path.clone()]),
            file: TokenFile::new(path),
            keys: None,
            clock,
            last_warning: None,
        }
    }

    /// Sets the keys with which the file is encrypted, if it is.
    #[must_use]
    pub fn encrypted_with(self, keys: Option<Fernet>) -> Self {
        Self { keys, ..self }
    }

    /// Exchanges the token with the previous one; an error if the file is not in use, or has no previous token.
    async fn restore_previous(&mut self) -> Result<(), ObtainError> {
        let _lock = self.file.lock().await?;
        let current = self.current().await;
        let path = self.file.path().display();
        let record = current.ok().and_then(|lineage| lineage.record);
        let record = record.ok_or_else(|| no_previous(&format!("no renewed token from `{path}` is in use")))?;
        let to = record
            .previous
            .ok_or_else(|| no_previous(&format!("`{path}` contains only the current token")))?;
        self.write_record(RenewalRecord {
            token: to,
            previous: Some(record.token),
            ..record
        })
        .await
    }

    /// Returns the token in use: the record's, if it was renewed from the token of the inner source, or that is unreachable.
    async fn current(&mut self) -> Result<Lineage, ObtainError> {
        let inner = self.inner.load().await;
        if let Ok(token) = &inner {
            self.last_seen = Some(token.clone());
        }
        match (inner, self.read_record().await) {
            (Ok(token), Some(record)) if record.renewed_from == fingerprint_of(&token) => {
                Ok(Lineage::from_record(record))
            }
            (Ok(token), _) => Ok(Lineage::from_source(token)),
            (Err(error), Some(record)) if !error.is_absence() && record.source == self.inner.describe() => {
                let error = error_chain(&error);
                tracing::debug!(error, "the source is unavailable; using the last renewed token");
                Ok(Lineage::from_record(record))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Reads the record. An invalid one is reported once and ignored; the next store replaces it.
    async fn read_record(&mut self) -> Option<RenewalRecord> {
        let [read] = self.files.read().await;
        let record = match &read {
            Ok(bytes) => RenewalRecord::decode(bytes, self.keys.as_ref()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => Err(EncodingError::Unreadable(error.kind())),
        };
        match record {
            Ok(record) => {
                self.last_warning = None;
                Some(record)
            }
            Err(error) => {
                if self.last_warning != Some(error.label()) {
                    let path = self.file.path().display();
                    tracing::warn!(error = %error, "ignoring the invalid renewed token in `{path}`");
                }
                self.last_warning = Some(error.label());
                None
            }
        }
    }

    async fn store_if_unchanged(
        &mut self,
        token: &Token,
        expected: Option<Fingerprint>,
    ) -> Result<StoreOutcome, ObtainError> {
        let lineage = match (self.current().await, self.last_seen.clone()) {
            (Ok(lineage), _) => lineage,
            // The source is unreachable. It was not a moment ago, and the token that was renewed since must not be lost.
            (Err(_unreachable), Some(last_seen)) => Lineage::from_source(last_seen),
            // It has no token that can be used, or cannot be read. The operator's is used until it has one.
            (Err(error), None) if expected.is_none() && !error.is_absence() => {
                self.write_record(RenewalRecord {
                    token: token.clone(),
                    renewed_from: String::new(),
                    source: self.inner.describe(),
                    previous: None,
                })
                .await?;
                return Ok(StoreOutcome::Stored);
            }
            (Err(error), None) => return Err(error),
        };
        let is_same = same_secret(&lineage.token.secret, &token.secret);
        if is_same && !expiries_differ(lineage.token.expires_at, token.expires_at) {
            return Ok(StoreOutcome::Stored);
        }
        if !is_same && expected.is_some_and(|expected| lineage.token.secret.fingerprint() != expected) {
            return Ok(StoreOutcome::Conflict);
        }
        // The previous token stays if only the expiry changes.
        let previous = match lineage.record {
            Some(record) if is_same => record.previous,
            None if is_same => None,
            _ => Some(lineage.token),
        };
        self.write_record(RenewalRecord {
            token: token.clone(),
            renewed_from: lineage.root_fingerprint,
            source: self.inner.describe(),
            previous,
        })
        .await?;
        Ok(StoreOutcome::Stored)
    }

    /// Not an `async fn`: that would borrow the inner source, which is not `Sync`, across an await.
    fn write_record(&self, record: RenewalRecord) -> impl Future<Output = Result<(), ObtainError>> + Send + use<> {
        let (file, keys, now) = (self.file.clone(), self.keys.clone(), self.clock.now());
        async move {
            let target = file.clone();
            let written = file.run_under_lock(move || {
                let bytes = record.encode(keys.as_ref(), now)?;
                target.replace(&bytes)
            });
            written.await.map_err(|error| error.into_obtain_error(&file))
        }
    }
}

impl Source for RenewedTokenStore {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        Box::pin(async { self.current().await.map(|lineage| lineage.token) })
    }

    /// The token of the inner source, from which the loaded one was renewed.
    fn fallback_token(&self) -> Option<Token> {
        self.last_seen.clone()
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        // Both are cancel-safe.
        Box::pin(async {
            tokio::select! {
                () = self.inner.changed() => {}
                () = self.files.changed() => {}
            }
        })
    }

    fn look_interval(&self) -> Option<LookInterval> {
        self.inner.look_interval()
    }

    fn describe(&self) -> String {
        let path = self.file.path().display();
        format!("{}, renewed tokens in file {path}", self.inner.describe())
    }

    fn check_writable(&self) -> Result<(), String> {
        let writable = self.file.check_writable();
        writable.map_err(|error| error.describe(&self.file))
    }

    fn lock(&mut self) -> BoxFuture<'_, Result<RefreshLock, ObtainError>> {
        Box::pin(self.file.lock())
    }

    fn store<'a>(&'a mut self, token: &'a Token, expected: Option<Fingerprint>) -> StoreFuture<'a> {
        Box::pin(self.store_if_unchanged(token, expected))
    }

    fn roll_back(&mut self) -> BoxFuture<'_, Result<(), ObtainError>> {
        Box::pin(self.restore_previous())
    }
}

// === impl Lineage ===

impl Lineage {
    fn from_source(token: Token) -> Self {
        Self {
            root_fingerprint: fingerprint_of(&token),
            token,
            record: None,
        }
    }

    fn from_record(record: RenewalRecord) -> Self {
        Self {
            token: record.token.clone(),
            root_fingerprint: record.renewed_from.clone(),
            record: Some(record),
        }
    }
}

fn fingerprint_of(token: &Token) -> String {
    token.secret.fingerprint().to_string()
}

#[cfg(test)]
mod tests;
