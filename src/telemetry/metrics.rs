//! Metrics: the families, their closed labels, and handles that the data path uses without a look-up.
//!
//! # Why
//!
//! A label value is a tenant's name, which comes from the configuration, or a value of a closed list. It is never a path,
//! an object id, a status, or the text of an error: the app and Graph must not be able to create series. Handles are
//! resolved once, at start, so that a request touches only atomics.

mod alerts;
mod exposition;
mod labels;
mod process;
mod registrar;
mod token;
mod usage;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use prometheus_client::encoding::text::{encode, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub use alerts::AlertMetrics;
pub use exposition::ExpositionFormat;
pub use token::TokenMetrics;
pub use usage::UsageMetrics;

use crate::types::TenantId;
use labels::Labels;
use process::ProcessMetrics;
use registrar::{LatencyFamily, Registrar};
use token::TokenMetricFamilies;
use usage::UsageMetricFamilies;

/// All metrics of the process.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Families>);

#[derive(Debug)]
struct Families {
    registry: Registry,
    /// Those of the process, which have no prefix.
    process: Registry,
    requests: Family<Labels<1>, Counter>,
    responses: Family<Labels<1>, Counter>,
    attempts: Family<Labels<1>, Counter>,
    client_credentials: Family<Labels<1>, Counter>,
    unsearched_bodies: Family<Labels<1>, Counter>,
    request_seconds: LatencyFamily<0>,
    response_head_seconds: LatencyFamily<1>,
    inflight: Gauge,
    replay_buffer_bytes: Family<Labels<1>, Gauge>,
    task_panics: Counter,
    config_reloads: Family<Labels<1>, Counter>,
    config_loaded_at: Gauge<f64, AtomicU64>,
    dropped_log_lines: Counter,
    cut_floods: Counter,
    token: TokenMetricFamilies,
    alerts: Family<Labels<1>, Counter>,
    usage: UsageMetricFamilies,
}

/// A tenant's metrics of the data path.
#[derive(Clone, Debug)]
pub struct RequestMetrics {
    tenant: TenantId,
    metrics: Metrics,
    /// Seconds from the request head to the last byte of the response.
    pub request_seconds: Histogram,
    /// Seconds from the end of the request to the head of the response, for first attempts.
    pub first_head_seconds: Histogram,
    /// The same for second attempts.
    pub second_head_seconds: Histogram,
    /// The number of first attempts.
    pub first_attempts: Counter,
    /// The number of second attempts.
    pub second_attempts: Counter,
    /// Graph's rate limits.
    pub usage: UsageMetrics,
    delivered_requests: Counter,
    successful_responses: Counter,
    client_credential: Arc<OnceLock<&'static str>>,
}

// === impl Metrics ===

impl Metrics {
    /// Registers every family with the prefix `graphward_`.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("graphward");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Build information", build);
        let mut process = Registry::default();
        process.register_collector(Box::new(ProcessMetrics::new()));
        let mut all = Registrar(&mut registry);
        let metrics = Self(Arc::new(Families {
            requests: all.register("requests", "Requests by outcome"),
            responses: all.register("upstream_responses", "Responses from Graph by verdict"),
            attempts: all.register(
                "upstream_attempts",
                "Attempts to send a request to Graph: the first, and the second after a rejected token was replaced",
            ),
            client_credentials: all.register("client_credentials_replaced", "App credentials that graphward replaced"),
            unsearched_bodies: all.register("unsearched_bodies", "Bodies forwarded without a search for credentials"),
            request_seconds: all
                .register_latency("request_duration_seconds", "Time from request head to end of response"),
            response_head_seconds: all
                .register_latency("upstream_response_head_seconds", "Time from request to response head"),
            inflight: all.register("inflight_requests", "Requests in flight"),
            replay_buffer_bytes: all.register("replay_buffer_bytes", "Bytes buffered in case a request is replayed"),
            task_panics: all.register("task_panics", "Tasks that panicked"),
            config_reloads: all.register("config_reloads", "Reloads of the configuration by result"),
            config_loaded_at: all.register(
                "config_last_reload_success_timestamp_seconds",
                "Time at which the configuration in use was loaded",
            ),
            dropped_log_lines: all.register("log_lines_dropped", "Log lines dropped because stdout was blocked"),
            cut_floods: all.register(
                "http2_floods_cut",
                "HTTP/2 connections closed because the client flooded them",
            ),
            token: TokenMetricFamilies::register(&mut all),
            alerts: all.register("alerts", "Alerts by delivery result"),
            usage: UsageMetricFamilies::register(&mut all),
            registry,
            process,
        }));
        // They are there before the first reload, so that an increase is seen.
        for result in ["applied", "rejected"] {
            let labels = Labels::without_tenant([("result", result)]);
            drop(metrics.0.config_reloads.get_or_create(&labels));
        }
        metrics
    }

