//! The cell that holds the live credential: one writer, many readers.
//!
//! # Why
//!
//! The hot path reads one pointer without a lock. `load_full`, not `load`: a guard held across an await would
//! pin one of its thread's few debt slots and slow the writer. Those who wait do so on a `watch` channel whose
//! only sender is the [`TokenPublisher`], so a refresher that died is seen at once as [`RefreshError::Closed`] rather
//! than waited for. Publication comes before notice: whoever is woken finds the credential there.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::credential::{Credential, CredentialError, Generation, ProofSettings, Token};
use super::rejections::{RejectionState, Rejections, WaiterGuard};
use super::traits::ObtainError;
use crate::graph::GraphError;

/// The two ends of a tenant's cell.
#[must_use]
pub fn channel() -> (TokenPublisher, TokenHandle) {
    let cell = Arc::new(ArcSwapOption::empty());
    let rejections = Arc::new(Rejections::default());
    let (sender, receiver) = watch::channel(RefreshProgress::default());
    let writer = TokenPublisher {
        proofs: None,
        cell: Arc::clone(&cell),
        progress: sender,
        rejections: Arc::clone(&rejections),
    };
    (
        writer,
        TokenHandle {
            cell,
            progress: receiver,
            rejections,
        },
    )
}

/// The refresher's end. Not `Clone`: one writer.
#[derive(Debug)]
pub struct TokenPublisher {
    proofs: Option<ProofSettings>,
    cell: Arc<ArcSwapOption<Credential>>,
    progress: watch::Sender<RefreshProgress>,
    rejections: Arc<Rejections>,
}

/// The requests' end.
#[derive(Clone, Debug)]
pub struct TokenHandle {
    cell: Arc<ArcSwapOption<Credential>>,
    progress: watch::Receiver<RefreshProgress>,
    rejections: Arc<Rejections>,
}

/// The refresher's notice for those who wait.
#[derive(Clone, Debug, Default)]
pub struct RefreshProgress {
    /// The live generation.
    pub generation: Option<Generation>,
    /// How many attempts have begun.
    pub attempts_started: u64,
    /// How many attempts have ended: with one the first look is done.
    pub attempts_finished: u64,
    /// The attempt that began last may come to minting.
    may_renew: bool,
    /// Who asks now hears the last failure at once.
    pub is_backing_off: bool,
    /// The last failure since the live credential came.
    pub last_error: Option<Arc<ObtainError>>,
    /// The attempt that failed, by number.
    last_failed_attempt: u64,
}

/// Why there is no newer credential.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RefreshError {
    /// An attempt that began after the question failed; or the refresher rests after one that did.
    #[error("no newer token could be obtained")]
    Failed(#[source] Arc<ObtainError>),
    /// Not in time.
    #[error("no newer token came in time")]
    TimedOut,
    /// The refresher is gone.
    #[error("the task that obtains tokens has ended")]
    Closed,
}

/// How many may wait for a credential and still be held: each holds a request's body.
const MAX_HELD_REQUESTS: usize = 4096;

// === impl Writer ===

impl TokenPublisher {
    /// Its credentials carry proofs.
    #[must_use]
    pub fn with_proofs(self, proofs: Option<ProofSettings>) -> Self {
        Self { proofs, ..self }
    }

    /// Begins an attempt, which may come to minting.
    pub fn begin_attempt(&self, may_renew: bool) {
        self.progress.send_modify(|progress| {
            progress.attempts_started += 1;
            progress.may_renew = may_renew;
        });
    }

    /// Ends the attempt with a credential: first stored, then told.
    ///
    /// # Errors
    ///
    /// [`CredentialError`] if the token cannot be stamped; then the one before stays.
    pub fn publish(&self, token: Token) -> Result<Arc<Credential>, CredentialError> {
        let generation = match self.progress.borrow().generation {
            None => Generation::FIRST,
            Some(generation) => generation.next(),
        };
        let credential = Arc::new(Credential::new(generation, token, self.proofs.as_ref())?);
        self.cell.store(Some(Arc::clone(&credential)));
        self.progress.send_modify(|progress| {
            progress.attempts_finished = progress.attempts_started;
            progress.generation = Some(generation);
            progress.is_backing_off = false;
            progress.last_error = None;
        });
        Ok(credential)
    }

