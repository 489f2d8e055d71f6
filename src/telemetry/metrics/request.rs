//! The metrics of a tenant's requests.

use std::sync::Arc;

use super::places::{TenantEvent, TenantHandle};
use super::tenant_series::{AttemptSeries, TenantSeries};
use super::usage::UsageMetrics;

/// A tenant's metrics of the data path. Clones are the same.
#[derive(Clone, Debug)]
pub struct RequestMetrics(pub(super) Arc<TenantHandle>);

/// Which attempt to send a request to Graph.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Attempt {
    /// The first one.
    First,
    /// The one after a rejected token was replaced.
    Second,
}

// === impl RequestMetrics ===

impl RequestMetrics {
    /// Counts a request by its outcome, a value of a closed list, with the seconds from its head to the last byte of the
    /// response. The most common outcome needs no look-up.
    pub fn count_request(&self, outcome: &'static str, seconds: f64) {
        self.0.record_activity();
        self.0.places.minutes.count(outcome);
        self.count(|series| {
            series.duration.observe(seconds);
            if outcome == "delivered" {
                series.delivered.inc();
            } else {
                series.requests.get([("outcome", outcome)]).inc();
            }
        });
    }

    /// Counts a response by its verdict, a value of a closed list. The most common one needs no look-up.
    pub fn count_response(&self, verdict: &'static str) {
        self.count(|series| {
            if verdict == "success" {
                series.successful.inc();
            } else {
                series.responses.get([("verdict", verdict)]).inc();
            }
        });
    }

    /// Counts an attempt.
    pub fn count_attempt(&self, attempt: Attempt) {
        self.count(|series| attempt.of(series).total.inc());
    }

    /// Observes the seconds from the end of the request to the head of the response.
    pub fn observe_response_head(&self, attempt: Attempt, seconds: f64) {
        self.count(|series| attempt.of(series).head_seconds.observe(seconds));
    }

    /// Updates what is known of Graph's rate limits, unless the tenant has no series of its own.
    pub fn update_usage(&self, update: impl FnOnce(&UsageMetrics)) {
        self.count(|series| {
            if let Some(usage) = &series.usage {
                update(usage);
            }
        });
    }

    /// Counts a credential of the app's that was replaced: in the `header`, the `query` or the `body`.
    pub fn count_client_credential(&self, location: &'static str) {
        self.0.tenant.client_credential.get_or_init(|| location);
        self.count(|series| series.client_credentials.get([("location", location)]).inc());
    }

    /// Where the first credential of the app's that was replaced stood, if there was one.
    #[must_use]
    pub fn client_credential_location(&self) -> Option<&'static str> {
        self.0.tenant.client_credential.get().copied()
    }

    /// Counts what graphward would have done with a request that it only observed; `would` is a value of a closed list.
    pub fn count_observation(&self, would: &'static str) {
        self.count(|series| series.observations.get([("would", would)]).inc());
    }

    /// Counts a body that was forwarded without a search for credentials; `reason` is a value of a closed list.
    pub fn count_unsearched_body(&self, reason: &'static str) {
        self.count(|series| series.unsearched_bodies.get([("reason", reason)]).inc());
    }

    fn count<T>(&self, count: impl FnOnce(&TenantSeries) -> T) {
        self.0.count(TenantEvent::Request, count);
    }
}

// === impl Attempt ===

impl Attempt {
    const fn of(self, series: &TenantSeries) -> &AttemptSeries {
        match self {
            Self::First => &series.first,
            Self::Second => &series.second,
        }
    }
}
