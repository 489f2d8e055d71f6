//! What an answer tells of Graph's rate limits, made seen.

use http::HeaderMap;

use crate::graph::usage;
use crate::telemetry::metrics::UsageMetrics;

/// Reads an answer's head, unless it tells what the last one told.
pub(crate) fn record_usage(headers: &HeaderMap, metrics: &UsageMetrics) {
    metrics.update_if_changed(
        || usage::usage_headers(headers),
        |metrics| {
            let usage = usage::parse(headers);
            for (kind, percent) in usage.percents() {
                metrics.set_percent(kind.label(), percent);
            }
            if let Some(minutes) = usage.regain_minutes() {
                metrics.set_regain_minutes(minutes);
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::telemetry::metrics::Metrics;
    use crate::types::TenantId;

    fn usage_headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        )])
    }

    #[test]
    fn gauges_show_what_was_told_last_and_no_id() {
        let all = Metrics::new();
        let metrics = all.path(&TenantId::default()).usage;
        let business = |calls: u32| {
            let value = format!(
                r#"{{"114023108121234":[{{"type":"whatsapp","call_count":{calls},"estimated_time_to_regain_access":9}}]}}"#
            );
            usage_headers("x-business-use-case-usage", &value)
        };
        record_usage(&HeaderMap::new(), &metrics);
        assert!(!all.text().contains("kind="), "{}", all.text());
        for calls in [91, 91, 40] {
            record_usage(&business(calls), &metrics);
            record_usage(&HeaderMap::new(), &metrics);
            let text = all.text();
            let percent =
                format!("graphward_graph_usage_percent{{tenant=\"default\",kind=\"business_calls\"}} {calls}.0\n");
            assert!(text.contains(&percent), "{text}");
            assert!(text.contains("graphward_regain_access_minutes{tenant=\"default\"} 9.0\n"));
            assert!(!text.contains("114023108121234"));
        }
        // Another header with the same words tells something else.
        let words = r#"{"call_count":7}"#;
        record_usage(&usage_headers("x-app-usage", words), &metrics);
        record_usage(&usage_headers("x-page-usage", words), &metrics);
        assert!(all.text().contains("kind=\"page_calls\"} 7.0\n"));
    }

    #[test]
    fn what_was_told_before_is_not_read_again() {
        let metrics = Metrics::new().path(&TenantId::default()).usage;
        let headers = usage_headers("x-app-usage", r#"{"call_count":7}"#);
        let mut read = 0;
        for _ in 0..3 {
            metrics.update_if_changed(|| usage::usage_headers(&headers), |_metrics| read += 1);
        }
        assert_eq!(read, 1);
        let more = usage_headers("x-app-usage", r#"{"call_count":77}"#);
        for headers in [&more, &headers] {
            metrics.update_if_changed(|| usage::usage_headers(headers), |_metrics| read += 1);
        }
        assert_eq!(read, 3);
    }
}
