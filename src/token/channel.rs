//! The channel that publishes the current credential: one writer, many readers.
//!
//! # Why
//!
//! The hot path reads one pointer without a lock. `load_full`, not `load`: a guard held across an await would occupy one of
//! the few slots that arc-swap has per thread, and slow the writer down. Requests wait on a `watch` channel whose only sender is the
//! [`TokenPublisher`], so the end of the refresher is seen at once as [`RefreshError::Closed`]. The credential is stored
//! before the channel is notified, so a waiter that wakes finds it.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::credential::{Credential, CredentialError, Generation, ProofSettings, Token};
use super::observations::Observations;
use super::rejections::{Rejections, WaiterGuard};
use super::traits::ObtainError;
use crate::graph::GraphError;
use crate::types::TokenFamily;

/// Creates the two ends of a tenant's channel.
#[must_use]
pub fn channel() -> (TokenPublisher, TokenHandle) {
    let cell = Arc::new(ArcSwapOption::empty());
    let rejections = Arc::new(Rejections::default());
    let observations = Arc::new(Observations::default());
    let (sender, progress) = watch::channel(RefreshProgress::default());
    let publisher = TokenPublisher {
        proofs: None,
        cell: Arc::clone(&cell),
        progress: sender,
        rejections: Arc::clone(&rejections),
        observations: Arc::clone(&observations),
    };
    let handle = TokenHandle {
        cell,
        progress,
        rejections,
        observations,
    };
    (publisher, handle)
}

/// The refresher's end. Not `Clone`: one writer.
#[derive(Debug)]
pub struct TokenPublisher {
    proofs: Option<ProofSettings>,
    cell: Arc<ArcSwapOption<Credential>>,
    progress: watch::Sender<RefreshProgress>,
    pub(super) rejections: Arc<Rejections>,
    pub(super) observations: Arc<Observations>,
}

/// The requests' end.
#[derive(Clone, Debug)]
pub struct TokenHandle {
    cell: Arc<ArcSwapOption<Credential>>,
    progress: watch::Receiver<RefreshProgress>,
    rejections: Arc<Rejections>,
    observations: Arc<Observations>,
}

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
    last_renewal_attempt: u64,
    /// Whether a request gets the last failure at once.
    pub is_backing_off: bool,
    /// The last failure since the current credential was published.
    pub last_error: Option<Arc<ObtainError>>,
    /// The number of the last attempt that failed.
    last_failed_attempt: u64,
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
}

/// The most requests that are held: each of them keeps its body.
const MAX_HELD_REQUESTS: usize = 4096;

// === impl TokenPublisher ===

impl TokenPublisher {
    /// Adds proofs to its credentials.
    #[must_use]
    pub fn with_proofs(self, proofs: Option<ProofSettings>) -> Self {
        Self { proofs, ..self }
    }

    /// Replaces the proofs, and that of the current credential: it is the same token, and so the same generation.
    pub(super) fn set_proofs(&mut self, proofs: Option<ProofSettings>) {
        self.proofs = proofs;
        let current = self.current();
        let current = current.and_then(|current| current.with_proofs(self.proofs.as_ref()).ok());
        if let Some(current) = current {
            self.cell.store(Some(Arc::new(current)));
        }
    }

    /// Begins an attempt that only reads the sources.
    pub fn begin_check(&self) {
        self.progress.send_modify(|progress| progress.attempts_started += 1);
    }

    /// Begins an attempt that may renew the token.
    pub fn begin_renewal(&self) {
        self.progress.send_modify(|progress| {
            progress.attempts_started += 1;
            progress.last_renewal_attempt = progress.attempts_started;
        });
    }

    /// Ends the attempt with a credential, and wakes the waiting requests.
    ///
    /// # Errors
    ///
    /// [`CredentialError`] if the token cannot be sent in a header; then the current one stays.
    pub fn publish(
        &self,
        token: Token,
        inspected_family: Option<TokenFamily>,
    ) -> Result<Arc<Credential>, CredentialError> {
        let generation = match self.progress.borrow().generation {
            None => Generation::FIRST,
            Some(generation) => generation.next(),
        };
        let credential = Arc::new(Credential::new(
            generation,
            token,
            inspected_family,
            self.proofs.as_ref(),
        )?);
        self.cell.store(Some(Arc::clone(&credential)));
        self.progress.send_modify(|progress| {
            progress.attempts_finished = progress.attempts_started;
            progress.generation = Some(generation);
            progress.is_backing_off = false;
            progress.last_error = None;
        });
        Ok(credential)
    }

    /// Ends the attempt without a new credential.
    pub fn finish_unchanged(&self) {
        self.progress
            .send_modify(|it| it.attempts_finished = it.attempts_started);
    }

    /// Ends the attempt with a failure, which the requests get that waited when it began.
    pub fn finish_failed(&self, error: Arc<ObtainError>) {
        self.progress.send_modify(|progress| {
            progress.attempts_finished = progress.attempts_started;
            progress.last_failed_attempt = progress.attempts_started;
            progress.last_error = Some(error);
        });
    }

    /// Lets requests get the last failure at once from now on.
    pub fn begin_backoff(&self) {
        self.progress
            .send_if_modified(|progress| !mem::replace(&mut progress.is_backing_off, true));
    }

