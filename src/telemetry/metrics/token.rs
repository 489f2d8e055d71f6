//! What is known of a tenant's token, and what was done about it.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::buckets::latency_histogram;
use super::labels::Labels;
use crate::types::TenantId;

/// Moments, in seconds since 1970.
type TimestampFamily = Family<Labels<0>, Gauge<f64, AtomicU64>>;

/// The families.
#[derive(Clone, Debug)]
pub(super) struct TokenMetricFamilies {
    generation: Family<Labels<0>, Gauge>,
    expires_at: TimestampFamily,
    data_access_expires_at: TimestampFamily,
    missing_scopes: Family<Labels<0>, Gauge>,
    inspected_at: TimestampFamily,
    renewal_due_at: TimestampFamily,
    refreshes: Family<Labels<1>, Counter>,
    alerts: Family<Labels<1>, Counter>,
    usable: Family<Labels<0>, Gauge>,
    attempts: Family<Labels<2>, Counter>,
    attempt_seconds: Family<Labels<0>, Histogram, fn() -> Histogram>,
    waiters: Family<Labels<0>, Gauge>,
    rejected_files: Family<Labels<1>, Counter>,
}

/// One tenant's series of its token's life.
#[derive(Clone, Debug)]
pub struct TokenMetrics {
    tenant: TenantId,
    families: TokenMetricFamilies,
}

/// How the search for a newer token ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RefreshOutcome {
    /// A source showed one.
    Found,
    /// A renewer minted one.
    Renewed,
    /// All was read, and it is the token we know.
    Unchanged,
    /// It failed, and mends itself.
    Failed,
    /// It failed, and a person has to act.
    ActionRequired,
    /// A source showed one that was not taken into service.
    RejectedByVerify,
}

const OUTCOME_LABEL: [&str; 1] = ["outcome"];
const CAUSE_LABEL: [&str; 1] = ["cause"];
const REASON_LABEL: [&str; 1] = ["reason"];
const OPERATION_LABELS: [&str; 2] = ["operation", "result"];

// === impl TokenMetricFamilies ===

impl TokenMetricFamilies {
    pub(super) fn new() -> Self {
        Self {
            generation: Family::default(),
            expires_at: Family::default(),
            data_access_expires_at: Family::default(),
            missing_scopes: Family::default(),
            inspected_at: Family::default(),
            renewal_due_at: Family::default(),
            refreshes: Family::default(),
            alerts: Family::default(),
            usable: Family::default(),
            attempts: Family::default(),
            attempt_seconds: Family::new_with_constructor(latency_histogram),
            waiters: Family::default(),
            rejected_files: Family::default(),
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
            self.expires_at.clone(),
        );
        all.register(
            "token_data_access_expiry_timestamp_seconds",
            "When its access to data ends; absent if unknown or never",
            self.data_access_expires_at.clone(),
        );
        all.register(
            "token_scopes_missing",
            "How many of the permissions that WhatsApp needs it lacks; absent if unknown",
            self.missing_scopes.clone(),
        );
        all.register(
            "token_inspected_timestamp_seconds",
            "When Graph last said what it is worth; absent if it never did",
            self.inspected_at.clone(),
        );
        all.register(
            "token_renewal_due_timestamp_seconds",
            "When a newer one is due, to be found or minted; absent if none is awaited",
            self.renewal_due_at.clone(),
        );
        all.register(
            "token_refreshes",
            "Ends of the search for a newer token",
            self.refreshes.clone(),
        );
        all.register(
            "token_notices",
            "What a person should have heard about it",
            self.alerts.clone(),
        );
        all.register(
            "token_usable",
            "1 if there is a token that Graph has not rejected",
            self.usable.clone(),
        );
        all.register("token_attempts", "Attempts to obtain a token", self.attempts.clone());
        all.register(
            "token_attempt_seconds",
            "How long an attempt to obtain a token took",
            self.attempt_seconds.clone(),
        );
        all.register("token_waiters", "Requests that wait for a token", self.waiters.clone());
        all.register(
            "token_drops_refused",
            "Dropped tokens that were refused",
            self.rejected_files.clone(),
        );
    }

