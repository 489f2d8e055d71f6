//! Registers metric families.

use prometheus_client::registry::{Metric, Registry};

/// Registers each family under its name, and returns it.
#[derive(Debug)]
pub(super) struct Registrar<'a>(pub(super) &'a mut Registry);

impl Registrar<'_> {
    pub(super) fn register<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.0.register(name, help, metric.clone());
        metric
    }
}
