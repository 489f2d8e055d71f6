//! Graph's rate limits, as its responses report them.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::labels::Labels;
use super::registrar::Registrar;
use crate::types::TenantId;

/// The metric families.
#[derive(Clone, Debug)]
pub(super) struct UsageMetricFamilies {
    used_ratio: Family<Labels<1>, Gauge<f64, AtomicU64>>,
    regain_access_seconds: Family<Labels<0>, Gauge<f64, AtomicU64>>,
}

/// A tenant's metrics of Graph's rate limits, as the last response that had them reported them.
///
/// Most responses repeat the previous one. They cost a comparison, and no allocation.
#[derive(Clone, Debug)]
pub struct UsageMetrics {
    tenant: TenantId,
    families: UsageMetricFamilies,
    last_headers: Arc<Mutex<Vec<u8>>>,
}

// === impl UsageMetricFamilies ===

impl UsageMetricFamilies {
    pub(super) fn register(all: &mut Registrar<'_>) -> Self {
        Self {
            used_ratio: all.register(
                "graph_rate_limit_usage_ratio",
                "Used share of a Graph rate limit, as last reported by Graph (1 = limit reached)",
            ),
            regain_access_seconds: all.register(
                "graph_rate_limit_regain_access_seconds",
                "Estimated time until a throttled account regains access, as last reported by Graph",
            ),
        }
    }

    pub(super) fn for_tenant(&self, tenant: &TenantId) -> UsageMetrics {
        UsageMetrics {
            tenant: tenant.clone(),
            families: self.clone(),
            last_headers: Arc::default(),
        }
    }
}

// === impl UsageMetrics ===

impl UsageMetrics {
    /// Calls `update` if these header lines differ from the last ones. A response without any changes nothing.
    pub fn update_if_changed<'lines, I>(&self, lines: impl Fn() -> I, update: impl FnOnce(&Self))
    where
        I: Iterator<Item = &'lines [u8]>,
    {
        let mut header_lines = lines().peekable();
        if header_lines.peek().is_none() {
            return;
        }
        // Held while the gauges are set, so that they match the remembered lines.
        let mut last = self.last_headers.lock().unwrap_or_else(PoisonError::into_inner);
        let remaining = header_lines.try_fold(last.as_slice(), |known, line| {
            known.strip_prefix(line)?.strip_prefix(b"\n")
        });
        if remaining == Some(b"") {
            return;
        }
        last.clear();
        for line in lines() {
            last.extend_from_slice(line);
            last.push(b'\n');
        }
        update(self);
    }

    /// Sets the used share of a limit; `kind` is a value of a closed list.
    pub fn set_used_ratio(&self, kind: &'static str, ratio: f64) {
        let labels = Labels::new(&self.tenant, [("kind", kind)]);
        self.families.used_ratio.get_or_create(&labels).set(ratio);
    }

    /// Sets the time until access is regained.
    pub fn set_regain_access_seconds(&self, seconds: f64) {
        let labels = Labels::only(&self.tenant);
        self.families.regain_access_seconds.get_or_create(&labels).set(seconds);
    }
}
