//! Metrics: the families, their closed labels, and handles that the path can touch without a look-up.
//!
//! # Why
//!
//! A label is a tenant's name, which comes from the configuration, or a member of a closed list. Never a path,
//! an object id, a status outside its class or an error's text: what the other side can choose must not be able
//! to make series. Handles are resolved once, at start, so that a request touches only atomics.

mod alerts;
mod buckets;
mod labels;
mod token;
mod usage;

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use alerts::AlertMetrics;
pub use token::{RefreshOutcome, TokenMetrics};
pub use usage::UsageMetrics;

use crate::types::TenantId;
use alerts::AlertMetricFamilies;
use buckets::latency_histogram;
use labels::Labels;
use token::TokenMetricFamilies;
use usage::UsageMetricFamilies;

/// All families of the process.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Families>);

#[derive(Debug)]
struct Families {
    registry: Registry,
    requests: Family<Labels<1>, Counter>,
    responses: Family<Labels<1>, Counter>,
    attempts: Family<Labels<1>, Counter>,
    client_credentials: Family<Labels<1>, Counter>,
    unsearched_bodies: Family<Labels<1>, Counter>,
    request_seconds: Family<Labels<0>, Histogram, fn() -> Histogram>,
    upstream_head_seconds: Family<Labels<1>, Histogram, fn() -> Histogram>,
    inflight: Gauge,
    replay_buffer_bytes: Family<Labels<1>, Gauge>,
    task_panics: Counter,
    token: TokenMetricFamilies,
    alerts: AlertMetricFamilies,
    usage: UsageMetricFamilies,
}

/// One tenant's series of the data path.
#[derive(Clone, Debug)]
pub struct RequestMetrics {
    tenant: TenantId,
    metrics: Metrics,
    /// From the request's head to its answer's last byte, in seconds.
    pub request_seconds: Histogram,
    /// From the end of sending to the answer's head, in seconds, of the first attempt …
    pub first_head_seconds: Histogram,
    /// … and of the second.
    pub second_head_seconds: Histogram,
    /// First attempts.
    pub first_attempts: Counter,
    /// Second attempts.
    pub second_attempts: Counter,
    /// What Graph tells of its rate limits.
    pub usage: UsageMetrics,
    delivered_requests: Counter,
    successful_responses: Counter,
}

/// Where replayable bytes lie.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReplayStorage {
    /// In memory.
    Memory,
    /// In an unlinked file.
    Disk,
}

const OUTCOME_LABEL: [&str; 1] = ["outcome"];
const VERDICT_LABEL: [&str; 1] = ["verdict"];
const ATTEMPT_LABEL: [&str; 1] = ["attempt"];
const REASON_LABEL: [&str; 1] = ["reason"];
const LOCATION_LABEL: [&str; 1] = ["place"];

// === impl Metrics ===

impl Metrics {
    /// Registers every family, under the prefix `graphward_`.
    #[must_use]
    pub fn new() -> Self {
        let mut families = Families {
            registry: Registry::with_prefix("graphward"),
            requests: Family::default(),
            responses: Family::default(),
            attempts: Family::default(),
            client_credentials: Family::default(),
            unsearched_bodies: Family::default(),
            request_seconds: Family::new_with_constructor(latency_histogram),
            upstream_head_seconds: Family::new_with_constructor(latency_histogram),
            inflight: Gauge::default(),
            replay_buffer_bytes: Family::default(),
            task_panics: Counter::default(),
            token: TokenMetricFamilies::new(),
            alerts: AlertMetricFamilies::default(),
            usage: UsageMetricFamilies::default(),
        };
        families.register();
        families.token.register(&mut families.registry);
        families.alerts.register(&mut families.registry);
        families.usage.register(&mut families.registry);
        Self(Arc::new(families))
    }

    /// The series of a tenant's data path.
    #[must_use]
    pub fn path(&self, tenant: &TenantId) -> RequestMetrics {
        let all = &self.0;
        let head = |attempt| {
            all.upstream_head_seconds
                .get_or_create(&Labels::new(tenant, ATTEMPT_LABEL, [attempt]))
                .clone()
        };
        let attempts = |attempt| {
            all.attempts
                .get_or_create(&Labels::new(tenant, ATTEMPT_LABEL, [attempt]))
                .clone()
        };
        RequestMetrics {
            request_seconds: all.request_seconds.get_or_create(&Labels::new(tenant, [], [])).clone(),
            first_head_seconds: head("first"),
            second_head_seconds: head("second"),
            first_attempts: attempts("first"),
            second_attempts: attempts("second"),
            usage: all.usage.for_tenant(tenant),
            delivered_requests: all
                .requests
                .get_or_create(&Labels::new(tenant, OUTCOME_LABEL, ["delivered"]))
                .clone(),
            successful_responses: all
                .responses
                .get_or_create(&Labels::new(tenant, VERDICT_LABEL, ["success"]))
                .clone(),
            tenant: tenant.clone(),
            metrics: self.clone(),
        }
    }

