//! Registers metric families.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use super::labels::Labels;

/// Registers each family under its name, and returns it.
#[derive(Debug)]
pub(super) struct Registrar<'a>(pub(super) &'a mut Registry);

/// Histograms of durations, in seconds.
pub(super) type LatencyFamily<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

impl Registrar<'_> {
    pub(super) fn register<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        self.register_metric(name, help, M::default())
    }

    /// Registers histograms with buckets from a millisecond to a minute, since Graph answers within tens to thousands of
    /// milliseconds.
    pub(super) fn register_latency<const N: usize>(&mut self, name: &str, help: &str) -> LatencyFamily<N> {
        let histogram: fn() -> Histogram = || {
            Histogram::new([
                0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
            ])
        };
        self.register_metric(name, help, Family::new_with_constructor(histogram))
    }

    fn register_metric<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }
}
