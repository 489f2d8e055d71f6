//! Whatever Graph's headers say, what is told is a number that can be shown, and the same is told for the same lines.

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
    let told = usage::read(&headers);
    for (kind, percent) in told.percents() {
        assert!(percent.is_finite() && percent >= 0.0, "{kind:?}");
    }
    if let Some(minutes) = told.regain_minutes() {
        assert!(minutes.is_finite() && minutes >= 0.0);
    }
    assert_eq!(told, usage::read(&headers));
    // Names by values, of the headers that matter.
    let counted = headers.iter().filter(|(name, _)| *name != "date").count();
    assert_eq!(usage::lines(&headers).count(), 2 * counted);
    headers.remove("date");
    assert_eq!(told, usage::read(&headers));
});
