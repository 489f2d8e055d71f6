//! What became of notices on their way to the webhook.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::labels::Labels;

/// The families.
#[derive(Clone, Debug, Default)]
pub(super) struct AlertMetricFamilies {
    sent: Family<Labels<1>, Counter>,
}

/// What became of notices on their way to the webhook: each is counted once.
#[derive(Clone, Debug)]
pub struct AlertMetrics {
    /// The webhook took it.
    pub delivered: Counter,
    /// The webhook refused it, or failed too often.
    pub failed: Counter,
    /// The same was told within the day, or waits to be told.
    pub suppressed: Counter,
    /// There was no room for it, or no time before the end.
    pub dropped: Counter,
}

const RESULT_LABEL: [&str; 1] = ["result"];

// === impl AlertMetricFamilies ===

impl AlertMetricFamilies {
    pub(super) fn register(&self, all: &mut Registry) {
        all.register(
            "alerts_sent",
            "What became of notices on their way to the webhook",
            self.sent.clone(),
        );
    }

    /// The series, which begin at 0, so that `increase` sees the first of each.
    pub(super) fn metrics(&self) -> AlertMetrics {
        let counter = |result| {
            let labels = Labels::without_tenant(RESULT_LABEL, [result]);
            self.sent.get_or_create(&labels).clone()
        };
        AlertMetrics {
            delivered: counter("delivered"),
            failed: counter("failed"),
            suppressed: counter("suppressed"),
            dropped: counter("dropped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;

    #[test]
    fn the_series_start_at_zero_and_exist_only_with_a_webhook() {
        let metrics = Metrics::new();
        assert!(!metrics.text().contains("graphward_alerts_sent_total{"));
        let alerts = metrics.alert_metrics();
        alerts.failed.inc();
        let text = metrics.text();
        for line in [
            "graphward_alerts_sent_total{result=\"delivered\"} 0\n",
            "graphward_alerts_sent_total{result=\"failed\"} 1\n",
            "graphward_alerts_sent_total{result=\"suppressed\"} 0\n",
            "graphward_alerts_sent_total{result=\"dropped\"} 0\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