    /// A tenant's series. Those of its refreshes begin at 0, so that `increase` sees the first of each.
    pub(super) fn for_tenant(&self, tenant: &TenantId) -> TokenMetrics {
        for refresh in RefreshOutcome::ALL {
            let labels = Labels::new(tenant, OUTCOME_LABEL, [refresh.label()]);
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
    /// Counts an attempt: `operation` and `result` are words of closed lists.
    pub fn count_attempt(&self, operation: &'static str, result: &'static str, seconds: f64) {
        let all = &self.families;
        all.attempts
            .get_or_create(&Labels::new(&self.tenant, OPERATION_LABELS, [operation, result]))
            .inc();
        all.attempt_seconds
            .get_or_create(&Labels::new(&self.tenant, [], []))
            .observe(seconds);
    }

    /// Counts a refused drop; `reason` is a word of a closed list.
    pub fn count_rejected_file(&self, reason: &'static str) {
        self.families
            .rejected_files
            .get_or_create(&Labels::new(&self.tenant, REASON_LABEL, [reason]))
            .inc();
    }

    /// Counts a refresh by its end.
    pub fn count_refresh(&self, outcome: RefreshOutcome) {
        self.families
            .refreshes
            .get_or_create(&Labels::new(&self.tenant, OUTCOME_LABEL, [outcome.label()]))
            .inc();
    }

    /// Counts a notice; `cause` is a word of a closed list.
    pub fn count_alert(&self, cause: &'static str) {
        self.families
            .alerts
            .get_or_create(&Labels::new(&self.tenant, CAUSE_LABEL, [cause]))
            .inc();
    }

    /// Says which credential is in use, and when it ends if that is known (seconds since 1970).
    ///
    /// What was known of the one before is forgotten: [`Self::set_token_details`] and [`Self::set_inspected_at`] come after this.
    pub fn set_current_token(&self, generation: u64, expiry: Option<f64>) {
        let all = &self.families;
        let none = Labels::new(&self.tenant, [], []);
        all.generation
            .get_or_create(&none)
            .set(i64::try_from(generation).unwrap_or(i64::MAX));
        self.set_timestamp(&all.expires_at, expiry);
        self.set_timestamp(&all.data_access_expires_at, None);
        self.set_timestamp(&all.inspected_at, None);
        all.missing_scopes.remove(&none);
    }

    /// Says what is known of the token in use: when it ends, when its access to data ends (seconds since 1970; `None` is
    /// unknown or never), and how many permissions it lacks.
    pub fn set_token_details(&self, expiry: Option<f64>, data_access_expiry: Option<f64>, missing_scopes: usize) {
        let all = &self.families;
        self.set_timestamp(&all.expires_at, expiry);
        self.set_timestamp(&all.data_access_expires_at, data_access_expiry);
        all.missing_scopes
            .get_or_create(&Labels::new(&self.tenant, [], []))
            .set(i64::try_from(missing_scopes).unwrap_or(i64::MAX));
    }

    /// Says when Graph told what the token in use is worth (seconds since 1970).
    pub fn set_inspected_at(&self, at: f64) {
        self.set_timestamp(&self.families.inspected_at, Some(at));
    }

    /// Says when a newer token is due, to be found or minted (seconds since 1970); `None` if none is awaited.
    pub fn set_renewal_due(&self, at: Option<f64>) {
        self.set_timestamp(&self.families.renewal_due_at, at);
    }

    fn set_timestamp(&self, family: &TimestampFamily, at: Option<f64>) {
        let none = Labels::new(&self.tenant, [], []);
        match at {
            Some(at) => drop(family.get_or_create(&none).set(at)),
            None => drop(family.remove(&none)),
        }
    }

    /// Says whether there is a usable token, and how many requests wait for one.
    pub fn set_availability(&self, usable: bool, waiters: usize) {
        let all = &self.families;
        let none = Labels::new(&self.tenant, [], []);
        all.usable.get_or_create(&none).set(i64::from(usable));
        all.waiters
            .get_or_create(&none)
            .set(i64::try_from(waiters).unwrap_or(i64::MAX));
    }
}

// === impl RefreshOutcome ===

impl RefreshOutcome {
    const ALL: [Self; 6] = [
        Self::Found,
        Self::Renewed,
        Self::Unchanged,
        Self::Failed,
        Self::ActionRequired,
        Self::RejectedByVerify,
    ];

    /// The word for metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Renewed => "renewed",
            Self::Unchanged => "nothing_new",
            Self::Failed => "failed",
            Self::ActionRequired => "refused",
            Self::RejectedByVerify => "quarantined",
        }
    }
}

#[cfg(test)]
mod tests;
