//! What became of notices on their way to the webhook.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::labels::Labels;

/// The families.
#[derive(Clone, Debug, Default)]
pub(super) struct AlertFamilies {
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

const RESULT: [&str; 1] = ["result"];

// === impl AlertFamilies ===

impl AlertFamilies {
    pub(super) fn register(&self, all: &mut Registry) {
        all.register(
            "alerts_sent",
            "What became of notices on their way to the webhook",
            self.sent.clone(),
        );
    }

    /// The series, which begin at 0, so that `increase` sees the first of each.
    pub(super) fn all(&self) -> AlertMetrics {
        let of = |result| {
            let labels = Labels::of_process(RESULT, [result]);
            self.sent.get_or_create(&labels).clone()
        };
        AlertMetrics {
            delivered: of("delivered"),
            failed: of("failed"),
            suppressed: of("suppressed"),
            dropped: of("dropped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;

    #[test]
    fn the_series_begin_at_nothing_and_only_where_there_is_a_webhook() {
        let metrics = Metrics::new();
        assert!(!metrics.text().contains("graphward_alerts_sent_total{"));
        let alerts = metrics.alerts();
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
