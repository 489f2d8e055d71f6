//! The series of one tenant in one family.

use std::fmt;
use std::sync::Mutex;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};

use super::labels::{LabelPair, TenantLabels};
use crate::types::lock;

/// The series of one tenant in one family, by their other labels, which have values of closed lists: there are few.
#[derive(Debug)]
pub(super) struct Series<const N: usize, M> {
    new: fn() -> M,
    metrics: Mutex<Vec<([LabelPair; N], M)>>,
}

/// The series of a tenant, of whatever type.
pub(super) trait EncodeSeries {
    fn encode(&self, tenant: &str, encoder: &mut MetricEncoder<'_>) -> fmt::Result;
}

// === impl Series ===

impl<const N: usize, M: Clone> Series<N, M> {
    pub(super) const fn new(new: fn() -> M) -> Self {
        Self {
            new,
            metrics: Mutex::new(Vec::new()),
        }
    }

    /// Returns the series with these labels, which is created if it does not exist.
    pub(super) fn get(&self, labels: [LabelPair; N]) -> M {
        let mut metrics = lock(&self.metrics);
        if let Some((_, metric)) = metrics.iter().find(|(known, _)| *known == labels) {
            return metric.clone();
        }
        let metric = (self.new)();
        metrics.push((labels, metric.clone()));
        metric
    }
}

impl<const N: usize, M: Clone + Default> Default for Series<N, M> {
    fn default() -> Self {
        Self::new(M::default)
    }
}

impl<const N: usize, M: EncodeMetric> EncodeSeries for Series<N, M> {
    fn encode(&self, tenant: &str, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        let metrics = lock(&self.metrics);
        metrics.iter().try_for_each(|(pairs, metric)| {
            let labels = TenantLabels { tenant, pairs: *pairs };
            metric.encode(encoder.encode_family(&labels)?)
        })
    }
}