    /// Ends the attempt without news, which nobody is told of.
    pub fn finish_unchanged(&self) {
        self.progress
            .send_modify(|progress| progress.attempts_finished = progress.attempts_started);
    }

    /// Ends the attempt with a failure, which those hear who asked before it began.
    pub fn finish_failed(&self, error: Arc<ObtainError>) {
        self.progress.send_modify(|progress| {
            progress.attempts_finished = progress.attempts_started;
            progress.last_failed_attempt = progress.attempts_started;
            progress.last_error = Some(error);
        });
    }

    /// From now on, or no longer, whoever asks hears the last failure at once.
    pub fn set_backing_off(&self, is_backing_off: bool) {
        self.progress.send_if_modified(|progress| {
            let changed = progress.is_backing_off != is_backing_off;
            progress.is_backing_off = is_backing_off;
            changed
        });
    }

    /// What requests have told of rejections, once it differs from what is known. Cancel-safe.
    pub async fn wait_for_rejection_change(&self, known: RejectionState) -> RejectionState {
        self.rejections.wait_for_change(known).await
    }

    /// The refresher has found out by itself that Graph rejects this generation.
    pub fn mark_rejected(&self, generation: Generation, error: &GraphError) {
        self.rejections.mark_rejected(generation, error);
    }

    /// Why this generation was first rejected.
    #[must_use]
    pub fn rejection_reason(&self, generation: Generation) -> Option<GraphError> {
        self.rejections.first_rejection(generation).map(|(_, why)| why)
    }

    /// The live credential.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Credential>> {
        self.cell.load_full()
    }
}

// === impl TokenHandle ===

