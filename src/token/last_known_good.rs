//! The last token that Graph accepted, in a cache that outlives the process.
//!
//! # Why
//!
//! At a restart while the database is down, the running replicas serve and the restarted one would not. The cache is only for
//! that: it is read at a start at which every source fails, never if one says that there is no token, and a token from it is
//! replaced as soon as a source has one. A token that Graph never accepted is not cached, and one that is dead or withdrawn
//! is erased. The cache is written beside everything else: a failed write delays no request, and is repeated.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::check::ObtainedToken;
use super::credential::{Credential, Generation};
use super::error::ObtainError;
use super::sources::timed_out;
use super::traits::{CachedToken, RefreshContext, TokenCache};
use super::vetting::Vetting;
use crate::types::{Fingerprint, error_chain};

/// The cache, if there is one, and what is to be written to it.
#[derive(Default)]
pub(super) struct LastKnownGood {
    cache: Option<Box<dyn TokenCache>>,
    /// The generation that is cached once Graph accepts it.
    candidate: Option<Generation>,
    /// The next write, and its time.
    pending: Option<(Instant, CacheUpdate)>,
    use_at_start: UseAtStart,
    /// A failure was reported, and no write has succeeded since.
    has_failed: bool,
}

/// Whether the cached token is used if every source fails.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum UseAtStart {
    #[default]
    Allowed,
    /// A source said that there is no token.
    Forbidden,
    /// Every source said so: the cached token is erased.
    Erased,
}

/// A write to the cache.
#[derive(Clone)]
enum CacheUpdate {
    Store(Box<CachedToken>),
    /// Erase this token; any token if there is no fingerprint.
    Erase(Option<Fingerprint>),
}

/// The longest read or write.
const CACHE_TIMEOUT: Duration = Duration::from_secs(5);
/// The time between attempts to write.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);

// === impl LastKnownGood ===

impl LastKnownGood {
    pub(super) fn new(cache: Box<dyn TokenCache>) -> Self {
        Self {
            cache: Some(cache),
            ..Self::default()
        }
    }

    /// Continues where another one was.
    pub(super) fn continue_from(&mut self, old: Self) {
        *self = Self {
            cache: self.cache.take(),
            ..old
        };
    }

    /// Returns whether there is a cached token that may be used.
    pub(super) async fn is_filled(&mut self) -> bool {
        self.use_at_start == UseAtStart::Allowed && matches!(self.load().await, Ok(Some(_)))
    }

    /// Returns the cached token, if it may be used, and the description of the source that it came from.
    pub(super) async fn find(
        &mut self,
        vetting: &mut Vetting,
        context: RefreshContext<'_>,
    ) -> Option<(ObtainedToken, String)> {
        if self.use_at_start != UseAtStart::Allowed {
            return None;
        }
        let source = self.cache.as_ref()?.describe();
        let found = match self.load().await {
            Ok(Some(cached)) => vetting
                .admit(&cached.token, &source, context)
                .await
                .map(|found| (cached, found)),
            Ok(None) => return None,
            Err(error) => Err(error),
        };
        match found {
            Ok((cached, inspection)) => Some((ObtainedToken::new(cached.token, inspection, source), cached.source)),
            Err(error) => {
                let error = error_chain(&error);
                tracing::warn!(error, "the last token that Graph accepted cannot be used");
                None
            }
        }
    }

    /// Returns the description of the source that the cached token came from.
    pub(super) async fn cached_source(&mut self) -> Option<String> {
        Some(self.load().await.ok()??.source)
    }

    /// Reads the cache, if there is one.
    async fn load(&mut self) -> Result<Option<CachedToken>, ObtainError> {
        let Some(cache) = &mut self.cache else {
            return Ok(None);
        };
        let loaded = timeout(CACHE_TIMEOUT, cache.load()).await;
        loaded.unwrap_or_else(|_elapsed| Err(timed_out(&cache.describe(), "respond", CACHE_TIMEOUT)))
    }

    /// Records a new current token.
    pub(super) fn on_published(&mut self, generation: Generation) {
        self.use_at_start = UseAtStart::Allowed;
        self.candidate = Some(generation);
    }

    /// The generation that is cached once Graph accepts it.
    pub(super) fn candidate(&self) -> Option<Generation> {
        self.candidate.filter(|_| self.cache.is_some())
    }

    /// Records that Graph accepted the current token; `source` describes where it came from.
    pub(super) fn on_accepted(&mut self, credential: Option<&Credential>, source: String) {
        self.candidate = None;
        let Some(credential) = credential else {
            return;
        };
        let cached = CachedToken {
            token: credential.token().clone(),
            source,
        };
        self.pending = Some((Instant::now(), CacheUpdate::Store(Box::new(cached))));
    }

    /// Records that Graph rejected the current token for good.
    pub(super) fn on_rejected(&mut self, credential: &Credential) {
        self.candidate = None;
        self.pending = Some((Instant::now(), CacheUpdate::Erase(Some(credential.fingerprint()))));
    }

    /// Does not use the cached token, because a source said that it has no token.
    pub(super) fn forbid(&mut self) {
        if self.use_at_start == UseAtStart::Allowed {
            self.use_at_start = UseAtStart::Forbidden;
        }
    }

    /// Erases the token, because its source withdrew it.
    pub(super) fn erase(&mut self) {
        self.candidate = None;
        if self.use_at_start != UseAtStart::Erased {
            self.use_at_start = UseAtStart::Erased;
            self.pending = Some((Instant::now(), CacheUpdate::Erase(None)));
        }
    }

    /// The time of the next write, if one is due.
    pub(super) fn next_update(&self) -> Option<Instant> {
        self.pending
            .as_ref()
            .filter(|_| self.cache.is_some())
            .map(|(at, _)| *at)
    }

    /// Writes what is to be written. A failure is reported once, and the write is tried again in a minute.
    pub(super) async fn update(&mut self) {
        let (Some((_, update)), Some(cache)) = (self.pending.take(), &mut self.cache) else {
            return;
        };
        let written = timeout(CACHE_TIMEOUT, apply(cache.as_mut(), &update)).await;
        let written = written.unwrap_or_else(|_elapsed| Err(timed_out(&cache.describe(), "respond", CACHE_TIMEOUT)));
        let Err(error) = written else {
            self.has_failed = false;
            return;
        };
        if !self.has_failed {
            let error = error_chain(&error);
            tracing::warn!(
                error,
                "failed to write the cache of the last token that Graph accepted; retrying each minute"
            );
        }
        self.has_failed = true;
        self.pending = Some((Instant::now() + RETRY_INTERVAL, update));
    }
}

async fn apply(cache: &mut dyn TokenCache, update: &CacheUpdate) -> Result<(), ObtainError> {
    match update {
        CacheUpdate::Store(cached) => cache.replace(Some(cached)).await,
        CacheUpdate::Erase(None) => cache.replace(None).await,
        CacheUpdate::Erase(Some(fingerprint)) => match cache.load().await {
            Ok(Some(cached)) if cached.token.secret.fingerprint() == *fingerprint => cache.replace(None).await,
            Ok(_) => Ok(()),
            // What cannot be read may be the rejected token.
            Err(_unreadable) => cache.replace(None).await,
        },
    }
}
