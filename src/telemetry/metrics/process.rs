//! The metrics of the process itself, under the names that every Prometheus client library uses.
//!
//! # Why
//!
//! They are read from the system at each scrape. A crate for `/proc` would bring a parser for all of it; six numbers need
//! two system calls and one line of numbers.

use std::fs;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::param::page_size;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::types::Clock;

/// Reads the metrics of the process at each scrape. What cannot be read is absent.
#[derive(Debug)]
pub(super) struct ProcessMetrics {
    started_at: SystemTime,
}

impl ProcessMetrics {
    /// The metrics of a process that has just started.
    pub(super) fn new() -> Self {
        Self {
            started_at: Clock::system().now(),
        }
    }
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut add = |name, help, metric: &dyn EncodeMetric| {
            let descriptor = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
            metric.encode(descriptor)
        };
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = ConstCounter::new(cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9);
        add("process_cpu_seconds", "CPU time used, in seconds.", &cpu)?;

        let started_at = self.started_at.duration_since(SystemTime::UNIX_EPOCH);
        // The directory that is read is one of them.
        let open = fs::read_dir("/proc/self/fd").map(|open| open.count().saturating_sub(1) as u64);
        let sizes = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = sizes.split(' ').map_while(|number| number.parse::<u64>().ok());
        let mut bytes = pages.map(|pages| pages * page_size() as u64);
        for (name, help, value) in [
            (
                "process_start_time_seconds",
                "Start of the process, in seconds since 1970.",
                started_at.ok().map(|since_1970| since_1970.as_secs()),
            ),
            ("process_open_fds", "Open file descriptors.", open.ok()),
            (
                "process_max_fds",
                "Limit of open file descriptors.",
                getrlimit(Resource::Nofile).current,
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory, in bytes.",
                bytes.next(),
            ),
            (
                "process_resident_memory_bytes",
                "Resident memory, in bytes.",
                bytes.next(),
            ),
        ] {
            if let Some(value) = value {
                add(name, help, &ConstGauge::new(value))?;
            }
        }
        Ok(())
    }
}
