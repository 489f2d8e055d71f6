//! The formats of `/metrics`: Prometheus text 0.0.4, and OpenMetrics for scrapers that ask for it.
//!
//! # Why
//!
//! Every scraper, agent and person can read the older format, and some read no other. The two differ in how they announce
//! a family: in OpenMetrics its name is without `_total`. `prometheus-client` writes OpenMetrics only.

/// A format of `/metrics`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ExpositionFormat {
    /// Prometheus text 0.0.4.
    #[default]
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

// === impl ExpositionFormat ===

impl ExpositionFormat {
    /// The value of `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Returns the metrics in this format.
    pub(super) fn convert(self, open_metrics: String) -> String {
        match self {
            Self::Text => to_text(&open_metrics),
            Self::OpenMetrics => open_metrics,
        }
    }
}

/// Renames the families of counters and of infos to the name of their series, and drops the end mark.
fn to_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    // It comes before the type.
    let mut help = "";
    for line in open_metrics.lines() {
        if let Some(line) = line.strip_prefix("# HELP ") {
            help = line.split_once(' ').unwrap_or_default().1;
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) {
            let (end, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                _ => ("", kind),
            };
            text += &format!("# HELP {name}{end} {help}\n# TYPE {name}{end} {kind}\n");
        } else if !line.starts_with('#') {
            text += line;
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;
    use crate::types::TenantId;

    #[test]
    fn a_family_of_the_text_format_has_the_name_of_its_series() {
        let metrics = Metrics::new();
        let requests = metrics.request_metrics(&TenantId::default());
        requests.count_request("delivered", 0.1);
        let text = metrics.encode(ExpositionFormat::Text);
        for lines in [
            "# HELP graphward_requests_total Requests by outcome.\n# TYPE graphward_requests_total counter\n\
             graphward_requests_total{tenant=\"default\",outcome=\"delivered\"} 1\n",
            "# HELP graphward_build_info Build information.\n# TYPE graphward_build_info gauge\n\
             graphward_build_info{version=",
            "# TYPE graphward_request_duration_seconds histogram\n",
            "# TYPE graphward_inflight_requests gauge\n",
            "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total ",
            "\nprocess_start_time_seconds ",
        ] {
            assert!(text.contains(lines), "{lines}\n{text}");
        }
        assert!(!text.contains("EOF"));
        let open_metrics = metrics.encode(ExpositionFormat::OpenMetrics);
        assert!(
            open_metrics.contains("# TYPE graphward_requests counter\n"),
            "{open_metrics}"
        );
        assert!(open_metrics.ends_with("# EOF\n"));
    }

    #[test]
    fn the_process_reports_what_it_uses() {
        let text = Metrics::new().encode(ExpositionFormat::Text);
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("{name}\n{text}")).trim().parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes ") <= value("process_virtual_memory_bytes "));
        assert!(value("process_resident_memory_bytes ") > 1e5);
        assert!((3.0..=value("process_max_fds ")).contains(&value("process_open_fds ")));
        assert!(value("process_start_time_seconds ") > 1.7e9);
        assert!(value("process_cpu_seconds_total ") > 0.0);
    }
}
