//! Graph's rate limits, as its responses report them.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::gauge::Gauge;

use super::series::Series;
use crate::types::lock;

/// A tenant's metrics of Graph's rate limits, as the last response that had them reported them.
///
/// Most responses repeat the previous one. They cost a comparison, and no allocation.
#[derive(Debug, Default)]
pub struct UsageMetrics {
    pub(super) used_ratio: Series<1, Gauge<f64, AtomicU64>>,
    pub(super) regain_access_seconds: Series<0, Gauge<f64, AtomicU64>>,
    last_headers: Mutex<Vec<u8>>,
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
        let mut last = lock(&self.last_headers);
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
        self.used_ratio.get([("kind", kind)]).set(ratio);
    }

    /// Sets the time until access is regained.
    pub fn set_regain_access_seconds(&self, seconds: f64) {
        self.regain_access_seconds.get([]).set(seconds);
    }
}
