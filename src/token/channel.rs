//! The channel that publishes the current credential: one writer, many readers.
//!
//! # Why
//!
//! The hot path reads one pointer without a lock. `load_full`, not `load`: a guard held across an await would occupy one of
//! the few slots that arc-swap has per thread, and slow the writer down. Requests wait for the progress that the
//! [`TokenPublisher`] alone makes, and its end is seen at once as [`RefreshError::Closed`]. The credential is stored before they are
//! woken, so they find it.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::credential::{Credential, CredentialError, Generation, ProofSettings, Token};
use super::error::ObtainError;
use super::observations::Observations;
use super::progress::{RefreshError, RefreshProgress};
use super::rejection::{Decision, RejectedRequest, RejectionReport, TokenHealth};
use super::rejections::{AttemptStart, Rejections, WaiterGuard};
use super::watched::Watched;
use crate::graph::{EndpointId, GraphError};
use crate::types::TokenFamily;

/// Creates the two ends of a tenant's channel.
#[must_use]
pub fn channel() -> (TokenPublisher, TokenHandle) {
    let handle = TokenHandle(Arc::default());
    let publisher = TokenPublisher {
        proofs: None,
        handle: handle.clone(),
    };
    (publisher, handle)
}

/// The refresher's end. Not `Clone`: one writer.
#[derive(Debug)]
pub struct TokenPublisher {
    pub(super) proofs: Option<ProofSettings>,
    /// What requests see, and report.
    pub(super) handle: TokenHandle,
}

/// The requests' end. A clone shares the state.
#[derive(Clone, Debug)]
pub struct TokenHandle(Arc<TokenState>);

/// What the two ends share.
#[derive(Debug, Default)]
struct TokenState {
    current: ArcSwapOption<Credential>,
    progress: Watched<RefreshProgress>,
    rejections: Rejections,
    observations: Observations,
}

/// The most requests that are held: each of them keeps its body.
const MAX_HELD_REQUESTS: usize = 4096;

// === impl TokenPublisher ===

impl TokenPublisher {
    /// Adds proofs to its credentials.
    #[must_use]
    pub fn with_proofs(mut self, proofs: Option<ProofSettings>) -> Self {
        self.proofs = proofs;
        self
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
            self.handle.0.current.store(Some(Arc::new(current)));
        }
    }

    /// Begins an attempt that only reads the sources.
    pub fn begin_check(&self) {
        self.progress().change(|progress| progress.attempts_started += 1);
    }

    /// Begins an attempt that may renew the token.
    pub fn begin_renewal(&self) {
        self.progress().change(|progress| {
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
        let before = self.progress().get().generation;
        let generation = before.map_or(Generation::FIRST, Generation::next);
        let credential = Arc::new(Credential::new(
            generation,
            token,
            inspected_family,
            self.proofs.as_ref(),
        )?);
        self.handle.rejections().begin_generation(generation);
        self.handle.0.current.store(Some(Arc::clone(&credential)));
        self.progress().change(|progress| progress.begin_generation(generation));
        Ok(credential)
    }

    /// Ends the attempt with the withdrawal of the token. Requests get the source's statement until there is another one.
    pub fn withdraw(&self, statement: Arc<ObtainError>) {
        self.handle.0.current.store(None);
        self.progress().change(|progress| progress.withdraw(statement));
    }

    /// Ends the attempt without a new credential.
    pub fn finish_unchanged(&self) {
        self.progress().change(|it| it.attempts_finished = it.attempts_started);
    }

    /// Ends the attempt with a failure, which the requests get that waited when it began.
    pub fn finish_failed(&self, error: Arc<ObtainError>) {
        self.progress().change(|progress| progress.fail(error));
    }

    /// Lets requests get the last failure at once from now on.
    pub fn begin_backoff(&self) {
        self.progress()
            .change_if(|progress| !mem::replace(&mut progress.is_backing_off, true));
    }

    /// Lets requests wait again for a result.
    pub fn end_backoff(&self) {
        self.progress().change_if(|it| mem::take(&mut it.is_backing_off));
    }

    /// The current credential.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Credential>> {
        self.handle.current()
    }

    fn progress(&self) -> &Watched<RefreshProgress> {
        &self.handle.0.progress
    }
}

