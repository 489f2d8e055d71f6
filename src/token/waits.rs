//! How requests wait for a credential.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::channel::TokenHandle;
use super::credential::{Credential, Generation};
use super::progress::{RefreshError, RefreshProgress};
use super::rejection::{Decision, RejectedRequest};

/// The most requests that are held: each of them keeps its body.
const MAX_HELD_REQUESTS: usize = 4096;

impl TokenHandle {
    /// Returns the current credential, or waits for the first one.
    ///
    /// # Errors
    ///
    /// [`RefreshError`] if no credential arrives by the deadline.
    pub async fn current_or_wait(&self, deadline: Instant) -> Result<Arc<Credential>, RefreshError> {
        match self.current() {
            Some(credential) => Ok(credential),
            None => self.wait_for_newer(None::<Generation>, deadline).await,
        }
    }

    /// Returns a credential that Graph has not rejected, for a request that cannot be replayed; the current one if there is
    /// no better one by the deadline.
    ///
    /// # Errors
    ///
    /// [`RefreshError`] if no credential at all arrives by the deadline.
    pub async fn prefer_unrejected(&self, deadline: Instant) -> Result<Arc<Credential>, RefreshError> {
        let current = self.current_or_wait(deadline).await?;
        if !self.rejections().is_rejected(current.generation()) {
            return Ok(current);
        }
        let newer = self.wait_for_newer(current.generation(), deadline).await;
        Ok(newer.unwrap_or(current))
    }

    /// Waits for a credential newer than `than`, or for the first one.
    ///
    /// # Errors
    ///
    /// [`RefreshError::Failed`] with the failure of an attempt that began after this call, or at once with the last one while
    /// the refresher is in backoff; [`RefreshError::TimedOut`] at the deadline.
    pub async fn wait_for_newer(
        &self,
        than: impl Into<Option<Generation>>,
        deadline: Instant,
    ) -> Result<Arc<Credential>, RefreshError> {
        let than = than.into();
        let _waiter = self.begin_wait();
        let attempts_at_start = self.watched_progress().get().attempts_started;
        let outcome = |progress: &RefreshProgress| {
            if progress.generation > than || progress.has_failed_since(attempts_at_start) {
                Some(
                    progress
                        .failure(than)
                        .map_or(Ok(()), |error| Err(RefreshError::Failed(error))),
                )
            } else {
                progress.is_closed.then_some(Err(RefreshError::Closed))
            }
        };
        match timeout_at(deadline, self.watched_progress().wait_for(outcome)).await {
            Ok(outcome) => outcome.and_then(|()| self.current().ok_or(RefreshError::Closed)),
            Err(_elapsed) => Err(RefreshError::TimedOut),
        }
    }

    /// Waits for the first credential while the source's token may not be used, until `hold_timeout` after that was found,
    /// since the operator may be about to provide a new one. Too many requests are not held.
    pub async fn wait_for_usable(&self, hold_timeout: Duration) -> Option<Arc<Credential>> {
        let _waiter = self.begin_wait();
        let unusable_since = self.watched_progress().get().unusable_since;
        if let Some(since) = unusable_since.filter(|_| self.waiters() <= MAX_HELD_REQUESTS) {
            let has_token = self.wait_until(|progress| progress.generation.is_some());
            _ = timeout_at(since + hold_timeout, has_token).await;
        }
        self.current()
    }

    /// Waits for a credential newer than that of a rejected request: while one is being obtained, while Graph is asked
    /// about the present one, and until `hold_timeout` after it was first rejected, since the operator may be about to
    /// provide a new one. Neither other requests' answers nor failures end this wait.
    ///
    /// # Errors
    ///
    /// [`RefreshError`]; [`RefreshError::StillValid`] if Graph accepts the present one. Too many requests are not held.
    pub async fn wait_for_successor(
        &self,
        request: &RejectedRequest,
        hold_timeout: Duration,
        deadline: Instant,
    ) -> Result<Arc<Credential>, RefreshError> {
        let (progress, suspicion) = (&self.watched_progress(), &self.rejections().suspicion);
        let _waiter = self.begin_wait();
        let hold_end = if self.waiters() > MAX_HELD_REQUESTS {
            request.held_since
        } else {
            request.held_since + hold_timeout
        };
        let attempts_at_start = progress.get().attempts_started;
        loop {
            let (progress_changed, suspicion_changed) = (progress.changed(), suspicion.changed());
            let decision = suspicion.get().decide(request);
            let progress_now = progress.get().clone();
            if let Some(statement) = progress_now.withdrawal {
                return Err(RefreshError::Failed(statement));
            }
            if progress_now.generation > Some(request.generation()) {
                return self.current().ok_or(RefreshError::Closed);
            }
            let is_pending =
                !progress_now.has_failed_since(attempts_at_start) && self.is_rejected(request.generation());
            let until = match decision {
                Decision::Release => return Err(RefreshError::StillValid),
                Decision::AwaitAnswer => deadline,
                Decision::Hold if is_pending => deadline,
                Decision::Hold => deadline.min(hold_end),
            };
            if until <= Instant::now() {
                return Err(progress_now
                    .last_error
                    .map_or(RefreshError::TimedOut, RefreshError::Failed));
            }
            if progress_now.is_closed {
                return Err(RefreshError::Closed);
            }
            // Cancel-safe: all three only wait.
            tokio::select! {
                () = progress_changed => {}
                () = suspicion_changed => {}
                () = sleep_until(until) => {}
            }
        }
    }
}
