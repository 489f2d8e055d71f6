//! The metrics of a tenant's token.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::labels::Labels;
use super::registrar::{LatencyFamily, Registrar};
use crate::types::TenantId;

/// Points in time, in seconds since 1970.
type TimestampFamily = Family<Labels<0>, Gauge<f64, AtomicU64>>;

/// The metric families.
#[derive(Clone, Debug)]
pub(super) struct TokenMetricFamilies {
    generation: Family<Labels<0>, Gauge>,
    expires_at: TimestampFamily,
    expiry_known: Family<Labels<0>, Gauge>,
    data_access_expires_at: TimestampFamily,
    missing_scopes: Family<Labels<0>, Gauge>,
    inspected_at: TimestampFamily,
    renewal_due_at: TimestampFamily,
    refreshes: Family<Labels<1>, Counter>,
    alerts: Family<Labels<1>, Counter>,
    usable: Family<Labels<0>, Gauge>,
    attempts: Family<Labels<2>, Counter>,
    attempt_seconds: LatencyFamily<0>,
    waiters: Family<Labels<0>, Gauge>,
    rejected_files: Family<Labels<1>, Counter>,
}

/// The metrics of one tenant's token.
#[derive(Clone, Debug)]
pub struct TokenMetrics {
    tenant: TenantId,
    families: TokenMetricFamilies,
}

/// The outcomes of a refresh: a source had a newer token; a renewer issued one; all sources have the current token; a retry
/// can succeed; an operator has to act; a source had a token that did not pass verification.
const REFRESH_OUTCOMES: [&str; 6] = [
    "found",
    "renewed",
    "unchanged",
    "failed",
    "action_required",
    "rejected_by_verify",
];

// === impl TokenMetricFamilies ===

impl TokenMetricFamilies {
    pub(super) fn register(all: &mut Registrar<'_>) -> Self {
        Self {
            generation: all.register("token_generation", "Generation number of the current token"),
            expires_at: all.register(
                "token_expiry_timestamp_seconds",
                "Expiry of the current token; absent if unknown or never",
            ),
            expiry_known: all.register(
                "token_expiry_known",
                "1 if the expiry of the current token is known, or that it never expires; otherwise 0",
            ),
            data_access_expires_at: all.register(
                "token_data_access_expiry_timestamp_seconds",
                "Expiry of the current token's data access; absent if unknown or never",
            ),
            missing_scopes: all.register(
                "token_missing_scopes",
                "Number of permissions required by WhatsApp that the current token lacks; absent if unknown",
            ),
            inspected_at: all.register(
                "token_last_inspected_timestamp_seconds",
                "Time of the last successful debug_token inspection; absent if there was none",
            ),
            renewal_due_at: all.register(
                "token_renewal_due_timestamp_seconds",
                "Time at which the token is due for renewal; absent if no renewal is scheduled",
            ),
            refreshes: all.register("token_refreshes", "Token refreshes by outcome"),
            alerts: all.register("token_alerts", "Alerts raised about the token"),
            usable: all.register(
                "token_usable",
                "1 if graphward has a token that Graph has not rejected, otherwise 0",
            ),
            attempts: all.register("token_attempts", "Attempts to obtain a token by operation and result"),
            attempt_seconds: all.register_latency(
                "token_attempt_duration_seconds",
                "Duration of attempts to obtain a token",
            ),
            waiters: all.register("token_waiting_requests", "Requests waiting for a token"),
            rejected_files: all.register(
                "token_files_rejected",
                "Token source reads that an operator has to fix, by reason",
            ),
        }
    }

