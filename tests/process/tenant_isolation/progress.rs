//! How far the clients are.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::wait_until;

/// The clients whose requests are answered soon.
pub(super) const CLIENTS: usize = 32;
const ENDED: u64 = u64::MAX;

/// How far the clients are.
pub(super) struct Progress {
    begun: AtomicU64,
    limit: u64,
    /// The number of answers that each client has, or `ENDED`.
    answered: Vec<AtomicU64>,
}

// === impl Progress ===

impl Progress {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            begun: AtomicU64::new(0),
            limit,
            answered: (0..CLIENTS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Returns whether a client has one more request to send.
    pub(super) fn begin(&self) -> bool {
        self.begun.fetch_add(1, Ordering::Relaxed) < self.limit
    }

    /// Returns whether all requests have begun.
    pub(super) fn is_over(&self) -> bool {
        self.begun.load(Ordering::Relaxed) >= self.limit
    }

    /// Notes that a client has one more answer.
    pub(super) fn answered(&self, client: usize) {
        self.answered[client].fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that a client sends no more requests.
    pub(super) fn ended(&self, client: usize) {
        self.answered[client].store(ENDED, Ordering::Relaxed);
    }

    /// Waits until this many more requests have begun, or there are no more.
    pub(super) async fn wait_for_requests(&self, count: u64) {
        let until = (self.begun.load(Ordering::Relaxed) + count).min(self.limit);
        wait_until("the clients go on", async || {
            self.begun.load(Ordering::Relaxed) >= until
        })
        .await;
    }

    /// Waits until each request that is in flight now has its answer.
    pub(super) async fn wait_for_all_in_flight(&self) {
        let before: Vec<_> = self
            .answered
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        wait_until("each client has one more answer", async || {
            let mut pairs = self.answered.iter().zip(&before);
            pairs.all(|(count, before)| *before == ENDED || count.load(Ordering::Relaxed) > *before)
        })
        .await;
    }
}
