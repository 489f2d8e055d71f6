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

use record::{Record, RecordError};

use super::fernet::Fernet;
use super::file::RolledBack;
use super::place::Place;
use super::written::same;
use crate::net::watch::Files;
use crate::token::{BoxFuture, Claim, Deposit, ObtainError, Source, Token};
use crate::types::{Clock, Fingerprint};

/// A source, and a file for what was renewed of it.
pub struct Stored {
    inner: Box<dyn Source>,
    /// What `inner` showed last: it may be out of reach when a token has to be stored.
    shown: Option<Token>,
    files: Files<1>,
    place: Place,
    keys: Option<Fernet>,
    clock: Clock,
    /// What was last told of the record, so that it is not told each second.
    told: Option<&'static str>,
}

/// What is in force, and where it comes from.
struct Line {
    token: Token,
    /// The fingerprint of the inner token with which the line began.
    from: String,
    /// If the token is the record's.
    record: Option<Record>,
}

impl Stored {
    /// The tokens of `inner`, and those that were renewed of them in `path`.
    #[must_use]
    pub fn new(inner: Box<dyn Source>, path: PathBuf, clock: Clock) -> Self {
        Self {
            inner,
            shown: None,
            files: Files::new([path.clone()]),
            place: Place::new(path),
            keys: None,
            clock,
            told: None,
        }
    }

    /// The same, and what is in the file is sealed with the first of these keys.
    #[must_use]
    pub fn sealed(mut self, keys: Fernet) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Puts the token that was in force before the last deposit in force, and that one in its place.
    ///
    /// # Errors
    ///
    /// In words if the file is not in force, or knows of none before.
    pub async fn roll_back(&mut self) -> Result<RolledBack, ObtainError> {
        let claim = self.place.claim().await?;
        let now = self.in_force().await;
        let line = now.ok().and_then(|line| Some((line.record?, line.token)));
        let Some((record, from)) = line else {
            let what = format!(
                "there is nothing to go back to: no renewed token is in force from {}",
                self.place.path().display()
            );
            return Err(ObtainError::permanent("nothing_before", what));
        };
        let Some(to) = record.previous else {
            let what = format!(
                "there is nothing to go back to: {} has no token but the one in force",
                self.place.path().display()
            );
            return Err(ObtainError::permanent("nothing_before", what));
        };
        let done = RolledBack {
            from: Some(from.secret.fingerprint()),
            to: to.secret.fingerprint(),
        };
        self.write(Record {
            token: to,
            previous: Some(record.token),
            ..record
        })
        .await?;
        drop(claim);
        Ok(done)
    }

    /// What is in force: the record's token, if it descends from what the inner source shows, or as far as anybody knows.
    async fn in_force(&mut self) -> Result<Line, ObtainError> {
        let inner = self.inner.load().await;
        if let Ok(token) = &inner {
            self.shown = Some(token.clone());
        }
        let record = self.record().await;
        let now = self.clock.wall();
        let ended = |token: &Token| token.expires_at.is_some_and(|end| end <= now);
        match (inner, record) {
            (Ok(token), Some(record)) if record.renewed_from == print(&token) => {
                // What has ended hides nothing that may live.
                let is_used_up = ended(&record.token) && !ended(&token);
                Ok(if is_used_up {
                    Line::of(token)
                } else {
                    Line::of_record(record)
                })
            }
            (Ok(token), _) => Ok(Line::of(token)),
            (Err(error), Some(record)) if record.source == self.inner.describe() => {
                tracing::debug!(error = %error, "the token is the one renewed last");
                Ok(Line::of_record(record))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// What the file says, if it says anything of use. Rubbish is told once, and is as good as nothing: the next
    /// deposit replaces it.
    async fn record(&mut self) -> Option<Record> {
        let [read] = self.files.read().await;
        let record = match &read {
            Ok(bytes) => Record::read(bytes, self.keys.as_ref()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => Err(RecordError::Unreadable(error.kind())),
        };
        match record {
            Ok(record) => {
                self.told = None;
                Some(record)
            }
            Err(error) => {
                if self.told != Some(error.label()) {
                    let path = self.place.path().display();
                    tracing::warn!(error = %error, "the renewed token in {path} is of no use; it is ignored");
                }
                self.told = Some(error.label());
                None
            }
        }
    }

    async fn keep(&mut self, token: &Token, over: Fingerprint) -> Result<Deposit, ObtainError> {
        let line = match (self.in_force().await, self.shown.clone()) {
            (Ok(line), _) => line,
            // The place is out of reach. It was not a moment ago, and what was minted since must not be lost.
            (Err(_out_of_reach), Some(shown)) => Line::of(shown),
            (Err(error), None) => return Err(error),
        };
        if same(&line.token.secret, &token.secret) {
            return Ok(Deposit::Kept);
        }
        if line.token.secret.fingerprint() != over {
            return Ok(Deposit::Overtaken);
        }
        self.write(Record {
            token: token.clone(),
            renewed_from: line.from,
            source: self.inner.describe(),
            previous: Some(line.token),
        })
        .await?;
        Ok(Deposit::Kept)
    }

    /// Not an `async fn`: it would lend the inner source to another thread.
    fn write(
        &self,
        record: Record,
    ) -> impl Future<Output = Result<(), ObtainError>> + Send + use<> {
        let (place, keys, now) = (self.place.clone(), self.keys.clone(), self.clock.wall());
        async move {
            let file = place.clone();
            let written = place.apart(move || {
                let bytes = record.written(keys.as_ref(), now)?;
                file.replace(&bytes, None)
            });
            written.await.map_err(|hindrance| hindrance.unkept(&place))
        }
    }
}

impl Source for Stored {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        Box::pin(async { self.in_force().await.map(|line| line.token) })
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
        let path = self.place.path().display();
        format!("{}, renewed in file {path}", self.inner.describe())
    }

    fn keeps(&self) -> Result<(), String> {
        let keeps = self.place.keeps();
        keeps.map_err(|hindrance| hindrance.words(&self.place))
    }

    fn claim(&mut self) -> BoxFuture<'_, Result<Claim, ObtainError>> {
        Box::pin(self.place.claim())
    }

    fn deposit<'a>(
        &'a mut self,
        token: &'a Token,
        over: Fingerprint,
    ) -> BoxFuture<'a, Result<Deposit, ObtainError>> {
        Box::pin(self.keep(token, over))
    }
}

// === impl Line ===

impl Line {
    fn of(token: Token) -> Self {
        Self {
            from: print(&token),
            token,
            record: None,
        }
    }

    fn of_record(record: Record) -> Self {
        Self {
            token: record.token.clone(),
            from: record.renewed_from.clone(),
            record: Some(record),
        }
    }
}

fn print(token: &Token) -> String {
    token.secret.fingerprint().to_string()
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored")
            .field("source", &self.describe())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
