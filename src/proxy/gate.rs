//! How many requests may be under way, and until when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus_client::metrics::gauge::Gauge;

use super::refusal::Refusal;

/// Lets requests in, one `Pass` each.
#[derive(Clone, Debug)]
pub struct Gate(Arc<State>);

#[derive(Debug)]
struct State {
    inflight: Gauge,
    limit: i64,
    closed: AtomicBool,
}

/// The right to be under way; given back when the answer's last byte has been handed over.
#[derive(Debug)]
pub(crate) struct Pass(Gauge);

// === impl Gate ===

impl Gate {
    /// A gate that counts on this gauge and lets `limit` requests in at a time.
    #[must_use]
    pub fn new(inflight: Gauge, limit: u32) -> Self {
        Self(Arc::new(State {
            inflight,
            limit: i64::from(limit),
            closed: AtomicBool::new(false),
        }))
    }

    /// From now on, nobody.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn admit(&self) -> Result<Pass, Refusal> {
        if self.0.closed.load(Ordering::Relaxed) {
            return Err(Refusal::Draining);
        }
        let pass = Pass(self.0.inflight.clone());
        let before = self.0.inflight.inc();
        if before < self.0.limit {
            Ok(pass)
        } else {
            Err(Refusal::Full)
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_gate_refuses_and_a_pass_given_back_opens_it() {
        let gate = Gate::new(Gauge::default(), 1);
        let pass = gate.admit().unwrap();
        assert!(matches!(gate.admit(), Err(Refusal::Full)));
        drop(pass);
        drop(gate.admit().unwrap());
        gate.close();
        assert!(matches!(gate.admit(), Err(Refusal::Draining)));
        assert_eq!(gate.0.inflight.get(), 0);
    }
}
