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
}

/// The slot of one request; released when the last byte of the response has been handed over.
#[derive(Debug)]
pub(crate) struct InflightGuard(Gauge);

// === impl ConcurrencyLimit ===

impl ConcurrencyLimit {
    /// Creates a limit that counts on this gauge and admits `limit` requests at a time.
    #[must_use]
    pub fn new(inflight: Gauge, limit: u32) -> Self {
        Self(Arc::new(ConcurrencyLimitState {
            inflight,
            limit: i64::from(limit),
            draining: AtomicBool::new(false),
        }))
    }

    /// Refuses all requests from now on.
    pub fn start_draining(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn try_acquire(&self) -> Result<InflightGuard, Refusal> {
        if self.0.draining.load(Ordering::Relaxed) {
            return Err(Refusal::Draining);
        }
        let guard = InflightGuard(self.0.inflight.clone());
        let previous = self.0.inflight.inc();
        if previous < self.0.limit {
            Ok(guard)
        } else {
            Err(Refusal::Overloaded)
        }
    }
}

impl Drop for InflightGuard {
    fn drop(&mut self) {
        self.0.dec();
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
        drop(guard);
        drop(limit.try_acquire().unwrap());
        limit.start_draining();
        assert!(matches!(limit.try_acquire(), Err(Refusal::Draining)));
        assert_eq!(limit.0.inflight.get(), 0);
    }
}
