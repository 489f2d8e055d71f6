//! Alerts by delivery result.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::labels::Labels;

/// Alerts by delivery result: each is counted once.
#[derive(Clone, Debug)]
pub struct AlertMetrics {
    /// The webhook accepted the alert.
    pub delivered: Counter,
    /// The webhook rejected the alert, or failed too often.
    pub failed: Counter,
    /// The same alert was sent within the day, or is about to be.
    pub suppressed: Counter,
    /// The queue was full, or the process ended first.
    pub dropped: Counter,
}

impl AlertMetrics {
    /// Creates the series, which begin at 0, so that `increase` sees the first alert of each.
    pub(super) fn new(family: &Family<Labels<1>, Counter>) -> Self {
        let counter = |result| {
            let labels = Labels([("result", result)]);
            family.get_or_create(&labels).clone()
        };
        Self {
            delivered: counter("delivered"),
            failed: counter("failed"),
            suppressed: counter("suppressed"),
            dropped: counter("dropped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ExpositionFormat, Metrics};

    #[test]
    fn the_series_start_at_zero_and_exist_only_with_a_webhook() {
        let metrics = Metrics::new();
        assert!(
            !metrics
                .encode(ExpositionFormat::Text)
                .contains("graphward_alerts_total{")
        );
        let alerts = metrics.alert_metrics();
        alerts.failed.inc();
        let text = metrics.encode(ExpositionFormat::Text);
        for line in [
            "graphward_alerts_total{result=\"delivered\"} 0\n",
            "graphward_alerts_total{result=\"failed\"} 1\n",
            "graphward_alerts_total{result=\"suppressed\"} 0\n",
            "graphward_alerts_total{result=\"dropped\"} 0\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
