//! Metrics: the families, their closed labels, and handles that the data path uses without a look-up.
//!
//! # Why
//!
//! A label value is a tenant's name, which comes from the configuration, or a value of a closed list. It is never a path,
//! an object id, a status, or the text of an error: the app and Graph must not be able to create series. A request touches
//! only atomics. The series of a tenant are made when there is something to count, and end with the tenant.

mod alerts;
mod exposition;
mod labels;
mod last_hour;
mod places;
mod process;
mod registrar;
mod request;
mod series;
mod tenant_families;
mod tenant_label;
mod tenant_series;
mod token;
mod token_counts;
mod token_values;
mod usage;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::{encode, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub use alerts::AlertMetrics;
pub use exposition::ExpositionFormat;
pub use last_hour::LastHour;
pub use request::{Attempt, RequestMetrics};
pub use tenant_label::{MetricsConfig, TenantLabel};
pub use token::TokenMetrics;
pub use token_counts::TokenState;
pub use usage::UsageMetrics;

use crate::types::TenantId;
use labels::Labels;
use places::Places;
use process::ProcessMetrics;
use registrar::Registrar;
use tenant_families::TenantFamilies;

/// All metrics of the process.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Families>);

#[derive(Debug)]
struct Families {
    registry: Registry,
    /// Those of the process, which have no prefix.
    process: Registry,
    places: Arc<Places>,
    inflight: Gauge,
    replay_buffer_bytes: Family<Labels<1>, Gauge>,
    task_panics: Counter,
    config_reloads: Family<Labels<1>, Counter>,
    config_loaded_at: Gauge<f64, AtomicU64>,
    dropped_log_lines: Counter,
    cut_floods: Counter,
    tokens: Family<Labels<1>, Gauge>,
    tenants_readable: Family<Labels<0>, Gauge>,
    alerts: Family<Labels<1>, Counter>,
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
        let places = Arc::new(Places::new());
        registry.register_collector(Box::new(TenantFamilies(Arc::clone(&places))));
        let mut all = Registrar(&mut registry);
        let metrics = Self(Arc::new(Families {
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
            tokens: all.register("tokens", "Tokens of all tenants by state"),
            tenants_readable: all.register(
                "tenants_readable",
                "1 if the last read of the tenants of tenants_from succeeded, otherwise 0",
            ),
            alerts: all.register("alerts", "Alerts by delivery result"),
            places,
            registry,
            process,
        }));
        // They are there before the first reload, so that an increase is seen.
        for result in ["applied", "rejected"] {
            let labels = Labels([("result", result)]);
            drop(metrics.0.config_reloads.get_or_create(&labels));
        }
        metrics
    }

    /// Sets how many tenants have series of their own.
    pub fn set_tenant_label(&self, label: TenantLabel) {
        self.0.places.set_limit(label.limit());
    }

    /// Returns a tenant's metrics of the data path. Its series end when all that this and
    /// [`token_metrics`](Self::token_metrics) returned for it is dropped.
    #[must_use]
    pub fn request_metrics(&self, tenant: &TenantId) -> RequestMetrics {
        RequestMetrics(self.0.places.handle(tenant))
    }

    /// Returns the metrics of a tenant's token.
    #[must_use]
    pub fn token_metrics(&self, tenant: &TenantId) -> TokenMetrics {
        TokenMetrics(self.0.places.handle(tenant))
    }

    /// Counts an alert about a tenant at rest, which has no series of its own; `cause` is a value of a closed list.
    pub fn count_alert_at_rest(&self, cause: &'static str) {
        self.0.places.other().alerts.get([("cause", cause)]).inc();
    }

    /// Counts the tokens of all tenants by their state.
    pub fn set_tokens(&self, states: impl Iterator<Item = TokenState>) {
        for (label, count) in TokenState::count(states) {
            let gauge = self.0.tokens.get_or_create(&Labels([("state", label)]));
            gauge.set(count);
        }
    }

    /// Sets whether the place of the tenants could be read: 1 or 0.
    pub fn set_tenants_readable(&self, is_readable: i64) {
        self.0.tenants_readable.get_or_create(&Labels([])).set(is_readable);
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
        let labels = Labels([("storage", storage)]);
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
        let labels = Labels([("result", result)]);
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

    /// Returns the requests of the last hour, by minute.
    #[must_use]
    pub fn last_hour(&self) -> LastHour {
        self.0.places.minutes.last_hour()
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

#[cfg(test)]
mod tests;
