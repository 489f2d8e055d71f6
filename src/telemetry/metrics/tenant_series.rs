//! All series of one tenant, or of all tenants together that have none of their own.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use super::series::Series;
use super::usage::UsageMetrics;

/// All series with one value of the label `tenant`. Those that most requests need are handles, without a look-up.
#[derive(Debug)]
pub(super) struct TenantSeries {
    /// The value of the label.
    pub(super) label: Box<str>,
    pub(super) requests: Series<1, Counter>,
    pub(super) responses: Series<1, Counter>,
    pub(super) attempts: Series<1, Counter>,
    pub(super) client_credentials: Series<1, Counter>,
    pub(super) unsearched_bodies: Series<1, Counter>,
    pub(super) observations: Series<1, Counter>,
    pub(super) request_seconds: Series<0, Histogram>,
    pub(super) head_seconds: Series<1, Histogram>,
    pub(super) refreshes: Series<1, Counter>,
    pub(super) alerts: Series<1, Counter>,
    pub(super) token_attempts: Series<2, Counter>,
    pub(super) token_attempt_seconds: Series<0, Histogram>,
    pub(super) rejected_files: Series<1, Counter>,
    /// `None` for several tenants together, whose gauges would overwrite each other.
    pub(super) usage: Option<UsageMetrics>,
    pub(super) duration: Histogram,
    pub(super) delivered: Counter,
    pub(super) successful: Counter,
    pub(super) first: AttemptSeries,
    pub(super) second: AttemptSeries,
}

/// The series of first attempts, or of second ones.
#[derive(Debug)]
pub(super) struct AttemptSeries {
    pub(super) total: Counter,
    pub(super) head_seconds: Histogram,
}

/// The outcomes of a refresh: a source had a newer token; a renewer issued one; all sources have the current token; a retry
/// can succeed; an operator has to act; a source had a token that did not pass verification.
pub(super) const REFRESH_OUTCOMES: [&str; 6] = [
    "found",
    "renewed",
    "unchanged",
    "failed",
    "action_required",
    "rejected_by_verify",
];

// === impl TenantSeries ===

impl TenantSeries {
    /// Creates the series with this label. Refreshes begin at 0, so that `increase` sees the first of each outcome.
    pub(super) fn new(label: &str, usage: Option<UsageMetrics>) -> Self {
        let (requests, responses, attempts) = (Series::default(), Series::default(), Series::default());
        let (request_seconds, head_seconds) = (Series::new(latency), Series::new(latency));
        let refreshes = Series::<1, Counter>::default();
        for outcome in REFRESH_OUTCOMES {
            drop(refreshes.get([("outcome", outcome)]));
        }
        let attempt = |attempt| AttemptSeries {
            total: attempts.get([("attempt", attempt)]),
            head_seconds: head_seconds.get([("attempt", attempt)]),
        };
        Self {
            label: label.into(),
            duration: request_seconds.get([]),
            delivered: requests.get([("outcome", "delivered")]),
            successful: responses.get([("verdict", "success")]),
            first: attempt("first"),
            second: attempt("second"),
            requests,
            responses,
            attempts,
            client_credentials: Series::default(),
            unsearched_bodies: Series::default(),
            observations: Series::default(),
            request_seconds,
            head_seconds,
            refreshes,
            alerts: Series::default(),
            token_attempts: Series::default(),
            token_attempt_seconds: Series::new(latency),
            rejected_files: Series::default(),
            usage,
        }
    }
}

/// A histogram with buckets from a millisecond to a minute, since Graph answers within tens to thousands of milliseconds.
fn latency() -> Histogram {
    Histogram::new([
        0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    ])
}
