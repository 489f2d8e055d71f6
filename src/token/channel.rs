//! The channel that publishes the current credential: one writer, many readers.
//!
//! # Why
//!
//! The hot path reads one pointer without a lock. `load_full`, not `load`: a guard held across an await would occupy one of
//! the few slots that arc-swap has per thread, and slow the writer down. Requests wait for the progress that the
//! [`TokenPublisher`] alone makes, and its end is seen at once as [`RefreshError::Closed`](super::RefreshError::Closed). The
//! credential is stored before they are woken, so they find it.

use std::mem;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::credential::{Credential, CredentialError, Generation, ProofSettings, Token};
use super::error::ObtainError;
use super::observations::Observations;
use super::progress::RefreshProgress;
use super::rejection::{RejectedRequest, RejectionReport, TokenHealth};
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

    /// Ends the attempt with the withdrawal of the token. Until there is another one, requests are refused with what the source said.
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

    /// Returns whether both are ends of the same channel.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
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

    /// The progress of the refresher, to be waited for.
    pub(super) fn watched_progress(&self) -> &Watched<RefreshProgress> {
        &self.0.progress
    }

    /// Counts a request that waits for a token, until the guard is dropped.
    pub(super) fn begin_wait(&self) -> WaiterGuard<'_> {
        self.observations().add_wait();
        WaiterGuard::new(self.rejections())
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

    pub(super) async fn wait_until(&self, mut done: impl FnMut(&RefreshProgress) -> bool) {
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
}