    /// Returns a tenant's metrics. Its refreshes begin at 0, so that `increase` sees the first of each outcome.
    pub(super) fn for_tenant(&self, tenant: &TenantId) -> TokenMetrics {
        for outcome in REFRESH_OUTCOMES {
            let labels = Labels::new(tenant, [("outcome", outcome)]);
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
    /// Counts an attempt to obtain a token: `operation` and `result` are values of closed lists.
    pub fn count_attempt(&self, operation: &'static str, result: &'static str, seconds: f64) {
        let labels = Labels::new(&self.tenant, [("operation", operation), ("result", result)]);
        self.families.attempts.get_or_create(&labels).inc();
        let durations = &self.families.attempt_seconds;
        durations.get_or_create(&Labels::only(&self.tenant)).observe(seconds);
    }

    /// Counts a read of a token source that an operator has to fix; `reason` is a value of a closed list.
    pub fn count_rejected_file(&self, reason: &'static str) {
        self.count(&self.families.rejected_files, "reason", reason);
    }

    /// Counts a refresh by its outcome.
    pub fn count_refresh(&self, outcome: &'static str) {
        self.count(&self.families.refreshes, "outcome", outcome);
    }

    /// Counts an alert; `cause` is a value of a closed list.
    pub fn count_alert(&self, cause: &'static str) {
        self.count(&self.families.alerts, "cause", cause);
    }

    /// Sets the current token, and its expiry if that is known (seconds since 1970).
    ///
    /// This resets what was known of the previous one: [`Self::set_token_details`] and [`Self::set_inspected_at`] are
    /// called after this.
    pub fn set_current_token(&self, generation: u64, expiry: Option<f64>) {
        self.forget_current_token();
        let all = &self.families;
        self.set(&all.generation, i64::try_from(generation).unwrap_or(i64::MAX));
        self.set_timestamp(&all.expires_at, expiry);
    }

    /// Resets what was known of the current token, which has been withdrawn.
    pub fn forget_current_token(&self) {
        let all = &self.families;
        self.set_timestamp(&all.expires_at, None);
        self.set_timestamp(&all.data_access_expires_at, None);
        self.set_timestamp(&all.inspected_at, None);
        all.missing_scopes.remove(&Labels::only(&self.tenant));
    }

    /// Sets what is known of the current token: its expiry and that of its data access (seconds since 1970; `None` is
    /// unknown or never), and the number of permissions that it lacks, if that matters.
    pub fn set_token_details(
        &self,
        expiry: Option<f64>,
        data_access_expiry: Option<f64>,
        missing_scopes: Option<usize>,
    ) {
        let all = &self.families;
        self.set_timestamp(&all.expires_at, expiry);
        self.set_timestamp(&all.data_access_expires_at, data_access_expiry);
        if let Some(count) = missing_scopes {
            self.set(&all.missing_scopes, i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Sets the number of current tokens whose expiry is known, 0 or 1.
    pub fn set_expiry_known(&self, known_tokens: i64) {
        self.set(&self.families.expiry_known, known_tokens);
    }

    /// Sets the time at which Graph inspected the current token (seconds since 1970).
    pub fn set_inspected_at(&self, at: f64) {
        self.set_timestamp(&self.families.inspected_at, Some(at));
    }

    /// Sets the time at which the token is due for renewal (seconds since 1970); `None` if no renewal is scheduled.
    pub fn set_renewal_due(&self, at: Option<f64>) {
        self.set_timestamp(&self.families.renewal_due_at, at);
    }

    /// Sets the number of usable tokens, 0 or 1, and of requests that wait for one.
    pub fn set_availability(&self, usable_tokens: i64, waiters: usize) {
        self.set(&self.families.usable, usable_tokens);
        self.set(&self.families.waiters, i64::try_from(waiters).unwrap_or(i64::MAX));
    }

    fn count(&self, family: &Family<Labels<1>, Counter>, label: &'static str, value: &'static str) {
        family.get_or_create(&Labels::new(&self.tenant, [(label, value)])).inc();
    }

    fn set(&self, family: &Family<Labels<0>, Gauge>, value: i64) {
        family.get_or_create(&Labels::only(&self.tenant)).set(value);
    }

    fn set_timestamp(&self, family: &TimestampFamily, at: Option<f64>) {
        let labels = Labels::only(&self.tenant);
        match at {
            Some(at) => drop(family.get_or_create(&labels).set(at)),
            None => drop(family.remove(&labels)),
        }
    }
}

#[cfg(test)]
mod tests;