    /// The series of a tenant's token.
    #[must_use]
    pub fn token(&self, tenant: &TenantId) -> TokenMetrics {
        self.0.token.for_tenant(tenant)
    }

    /// The series of the webhook.
    #[must_use]
    pub fn alert_metrics(&self) -> AlertMetrics {
        self.0.alerts.metrics()
    }

    /// Requests between their head and their answer's last byte.
    #[must_use]
    pub fn inflight_requests(&self) -> &Gauge {
        &self.0.inflight
    }

    /// Bytes held for a replay that may become necessary.
    #[must_use]
    pub fn replay_buffer_bytes(&self, storage: ReplayStorage) -> Gauge {
        let storage_label = match storage {
            ReplayStorage::Memory => "memory",
            ReplayStorage::Disk => "disk",
        };
        self.0
            .replay_buffer_bytes
            .get_or_create(&Labels::without_tenant(LOCATION_LABEL, [storage_label]))
            .clone()
    }

    /// Says how many tasks have panicked so far.
    pub fn set_task_panics(&self, total: u64) {
        let known = self.0.task_panics.get();
        self.0.task_panics.inc_by(total.saturating_sub(known));
    }

    /// All series as Prometheus text (OpenMetrics 1.0).
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail; were it to, the operator would see the text end early.
        match prometheus_client::encoding::text::encode(&mut text, &self.0.registry) {
            Ok(()) | Err(std::fmt::Error) => text,
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Families ===

impl Families {
    fn register(&mut self) {
        let all = &mut self.registry;
        all.register("requests", "Requests by how they ended", self.requests.clone());
        all.register("answers", "Answers of Graph by what they mean", self.responses.clone());
        all.register(
            "attempts",
            "Sendings towards Graph: first, and second after a healed rejection",
            self.attempts.clone(),
        );
        all.register(
            "presented_credentials",
            "Credentials that the app itself sent and that were replaced",
            self.client_credentials.clone(),
        );
        all.register(
            "unsearched_bodies",
            "JSON bodies and forms that were forwarded without a search for credentials",
            self.unsearched_bodies.clone(),
        );
        all.register(
            "request_seconds",
            "From a request's head to its answer's last byte",
            self.request_seconds.clone(),
        );
        all.register(
            "upstream_head_seconds",
            "From sending to the head of Graph's answer",
            self.upstream_head_seconds.clone(),
        );
        all.register("inflight", "Requests under way", self.inflight.clone());
        all.register(
            "replay_buffer_bytes",
            "Bytes held for a replay that may become necessary",
            self.replay_buffer_bytes.clone(),
        );
        all.register("task_panics", "Tasks that panicked", self.task_panics.clone());
        let build = prometheus_client::metrics::info::Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        all.register("build", "What runs here", build);
    }
}

// === impl RequestMetrics ===

impl RequestMetrics {
    /// Counts a request by its outcome, a word of a closed list. The commonest costs no look-up.
    pub fn count_request(&self, outcome: &'static str) {
        if outcome == "delivered" {
            self.delivered_requests.inc();
        } else {
            let labels = Labels::new(&self.tenant, OUTCOME_LABEL, [outcome]);
            self.metrics.0.requests.get_or_create(&labels).inc();
        }
    }

    /// Counts an answer by its verdict, a word of a closed list. The commonest costs no look-up.
    pub fn count_response(&self, verdict: &'static str) {
        if verdict == "success" {
            self.successful_responses.inc();
        } else {
            let labels = Labels::new(&self.tenant, VERDICT_LABEL, [verdict]);
            self.metrics.0.responses.get_or_create(&labels).inc();
        }
    }

    /// Counts a body that was forwarded without a search for credentials, by the reason, a word of a closed list.
    pub fn count_unsearched_body(&self, reason: &'static str) {
        let labels = Labels::new(&self.tenant, REASON_LABEL, [reason]);
        self.metrics.0.unsearched_bodies.get_or_create(&labels).inc();
    }

    /// Counts a credential that the app itself sent: in the `header`, the `query` or the `body`.
    pub fn count_client_credential(&self, location: &'static str) {
        self.metrics
            .0
            .client_credentials
            .get_or_create(&Labels::new(&self.tenant, LOCATION_LABEL, [location]))
            .inc();
    }
}
