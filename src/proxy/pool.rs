//! How many bytes all requests together may hold.
//!
//! # Why
//!
//! Each request has a limit, but ten thousand may be under way. Nobody waits for bytes: who gets none does without.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::gauge::Gauge;

/// Bytes that may be taken, and are given back with their `Permit`.
#[derive(Clone, Debug)]
pub struct Pool(Arc<State>);

#[derive(Debug)]
struct State {
    total: u64,
    taken: AtomicU64,
    gauge: Gauge,
}

/// Bytes taken from a [`Pool`].
#[derive(Debug)]
pub(crate) struct Permit {
    pool: Pool,
    bytes: u64,
}

// === impl Pool ===

impl Pool {
    /// So many bytes, counted on this gauge.
    #[must_use]
    pub fn new(total: u64, gauge: Gauge) -> Self {
        Self(Arc::new(State {
            total,
            taken: AtomicU64::new(0),
            gauge,
        }))
    }

    /// A permit for nothing yet.
    pub(super) fn none(&self) -> Permit {
        Permit {
            pool: self.clone(),
            bytes: 0,
        }
    }

    /// Takes bytes, unless too few are left.
    pub(super) fn take(&self, bytes: u64) -> Option<Permit> {
        let fits = |taken: u64| {
            taken
                .checked_add(bytes)
                .filter(|taken| *taken <= self.0.total)
        };
        self.0
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .ok()?;
        self.0.gauge.inc_by(signed(bytes));
        Some(Permit {
            pool: self.clone(),
            bytes,
        })
    }
}

// === impl Permit ===

impl Permit {
    /// Takes more, so that it covers this; otherwise nothing changes, and too few are left.
    pub(super) fn covers(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let Some(mut taken) = self.pool.take(more) else {
            return false;
        };
        self.bytes += std::mem::take(&mut taken.bytes);
        true
    }

    /// Gives back what turned out not to be needed.
    pub(super) fn shrink(&mut self, to: u64) {
        let surplus = self.bytes.saturating_sub(to);
        self.bytes -= surplus;
        self.give_back(surplus);
    }

    fn give_back(&self, bytes: u64) {
        self.pool.0.taken.fetch_sub(bytes, Ordering::Relaxed);
        self.pool.0.gauge.dec_by(signed(bytes));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
