//! The metrics of a tenant's token.

use std::sync::Arc;

use super::places::{TenantEvent, TenantHandle};
use super::tenant_series::TenantSeries;
use super::token_values::TokenValues;

/// The metrics of one tenant's token. Clones are the same.
#[derive(Clone, Debug)]
pub struct TokenMetrics(pub(super) Arc<TenantHandle>);

// === impl TokenMetrics ===

impl TokenMetrics {
    /// Counts an attempt to obtain a token: `operation` and `result` are values of closed lists.
    pub fn count_attempt(&self, operation: &'static str, result: &'static str, seconds: f64) {
        self.count(|series| {
            let labels = [("operation", operation), ("result", result)];
            series.token_attempts.get(labels).inc();
            series.token_attempt_seconds.get([]).observe(seconds);
        });
    }

    /// Counts a read of a token source that an operator has to fix; `reason` is a value of a closed list.
    pub fn count_rejected_file(&self, reason: &'static str) {
        self.count(|series| series.rejected_files.get([("reason", reason)]).inc());
    }

    /// Counts a refresh by its outcome.
    pub fn count_refresh(&self, outcome: &'static str) {
        self.count(|series| series.refreshes.get([("outcome", outcome)]).inc());
    }

    /// Counts an alert; `cause` is a value of a closed list.
    pub fn count_alert(&self, cause: &'static str) {
        self.count(|series| series.alerts.get([("cause", cause)]).inc());
    }

    /// Sets the current token, and its expiry if that is known (seconds since 1970).
    ///
    /// This resets what was known of the previous one: [`Self::set_token_details`] and [`Self::set_inspected_at`] are
    /// called after this.
    pub fn set_current_token(&self, generation: u64, expiry: Option<f64>) {
        self.forget_current_token();
        self.set(|token| {
            token.generation = Some(i64::try_from(generation).unwrap_or(i64::MAX));
            token.expires_at = expiry;
        });
    }

    /// Resets what was known of the current token, which has been withdrawn.
    pub fn forget_current_token(&self) {
        self.set(|token| {
            token.expires_at = None;
            token.data_access_expires_at = None;
            token.inspected_at = None;
            token.missing_scopes = None;
        });
    }

    /// Sets what is known of the current token: its expiry and that of its data access (seconds since 1970; `None` is
    /// unknown or never), and the number of permissions that it lacks, if that matters.
    pub fn set_token_details(
        &self,
        expiry: Option<f64>,
        data_access_expiry: Option<f64>,
        missing_scopes: Option<usize>,
    ) {
        self.set(|token| {
            token.expires_at = expiry;
            token.data_access_expires_at = data_access_expiry;
            if let Some(count) = missing_scopes {
                token.missing_scopes = Some(i64::try_from(count).unwrap_or(i64::MAX));
            }
        });
    }

    /// Sets the number of current tokens whose expiry is known, 0 or 1.
    pub fn set_expiry_known(&self, known_tokens: i64) {
        self.set(|token| token.expiry_known = Some(known_tokens));
    }

    /// Sets the time at which Graph inspected the current token (seconds since 1970).
    pub fn set_inspected_at(&self, at: f64) {
        self.set(|token| token.inspected_at = Some(at));
    }

    /// Sets the time at which the token is due for renewal (seconds since 1970); `None` if no renewal is scheduled.
    pub fn set_renewal_due(&self, at: Option<f64>) {
        self.set(|token| token.renewal_due_at = at);
    }

    /// Sets the number of usable tokens, 0 or 1, and of requests that wait for one. They are to be seen before the first check
    /// has ended, too, since it may hang.
    pub fn set_availability(&self, usable_tokens: i64, waiters: usize) {
        self.count(|_series| ());
        self.set(|token| {
            token.usable = Some(usable_tokens);
            token.waiters = Some(i64::try_from(waiters).unwrap_or(i64::MAX));
        });
    }

    /// The expiry of the current token (seconds since 1970); `None` if it is unknown or never.
    #[must_use]
    pub fn expires_at(&self) -> Option<f64> {
        self.0.tenant.token().expires_at
    }

    fn count<T>(&self, count: impl FnOnce(&TenantSeries) -> T) {
        self.0.count(TenantEvent::Token, count);
    }

    fn set(&self, set: impl FnOnce(&mut TokenValues)) {
        set(&mut self.0.tenant.token());
    }
}

#[cfg(test)]
mod tests;
