//! A budget of bytes that all requests together may buffer.
//!
//! # Why
//!
//! Each request has a limit, but ten thousand may be in flight. No request waits for bytes: one that gets none
//! continues without a buffer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::gauge::Gauge;

/// A budget whose bytes are reserved, and released when their `BytePermit` is dropped.
#[derive(Clone, Debug)]
pub struct ByteBudget(Arc<ByteBudgetState>);

#[derive(Debug)]
struct ByteBudgetState {
    limit: AtomicU64,
    in_use: AtomicU64,
    gauge: Gauge,
}

/// Bytes reserved from a [`ByteBudget`].
#[derive(Debug)]
pub(crate) struct BytePermit {
    budget: ByteBudget,
    bytes: u64,
}

// === impl ByteBudget ===

impl ByteBudget {
    /// Creates a budget of `limit` bytes that is counted on this gauge.
    #[must_use]
    pub fn new(limit: u64, gauge: Gauge) -> Self {
        Self(Arc::new(ByteBudgetState {
            limit: AtomicU64::new(limit),
            in_use: AtomicU64::new(0),
            gauge,
        }))
    }

    /// Changes the limit; bytes that are reserved stay so.
    pub fn set_limit(&self, limit: u64) {
        self.0.limit.store(limit, Ordering::Relaxed);
    }

    /// Returns a permit for zero bytes.
    pub(super) fn empty_permit(&self) -> BytePermit {
        BytePermit {
            budget: self.clone(),
            bytes: 0,
        }
    }

    /// Reserves bytes, unless too few are left.
    pub(super) fn try_acquire(&self, bytes: u64) -> Option<BytePermit> {
        let limit = self.0.limit.load(Ordering::Relaxed);
        let reserve = |in_use: u64| in_use.checked_add(bytes).filter(|total| *total <= limit);
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
    /// Reserves more, so that the permit covers `bytes`; returns whether enough were left.
    pub(super) fn try_grow_to(&mut self, bytes: u64) -> bool {
        let missing = bytes.saturating_sub(self.bytes);
        let Some(mut acquired) = self.budget.try_acquire(missing) else {
            return false;
        };
        self.bytes += std::mem::take(&mut acquired.bytes);
        true
    }

    /// Releases what turned out not to be needed.
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
