//! A file of our own for renewed tokens, over a place that nobody may write to.
//!
//! # Why
//!
//! A variable, a mounted secret or a service shows the token that a person put there, and a renewal of it has to outlast
//! this process all the same. The record says which token it descends from: as long as the place shows that one, the
//! record's is the newer. If a person puts another token there, the record is of no more account, without anybody having
//! to know of it.

mod record;

use std::path::PathBuf;

use record::{RecordError, RenewalRecord};

use super::encoding::same_secret;
use super::fernet::Fernet;
use super::file::RollbackOutcome;
use super::token_file::TokenFile;
use crate::net::watch::WatchedFiles;
use crate::token::{BoxFuture, ObtainError, RefreshLock, Source, StoreOutcome, Token};
use crate::types::{Clock, Fingerprint};

/// A source, and a file for what was renewed of it.
pub struct RenewedTokenStore {
    inner: Box<dyn Source>,
    /// What `inner` showed last: it may be out of reach when a token has to be stored.
    last_seen: Option<Token>,
    files: WatchedFiles<1>,
    file: TokenFile,
    keys: Option<Fernet>,
    clock: Clock,
    /// What was last told of the record, so that it is not told each second.
    last_warning: Option<&'static str>,
}

/// What is in force, and where it comes from.
struct Lineage {
    token: Token,
    /// The fingerprint of the inner token with which the line began.
    root_fingerprint: String,
    /// If the token is the record's.
    record: Option<RenewalRecord>,
}

impl RenewedTokenStore {
    /// The tokens of `inner`, and those that were renewed of them in `path`.
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

    /// The same, and what is in the file is sealed with the first of these keys.
    #[must_use]
    pub fn encrypted_with(mut self, keys: Fernet) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Puts the token that was in force before the last deposit in force, and that one in its place.
    ///
    /// # Errors
    ///
    /// In words if the file is not in force, or knows of none before.
    pub async fn roll_back(&mut self) -> Result<RollbackOutcome, ObtainError> {
        let lock = self.file.lock().await?;
        let current = self.current().await;
        let renewed = current.ok().and_then(|line| Some((line.record?, line.token)));
        let Some((record, from)) = renewed else {
            let what = format!(
                "there is nothing to go back to: no renewed token is in force from {}",
                self.file.path().display()
            );
            return Err(ObtainError::permanent("nothing_before", what));
        };
        let Some(to) = record.previous else {
            let what = format!(
                "there is nothing to go back to: {} has no token but the one in force",
                self.file.path().display()
            );
            return Err(ObtainError::permanent("nothing_before", what));
        };
        let outcome = RollbackOutcome {
            from: Some(from.secret.fingerprint()),
            to: to.secret.fingerprint(),
        };
        self.write_record(RenewalRecord {
            token: to,
            previous: Some(record.token),
            ..record
        })
        .await?;
        drop(lock);
        Ok(outcome)
    }

    /// What is in force: the record's token, if it descends from what the inner source shows, or as far as anybody knows.
    async fn current(&mut self) -> Result<Lineage, ObtainError> {
        let inner = self.inner.load().await;
        if let Ok(token) = &inner {
            self.last_seen = Some(token.clone());
        }
        let record = self.read_record().await;
        let now = self.clock.now();
        let is_expired = |token: &Token| token.expires_at.is_some_and(|end| end <= now);
        match (inner, record) {
            (Ok(token), Some(record)) if record.renewed_from == fingerprint_of(&token) => {
                // What has ended hides nothing that may live.
                let is_superseded = is_expired(&record.token) && !is_expired(&token);
                Ok(if is_superseded {
                    Lineage::from_source(token)
                } else {
                    Lineage::from_record(record)
                })
            }
            (Ok(token), _) => Ok(Lineage::from_source(token)),
            (Err(error), Some(record)) if record.source == self.inner.describe() => {
                tracing::debug!(error = %error, "the token is the one renewed last");
                Ok(Lineage::from_record(record))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// What the file says, if it says anything of use. Rubbish is told once, and is as good as nothing: the next
    /// deposit replaces it.
    async fn read_record(&mut self) -> Option<RenewalRecord> {
        let [read] = self.files.read().await;
        let record = match &read {
            Ok(bytes) => RenewalRecord::decode(bytes, self.keys.as_ref()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => Err(RecordError::Unreadable(error.kind())),
        };
        match record {
            Ok(record) => {
                self.last_warning = None;
                Some(record)
            }
            Err(error) => {
                if self.last_warning != Some(error.label()) {
                    let path = self.file.path().display();
                    tracing::warn!(error = %error, "the renewed token in {path} is of no use; it is ignored");
                }
                self.last_warning = Some(error.label());
                None
            }
        }
    }

    async fn store_if_unchanged(&mut self, token: &Token, expected: Fingerprint) -> Result<StoreOutcome, ObtainError> {
        let lineage = match (self.current().await, self.last_seen.clone()) {
            (Ok(line), _) => line,
            // The place is out of reach. It was not a moment ago, and what was minted since must not be lost.
            (Err(_out_of_reach), Some(last_seen)) => Lineage::from_source(last_seen),
            (Err(error), None) => return Err(error),
        };
        if same_secret(&lineage.token.secret, &token.secret) {
            return Ok(StoreOutcome::Stored);
        }
        if lineage.token.secret.fingerprint() != expected {
            return Ok(StoreOutcome::Conflict);
        }
        self.write_record(RenewalRecord {
            token: token.clone(),
            renewed_from: lineage.root_fingerprint,
            source: self.inner.describe(),
            previous: Some(lineage.token),
        })
        .await?;
        Ok(StoreOutcome::Stored)
    }

    /// Not an `async fn`: it would lend the inner source to another thread.
    fn write_record(&self, record: RenewalRecord) -> impl Future<Output = Result<(), ObtainError>> + Send + use<> {
        let (file, keys, now) = (self.file.clone(), self.keys.clone(), self.clock.now());
        async move {
            let target = file.clone();
            let written = file.run_under_lock(move || {
                let bytes = record.encode(keys.as_ref(), now)?;
                target.replace(&bytes, None)
            });
            written.await.map_err(|hindrance| hindrance.into_obtain_error(&file))
        }
    }
}

impl Source for RenewedTokenStore {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        Box::pin(async { self.current().await.map(|line| line.token) })
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        // Both may be given up at any moment.
        Box::pin(async {
            tokio::select! {
                () = self.inner.changed() => {}
                () = self.files.changed() => {}
            }
        })
    }

    fn describe(&self) -> String {
        let path = self.file.path().display();
        format!("{}, renewed in file {path}", self.inner.describe())
    }

    fn check_writable(&self) -> Result<(), String> {
        let keeps = self.file.check_writable();
        keeps.map_err(|hindrance| hindrance.describe(&self.file))
    }

    fn lock(&mut self) -> BoxFuture<'_, Result<RefreshLock, ObtainError>> {
        Box::pin(self.file.lock())
    }

    fn store<'a>(
        &'a mut self,
        token: &'a Token,
        expected: Fingerprint,
    ) -> BoxFuture<'a, Result<StoreOutcome, ObtainError>> {
        Box::pin(self.store_if_unchanged(token, expected))
    }
}

// === impl Line ===

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

impl std::fmt::Debug for RenewedTokenStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored")
            .field("source", &self.describe())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
