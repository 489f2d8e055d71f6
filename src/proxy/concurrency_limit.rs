//! The number of requests that may be in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus_client::metrics::gauge::Gauge;

use super::refusal::Refusal;

/// Admits requests; each gets an `InflightGuard`.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimit(Arc<ConcurrencyLimitState>);

#[derive(Debug)]
struct ConcurrencyLimitState {
    inflight: Gauge,
    limit: i64,
    draining: AtomicBool,
    closing: AtomicBool,
}

/// The slot of one request; released when the last byte of the response has been handed over.
#[derive(Debug)]
pub(crate) struct InflightGuard(Arc<ConcurrencyLimitState>);

// === impl ConcurrencyLimit ===

impl ConcurrencyLimit {
    /// Creates a limit that counts on this gauge and admits `limit` requests at a time.
    #[must_use]
    pub fn new(inflight: Gauge, limit: u32) -> Self {
        Self(Arc::new(ConcurrencyLimitState {
            inflight,
            limit: i64::from(limit),
            draining: AtomicBool::new(false),
            closing: AtomicBool::new(false),
        }))
    }

    /// Refuses all requests from now on.
    pub fn start_draining(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// Notes that the requests in flight are closed now, and returns their number.
    #[must_use]
    pub fn start_closing(&self) -> usize {
        self.0.closing.store(true, Ordering::Relaxed);
        self.inflight()
    }

    /// The number of requests in flight.
    #[must_use]
    pub fn inflight(&self) -> usize {
        usize::try_from(self.0.inflight.get()).unwrap_or(0)
    }

    /// Creates the limit of one tenant among several: half of this one.
    pub(super) fn share(&self) -> Self {
        Self::new(
            Gauge::default(),
            u32::try_from(self.0.limit / 2).unwrap_or(u32::MAX).max(1),
        )
    }

    pub(crate) fn try_acquire(&self) -> Result<InflightGuard, Refusal> {
        if self.0.draining.load(Ordering::Relaxed) {
            return Err(Refusal::Draining);
        }
        let guard = InflightGuard(Arc::clone(&self.0));
        let previous = self.0.inflight.inc();
        if previous < self.0.limit {
            Ok(guard)
        } else {
            Err(Refusal::Overloaded)
        }
    }
}

// === impl InflightGuard ===

impl InflightGuard {
    /// Whether half of the slots are free.
    pub(crate) fn has_half_free(&self) -> bool {
        self.0.inflight.get() <= self.0.limit / 2
    }

    /// Whether graphward closes the requests in flight, because it stops.
    pub(crate) fn is_closing(&self) -> bool {
        self.0.closing.load(Ordering::Relaxed)
    }
}

impl Drop for InflightGuard {
    fn drop(&mut self) {
        self.0.inflight.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_limit_rejects_and_a_released_guard_frees_a_slot() {
        let limit = ConcurrencyLimit::new(Gauge::default(), 1);
        let guard = limit.try_acquire().unwrap();
        assert!(matches!(limit.try_acquire(), Err(Refusal::Overloaded)));
        assert_eq!(limit.inflight(), 1);
        drop(guard);
        drop(limit.try_acquire().unwrap());
        let half = ConcurrencyLimit::new(Gauge::default(), 2);
        let guard = half.try_acquire().unwrap();
        assert!(guard.has_half_free());
        let _more = half.try_acquire().unwrap();
        assert!(!guard.has_half_free());
        limit.start_draining();
        assert!(matches!(limit.try_acquire(), Err(Refusal::Draining)));
        assert_eq!(limit.inflight(), 0);
    }
}
