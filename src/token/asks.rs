//! What requests tell the refresher, and how many of them wait for it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::credential::Generation;
use crate::graph::GraphError;

/// What requests tell the refresher.
#[derive(Debug, Default)]
pub(super) struct Asks {
    /// The highest generation rejected so far; 0 is none.
    rejected: AtomicU64,
    /// The generation that was taken after it had been rejected; 0 is none.
    absolved: AtomicU64,
    /// The first rejection of that generation. Touched by rejections alone, and never across an await.
    first: Mutex<Option<First>>,
    waiters: AtomicUsize,
    told: Notify,
}

/// What has been told so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Heard {
    /// The highest generation rejected so far.
    pub rejected: Option<Generation>,
    /// The generation that was taken after it had been rejected.
    pub absolved: Option<Generation>,
}

#[derive(Debug)]
struct First {
    generation: Generation,
    at: Instant,
    why: GraphError,
}

/// Counts one who waits.
pub(super) struct Waiting<'a>(&'a AtomicUsize);

// === impl Asks ===

impl Asks {
    /// Graph rejected this generation. What is repeated, or concerns one that was superseded, changes nothing.
    pub(super) fn reject(&self, generation: Generation, why: &GraphError) {
        let number = generation.get();
        let first = self.rejected.fetch_max(number, Ordering::AcqRel) < number;
        let again = self
            .absolved
            .compare_exchange(number, 0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        if first || again {
            *self.first.lock().unwrap_or_else(PoisonError::into_inner) = Some(First {
                generation,
                at: Instant::now(),
                why: why.clone(),
            });
            self.told.notify_one();
        }
    }

    /// Graph took this generation. The common case costs one load.
    pub(super) fn accept(&self, generation: Generation) {
        let number = generation.get();
        if self.rejected.load(Ordering::Acquire) == number
            && self.absolved.swap(number, Ordering::AcqRel) != number
        {
            self.told.notify_one();
        }
    }

    /// Rejected, and not taken since.
    pub(super) fn is_suspect(&self, generation: Generation) -> bool {
        self.heard().is_suspect(generation)
    }

    /// When and why this generation was first rejected.
    pub(super) fn first_rejected(&self, generation: Generation) -> Option<(Instant, GraphError)> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let first = first.as_ref()?;
        (first.generation == generation).then(|| (first.at, first.why.clone()))
    }

    /// What has been told, once it differs from what is known. Cancel-safe.
    pub(super) async fn news(&self, known: Heard) -> Heard {
        loop {
            let told = self.told.notified();
            let heard = self.heard();
            if heard != known {
                return heard;
            }
            told.await;
        }
    }

    fn heard(&self) -> Heard {
        let load = |number: &AtomicU64| Generation::from_number(number.load(Ordering::Acquire));
        Heard {
            rejected: load(&self.rejected),
            absolved: load(&self.absolved),
        }
    }

    pub(super) fn waiters(&self) -> usize {
        self.waiters.load(Ordering::Relaxed)
    }
}

// === impl Heard ===

impl Heard {
    /// Whether a generation was rejected, and not taken since.
    #[must_use]
    pub fn is_suspect(self, generation: Generation) -> bool {
        Some(generation) <= self.rejected && self.absolved != Some(generation)
    }
}

// === impl Waiting ===

impl<'a> Waiting<'a> {
    pub(super) fn new(asks: &'a Asks) -> Self {
        asks.waiters.fetch_add(1, Ordering::Relaxed);
        Self(&asks.waiters)
    }

    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