    /// Lets requests wait again for a result.
    pub fn end_backoff(&self) {
        self.progress.send_if_modified(|it| mem::take(&mut it.is_backing_off));
    }

    /// The current credential.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Credential>> {
        self.cell.load_full()
    }
}

// === impl TokenHandle ===

impl TokenHandle {
    /// The current credential. Takes no lock.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Credential>> {
        self.cell.load_full()
    }

    /// The progress of the refresher.
    #[must_use]
    pub fn progress(&self) -> RefreshProgress {
        self.progress.borrow().clone()
    }

    /// Returns whether there is a credential that Graph has not rejected, and a refresher that would replace it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let generation = self.progress.borrow().generation;
        !self.is_closed() && generation.is_some_and(|current| !self.rejections.is_rejected(current))
    }

    /// Returns whether the refresher has ended: the current credential stays and is never replaced.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.progress.has_changed().is_err()
    }

    /// Waits until the first check of the sources is done, or the refresher has ended.
    pub async fn wait_for_first_check(&self) {
        self.wait_until(|progress| progress.attempts_finished > 0).await;
    }

    /// Waits until there is a credential, or the first attempts have failed, or the refresher has ended.
    pub async fn wait_for_first_result(&self) {
        self.wait_until(|progress| progress.generation.is_some() || progress.is_backing_off)
            .await;
    }

    /// Waits until no renewal is in progress: its token is then stored.
    pub async fn wait_for_renewal(&self) {
        self.wait_until(|progress| progress.attempts_finished >= progress.last_renewal_attempt)
            .await;
    }

    async fn wait_until(&self, done: impl FnMut(&RefreshProgress) -> bool) {
        drop(self.progress.clone().wait_for(done).await);
    }

    /// The number of requests that wait for a credential.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.rejections.waiters()
    }

    /// Reports that Graph rejected this generation. Never waits; repeated calls merge; an old generation changes nothing.
    pub fn mark_rejected(&self, generation: Generation, error: &GraphError) {
        self.rejections.mark_rejected(generation, error);
    }

    /// Reports that Graph accepted this generation. If Graph rejected it before, that was a temporary fault of Graph, or
    /// about another token in the body: the credential is usable again.
    pub fn mark_accepted(&self, generation: Generation) {
        self.rejections.mark_accepted(generation);
    }

    /// Reports that the app has called WhatsApp, whose permissions matter only then. Never waits.
    pub fn observe_whatsapp_call(&self) {
        self.observations.add_whatsapp_call();
    }

    /// Reports that Meta has locked the account. Never waits.
    pub fn observe_account_lock(&self, error: &GraphError) {
        self.observations.add_account_lock(error);
    }

    /// Returns whether Graph rejected this generation, and has not accepted it since.
    #[must_use]
    pub fn is_rejected(&self, generation: Generation) -> bool {
        self.rejections.is_rejected(generation)
    }

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
        if !self.rejections.is_rejected(current.generation()) {
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
        let _waiter = WaiterGuard::new(&self.rejections);
        let attempts_at_start = self.progress.borrow().attempts_started;
        let is_outcome_known = |progress: &RefreshProgress| {
            progress.generation > than
                || progress.last_failed_attempt > attempts_at_start
                || progress.is_backing_off && progress.last_error.is_some()
        };
        let progress = self.wait_by(deadline, is_outcome_known).await?;
        match progress.last_error {
            Some(error) if progress.generation <= than => Err(RefreshError::Failed(error)),
            Some(_) | None => self.current().ok_or(RefreshError::Closed),
        }
    }

    /// Waits for a credential newer than `than`, whatever fails meanwhile, until `hold_timeout` after `than` was first
    /// rejected: a new token may be about to be delivered.
    ///
    /// # Errors
    ///
    /// [`RefreshError::TimedOut`] after the hold, at the deadline, or at once if too many requests are held;
    /// [`RefreshError::Closed`] if the refresher has ended.
    pub async fn wait_during_hold(
        &self,
        than: Generation,
        hold_timeout: Duration,
        deadline: Instant,
    ) -> Result<Arc<Credential>, RefreshError> {
        let until = self
            .rejections
            .first_rejection(than)
            .map_or(deadline, |(at, _)| deadline.min(at + hold_timeout));
        let _waiter = WaiterGuard::new(&self.rejections);
        if until <= Instant::now() || self.waiters() > MAX_HELD_REQUESTS {
            return Err(RefreshError::TimedOut);
        }
        self.wait_by(until, |progress| progress.generation > Some(than)).await?;
        self.current().ok_or(RefreshError::Closed)
    }

    /// Returns the progress once `done` holds.
    async fn wait_by(
        &self,
        deadline: Instant,
        done: impl FnMut(&RefreshProgress) -> bool,
    ) -> Result<RefreshProgress, RefreshError> {
        let mut progress = self.progress.clone();
        match timeout_at(deadline, progress.wait_for(done)).await {
            Ok(Ok(progress)) => Ok(progress.clone()),
            Ok(Err(_closed)) => Err(RefreshError::Closed),
            Err(_elapsed) => Err(RefreshError::TimedOut),
        }
    }
}
