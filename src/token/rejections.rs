//! What requests tell the refresher, and how many of them wait for it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::credential::Generation;
use crate::graph::GraphError;

/// What requests tell the refresher.
#[derive(Debug, Default)]
pub(super) struct Rejections {
    /// The highest generation rejected so far; 0 is none.
    rejected: AtomicU64,
    /// The generation that was taken after it had been rejected; 0 is none.
    reinstated: AtomicU64,
    /// The first rejection of that generation. Touched by rejections alone, and never across an await.
    first_rejection: Mutex<Option<FirstRejection>>,
    waiters: AtomicUsize,
    changed: Notify,
}

/// What has been told so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RejectionState {
    /// The highest generation rejected so far.
    pub rejected: Option<Generation>,
    /// The generation that was taken after it had been rejected.
    pub reinstated: Option<Generation>,
}

#[derive(Debug)]
struct FirstRejection {
    generation: Generation,
    at: Instant,
    error: GraphError,
}

/// Counts one who waits.
pub(super) struct WaiterGuard<'a>(&'a AtomicUsize);

// === impl Rejections ===

impl Rejections {
    /// Graph rejected this generation. What is repeated, or concerns one that was superseded, changes nothing.
    pub(super) fn mark_rejected(&self, generation: Generation, error: &GraphError) {
        let number = generation.get();
        let first = self.rejected.fetch_max(number, Ordering::AcqRel) < number;
        let again = self
            .reinstated
            .compare_exchange(number, 0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        if first || again {
            *self.first_rejection.lock().unwrap_or_else(PoisonError::into_inner) = Some(FirstRejection {
                generation,
                at: Instant::now(),
                error: error.clone(),
            });
            self.changed.notify_one();
        }
    }

    /// Graph took this generation. The common case costs one load.
    pub(super) fn mark_accepted(&self, generation: Generation) {
        let number = generation.get();
        if self.rejected.load(Ordering::Acquire) == number && self.reinstated.swap(number, Ordering::AcqRel) != number {
            self.changed.notify_one();
        }
    }

    /// Rejected, and not taken since.
    pub(super) fn is_rejected(&self, generation: Generation) -> bool {
        self.state().is_rejected(generation)
    }

    /// When and why this generation was first rejected.
    pub(super) fn first_rejection(&self, generation: Generation) -> Option<(Instant, GraphError)> {
        let first = self.first_rejection.lock().unwrap_or_else(PoisonError::into_inner);
        let first = first.as_ref()?;
        (first.generation == generation).then(|| (first.at, first.error.clone()))
    }

    /// What has been told, once it differs from what is known. Cancel-safe.
    pub(super) async fn wait_for_change(&self, known: RejectionState) -> RejectionState {
        loop {
            let changed = self.changed.notified();
            let state = self.state();
            if state != known {
                return state;
            }
            changed.await;
        }
    }

    fn state(&self) -> RejectionState {
        let load = |number: &AtomicU64| Generation::from_number(number.load(Ordering::Acquire));
        RejectionState {
            rejected: load(&self.rejected),
            reinstated: load(&self.reinstated),
        }
    }

    pub(super) fn waiters(&self) -> usize {
        self.waiters.load(Ordering::Relaxed)
    }
}

// === impl Heard ===

impl RejectionState {
    /// Whether a generation was rejected, and not taken since.
    #[must_use]
    pub fn is_rejected(self, generation: Generation) -> bool {
        Some(generation) <= self.rejected && self.reinstated != Some(generation)
    }
}

// === impl WaiterGuard ===

impl<'a> WaiterGuard<'a> {
    pub(super) fn new(rejections: &'a Rejections) -> Self {
        rejections.waiters.fetch_add(1, Ordering::Relaxed);
        Self(&rejections.waiters)
    }

    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for WaiterGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
