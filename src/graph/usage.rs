//! The usage of Graph's rate limits, as the headers of its answers report it.
//!
//! # Why
//!
//! Past 100 % Graph throttles, for up to an hour, and most apps read none of the headers that warn of it. The shapes
//! differ by product and are documented in several places; a value of an unexpected shape is skipped. The business
//! header names accounts: the highest value counts, and their ids must not become labels.

use http::HeaderMap;
use serde_json::{Map, Value};

/// A rate limit whose usage is reported in per cent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UsageKind {
    /// Calls of the app.
    AppCalls,
    /// Processor time of the app.
    AppCpu,
    /// Time of the app.
    AppTime,
    /// Calls of a business use case, such as a WhatsApp account.
    BusinessCalls,
    /// Processor time of a business use case.
    BusinessCpu,
    /// Time of a business use case.
    BusinessTime,
    /// Calls of a page.
    PageCalls,
    /// Processor time of a page.
    PageCpu,
    /// Time of a page.
    PageTime,
    /// An ad account.
    AdAccount,
    /// Ads insights, of the app.
    InsightsApp,
    /// Ads insights, of the ad account.
    InsightsAccount,
}

/// The usage that an answer reports.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    percents: [Option<f64>; UsageKind::ALL.len()],
    regain_minutes: Option<f64>,
}

const APP: &str = "x-app-usage";
const BUSINESS: &str = "x-business-use-case-usage";
const PAGE: &str = "x-page-usage";
const AD_ACCOUNT: &str = "x-ad-account-usage";
const INSIGHTS: &str = "x-fb-ads-insights-throttle";
const HEADERS: [&str; 5] = [APP, BUSINESS, PAGE, AD_ACCOUNT, INSIGHTS];

/// The longest value that is read, in bytes: hundreds of accounts.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// The names and values that [`parse`] reads: while they are the same, so is its result.
pub fn usage_headers(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    // One walk: most answers have few fields, and each look-up would hash a name.
    headers
        .iter()
        .filter(|(name, _)| {
            let name = name.as_str();
            name.starts_with("x-") && HEADERS.contains(&name)
        })
        .flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()])
}

/// Reads the usage. Of several values of one kind the largest counts.
#[must_use]
pub fn parse(headers: &HeaderMap) -> Usage {
    use UsageKind as Kind;
    let mut usage = Usage::default();
    for app in json_objects(headers, APP) {
        usage.record_call_usage(&app, [Kind::AppCalls, Kind::AppCpu, Kind::AppTime]);
    }
    for page in json_objects(headers, PAGE) {
        usage.record_call_usage(&page, [Kind::PageCalls, Kind::PageCpu, Kind::PageTime]);
    }
    for business in json_objects(headers, BUSINESS) {
        for entry in business.values().filter_map(Value::as_array).flatten() {
            let Some(entry) = entry.as_object() else {
                continue;
            };
            let kinds = [Kind::BusinessCalls, Kind::BusinessCpu, Kind::BusinessTime];
            usage.record_call_usage(entry, kinds);
            update_max(
                &mut usage.regain_minutes,
                non_negative_number(entry, "estimated_time_to_regain_access"),
            );
        }
    }
    for account in json_objects(headers, AD_ACCOUNT) {
        usage.record(Kind::AdAccount, non_negative_number(&account, "acc_id_util_pct"));
    }
    for insights in json_objects(headers, INSIGHTS) {
        usage.record(Kind::InsightsApp, non_negative_number(&insights, "app_id_util_pct"));
        usage.record(Kind::InsightsAccount, non_negative_number(&insights, "acc_id_util_pct"));
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

fn update_max(current: &mut Option<f64>, reported: Option<f64>) {
    *current = match (*current, reported) {
        (Some(known), Some(told)) => Some(known.max(told)),
        (known, told) => known.or(told),
    };
}

// === impl Usage ===

impl Usage {
    /// The reported usage, in per cent of the limit; may be more than 100.
    pub fn percents(&self) -> impl Iterator<Item = (UsageKind, f64)> {
        let percents = self.percents.into_iter();
        UsageKind::ALL
            .into_iter()
            .zip(percents)
            .filter_map(|(kind, percent)| Some((kind, percent?)))
    }

    /// The minutes until a throttled business use case has access again, if reported; 0 if it has access.
    #[must_use]
    pub const fn regain_minutes(&self) -> Option<f64> {
        self.regain_minutes
    }

    /// The three measures that most headers have.
    fn record_call_usage(&mut self, object: &Map<String, Value>, kinds: [UsageKind; 3]) {
        let keys = ["call_count", "total_cputime", "total_time"];
        for (kind, key) in kinds.into_iter().zip(keys) {
            self.record(kind, non_negative_number(object, key));
        }
    }

    fn record(&mut self, kind: UsageKind, reported: Option<f64>) {
        if let Some(percent) = self.percents.get_mut(kind as usize) {
            update_max(percent, reported);
        }
    }
}

// === impl UsageKind ===

impl UsageKind {
    /// All of them, in order.
    pub const ALL: [Self; 12] = [
        Self::AppCalls,
        Self::AppCpu,
        Self::AppTime,
        Self::BusinessCalls,
        Self::BusinessCpu,
        Self::BusinessTime,
        Self::PageCalls,
        Self::PageCpu,
        Self::PageTime,
        Self::AdAccount,
        Self::InsightsApp,
        Self::InsightsAccount,
    ];

    /// Its name in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::AppCalls => "app_calls",
            Self::AppCpu => "app_cpu",
            Self::AppTime => "app_time",
            Self::BusinessCalls => "business_calls",
            Self::BusinessCpu => "business_cpu",
            Self::BusinessTime => "business_time",
            Self::PageCalls => "page_calls",
            Self::PageCpu => "page_cpu",
            Self::PageTime => "page_time",
            Self::AdAccount => "ad_account",
            Self::InsightsApp => "insights_app",
            Self::InsightsAccount => "insights_account",
        }
    }
}

#[cfg(test)]
mod tests;
