//! The cell that holds the live credential: one writer, many readers.
//!
//! # Why
//!
//! The hot path reads one pointer without a lock. `load_full`, not `load`: a guard held across an await would
//! pin one of its thread's few debt slots and slow the writer. Those who wait do so on a `watch` channel whose
//! only sender is the [`Writer`], so a refresher that died is seen at once as [`NoSuccessor::Closed`] rather
//! than waited for. Publication comes before notice: whoever is woken finds the credential there.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::asks::{Asks, Heard, Waiting};
use super::credential::{Credential, CredentialError, Generation, Proofs, Token};
use super::ports::ObtainError;
use crate::graph::GraphError;

/// The two ends of a tenant's cell.
#[must_use]
pub fn pair() -> (Writer, Tokens) {
    let cell = Arc::new(ArcSwapOption::empty());
    let asks = Arc::new(Asks::default());
    let (sender, receiver) = watch::channel(Progress::default());
    let writer = Writer {
        proofs: None,
        cell: Arc::clone(&cell),
        progress: sender,
        asks: Arc::clone(&asks),
    };
    (
        writer,
        Tokens {
            cell,
            progress: receiver,
            asks,
        },
    )
}

/// The refresher's end. Not `Clone`: one writer.
#[derive(Debug)]
pub struct Writer {
    proofs: Option<Proofs>,
    cell: Arc<ArcSwapOption<Credential>>,
    progress: watch::Sender<Progress>,
    asks: Arc<Asks>,
}

/// The requests' end.
#[derive(Clone, Debug)]
pub struct Tokens {
    cell: Arc<ArcSwapOption<Credential>>,
    progress: watch::Receiver<Progress>,
    asks: Arc<Asks>,
}

/// The refresher's notice for those who wait.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// The live generation.
    pub generation: Option<Generation>,
    /// How many attempts have begun.
    pub begun: u64,
    /// How many attempts have ended: with one the first look is done.
    pub ended: u64,
    /// The attempt that began last may come to minting.
    may_mint: bool,
    /// Who asks now hears the last failure at once.
    pub resting: bool,
    /// The last failure since the live credential came.
    pub failure: Option<Arc<ObtainError>>,
    /// The attempt that failed, by number.
    failed: u64,
}

/// Why there is no newer credential.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NoSuccessor {
    /// An attempt that began after the question failed; or the refresher rests after one that did.
    #[error("no newer token could be obtained")]
    Failed(#[source] Arc<ObtainError>),
    /// Not in time.
    #[error("no newer token came in time")]
    Late,
    /// The refresher is gone.
    #[error("the task that obtains tokens has ended")]
    Closed,
}

/// How many may wait for a credential and still be held: each holds a request's body.
const MOST_HELD: usize = 4096;

// === impl Writer ===

impl Writer {
    /// Its credentials carry proofs.
    #[must_use]
    pub fn proving(self, proofs: Option<Proofs>) -> Self {
        Self { proofs, ..self }
    }

    /// Begins an attempt, which may come to minting.
    pub fn begin(&self, may_mint: bool) {
        self.progress.send_modify(|progress| {
            progress.begun += 1;
            progress.may_mint = may_mint;
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
            progress.ended = progress.begun;
            progress.generation = Some(generation);
            progress.resting = false;
            progress.failure = None;
        });
        Ok(credential)
    }

    /// Ends the attempt without news, which nobody is told of.
    pub fn quiet(&self) {
        self.progress
            .send_modify(|progress| progress.ended = progress.begun);
    }

    /// Ends the attempt with a failure, which those hear who asked before it began.
    pub fn fail(&self, why: Arc<ObtainError>) {
        self.progress.send_modify(|progress| {
            progress.ended = progress.begun;
            progress.failed = progress.begun;
            progress.failure = Some(why);
        });
    }

    /// From now on, or no longer, whoever asks hears the last failure at once.
    pub fn rest(&self, resting: bool) {
        self.progress.send_if_modified(|progress| {
            let changed = progress.resting != resting;
            progress.resting = resting;
            changed
        });
    }

    /// What requests have told of rejections, once it differs from what is known. Cancel-safe.
    pub async fn heard(&self, known: Heard) -> Heard {
        self.asks.news(known).await
    }

    /// The refresher has found out by itself that Graph rejects this generation.
    pub fn reject(&self, generation: Generation, why: &GraphError) {
        self.asks.reject(generation, why);
    }

    /// Why this generation was first rejected.
    #[must_use]
    pub fn complaint(&self, of: Generation) -> Option<GraphError> {
        self.asks.first_rejected(of).map(|(_, why)| why)
    }

    /// The live credential.
    #[must_use]
    pub fn live(&self) -> Option<Arc<Credential>> {
        self.cell.load_full()
    }
}

// === impl Tokens ===

