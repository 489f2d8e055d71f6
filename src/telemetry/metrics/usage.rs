//! What Graph's answers tell of its rate limits, as gauges.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::Labels;
use crate::types::TenantId;

/// The families.
#[derive(Clone, Debug, Default)]
pub(super) struct UsageMetricFamilies {
    percent: Family<Labels<1>, Gauge<f64, AtomicU64>>,
    regain_minutes: Family<Labels<0>, Gauge<f64, AtomicU64>>,
}

/// One tenant's series of Graph's rate limits: what the answer told that told it last.
///
/// Most answers tell what the one before told. They cost a comparison, and no allocation.
#[derive(Clone, Debug)]
pub struct UsageMetrics {
    tenant: TenantId,
    families: UsageMetricFamilies,
    last_headers: Arc<Mutex<Vec<u8>>>,
}

const KIND_LABEL: [&str; 1] = ["kind"];

// === impl UsageMetricFamilies ===

impl UsageMetricFamilies {
    pub(super) fn register(&self, all: &mut Registry) {
        all.register(
            "graph_usage_percent",
            "How much of a rate limit is used, as Graph told last",
            self.percent.clone(),
        );
        all.register(
            "regain_access_minutes",
            "In how many minutes a throttled account has access again, as Graph told last",
            self.regain_minutes.clone(),
        );
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
    /// Calls `update` if these lines of an answer are others than the last time. An answer without any changes nothing.
    pub fn update_if_changed<'lines, I>(&self, lines: impl Fn() -> I, update: impl FnOnce(&Self))
    where
        I: Iterator<Item = &'lines [u8]>,
    {
        let mut header_fields = lines().peekable();
        if header_fields.peek().is_none() {
            return;
        }
        // Held while the gauges are set, so that they show what is remembered.
        let mut last = self.last_headers.lock().unwrap_or_else(PoisonError::into_inner);
        let remaining = header_fields.try_fold(last.as_slice(), |known, line| {
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

    /// How much of a limit is used; `kind` is a word of a closed list.
    pub fn set_percent(&self, kind: &'static str, percent: f64) {
        let labels = Labels::new(&self.tenant, KIND_LABEL, [kind]);
        self.families.percent.get_or_create(&labels).set(percent);
    }

    /// In how many minutes access is regained.
    pub fn set_regain_minutes(&self, minutes: f64) {
        let labels = Labels::new(&self.tenant, [], []);
        self.families.regain_minutes.get_or_create(&labels).set(minutes);
    }
}
