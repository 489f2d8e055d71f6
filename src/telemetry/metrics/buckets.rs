//! Buckets of histograms.

use prometheus_client::metrics::histogram::Histogram;

/// Buckets from a millisecond to a minute, in seconds: Graph answers in tens to thousands of milliseconds.
pub(super) fn latency_histogram() -> Histogram {
    Histogram::new([
        0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    ])
}