    /// Returns a tenant's metrics of the data path.
    #[must_use]
    pub fn request_metrics(&self, tenant: &TenantId) -> RequestMetrics {
        let all = &self.0;
        let head_seconds = |attempt| {
            let labels = Labels::new(tenant, [("attempt", attempt)]);
            all.response_head_seconds.get_or_create(&labels).clone()
        };
        let counter = |family: &Family<Labels<1>, Counter>, label| {
            let labels = Labels::new(tenant, [label]);
            family.get_or_create(&labels).clone()
        };
        RequestMetrics {
            request_seconds: all.request_seconds.get_or_create(&Labels::only(tenant)).clone(),
            first_head_seconds: head_seconds("first"),
            second_head_seconds: head_seconds("second"),
            first_attempts: counter(&all.attempts, ("attempt", "first")),
            second_attempts: counter(&all.attempts, ("attempt", "second")),
            usage: all.usage.for_tenant(tenant),
            client_credential: Arc::default(),
            delivered_requests: counter(&all.requests, ("outcome", "delivered")),
            successful_responses: counter(&all.responses, ("verdict", "success")),
            tenant: tenant.clone(),
            metrics: self.clone(),
        }
    }

    /// Returns the metrics of a tenant's token.
    #[must_use]
    pub fn token_metrics(&self, tenant: &TenantId) -> TokenMetrics {
        self.0.token.for_tenant(tenant)
    }

    /// Returns the metrics of the webhook.
    #[must_use]
    pub fn alert_metrics(&self) -> AlertMetrics {
        AlertMetrics::new(&self.0.alerts)
    }

    /// The number of requests between their head and the last byte of their response.
    #[must_use]
    pub fn inflight_requests(&self) -> &Gauge {
        &self.0.inflight
    }

    /// The number of bytes that are buffered for a replay: in `memory`, or on `disk`.
    #[must_use]
    pub fn replay_buffer_bytes(&self, storage: &'static str) -> Gauge {
        let labels = Labels::without_tenant([("storage", storage)]);
        self.0.replay_buffer_bytes.get_or_create(&labels).clone()
    }

    /// The number of log lines that were dropped because stdout was blocked.
    #[must_use]
    pub fn dropped_log_lines(&self) -> Counter {
        self.0.dropped_log_lines.clone()
    }

    /// The number of HTTP/2 connections that were closed because the client flooded them.
    #[must_use]
    pub fn cut_floods(&self) -> Counter {
        self.0.cut_floods.clone()
    }

    /// Counts a reload of the configuration, which was `applied` or `rejected`.
    pub fn count_config_reload(&self, result: &'static str) {
        let labels = Labels::without_tenant([("result", result)]);
        self.0.config_reloads.get_or_create(&labels).inc();
    }

    /// Sets the time at which the configuration in use was loaded, in seconds since 1970.
    pub fn set_config_loaded_at(&self, unix_seconds: f64) {
        self.0.config_loaded_at.set(unix_seconds);
    }

    /// Sets the number of tasks that have panicked so far.
    pub fn set_task_panics(&self, total: u64) {
        let known = self.0.task_panics.get();
        self.0.task_panics.inc_by(total.saturating_sub(known));
    }

    /// Encodes all metrics.
    #[must_use]
    pub fn encode(&self, format: ExpositionFormat) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail; if it did, the operator would see an incomplete text.
        let _complete = encode_registry(&mut text, &self.0.registry)
            .and_then(|()| encode(&mut text, &self.0.process))
            .is_ok();
        format.convert(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

// === impl RequestMetrics ===

impl RequestMetrics {
    /// Counts a request by its outcome, a value of a closed list. The most common one needs no look-up.
    pub fn count_request(&self, outcome: &'static str) {
        if outcome == "delivered" {
            self.delivered_requests.inc();
        } else {
            self.count(&self.metrics.0.requests, "outcome", outcome);
        }
    }

    /// Counts a response by its verdict, a value of a closed list. The most common one needs no look-up.
    pub fn count_response(&self, verdict: &'static str) {
        if verdict == "success" {
            self.successful_responses.inc();
        } else {
            self.count(&self.metrics.0.responses, "verdict", verdict);
        }
    }

    /// Counts a credential of the app's that was replaced: in the `header`, the `query` or the `body`.
    pub fn count_client_credential(&self, location: &'static str) {
        self.client_credential.get_or_init(|| location);
        self.count(&self.metrics.0.client_credentials, "location", location);
    }

    /// Where the first credential of the app's that was replaced stood, if there was one.
    #[must_use]
    pub fn client_credential_location(&self) -> Option<&'static str> {
        self.client_credential.get().copied()
    }

    /// Counts a body that was forwarded without a search for credentials; `reason` is a value of a closed list.
    pub fn count_unsearched_body(&self, reason: &'static str) {
        self.count(&self.metrics.0.unsearched_bodies, "reason", reason);
    }

    fn count(&self, family: &Family<Labels<1>, Counter>, label: &'static str, value: &'static str) {
        family.get_or_create(&Labels::new(&self.tenant, [(label, value)])).inc();
    }
}
