//! The usage of Graph's rate limits, as the headers of its responses report it.
//!
//! # Why
//!
//! Past 100 % Graph throttles, for up to an hour, and most apps read none of the headers that warn of it. The shapes
//! differ by product and are documented in several places; a value of an unexpected shape is skipped. The business
//! header names accounts: the highest value counts, and their ids must not become labels.

use http::HeaderMap;
use serde_json::{Map, Value};

/// The usage that a response reports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// The name in metrics of each reported limit, and its used share in per cent, which may be more than 100.
    pub percents: Vec<(&'static str, f64)>,
    /// The minutes until a throttled business use case has access again, if reported; 0 if it has access.
    pub regain_minutes: Option<f64>,
}

const BUSINESS: &str = "x-business-use-case-usage";

/// The headers, and the fields of their JSON objects that are per cents of a limit: each with its name in metrics.
const HEADERS: [(&str, &[(&str, &str)]); 5] = [
    (
        "x-app-usage",
        &[
            ("call_count", "app_calls"),
            ("total_cputime", "app_cpu"),
            ("total_time", "app_time"),
        ],
    ),
    (
        BUSINESS,
        &[
            ("call_count", "business_calls"),
            ("total_cputime", "business_cpu"),
            ("total_time", "business_time"),
        ],
    ),
    (
        "x-page-usage",
        &[
            ("call_count", "page_calls"),
            ("total_cputime", "page_cpu"),
            ("total_time", "page_time"),
        ],
    ),
    ("x-ad-account-usage", &[("acc_id_util_pct", "ad_account")]),
    (
        "x-fb-ads-insights-throttle",
        &[
            ("app_id_util_pct", "insights_app"),
            ("acc_id_util_pct", "insights_account"),
        ],
    ),
];

/// The longest value that is read, in bytes: hundreds of accounts.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// The names and values that [`parse`] reads: while they are the same, so is its result.
pub fn usage_headers(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    // One walk: most responses have few fields, and each look-up would hash a name.
    headers
        .iter()
        .filter(|(name, _)| {
            let name = name.as_str();
            name.starts_with("x-") && HEADERS.iter().any(|(known, _)| *known == name)
        })
        .flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()])
}

/// Reads the usage. Of several values of one limit the largest counts.
#[must_use]
pub fn parse(headers: &HeaderMap) -> Usage {
    let mut usage = Usage::default();
    for (header, fields) in HEADERS {
        for object in json_objects(headers, header) {
            if header != BUSINESS {
                usage.record(&object, fields);
                continue;
            }
            // The object has a list of entries for each account.
            let entries = object.values().filter_map(Value::as_array).flatten();
            for entry in entries.filter_map(Value::as_object) {
                usage.record(entry, fields);
                let minutes = non_negative_number(entry, "estimated_time_to_regain_access");
                usage.regain_minutes = usage.regain_minutes.into_iter().chain(minutes).reduce(f64::max);
            }
        }
    }
    usage
}

fn json_objects(headers: &HeaderMap, name: &str) -> impl Iterator<Item = Map<String, Value>> {
    let values = headers.get_all(name).iter();
    values
        .filter(|value| value.len() <= MAX_HEADER_BYTES)
        .filter_map(|value| serde_json::from_slice(value.as_bytes()).ok())
}

/// A number that is not negative, or a string that is one.
fn non_negative_number(object: &Map<String, Value>, key: &str) -> Option<f64> {
    let number = match object.get(key)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    number.filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

// === impl Usage ===

impl Usage {
    fn record(&mut self, object: &Map<String, Value>, fields: &[(&str, &'static str)]) {
        for (key, limit) in fields {
            let Some(percent) = non_negative_number(object, key) else {
                continue;
            };
            match self.percents.iter_mut().find(|(known, _)| known == limit) {
                Some((_, largest)) => *largest = largest.max(percent),
                None => self.percents.push((limit, percent)),
            }
        }
    }
}

#[cfg(test)]
mod tests;
