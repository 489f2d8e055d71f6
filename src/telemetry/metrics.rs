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
pub use token::{Refresh, TokenMetrics};
pub use usage::UsageMetrics;

use crate::types::TenantId;
use alerts::AlertFamilies;
use buckets::latencies;
use labels::Labels;
use token::TokenFamilies;
use usage::UsageFamilies;

/// All families of the process.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Families>);

#[derive(Debug)]
struct Families {
    registry: Registry,
    requests: Family<Labels<1>, Counter>,
    answers: Family<Labels<1>, Counter>,
    attempts: Family<Labels<1>, Counter>,
    presented: Family<Labels<1>, Counter>,
    request_seconds: Family<Labels<0>, Histogram, fn() -> Histogram>,
    upstream_head_seconds: Family<Labels<1>, Histogram, fn() -> Histogram>,
    inflight: Gauge,
    replay_bytes: Family<Labels<1>, Gauge>,
    task_panics: Counter,
    token: TokenFamilies,
    alerts: AlertFamilies,
    usage: UsageFamilies,
}

/// One tenant's series of the data path.
#[derive(Clone, Debug)]
pub struct PathMetrics {
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
    delivered: Counter,
    successes: Counter,
}

/// Where replayable bytes lie.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// In memory.
    Memory,
    /// In an unlinked file.
    Disk,
}

const REQUESTS: [&str; 1] = ["outcome"];
const VERDICT: [&str; 1] = ["verdict"];
const ATTEMPT: [&str; 1] = ["attempt"];
const PLACE: [&str; 1] = ["place"];

// === impl Metrics ===

impl Metrics {
    /// Registers every family, under the prefix `graphward_`.
    #[must_use]
    pub fn new() -> Self {
        let mut families = Families {
            registry: Registry::with_prefix("graphward"),
            requests: Family::default(),
            answers: Family::default(),
            attempts: Family::default(),
            presented: Family::default(),
            request_seconds: Family::new_with_constructor(latencies),
            upstream_head_seconds: Family::new_with_constructor(latencies),
            inflight: Gauge::default(),
            replay_bytes: Family::default(),
            task_panics: Counter::default(),
            token: TokenFamilies::new(),
            alerts: AlertFamilies::default(),
            usage: UsageFamilies::default(),
        };
        families.register();
        families.token.register(&mut families.registry);
        families.alerts.register(&mut families.registry);
        families.usage.register(&mut families.registry);
        Self(Arc::new(families))
    }

    /// The series of a tenant's data path.
    #[must_use]
    pub fn path(&self, tenant: &TenantId) -> PathMetrics {
        let all = &self.0;
        let head = |attempt| {
            all.upstream_head_seconds
                .get_or_create(&Labels::new(tenant, ATTEMPT, [attempt]))
                .clone()
        };
        let attempts = |attempt| {
            all.attempts
                .get_or_create(&Labels::new(tenant, ATTEMPT, [attempt]))
                .clone()
        };
        PathMetrics {
            request_seconds: all
                .request_seconds
                .get_or_create(&Labels::new(tenant, [], []))
                .clone(),
            first_head_seconds: head("first"),
            second_head_seconds: head("second"),
            first_attempts: attempts("first"),
            second_attempts: attempts("second"),
            usage: all.usage.of(tenant),
            delivered: all
                .requests
                .get_or_create(&Labels::new(tenant, REQUESTS, ["delivered"]))
                .clone(),
            successes: all
                .answers
                .get_or_create(&Labels::new(tenant, VERDICT, ["success"]))
                .clone(),
            tenant: tenant.clone(),
            metrics: self.clone(),
        }
    }

    /// The series of a tenant's token.
    #[must_use]
    pub fn token(&self, tenant: &TenantId) -> TokenMetrics {
        self.0.token.of(tenant)
    }

    /// The series of the webhook.
    #[must_use]
    pub fn alerts(&self) -> AlertMetrics {
        self.0.alerts.all()
    }

    /// Requests between their head and their answer's last byte.
    #[must_use]
    pub fn inflight(&self) -> &Gauge {
        &self.0.inflight
    }

    /// Bytes held for a replay that may become necessary.
    #[must_use]
    pub fn replay_bytes(&self, place: Place) -> Gauge {
        let word = match place {
            Place::Memory => "memory",
            Place::Disk => "disk",
        };
        self.0
            .replay_bytes
            .get_or_create(&Labels::of_process(PLACE, [word]))
            .clone()
    }

    /// Says how many tasks have panicked so far.
    pub fn panicked(&self, so_far: u64) {
        let known = self.0.task_panics.get();
        self.0.task_panics.inc_by(so_far.saturating_sub(known));
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
        all.register(
            "requests",
            "Requests by how they ended",
            self.requests.clone(),
        );
        all.register(
            "answers",
            "Answers of Graph by what they mean",
            self.answers.clone(),
        );
        all.register(
            "attempts",
            "Sendings towards Graph: first, and second after a healed rejection",
            self.attempts.clone(),
        );
        all.register(
            "presented_credentials",
            "Credentials that the app itself sent and that were replaced",
            self.presented.clone(),
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
            self.replay_bytes.clone(),
        );
        all.register(
            "task_panics",
            "Tasks that panicked",
            self.task_panics.clone(),
        );
        let build =
            prometheus_client::metrics::info::Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        all.register("build", "What runs here", build);
    }
}

// === impl PathMetrics ===

impl PathMetrics {
    /// Counts a request by its outcome, a word of a closed list. The commonest costs no look-up.
    pub fn ended(&self, outcome: &'static str) {
        if outcome == "delivered" {
            self.delivered.inc();
        } else {
            let labels = Labels::new(&self.tenant, REQUESTS, [outcome]);
            self.metrics.0.requests.get_or_create(&labels).inc();
        }
    }

    /// Counts an answer by its verdict, a word of a closed list. The commonest costs no look-up.
    pub fn answered(&self, verdict: &'static str) {
        if verdict == "success" {
            self.successes.inc();
        } else {
            let labels = Labels::new(&self.tenant, VERDICT, [verdict]);
            self.metrics.0.answers.get_or_create(&labels).inc();
        }
    }

    /// Counts a credential that the app itself sent: in the `header`, the `query` or the `body`.
    pub fn presented(&self, place: &'static str) {
        self.metrics
            .0
            .presented
            .get_or_create(&Labels::new(&self.tenant, PLACE, [place]))
            .inc();
    }
}
