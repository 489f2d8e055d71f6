use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = HeaderValue::from_str(value).unwrap();
        headers.append(HeaderName::from_static(name), value);
    }
    headers
}

fn parsed(lines: &[(&'static str, &str)]) -> Vec<(&'static str, f64)> {
    let usage = parse(&headers(lines));
    let regain = usage.regain_minutes.map(|minutes| ("regain", minutes));
    usage.percents.into_iter().chain(regain).collect()
}

#[test]
fn a_recorded_response_reports_app_and_account_usage() {
    let business = r#"{"114023108121234":[{"type":"whatsapp","call_count":1,"total_cputime":2,"total_time":3,"estimated_time_to_regain_access":0}]}"#;
    assert_eq!(
        parsed(&[
            ("x-app-usage", r#"{"call_count":4,"total_cputime":5,"total_time":6}"#),
            ("x-business-use-case-usage", business),
        ]),
        [
            ("app_calls", 4.0),
            ("app_cpu", 5.0),
            ("app_time", 6.0),
            ("business_calls", 1.0),
            ("business_cpu", 2.0),
            ("business_time", 3.0),
            ("regain", 0.0)
        ]
    );
}

#[test]
fn page_ad_and_insights_usage_is_reported() {
    assert_eq!(
        parsed(&[
            ("x-page-usage", r#"{"call_count":1,"total_cputime":2,"total_time":3}"#),
            (
                "x-ad-account-usage",
                r#"{"acc_id_util_pct":9.67,"reset_time_duration":100,"ads_api_access_tier":"standard_access"}"#
            ),
            (
                "x-fb-ads-insights-throttle",
                r#"{"app_id_util_pct":100,"acc_id_util_pct":10.5}"#
            ),
        ]),
        [
            ("page_calls", 1.0),
            ("page_cpu", 2.0),
            ("page_time", 3.0),
            ("ad_account", 9.67),
            ("insights_app", 100.0),
            ("insights_account", 10.5)
        ]
    );
}

#[test]
fn the_worst_account_entry_and_line_counts() {
    let business = |a: u32, b: u32, minutes: u32| {
        format!(
            r#"{{"1":[{{"type":"messenger","call_count":{a}}},{{"type":"messenger","call_count":{b},"estimated_time_to_regain_access":{minutes}}}],"2":[]}}"#
        )
    };
    assert_eq!(
        parsed(&[
            ("x-business-use-case-usage", &business(7, 3, 19)),
            ("x-business-use-case-usage", &business(2, 112, 5)),
        ]),
        [("business_calls", 112.0), ("regain", 19.0)]
    );
}

#[test]
fn unrecognized_values_are_ignored() {
    for value in [
        "",
        "null",
        "7",
        "[]",
        "{",
        r#"{"call_count":"many"}"#,
        r#"{"call_count":-1}"#,
        r#"{"call_count":"inf"}"#,
        r#"{"call_count":1e999}"#,
        r#"{"call_count":{}}"#,
        r#"{"1":{"call_count":7}}"#,
        r#"{"1":[[7],null]}"#,
    ] {
        for (name, _) in HEADERS {
            assert_eq!(parsed(&[(name, value)]), [], "{name}: {value}");
        }
    }
    assert_eq!(
        parsed(&[("x-app-usage", r#"{"call_count":" 28 ","total_time":null}"#)]),
        [("app_calls", 28.0)]
    );
    let long = format!(r#"{{"call_count":1,"a":"{}"}}"#, "a".repeat(MAX_HEADER_BYTES));
    assert_eq!(parsed(&[("x-app-usage", &long)]), []);
    assert_eq!(parse(&HeaderMap::new()), Usage::default());
}

#[test]
fn every_limit_has_a_name_of_its_own_in_metrics() {
    let fields = HEADERS.iter().flat_map(|(_, fields)| *fields);
    let names: std::collections::BTreeSet<_> = fields.clone().map(|(_, name)| name).collect();
    assert_eq!(names.len(), fields.count());
}

#[test]
fn only_usage_headers_are_compared() {
    let headers = headers(&[("x-page-usage", "b"), ("date", "c"), ("x-app-usage", "a")]);
    let lines: Vec<_> = usage_headers(&headers).collect();
    let expected: [&[u8]; 4] = [b"x-page-usage", b"b", b"x-app-usage", b"a"];
    assert_eq!(lines, expected);
}

proptest! {
    #[test]
    fn every_reported_value_is_finite_and_not_negative(value in r#"(\{|\}|\[|\]|,|:|"1"|"call_count"|"acc_id_util_pct"|-?[0-9]{1,3}(e[0-9]{1,3})?|null){0,12}"#) {
        for (name, _) in HEADERS {
            for (_, number) in parsed(&[(name, &value)]) {
                prop_assert!(number.is_finite() && number >= 0.0);
            }
        }
    }
}
