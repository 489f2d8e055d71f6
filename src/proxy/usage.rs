//! Records Graph's rate limits, as the headers of a response report them.

use http::HeaderMap;

use crate::graph::usage;
use crate::telemetry::metrics::UsageMetrics;

/// Reads the usage headers of a response, unless they repeat the previous ones.
pub(crate) fn record_usage(headers: &HeaderMap, metrics: &UsageMetrics) {
    metrics.update_if_changed(
        || usage::usage_headers(headers),
        |metrics| {
            let usage = usage::parse(headers);
            for (kind, percent) in usage.percents {
                metrics.set_used_ratio(kind, percent / 100.0);
            }
            if let Some(minutes) = usage.regain_minutes {
                metrics.set_regain_access_seconds(minutes * 60.0);
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::telemetry::metrics::{ExpositionFormat, Metrics};
    use crate::types::TenantId;

    fn usage_headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        )])
    }

    #[test]
    fn gauges_show_the_last_reported_usage_and_no_id() {
        let all = Metrics::new();
        let metrics = all.request_metrics(&TenantId::default());
        let record = |headers: &HeaderMap| metrics.update_usage(|usage| record_usage(headers, usage));
        let business = |calls: u32| {
            let value = format!(
                r#"{{"114023108121234":[{{"type":"whatsapp","call_count":{calls},"estimated_time_to_regain_access":9}}]}}"#
            );
            usage_headers("x-business-use-case-usage", &value)
        };
        record(&HeaderMap::new());
        assert!(!all.encode(ExpositionFormat::Text).contains("kind="));
        for calls in [91, 91, 40] {
            record(&business(calls));
            record(&HeaderMap::new());
            let text = all.encode(ExpositionFormat::Text);
            let ratio = f64::from(calls) / 100.0;
            let line = format!(
                "graphward_graph_rate_limit_usage_ratio{{tenant=\"default\",kind=\"business_calls\"}} {ratio}\n"
            );
            assert!(text.contains(&line), "{text}");
            assert!(text.contains("graphward_graph_rate_limit_regain_access_seconds{tenant=\"default\"} 540.0\n"));
            assert!(!text.contains("114023108121234"));
        }
        // Another header with the same value has another meaning.
        let value = r#"{"call_count":7}"#;
        record(&usage_headers("x-app-usage", value));
        record(&usage_headers("x-page-usage", value));
        assert!(
            all.encode(ExpositionFormat::Text)
                .contains("kind=\"page_calls\"} 0.07\n")
        );
    }

    #[test]
    fn repeated_usage_headers_are_not_parsed_again() {
        let metrics = UsageMetrics::default();
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
