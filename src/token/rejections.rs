//! The rejections that requests report to the refresher, and the number of requests that wait for it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::credential::Generation;
use crate::graph::GraphError;

/// The rejections that requests report.
#[derive(Debug, Default)]
pub(super) struct Rejections {
    /// The highest rejected generation; 0 for none.
    rejected: AtomicU64,
    /// The generation that Graph accepted after a rejection; 0 for none.
    reinstated: AtomicU64,
    /// The first rejection of the highest rejected generation. Never locked across an await.
    first_rejection: Mutex<Option<FirstRejection>>,
    waiters: AtomicUsize,
    changed: Notify,
}

/// The rejections so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RejectionState {
    /// The highest rejected generation.
    pub rejected: Option<Generation>,
    /// The generation that Graph accepted after a rejection.
    pub reinstated: Option<Generation>,
}

#[derive(Debug)]
struct FirstRejection {
    generation: Generation,
    at: Instant,
    error: GraphError,
}

/// Counts a waiting request while it lives.
pub(super) struct WaiterGuard<'a>(&'a AtomicUsize);

// === impl Rejections ===

impl Rejections {
    /// Records that Graph rejected this generation. A repetition, or the rejection of an older one, changes nothing.
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

    /// Records that Graph accepted this generation. The common case costs one atomic load.
    pub(super) fn mark_accepted(&self, generation: Generation) {
        let number = generation.get();
        if self.rejected.load(Ordering::Acquire) == number && self.reinstated.swap(number, Ordering::AcqRel) != number {
            self.changed.notify_one();
        }
    }

    /// Returns whether this generation was rejected, and not accepted since.
    pub(super) fn is_rejected(&self, generation: Generation) -> bool {
        self.state().is_rejected(generation)
    }

    /// Returns when and why this generation was first rejected.
    pub(super) fn first_rejection(&self, generation: Generation) -> Option<(Instant, GraphError)> {
        let first = self.first_rejection.lock().unwrap_or_else(PoisonError::into_inner);
        let first = first.as_ref()?;
        (first.generation == generation).then(|| (first.at, first.error.clone()))
    }

    /// Returns the rejections once they differ from `known`. Cancel-safe.
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

// === impl RejectionState ===

impl RejectionState {
    /// Returns whether a generation was rejected, and not accepted since.
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
}

impl Drop for WaiterGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