impl Drop for TokenPublisher {
    fn drop(&mut self) {
        self.progress().change(|progress| progress.is_closed = true);
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
        self.0.current.load_full()
    }

    /// The progress of the refresher.
    #[must_use]
    pub fn progress(&self) -> RefreshProgress {
        self.0.progress.get().clone()
    }

    /// What requests observe besides rejections.
    #[must_use]
    pub fn observations(&self) -> &Observations {
        &self.0.observations
    }

    pub(super) fn rejections(&self) -> &Rejections {
        &self.0.rejections
    }

    /// Returns whether there is a credential that Graph has not rejected, and a refresher that would replace it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let current = self.current().map(|credential| credential.generation());
        !self.is_closed() && current.is_some_and(|current| !self.rejections().is_rejected(current))
    }

    /// Returns whether the refresher has ended: the current credential stays and is never replaced.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.progress.get().is_closed
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
        let progress = self.0.progress.get();
        progress.attempts_finished < progress.last_renewal_attempt
    }

    async fn wait_until(&self, mut done: impl FnMut(&RefreshProgress) -> bool) {
        let is_done = |progress: &RefreshProgress| (done(progress) || progress.is_closed).then_some(());
        self.0.progress.wait_for(is_done).await;
    }

    /// The number of requests that wait for a credential.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.rejections().waiters()
    }

    /// Returns what an attempt has to remember when it begins.
    #[must_use]
    pub fn start_attempt(&self) -> AttemptStart {
        self.rejections().start_attempt()
    }

    /// Reports that Graph rejected a request. Never waits; an old generation changes nothing.
    pub fn report_rejection(&self, report: RejectionReport<'_>) -> RejectedRequest {
        self.rejections().on_rejected(report)
    }

    /// Reports that Graph rejected this generation, and that there is no doubt about it.
    pub fn mark_rejected(&self, generation: Generation, error: &GraphError) -> RejectedRequest {
        self.rejections().mark_dead(generation, error)
    }

    /// Reports that Graph accepted an attempt. If it began after the last rejection, the credential is usable again.
    pub fn mark_accepted(&self, generation: Generation, endpoint: EndpointId, start: AttemptStart) {
        self.rejections().on_accepted(generation, endpoint, start);
    }

    /// Returns whether Graph accepts the current credential, as known so far.
    #[must_use]
    pub fn health(&self) -> TokenHealth {
        self.rejections().suspicion.get().health
    }

    /// Returns whether Graph was asked about the current credential, and did not answer.
    #[must_use]
    pub fn is_unanswerable(&self) -> bool {
        self.rejections().suspicion.get().is_unanswerable
    }

    /// The wait of a request that is not sent because this generation is dead; `None` if it is not dead.
    #[must_use]
    pub fn unsent_request(&self, generation: Generation) -> Option<RejectedRequest> {
        let suspicion = || self.rejections().suspicion.get().unsent_request(generation);
        self.is_rejected(generation).then(suspicion).flatten()
    }

    /// Returns whether this generation is dead, or not the current one any more.
    #[must_use]
    pub fn is_rejected(&self, generation: Generation) -> bool {
        self.rejections().is_rejected(generation)
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
        let _waiter = WaiterGuard::new(self.rejections());
        let attempts_at_start = self.0.progress.get().attempts_started;
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
        match timeout_at(deadline, self.0.progress.wait_for(outcome)).await {
            Ok(outcome) => outcome.and_then(|()| self.current().ok_or(RefreshError::Closed)),
            Err(_elapsed) => Err(RefreshError::TimedOut),
        }
    }

    /// Waits for the first credential while the source's token may not be used, until `hold_timeout` after that was found,
    /// since the operator may be about to provide a new one. Too many requests are not held.
    pub async fn wait_for_usable(&self, hold_timeout: Duration) -> Option<Arc<Credential>> {
        let _waiter = WaiterGuard::new(self.rejections());
        let unusable_since = self.0.progress.get().unusable_since;
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
        let (progress, suspicion) = (&self.0.progress, &self.rejections().suspicion);
        let _waiter = WaiterGuard::new(self.rejections());
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
