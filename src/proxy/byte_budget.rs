//! A budget of bytes that all requests together may buffer.
//!
//! # Why
//!
//! Each request has a limit, but ten thousand may be in flight. No request waits for bytes: one that gets none
//! continues without a buffer. Bytes are reserved when they are there, not when they may come: otherwise a few clients that
//! send nothing would take the whole budget. The last eighth is for small buffers: a message must not lose its replay
//! because others upload videos. If there are several tenants, each may take as much of every budget as it leaves free.

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
    /// The budget of all tenants, if this is the share of one.
    whole: Option<ByteBudget>,
}

/// Bytes reserved from a [`ByteBudget`].
#[derive(Debug)]
pub(crate) struct BytePermit {
    budget: ByteBudget,
    bytes: u64,
}

/// The largest buffer that may take the last eighth of a budget.
const SMALL_BYTES: u64 = 64 * 1024;

// === impl ByteBudget ===

impl ByteBudget {
    /// Creates a budget of `limit` bytes that is counted on this gauge.
    #[must_use]
    pub fn new(limit: u64, gauge: Gauge) -> Self {
        Self(Arc::new(ByteBudgetState {
            limit: AtomicU64::new(limit),
            in_use: AtomicU64::new(0),
            gauge,
            whole: None,
        }))
    }

    /// Creates the budget of one tenant among several, which takes bytes of this one, at most as many as it leaves free.
    pub(super) fn share(&self) -> Self {
        Self(Arc::new(ByteBudgetState {
            limit: AtomicU64::new(0),
            in_use: AtomicU64::new(0),
            gauge: Gauge::default(),
            whole: Some(self.clone()),
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

    /// The bytes that may be taken once `missing` more are, for a buffer of `bytes`.
    fn limit_for(&self, missing: u64, bytes: u64) -> u64 {
        if let Some(whole) = &self.0.whole {
            let in_use = whole.0.in_use.load(Ordering::Relaxed).saturating_add(missing);
            return whole.limit_for(missing, bytes).saturating_sub(in_use);
        }
        let limit = self.0.limit.load(Ordering::Relaxed);
        if bytes <= SMALL_BYTES { limit } else { limit - limit / 8 }
    }

    /// Reserves `missing` more bytes for a buffer of `bytes`; returns whether enough were left.
    fn try_reserve(&self, missing: u64, bytes: u64) -> bool {
        let (state, limit) = (&self.0, self.limit_for(missing, bytes));
        let reserve = |in_use: u64| {
            in_use
                .checked_add(missing)
                .filter(|total| missing == 0 || *total <= limit)
        };
        let reserved = state.in_use.fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve);
        if reserved.is_err() {
            return false;
        }
        state.gauge.inc_by(to_i64(missing));
        let is_left = state
            .whole
            .as_ref()
            .is_none_or(|whole| whole.try_reserve(missing, bytes));
        if !is_left {
            self.release_own(missing);
        }
        is_left
    }

    fn release(&self, bytes: u64) {
        self.release_own(bytes);
        if let Some(whole) = &self.0.whole {
            whole.release(bytes);
        }
    }

    fn release_own(&self, bytes: u64) {
        self.0.in_use.fetch_sub(bytes, Ordering::Relaxed);
        self.0.gauge.dec_by(to_i64(bytes));
    }
}

// === impl BytePermit ===

impl BytePermit {
    /// Reserves more, so that the permit covers `bytes`; returns whether enough were left.
    pub(super) fn try_grow_to(&mut self, bytes: u64) -> bool {
        let missing = bytes.saturating_sub(self.bytes);
        let is_reserved = self.budget.try_reserve(missing, bytes);
        if is_reserved {
            self.bytes += missing;
        }
        is_reserved
    }

    /// Releases what turned out not to be needed.
    pub(super) fn shrink_to(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        self.budget.release(surplus);
    }
}

impl Drop for BytePermit {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

fn to_i64(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes 100 bytes again and again, in turn with the others, until none gets any.
    fn storm(shares: &[ByteBudget]) -> Vec<BytePermit> {
        let mut permits = Vec::new();
        loop {
            let before = permits.len();
            for share in shares {
                let mut permit = share.empty_permit();
                if permit.try_grow_to(100) {
                    permits.push(permit);
                }
            }
            if permits.len() == before {
                return permits;
            }
        }
    }

    #[test]
    fn a_tenant_takes_as_much_of_a_budget_as_it_leaves_free_however_many_do() {
        for (storming, each) in [(1, 1_200), (2, 800), (3, 600), (5, 400)] {
            let whole = ByteBudget::new(2_400, Gauge::default());
            let shares: Vec<_> = (0..storming).map(|_| whole.share()).collect();
            let permits = storm(&shares);
            for share in &shares {
                assert_eq!(share.0.in_use.load(Ordering::Relaxed), each, "{storming}");
            }
            let free = 2_400 - storming * each;
            let mut healthy = whole.share().empty_permit();
            assert!(healthy.try_grow_to(free / 2), "{storming}");
            assert!(!healthy.try_grow_to(free / 2 + 1), "{storming}");
            drop((permits, healthy));
            assert_eq!(
                (shares[0].0.in_use.load(Ordering::Relaxed), whole.0.gauge.get()),
                (0, 0)
            );
        }
    }

    #[test]
    fn what_counts_for_no_tenant_is_left_out_of_their_shares() {
        let whole = ByteBudget::new(1_000, Gauge::default());
        let (mut outside, mut inside) = (whole.empty_permit(), whole.share().empty_permit());
        assert!(outside.try_grow_to(1_000), "it may take all");
        assert!(!inside.try_grow_to(1));
        outside.shrink_to(600);
        assert!(inside.try_grow_to(200) && !inside.try_grow_to(201));
        whole.set_limit(800);
        assert!(!inside.try_grow_to(201), "less is reserved than is taken");
    }

    proptest! {
        #[test]
        fn what_is_in_use_is_the_sum_of_the_permits_and_within_the_limit_of_the_largest(
            steps in proptest::collection::vec((0_usize..6, 0_u64..3 * SMALL_BYTES, any::<bool>()), 1..200),
        ) {
            let limit = 8 * SMALL_BYTES;
            let budget = ByteBudget::new(limit, Gauge::default());
            let mut permits: Vec<_> = (0..6).map(|_| budget.empty_permit()).collect();
            for (at, bytes, ends) in steps {
                let before = permits[at].bytes;
                let others = permits.iter().map(|permit| permit.bytes).sum::<u64>() - before;
                if permits[at].try_grow_to(bytes) {
                    prop_assert_eq!(permits[at].bytes, before.max(bytes));
                } else {
                    let room = if bytes <= SMALL_BYTES { limit } else { limit - SMALL_BYTES };
                    prop_assert!(others + bytes > room);
                }
                if ends {
                    permits[at].shrink_to(bytes / 2);
                }
                let sum: u64 = permits.iter().map(|permit| permit.bytes).sum();
                prop_assert!(sum <= limit);
                prop_assert_eq!(budget.0.in_use.load(Ordering::Relaxed), sum);
                prop_assert_eq!(budget.0.gauge.get(), to_i64(sum));
            }
            drop(permits);
            prop_assert_eq!((budget.0.in_use.load(Ordering::Relaxed), budget.0.gauge.get()), (0, 0));
        }
    }
}
