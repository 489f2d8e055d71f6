//! The progress of the refresher, as waiting requests see it.

use std::sync::Arc;

use tokio::time::Instant;

use super::credential::Generation;
use super::error::ObtainError;

/// The progress of the refresher, for waiting requests.
#[derive(Clone, Debug, Default)]
pub struct RefreshProgress {
    /// The current generation.
    pub generation: Option<Generation>,
    /// The number of attempts that have begun.
    pub attempts_started: u64,
    /// The number of attempts that have ended; the first check is one.
    pub attempts_finished: u64,
    /// The number of the last attempt that may renew the token.
    pub(super) last_renewal_attempt: u64,
    /// Whether a request gets the last failure at once.
    pub is_backing_off: bool,
    /// The last failure since the current credential was published.
    pub last_error: Option<Arc<ObtainError>>,
    /// The statement of the source that withdrew the token, until there is another one.
    pub withdrawal: Option<Arc<ObtainError>>,
    /// When the failures began of which the last one is that the source's token may not be used.
    pub(super) unusable_since: Option<Instant>,
    /// The number of the last attempt that failed.
    pub(super) last_failed_attempt: u64,
    /// Whether the refresher has ended.
    pub(super) is_closed: bool,
}

/// The reason why there is no newer credential.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RefreshError {
    /// An attempt that began after the request failed; or the refresher is in backoff after a failure.
    #[error("the token could not be refreshed")]
    Failed(#[source] Arc<ObtainError>),
    /// The deadline passed.
    #[error("timed out waiting for a newer token")]
    TimedOut,
    /// The refresher has ended.
    #[error("the token refresh task has stopped")]
    Closed,
    /// Graph accepts the token, so none is needed: a request that was rejected needs a token of another kind, and one that
    /// was not sent can be sent.
    #[error("Graph accepts the current token")]
    StillValid,
}

// === impl RefreshProgress ===

impl RefreshProgress {
    /// Returns whether an attempt that began later has failed, or the refresher is in backoff after one.
    pub(super) const fn has_failed_since(&self, attempts_started: u64) -> bool {
        self.withdrawal.is_some()
            || self.last_failed_attempt > attempts_started
            || self.is_backing_off && self.last_error.is_some()
    }

    /// Returns the reason why there is no credential newer than `than`.
    pub(super) fn failure(&self, than: Option<Generation>) -> Option<Arc<ObtainError>> {
        let last_error = self.last_error.as_ref().filter(|_| self.generation <= than);
        self.withdrawal.as_ref().or(last_error).cloned()
    }

    pub(super) fn begin_generation(&mut self, generation: Generation) {
        self.attempts_finished = self.attempts_started;
        self.generation = Some(generation);
        self.is_backing_off = false;
        self.last_error = None;
        self.withdrawal = None;
        self.unusable_since = None;
    }

    pub(super) fn fail(&mut self, error: Arc<ObtainError>) {
        self.attempts_finished = self.attempts_started;
        self.last_failed_attempt = self.attempts_started;
        let is_unusable = error.is_about_source_token();
        self.unusable_since = is_unusable.then(|| self.unusable_since.unwrap_or_else(Instant::now));
        self.last_error = Some(error);
    }

    pub(super) fn withdraw(&mut self, statement: Arc<ObtainError>) {
        self.withdrawal = Some(Arc::clone(&statement));
        self.fail(statement);
    }
}
