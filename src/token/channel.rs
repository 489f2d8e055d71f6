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
use tokio::time::{Instant, sleep_until, timeout_at};

use super::credential::{Credential, CredentialError, Generation, ProofSettings, Token};
use super::error::ObtainError;
use super::observations::Observations;
use super::progress::{RefreshError, RefreshProgress};
use super::rejection::{Decision, RejectedRequest, RejectionReport, TokenHealth};
use super::rejections::{AttemptStart, Rejections, WaiterGuard};
use crate::graph::{EndpointId, GraphError};
use crate::types::TokenFamily;

/// Creates the two ends of a tenant's channel.
#[must_use]
pub fn channel() -> (TokenPublisher, TokenHandle) {
    let (sender, progress) = watch::channel(RefreshProgress::default());
    let handle = TokenHandle {
        cell: Arc::default(),
        progress,
        rejections: Arc::default(),
        observations: Arc::default(),
    };
    let publisher = TokenPublisher {
        proofs: None,
        progress: sender,
        handle: handle.clone(),
    };
    (publisher, handle)
}

/// The refresher's end. Not `Clone`: one writer.
#[derive(Debug)]
pub struct TokenPublisher {
    pub(super) proofs: Option<ProofSettings>,
    progress: watch::Sender<RefreshProgress>,
    /// What requests see, and report.
    pub(super) handle: TokenHandle,
}

/// The requests' end.
#[derive(Clone, Debug)]
pub struct TokenHandle {
    cell: Arc<ArcSwapOption<Credential>>,
    progress: watch::Receiver<RefreshProgress>,
    pub(super) rejections: Arc<Rejections>,
    /// What requests observe besides rejections.
    pub observations: Arc<Observations>,
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
    pub(super) fn set_proofs(&mut self, mut proofs: Option<ProofSettings>) {
        if let (Some(new), Some(old)) = (&mut proofs, &self.proofs) {
            new.continue_from(old);
        }
        self.proofs = proofs;
        let current = self.current();
        let current = current.and_then(|current| current.with_proofs(self.proofs.as_ref()).ok());
        if let Some(current) = current {
            self.handle.cell.store(Some(Arc::new(current)));
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
        self.handle.rejections.begin_generation(generation);
        self.handle.cell.store(Some(Arc::clone(&credential)));
        self.progress
            .send_modify(|progress| progress.begin_generation(generation));
        Ok(credential)
    }

    /// Ends the attempt with the withdrawal of the token. Requests get the source's statement until there is another one.
    pub fn withdraw(&self, statement: Arc<ObtainError>) {
        self.handle.cell.store(None);
        self.progress.send_modify(|progress| progress.withdraw(statement));
    }

    /// Ends the attempt without a new credential.
    pub fn finish_unchanged(&self) {
        self.progress
            .send_modify(|it| it.attempts_finished = it.attempts_started);
    }

    /// Ends the attempt with a failure, which the requests get that waited when it began.
    pub fn finish_failed(&self, error: Arc<ObtainError>) {
        self.progress.send_modify(|progress| progress.fail(error));
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
        self.handle.current()
    }
}

// === impl TokenHandle ===

impl TokenHandle {
    /// Creates the end of a channel that never publishes a credential.
    #[must_use]
    pub fn without_token() -> Self {
        channel().1
    }

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
        let current = self.current().map(|credential| credential.generation());
        !self.is_closed() && current.is_some_and(|current| !self.rejections.is_rejected(current))
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

    /// Returns whether a renewal is in progress.
    #[must_use]
    pub fn is_renewing(&self) -> bool {
        let progress = self.progress.borrow();
        progress.attempts_finished < progress.last_renewal_attempt
    }

    async fn wait_until(&self, done: impl FnMut(&RefreshProgress) -> bool) {
        drop(self.progress.clone().wait_for(done).await);
    }

    /// The number of requests that wait for a credential.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.rejections.waiters()
    }

    /// Returns what an attempt has to remember when it begins.
    #[must_use]
    pub fn start_attempt(&self) -> AttemptStart {
        self.rejections.start_attempt()
    }

    /// Reports that Graph rejected a request. Never waits; an old generation changes nothing.
    pub fn report_rejection(&self, report: RejectionReport<'_>) -> RejectedRequest {
        self.rejections.on_rejected(report)
    }

    /// Reports that Graph rejected this generation, and that there is no doubt about it.
    pub fn mark_rejected(&self, generation: Generation, error: &GraphError) -> RejectedRequest {
        self.rejections.mark_dead(generation, error)
    }

    /// Reports that Graph accepted an attempt. If it began after the last rejection, the credential is usable again.
    pub fn mark_accepted(&self, generation: Generation, endpoint: EndpointId, start: AttemptStart) {
        self.rejections.on_accepted(generation, endpoint, start);
    }

    /// Returns whether Graph accepts the current credential, as known so far.
    #[must_use]
    pub fn health(&self) -> TokenHealth {
        self.rejections.suspicion.borrow().health
    }

    /// Returns whether Graph was asked about the current credential, and did not answer.
    #[must_use]
    pub fn is_unanswerable(&self) -> bool {
        self.rejections.suspicion.borrow().is_unanswerable
    }

    /// The wait of a request that is not sent because this generation is dead; `None` if it is not dead.
    #[must_use]
    pub fn unsent_request(&self, generation: Generation) -> Option<RejectedRequest> {
        let suspicion = || self.rejections.suspicion.borrow().unsent_request(generation);
        self.is_rejected(generation).then(suspicion).flatten()
    }

    /// Returns whether this generation is dead, or not the current one any more.
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
        let mut progress = self.progress.clone();
        let attempts_at_start = progress.borrow().attempts_started;
        let is_outcome_known =
            |progress: &RefreshProgress| progress.generation > than || progress.has_failed_since(attempts_at_start);
        let failure = match timeout_at(deadline, progress.wait_for(is_outcome_known)).await {
            Ok(Ok(progress)) => progress.failure(than),
            Ok(Err(_closed)) => return Err(RefreshError::Closed),
            Err(_elapsed) => return Err(RefreshError::TimedOut),
        };
        match failure {
            Some(error) => Err(RefreshError::Failed(error)),
            None => self.current().ok_or(RefreshError::Closed),
        }
    }

    /// Waits for the first credential while the source's token may not be used, until `hold_timeout` after that was found,
    /// since the operator may be about to provide a new one. Too many requests are not held.
    pub async fn wait_for_usable(&self, hold_timeout: Duration) -> Option<Arc<Credential>> {
        let _waiter = WaiterGuard::new(&self.rejections);
        let unusable_since = self.progress.borrow().unusable_since;
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
        let (mut progress, mut suspicion) = (self.progress.clone(), self.rejections.suspicion.subscribe());
        let _waiter = WaiterGuard::new(&self.rejections);
        let hold_end = if self.waiters() > MAX_HELD_REQUESTS {
            request.held_since
        } else {
            request.held_since + hold_timeout
        };
        let attempts_at_start = progress.borrow().attempts_started;
        loop {
            let decision = suspicion.borrow_and_update().decide(request);
            let progress_now = progress.borrow_and_update().clone();
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
            // Cancel-safe: all three only wait.
            tokio::select! {
                open = progress.changed() => if open.is_err() {
                    return Err(RefreshError::Closed);
                },
                _ = suspicion.changed() => {}
                () = sleep_until(until) => {}
            }
        }
    }
}
