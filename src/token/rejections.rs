//! What requests report about the current token, and the number of requests that wait for a newer one.
//!
//! # Why
//!
//! The state is a [`Suspicion`]: requests change it, and requests, the refresher and the question to Graph wait for its changes. A request that succeeds while nothing is suspected takes no lock: it reads three atomics,
//! and marks its endpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::credential::Generation;
use super::rejection::{EndpointHistory, Liveness, RejectedRequest, RejectionReport, TokenHealth};
use super::suspicion::Suspicion;
use super::watched::Watched;
use crate::graph::{EndpointId, GraphError, RejectionProof};

/// The rejections that requests report.
#[derive(Debug, Default)]
pub(super) struct Rejections {
    pub(super) suspicion: Watched<Suspicion>,
    /// The current generation; 0 for none.
    generation: AtomicU64,
    /// The generation whose next acceptance matters; 0 for none.
    suspected: AtomicU64,
    /// The generation that is dead; 0 for none.
    dead: AtomicU64,
    /// The number of rejections.
    count: AtomicU64,
    /// The endpoints that have succeeded with the current token: a Bloom filter with one hash. An endpoint that is taken for
    /// another one causes more questions, never fewer.
    succeeded: [AtomicU64; SUCCEEDED_WORDS],
    /// The highest accepted generation; 0 for none.
    accepted: AtomicU64,
    newly_accepted: Notify,
    waiters: AtomicUsize,
}

/// The number of rejections when an attempt began: only an attempt that began after the last one can refute it.
#[derive(Clone, Copy, Debug)]
pub struct AttemptStart(u64);

/// What the refresher knows of the rejections.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct RejectionState {
    pub(super) generation: Option<Generation>,
    pub(super) health: TokenHealth,
    /// The number of the rejection with which the suspicion began.
    pub(super) episode: Option<u64>,
    /// Graph's reason, if the token is dead.
    pub(super) error: Option<Arc<GraphError>>,
    /// Whether Graph said that the token is dead: if not, it may live.
    pub(super) is_proven: bool,
}

/// Counts a waiting request while it lives.
pub(super) struct WaiterGuard<'a>(&'a AtomicUsize);

const SUCCEEDED_WORDS: usize = 16;

// === impl Rejections ===

impl Rejections {
    /// Forgets what was reported about the generation before. Called before a request can use the new one.
    pub(super) fn begin_generation(&self, generation: Generation) {
        for word in &self.succeeded {
            word.store(0, Ordering::Relaxed);
        }
        self.change(|suspicion| suspicion.begin_generation(generation));
    }

    /// Returns what an attempt has to remember when it begins.
    pub(super) fn start_attempt(&self) -> AttemptStart {
        AttemptStart(self.count.load(Ordering::Acquire))
    }

    /// Records that Graph rejected a request.
    pub(super) fn on_rejected(&self, report: RejectionReport<'_>) -> RejectedRequest {
        let history = self.history(report.endpoint);
        self.change(|suspicion| suspicion.on_rejected(report, history, Instant::now()))
    }

    /// Records that Graph rejected this generation, and that there is no doubt about it.
    pub(super) fn mark_dead(&self, generation: Generation, error: &GraphError) -> RejectedRequest {
        self.on_rejected(RejectionReport {
            generation,
            proof: RejectionProof::SessionEnded,
            endpoint: EndpointId::of_path("/"),
            error,
        })
    }

