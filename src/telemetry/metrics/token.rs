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

/// Moments, in seconds since 1970.
type Moments = Family<Labels<0>, Gauge<f64, AtomicU64>>;

/// The families.
#[derive(Clone, Debug)]
pub(super) struct TokenFamilies {
    generation: Family<Labels<0>, Gauge>,
    expiry: Moments,
    data_access_expiry: Moments,
    scopes_missing: Family<Labels<0>, Gauge>,
    inspected: Moments,
    renewal_due: Moments,
    refreshes: Family<Labels<1>, Counter>,
    notices: Family<Labels<1>, Counter>,
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

/// How the search for a newer token ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refresh {
    /// A source showed one.
    Found,
    /// A renewer minted one.
    Renewed,
    /// All was read, and it is the token we know.
    NothingNew,
    /// It failed, and mends itself.
    Failed,
    /// It failed, and a person has to act.
    Refused,
    /// A source showed one that was not taken into service.
    Quarantined,
}

const OUTCOME: [&str; 1] = ["outcome"];
const CAUSE: [&str; 1] = ["cause"];
const REASON: [&str; 1] = ["reason"];
const ERRAND: [&str; 2] = ["errand", "result"];

// === impl TokenFamilies ===

impl TokenFamilies {
    pub(super) fn new() -> Self {
        Self {
            generation: Family::default(),
            expiry: Family::default(),
            data_access_expiry: Family::default(),
            scopes_missing: Family::default(),
            inspected: Family::default(),
            renewal_due: Family::default(),
            refreshes: Family::default(),
            notices: Family::default(),
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
            "token_data_access_expiry_timestamp_seconds",
            "When its access to data ends; absent if unknown or never",
            self.data_access_expiry.clone(),
        );
        all.register(
            "token_scopes_missing",
            "How many of the permissions that WhatsApp needs it lacks; absent if unknown",
            self.scopes_missing.clone(),
        );
        all.register(
            "token_inspected_timestamp_seconds",
            "When Graph last said what it is worth; absent if it never did",
            self.inspected.clone(),
        );
        all.register(
            "token_renewal_due_timestamp_seconds",
            "When a newer one is due, to be found or minted; absent if none is awaited",
            self.renewal_due.clone(),
        );
        all.register(
            "token_refreshes",
            "Ends of the search for a newer token",
            self.refreshes.clone(),
        );
        all.register(
            "token_notices",
            "What a person should have heard about it",
            self.notices.clone(),
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

    /// A tenant's series. Those of its refreshes begin at 0, so that `increase` sees the first of each.
    pub(super) fn of(&self, tenant: &TenantId) -> TokenMetrics {
        for refresh in Refresh::ALL {
            let labels = Labels::new(tenant, OUTCOME, [refresh.label()]);
            drop(self.refreshes.get_or_create(&labels));
        }
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

    /// Counts a refresh by its end.
    pub fn refreshed(&self, refresh: Refresh) {
        self.families
            .refreshes
            .get_or_create(&Labels::new(&self.tenant, OUTCOME, [refresh.label()]))
            .inc();
    }

    /// Counts a notice; `cause` is a word of a closed list.
    pub fn noticed(&self, cause: &'static str) {
        self.families
            .notices
            .get_or_create(&Labels::new(&self.tenant, CAUSE, [cause]))
            .inc();
    }

    /// Says which credential is in use, and when it ends if that is known (seconds since 1970).
    ///
    /// What was known of the one before is forgotten: [`Self::known`] and [`Self::inspected`] come after this.
    pub fn live(&self, generation: u64, expiry: Option<f64>) {
        let all = &self.families;
        let none = Labels::new(&self.tenant, [], []);
        all.generation
            .get_or_create(&none)
            .set(i64::try_from(generation).unwrap_or(i64::MAX));
        self.show(&all.expiry, expiry);
        self.show(&all.data_access_expiry, None);
        self.show(&all.inspected, None);
        all.scopes_missing.remove(&none);
    }

    /// Says what is known of the token in use: when it ends, when its access to data ends (seconds since 1970; `None` is
    /// unknown or never), and how many permissions it lacks.
    pub fn known(&self, expiry: Option<f64>, data_access: Option<f64>, missing: usize) {
        let all = &self.families;
        self.show(&all.expiry, expiry);
        self.show(&all.data_access_expiry, data_access);
        all.scopes_missing
            .get_or_create(&Labels::new(&self.tenant, [], []))
            .set(i64::try_from(missing).unwrap_or(i64::MAX));
    }

    /// Says when Graph told what the token in use is worth (seconds since 1970).
    pub fn inspected(&self, at: f64) {
        self.show(&self.families.inspected, Some(at));
    }

    /// Says when a newer token is due, to be found or minted (seconds since 1970); `None` if none is awaited.
    pub fn due(&self, at: Option<f64>) {
        self.show(&self.families.renewal_due, at);
    }

    fn show(&self, moments: &Moments, at: Option<f64>) {
        let none = Labels::new(&self.tenant, [], []);
        match at {
            Some(at) => drop(moments.get_or_create(&none).set(at)),
            None => drop(moments.remove(&none)),
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

// === impl Refresh ===

impl Refresh {
    const ALL: [Self; 6] = [
        Self::Found,
        Self::Renewed,
        Self::NothingNew,
        Self::Failed,
        Self::Refused,
        Self::Quarantined,
    ];

    /// The word for metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Renewed => "renewed",
            Self::NothingNew => "nothing_new",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Quarantined => "quarantined",
        }
    }
}

#[cfg(test)]
mod tests;