impl Tokens {
    /// The live credential. Takes no lock.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Credential>> {
        self.cell.load_full()
    }

    /// What the refresher is about.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Whether there is a credential that Graph has not rejected, and somebody who would replace it.
    #[must_use]
    pub fn usable(&self) -> bool {
        let live = self.progress.borrow().generation;
        !self.is_abandoned() && live.is_some_and(|live| !self.asks.is_suspect(live))
    }

    /// Whether the refresher is gone: what there is is used, and nothing takes its place.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.progress.has_changed().is_err()
    }

    /// Waits until the first look at the source is done, or the refresher is gone.
    pub async fn looked(&self) {
        drop(
            self.progress
                .clone()
                .wait_for(|progress| progress.ended > 0)
                .await,
        );
    }

    /// Waits until there is a credential, or the search for the first one has failed, or the refresher is gone.
    pub async fn settled(&self) {
        drop(
            self.progress
                .clone()
                .wait_for(|progress| progress.generation.is_some() || progress.resting)
                .await,
        );
    }

    /// Waits until nothing is being minted: what is, is stored first.
    pub async fn minted(&self) {
        let done = |progress: &Progress| !progress.may_mint || progress.ended == progress.begun;
        drop(self.progress.clone().wait_for(done).await);
    }

    /// How many requests wait for a credential.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.asks.waiters()
    }

    /// Tells the refresher that Graph rejected this generation. Never waits; repeated calls merge; a generation
    /// that has been superseded changes nothing.
    pub fn reject(&self, generation: Generation, why: &GraphError) {
        self.asks.reject(generation, why);
    }

    /// Graph took this generation. If it had rejected it before, that was a bad hour of Graph's, or a token of the
    /// app's own in a body: it may be used.
    pub fn accept(&self, generation: Generation) {
        self.asks.accept(generation);
    }

    /// Whether Graph rejected this generation, and has not taken it since.
    #[must_use]
    pub fn is_suspect(&self, generation: Generation) -> bool {
        self.asks.is_suspect(generation)
    }

    /// The live credential, or the very first one when it comes.
    ///
    /// # Errors
    ///
    /// [`NoSuccessor`] if there is none by then.
    pub async fn live(&self, by: Instant) -> Result<Arc<Credential>, NoSuccessor> {
        match self.current() {
            Some(credential) => Ok(credential),
            None => self.newer(None, by).await,
        }
    }

    /// A credential that is neither rejected nor past due, for a request that will have no second chance; the
    /// live one if there is no better.
    ///
    /// # Errors
    ///
    /// [`NoSuccessor`] if there is none at all by then.
    pub async fn vetted(&self, by: Instant) -> Result<Arc<Credential>, NoSuccessor> {
        let live = self.live(by).await?;
        if !self.asks.is_suspect(live.generation()) {
            return Ok(live);
        }
        Ok(self.successor(live.generation(), by).await.unwrap_or(live))
    }

    /// A credential newer than `of`, or why there is none.
    ///
    /// # Errors
    ///
    /// [`NoSuccessor::Failed`] with the failure of an attempt that began after this call, or at once with the
    /// last one while the refresher rests; [`NoSuccessor::Late`] at `by`.
    pub async fn successor(
        &self,
        of: Generation,
        by: Instant,
    ) -> Result<Arc<Credential>, NoSuccessor> {
        self.newer(Some(of), by).await
    }

    /// A credential newer than `of`, whatever fails meanwhile, until `hold` after `of` was first rejected: somebody
    /// may be dropping one this very second.
    ///
    /// # Errors
    ///
    /// [`NoSuccessor::Late`] after the hold, at `by`, or at once if too many are held already;
    /// [`NoSuccessor::Closed`] if the refresher is gone.
    pub async fn held(
        &self,
        of: Generation,
        hold: Duration,
        by: Instant,
    ) -> Result<Arc<Credential>, NoSuccessor> {
        let until = self
            .asks
            .first_rejected(of)
            .map_or(by, |(at, _)| by.min(at + hold));
        let waiting = Waiting::new(&self.asks);
        if until <= Instant::now() || waiting.count() > MOST_HELD {
            return Err(NoSuccessor::Late);
        }
        let mut progress = self.progress.clone();
        let newer = progress.wait_for(|progress| progress.generation > Some(of));
        match timeout_at(until, newer).await {
            Ok(Ok(_newer)) => {}
            Ok(Err(_closed)) => return Err(NoSuccessor::Closed),
            Err(_elapsed) => return Err(NoSuccessor::Late),
        }
        self.current().ok_or(NoSuccessor::Closed)
    }

    async fn newer(
        &self,
        of: Option<Generation>,
        by: Instant,
    ) -> Result<Arc<Credential>, NoSuccessor> {
        let _waiting = Waiting::new(&self.asks);
        let mut progress = self.progress.clone();
        let asked_at = progress.borrow_and_update().begun;
        let settled = progress.wait_for(|progress| {
            progress.generation > of || progress.failed > asked_at || progress.rests_with_failure()
        });
        let failure = match timeout_at(by, settled).await {
            Ok(Ok(progress)) if progress.generation > of => None,
            Ok(Ok(progress)) => progress.failure.clone(),
            Ok(Err(_closed)) => return Err(NoSuccessor::Closed),
            Err(_elapsed) => return Err(NoSuccessor::Late),
        };
        match failure {
            Some(why) => Err(NoSuccessor::Failed(why)),
            None => self.current().ok_or(NoSuccessor::Closed),
        }
    }
}

// === impl Progress ===

impl Progress {
    const fn rests_with_failure(&self) -> bool {
        self.resting && self.failure.is_some()
    }
}
