//! How many requests may be under way, and until when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus_client::metrics::gauge::Gauge;

use super::refusal::Refusal;

/// Lets requests in, one `InflightGuard` each.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimit(Arc<ConcurrencyLimitState>);

#[derive(Debug)]
struct ConcurrencyLimitState {
    inflight: Gauge,
    limit: i64,
    draining: AtomicBool,
}

/// The right to be under way; given back when the answer's last byte has been handed over.
#[derive(Debug)]
pub(crate) struct InflightGuard(Gauge);

// === impl ConcurrencyLimit ===

impl ConcurrencyLimit {
    /// A gate that counts on this gauge and lets `limit` requests in at a time.
    #[must_use]
    pub fn new(inflight: Gauge, limit: u32) -> Self {
        Self(Arc::new(ConcurrencyLimitState {
            inflight,
            limit: i64::from(limit),
            draining: AtomicBool::new(false),
        }))
    }

    /// From now on, nobody.
    pub fn close(&self) {
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
        limit.close();
        assert!(matches!(limit.try_acquire(), Err(Refusal::Draining)));
        assert_eq!(limit.0.inflight.get(), 0);
    }
}
