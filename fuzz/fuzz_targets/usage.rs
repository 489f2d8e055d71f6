//! Any headers give a usage whose numbers can be shown, and the same headers give the same usage.

#![no_main]

use graphward::graph::usage;
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 6] = [
    "x-app-usage",
    "x-business-use-case-usage",
    "x-page-usage",
    "x-ad-account-usage",
    "x-fb-ads-insights-throttle",
    "date",
];

fuzz_target!(|lines: Vec<(u8, &[u8])>| {
    let mut headers = HeaderMap::new();
    for (name, value) in &lines {
        let name = HeaderName::from_static(NAMES[usize::from(*name) % NAMES.len()]);
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let reported = usage::parse(&headers);
    for (kind, percent) in &reported.percents {
        assert!(percent.is_finite() && *percent >= 0.0, "{kind:?}");
    }
    if let Some(minutes) = reported.regain_minutes {
        assert!(minutes.is_finite() && minutes >= 0.0);
    }
    assert_eq!(reported, usage::parse(&headers));
    // Names by values, of the headers that matter.
    let counted = headers.iter().filter(|(name, _)| *name != "date").count();
    assert_eq!(usage::usage_headers(&headers).count(), 2 * counted);
    headers.remove("date");
    assert_eq!(reported, usage::parse(&headers));
});
