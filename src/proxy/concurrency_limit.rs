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
    /// The limit of all tenants, if this is the share of one.
    whole: Option<ConcurrencyLimit>,
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
            whole: None,
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

    /// Creates the limit of one tenant among several: as many as it leaves free of this one.
    pub(super) fn share(&self) -> Self {
        Self(Arc::new(ConcurrencyLimitState {
            inflight: Gauge::default(),
            limit: self.0.limit,
            draining: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            whole: Some(self.clone()),
        }))
    }

    /// The most that may be admitted. A request that asks for its slot in a share has one of the whole already.
    fn limit(&self) -> i64 {
        let of_whole = |whole: &Self| whole.0.limit - whole.0.inflight.get() + 1;
        self.0.whole.as_ref().map_or(self.0.limit, of_whole)
    }

    pub(crate) fn try_acquire(&self) -> Result<InflightGuard, Refusal> {
        if self.0.draining.load(Ordering::Relaxed) {
            return Err(Refusal::Draining);
        }
        let guard = InflightGuard(Arc::clone(&self.0));
        let previous = self.0.inflight.inc();
        if previous < self.limit() {
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
    /// The number of requests that each tenant has in flight when each sends as many as it can.
    fn storm(whole: &ConcurrencyLimit, shares: &[ConcurrencyLimit], guards: &mut Vec<InflightGuard>) {
        loop {
            let before = guards.len();
            for share in shares {
                let of_whole = whole.try_acquire().unwrap();
                guards.extend(
                    share
                        .try_acquire()
                        .ok()
                        .map(|of_share| [of_whole, of_share])
                        .into_iter()
                        .flatten(),
                );
            }
            if guards.len() == before {
                return;
            }
        }
    }

    #[test]
    fn a_tenant_has_as_many_slots_as_it_leaves_free_however_many_storm() {
        for (storming, each) in [(1, 12), (2, 8), (3, 6), (5, 4), (23, 1)] {
            let whole = ConcurrencyLimit::new(Gauge::default(), 24);
            let shares: Vec<_> = (0..storming).map(|_| whole.share()).collect();
            let mut guards = Vec::new();
            storm(&whole, &shares, &mut guards);
            assert!(
                shares.iter().all(|share| share.inflight() == each),
                "{storming}: {shares:?}"
            );
            // Another one finds a slot.
            let healthy = whole.share();
            let _of_whole = whole.try_acquire().unwrap();
            assert!(healthy.try_acquire().is_ok(), "{storming}");
            drop(guards);
            assert_eq!((whole.inflight(), shares[0].inflight()), (1, 0));
        }
    }
}
