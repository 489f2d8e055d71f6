//! What is known of a tenant's token, and what was done about it.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::buckets::latencies;
use super::labels::Labels;
use crate::types::TenantId;

/// The families.
#[derive(Clone, Debug)]
pub(super) struct TokenFamilies {
    generation: Family<Labels<0>, Gauge>,
    expiry: Family<Labels<0>, Gauge<f64, AtomicU64>>,
    usable: Family<Labels<0>, Gauge>,
    attempts: Family<Labels<2>, Counter>,
    attempt_seconds: Family<Labels<0>, Histogram, fn() -> Histogram>,
    waiters: Family<Labels<0>, Gauge>,
    drops_refused: Family<Labels<1>, Counter>,
}

/// One tenant's series of its token's life.
#[derive(Clone, Debug)]
pub struct TokenMetrics {
    tenant: TenantId,
    families: TokenFamilies,
}

const REASON: [&str; 1] = ["reason"];
const ERRAND: [&str; 2] = ["errand", "result"];

// === impl TokenFamilies ===

impl TokenFamilies {
    pub(super) fn new() -> Self {
        Self {
            generation: Family::default(),
            expiry: Family::default(),
            usable: Family::default(),
            attempts: Family::default(),
            attempt_seconds: Family::new_with_constructor(latencies),
            waiters: Family::default(),
            drops_refused: Family::default(),
        }
    }

    pub(super) fn register(&self, all: &mut Registry) {
        all.register(
            "token_generation",
            "The how-manyeth credential is in use",
            self.generation.clone(),
        );
        all.register(
            "token_expiry_timestamp_seconds",
            "When the token in use ends; absent if unknown or never",
            self.expiry.clone(),
        );
        all.register(
            "token_usable",
            "1 if there is a token that Graph has not rejected",
            self.usable.clone(),
        );
        all.register(
            "token_attempts",
            "Attempts to obtain a token",
            self.attempts.clone(),
        );
        all.register(
            "token_attempt_seconds",
            "How long an attempt to obtain a token took",
            self.attempt_seconds.clone(),
        );
        all.register(
            "token_waiters",
            "Requests that wait for a token",
            self.waiters.clone(),
        );
        all.register(
            "token_drops_refused",
            "Dropped tokens that were refused",
            self.drops_refused.clone(),
        );
    }

    pub(super) fn of(&self, tenant: &TenantId) -> TokenMetrics {
        TokenMetrics {
            tenant: tenant.clone(),
            families: self.clone(),
        }
    }
}

// === impl TokenMetrics ===

impl TokenMetrics {
    /// Counts an attempt: `errand` and `result` are words of closed lists.
    pub fn attempt(&self, errand: &'static str, result: &'static str, seconds: f64) {
        let all = &self.families;
        all.attempts
            .get_or_create(&Labels::new(&self.tenant, ERRAND, [errand, result]))
            .inc();
        all.attempt_seconds
            .get_or_create(&Labels::new(&self.tenant, [], []))
            .observe(seconds);
    }

    /// Counts a refused drop; `reason` is a word of a closed list.
    pub fn refused_drop(&self, reason: &'static str) {
        self.families
            .drops_refused
            .get_or_create(&Labels::new(&self.tenant, REASON, [reason]))
            .inc();
    }

    /// Says which credential is in use, and when it ends if that is known (seconds since 1970).
    pub fn live(&self, generation: u64, expiry: Option<f64>) {
        let all = &self.families;
        let none = Labels::new(&self.tenant, [], []);
        all.generation
            .get_or_create(&none)
            .set(i64::try_from(generation).unwrap_or(i64::MAX));
        match expiry {
            Some(expiry) => drop(all.expiry.get_or_create(&none).set(expiry)),
            None => drop(all.expiry.remove(&none)),
        }
    }

    /// Says whether there is a usable token, and how many requests wait for one.
    pub fn state(&self, usable: bool, waiters: usize) {
        let all = &self.families;
        let none = Labels::new(&self.tenant, [], []);
        all.usable.get_or_create(&none).set(i64::from(usable));
        all.waiters
            .get_or_create(&none)
            .set(i64::try_from(waiters).unwrap_or(i64::MAX));
    }
}