impl TokenHandle {
    /// The live credential. Takes no lock.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Credential>> {
        self.cell.load_full()
    }

    /// What the refresher is about.
    #[must_use]
    pub fn progress(&self) -> RefreshProgress {
        self.progress.borrow().clone()
    }

    /// Whether there is a credential that Graph has not rejected, and somebody who would replace it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let live = self.progress.borrow().generation;
        !self.is_closed() && live.is_some_and(|live| !self.rejections.is_rejected(live))
    }

    /// Whether the refresher is gone: what there is is used, and nothing takes its place.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.progress.has_changed().is_err()
    }

    /// Waits until the first look at the source is done, or the refresher is gone.
    pub async fn wait_for_first_check(&self) {
        drop(
            self.progress
                .clone()
                .wait_for(|progress| progress.attempts_finished > 0)
                .await,
        );
    }

    /// Waits until there is a credential, or the search for the first one has failed, or the refresher is gone.
    pub async fn wait_for_first_result(&self) {
        drop(
            self.progress
                .clone()
                .wait_for(|progress| progress.generation.is_some() || progress.is_backing_off)
                .await,
        );
    }

    /// Waits until nothing is being minted: what is, is stored first.
    pub async fn wait_for_renewal(&self) {
        let done =
            |progress: &RefreshProgress| !progress.may_renew || progress.attempts_finished == progress.attempts_started;
        drop(self.progress.clone().wait_for(done).await);
    }

    /// How many requests wait for a credential.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.rejections.waiters()
    }

    /// Tells the refresher that Graph rejected this generation. Never waits; repeated calls merge; a generation
    /// that has been superseded changes nothing.
    pub fn mark_rejected(&self, generation: Generation, error: &GraphError) {
        self.rejections.mark_rejected(generation, error);
    }

    /// Graph took this generation. If it had rejected it before, that was a bad hour of Graph's, or a token of the
    /// app's own in a body: it may be used.
    pub fn mark_accepted(&self, generation: Generation) {
        self.rejections.mark_accepted(generation);
    }

    /// Whether Graph rejected this generation, and has not taken it since.
    #[must_use]
    pub fn is_rejected(&self, generation: Generation) -> bool {
        self.rejections.is_rejected(generation)
    }

    /// The live credential, or the very first one when it comes.
    ///
    /// # Errors
    ///
    /// [`RefreshError`] if there is none by then.
    pub async fn current_or_wait(&self, deadline: Instant) -> Result<Arc<Credential>, RefreshError> {
        match self.current() {
            Some(credential) => Ok(credential),
            None => self.wait_until_newer_or_failed(None, deadline).await,
        }
    }

    /// A credential that is neither rejected nor past due, for a request that will have no second chance; the
    /// live one if there is no better.
    ///
    /// # Errors
    ///
    /// [`RefreshError`] if there is none at all by then.
    pub async fn prefer_unrejected(&self, deadline: Instant) -> Result<Arc<Credential>, RefreshError> {
        let live = self.current_or_wait(deadline).await?;
        if !self.rejections.is_rejected(live.generation()) {
            return Ok(live);
        }
        Ok(self.wait_for_newer(live.generation(), deadline).await.unwrap_or(live))
    }

    /// A credential newer than `of`, or why there is none.
    ///
    /// # Errors
    ///
    /// [`RefreshError::Failed`] with the failure of an attempt that began after this call, or at once with the
    /// last one while the refresher rests; [`RefreshError::TimedOut`] at `by`.
    pub async fn wait_for_newer(&self, than: Generation, deadline: Instant) -> Result<Arc<Credential>, RefreshError> {
        self.wait_until_newer_or_failed(Some(than), deadline).await
    }

    /// A credential newer than `of`, whatever fails meanwhile, until `hold_timeout` after `of` was first rejected: somebody
    /// may be dropping one this very second.
    ///
    /// # Errors
    ///
    /// [`RefreshError::TimedOut`] after the hold, at `by`, or at once if too many are held already;
    /// [`RefreshError::Closed`] if the refresher is gone.
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
        let waiter = WaiterGuard::new(&self.rejections);
        if until <= Instant::now() || waiter.count() > MAX_HELD_REQUESTS {
            return Err(RefreshError::TimedOut);
        }
        let mut progress = self.progress.clone();
        let newer = progress.wait_for(|progress| progress.generation > Some(than));
        match timeout_at(until, newer).await {
            Ok(Ok(_newer)) => {}
            Ok(Err(_closed)) => return Err(RefreshError::Closed),
            Err(_elapsed) => return Err(RefreshError::TimedOut),
        }
        self.current().ok_or(RefreshError::Closed)
    }

    async fn wait_until_newer_or_failed(
        &self,
        than: Option<Generation>,
        deadline: Instant,
    ) -> Result<Arc<Credential>, RefreshError> {
        let _waiter = WaiterGuard::new(&self.rejections);
        let mut progress = self.progress.clone();
        let attempts_at_start = progress.borrow_and_update().attempts_started;
        let outcome_known = progress.wait_for(|progress| {
            progress.generation > than
                || progress.last_failed_attempt > attempts_at_start
                || progress.is_backing_off_after_failure()
        });
        let failure = match timeout_at(deadline, outcome_known).await {
            Ok(Ok(progress)) if progress.generation > than => None,
            Ok(Ok(progress)) => progress.last_error.clone(),
            Ok(Err(_closed)) => return Err(RefreshError::Closed),
            Err(_elapsed) => return Err(RefreshError::TimedOut),
        };
        match failure {
            Some(why) => Err(RefreshError::Failed(why)),
            None => self.current().ok_or(RefreshError::Closed),
        }
    }
}

// === impl RefreshProgress ===

impl RefreshProgress {
    const fn is_backing_off_after_failure(&self) -> bool {
        self.is_backing_off && self.last_error.is_some()
    }
}
