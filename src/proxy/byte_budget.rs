//! How many bytes all requests together may hold.
//!
//! # Why
//!
//! Each request has a limit, but ten thousand may be under way. Nobody waits for bytes: who gets none does without.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::gauge::Gauge;

/// Bytes that may be taken, and are given back with their `BytePermit`.
#[derive(Clone, Debug)]
pub struct ByteBudget(Arc<ByteBudgetState>);

#[derive(Debug)]
struct ByteBudgetState {
    limit: u64,
    in_use: AtomicU64,
    gauge: Gauge,
}

/// Bytes taken from a [`ByteBudget`].
#[derive(Debug)]
pub(crate) struct BytePermit {
    budget: ByteBudget,
    bytes: u64,
}

// === impl ByteBudget ===

impl ByteBudget {
    /// So many bytes, counted on this gauge.
    #[must_use]
    pub fn new(limit: u64, gauge: Gauge) -> Self {
        Self(Arc::new(ByteBudgetState {
            limit,
            in_use: AtomicU64::new(0),
            gauge,
        }))
    }

    /// A permit for nothing yet.
    pub(super) fn empty_permit(&self) -> BytePermit {
        BytePermit {
            budget: self.clone(),
            bytes: 0,
        }
    }

    /// Takes bytes, unless too few are left.
    pub(super) fn try_acquire(&self, bytes: u64) -> Option<BytePermit> {
        let reserve = |taken: u64| taken.checked_add(bytes).filter(|taken| *taken <= self.0.limit);
        self.0
            .in_use
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve)
            .ok()?;
        self.0.gauge.inc_by(to_i64(bytes));
        Some(BytePermit {
            budget: self.clone(),
            bytes,
        })
    }
}

// === impl BytePermit ===

impl BytePermit {
    /// Takes more, so that it covers this; otherwise nothing changes, and too few are left.
    pub(super) fn try_grow_to(&mut self, bytes: u64) -> bool {
        let missing = bytes.saturating_sub(self.bytes);
        let Some(mut acquired) = self.budget.try_acquire(missing) else {
            return false;
        };
        self.bytes += std::mem::take(&mut acquired.bytes);
        true
    }

    /// Gives back what turned out not to be needed.
    pub(super) fn shrink_to(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        self.release(surplus);
    }

    fn release(&self, bytes: u64) {
        self.budget.0.in_use.fetch_sub(bytes, Ordering::Relaxed);
        self.budget.0.gauge.dec_by(to_i64(bytes));
    }
}

impl Drop for BytePermit {
    fn drop(&mut self) {
        self.release(self.bytes);
    }
}

fn to_i64(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