    /// Records that Graph accepted an attempt of this generation.
    pub(super) fn on_accepted(&self, generation: Generation, endpoint: EndpointId, start: AttemptStart) {
        let number = generation.get();
        if self.accepted.load(Ordering::Relaxed) < number && self.accepted.fetch_max(number, Ordering::AcqRel) < number
        {
            self.newly_accepted.notify_one();
        }
        let (word, bit) = self.position(endpoint);
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Relaxed);
        }
        if self.suspected.load(Ordering::Acquire) == generation.get() {
            self.suspicion.change_if(|suspicion| {
                let changed = suspicion.on_accepted(generation, start.0);
                self.publish(suspicion);
                changed
            });
        }
    }

    /// Returns whether this generation is dead, or an older one than the current.
    pub(super) fn is_rejected(&self, generation: Generation) -> bool {
        self.dead.load(Ordering::Acquire) == generation.get()
            || self.generation.load(Ordering::Acquire) > generation.get()
    }

    /// Returns the state once it differs from `known`. Cancel-safe.
    pub(super) async fn wait_for_change(&self, known: &RejectionState) -> RejectionState {
        let state = |suspicion: &Suspicion| Some(RejectionState::of(suspicion)).filter(|state| state != known);
        self.suspicion.wait_for(state).await
    }

    /// Completes when the current token is dead. Cancel-safe.
    pub(super) async fn wait_until_dead(&self) {
        let is_dead = |suspicion: &Suspicion| (suspicion.health == TokenHealth::Dead).then_some(());
        self.suspicion.wait_for(is_dead).await;
    }

    /// Completes when a newer generation has replaced this one. Cancel-safe.
    pub(super) async fn wait_until_replaced(&self, generation: Generation) {
        let is_replaced = |suspicion: &Suspicion| (suspicion.generation > Some(generation)).then_some(());
        self.suspicion.wait_for(is_replaced).await;
    }

    /// Waits until Graph is to be asked about a generation, and begins the question.
    pub(super) async fn next_question(&self) -> Generation {
        loop {
            let changed = self.suspicion.changed();
            let due = self.suspicion.get().question_due();
            match due {
                Some(at) if at <= Instant::now() => {
                    let generation = self.change(|suspicion| {
                        suspicion.begin_question(Instant::now());
                        suspicion.generation
                    });
                    if let Some(generation) = generation {
                        return generation;
                    }
                }
                // Boxed: at rest it is not there.
                Some(at) => drop(Box::pin(timeout_at(at, changed)).await),
                None => changed.await,
            }
        }
    }

    /// Waits until Graph has accepted this generation; forever without one. Cancel-safe.
    pub(super) async fn wait_until_accepted(&self, generation: Option<Generation>) {
        let Some(generation) = generation else {
            return std::future::pending().await;
        };
        while self.accepted.load(Ordering::Acquire) < generation.get() {
            // Boxed: only a token that is to be cached is waited for.
            Box::pin(self.newly_accepted.notified()).await;
        }
    }

    /// Records the answer.
    pub(super) fn on_answer(&self, generation: Generation, answer: Liveness) {
        self.change(|suspicion| suspicion.on_answer(generation, answer, Instant::now()));
    }

    pub(super) fn waiters(&self) -> usize {
        self.waiters.load(Ordering::Relaxed)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Suspicion) -> T) -> T {
        self.suspicion.change(|suspicion| {
            let result = change(suspicion);
            self.publish(suspicion);
            result
        })
    }

    /// Copies what requests read without a lock. Called while the state is locked.
    fn publish(&self, suspicion: &Suspicion) {
        let generation = suspicion.generation.map_or(0, Generation::get);
        let suspected = if suspicion.awaits_acceptance() { generation } else { 0 };
        let is_dead = suspicion.health == TokenHealth::Dead;
        let dead = if is_dead { generation } else { 0 };
        self.generation.store(generation, Ordering::Release);
        self.suspected.store(suspected, Ordering::Release);
        self.dead.store(dead, Ordering::Release);
        self.count.store(suspicion.rejections, Ordering::Release);
    }

    fn history(&self, endpoint: EndpointId) -> EndpointHistory {
        let (word, bit) = self.position(endpoint);
        if word.load(Ordering::Relaxed) & bit == 0 {
            EndpointHistory::NeverSucceeded
        } else {
            EndpointHistory::Succeeded
        }
    }

    fn position(&self, endpoint: EndpointId) -> (&AtomicU64, u64) {
        let hash = endpoint.get();
        let [first, rest @ ..] = &self.succeeded;
        let index = (hash >> 6) % (SUCCEEDED_WORDS as u64);
        let word = index
            .checked_sub(1)
            .and_then(|index| rest.get(usize::try_from(index).ok()?));
        (word.unwrap_or(first), 1 << (hash % 64))
    }
}

// === impl RejectionState ===

impl RejectionState {
    fn of(suspicion: &Suspicion) -> Self {
        Self {
            generation: suspicion.generation,
            health: suspicion.health,
            episode: suspicion.episode(),
            error: suspicion.error.clone(),
            is_proven: suspicion.is_proven(),
        }
    }

    /// Returns whether this generation is dead.
    pub(super) fn is_dead(&self, generation: Generation) -> bool {
        self.health == TokenHealth::Dead && self.generation == Some(generation)
    }
}

// === impl WaiterGuard ===

impl<'a> WaiterGuard<'a> {
    pub(super) fn new(rejections: &'a Rejections) -> Self {
        rejections.waiters.fetch_add(1, Ordering::Relaxed);
        Self(&rejections.waiters)
    }
}

impl Drop for WaiterGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
