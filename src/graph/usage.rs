//! How much of Graph's rate limits is used, as its answers tell in headers.
//!
//! # Why
//!
//! Past 100 % Graph throttles, for up to an hour, and every header that warns of it goes to an app that mostly looks at
//! none. The shapes differ by product and are documented in several places; whatever is not as expected is passed over.
//! The business header names accounts: their worst is what matters, and their ids are nobody's label.

use http::HeaderMap;
use serde_json::{Map, Value};

/// What is limited, and measured in per cent.
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

/// What an answer's headers tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    percents: [Option<f64>; UsageKind::ALL.len()],
    regain: Option<f64>,
}

const APP: &str = "x-app-usage";
const BUSINESS: &str = "x-business-use-case-usage";
const PAGE: &str = "x-page-usage";
const AD_ACCOUNT: &str = "x-ad-account-usage";
const INSIGHTS: &str = "x-fb-ads-insights-throttle";
const HEADERS: [&str; 5] = [APP, BUSINESS, PAGE, AD_ACCOUNT, INSIGHTS];

/// The longest value that is read, in bytes: hundreds of accounts.
const LONGEST: usize = 64 * 1024;

/// What [`read`] would read, name by value: while that is the same, so is what it tells.
pub fn lines(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    // One walk: most answers have few fields, and each look-up would hash a name.
    headers
        .iter()
        .filter(|(name, _)| {
            let name = name.as_str();
            name.starts_with("x-") && HEADERS.contains(&name)
        })
        .flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()])
}

/// Reads what there is. Of several values of one kind the largest counts.
#[must_use]
pub fn read(headers: &HeaderMap) -> Usage {
    use UsageKind as Kind;
    let mut usage = Usage::default();
    for app in objects(headers, APP) {
        usage.measure(&app, [Kind::AppCalls, Kind::AppCpu, Kind::AppTime]);
    }
    for page in objects(headers, PAGE) {
        usage.measure(&page, [Kind::PageCalls, Kind::PageCpu, Kind::PageTime]);
    }
    for business in objects(headers, BUSINESS) {
        for entry in business.values().filter_map(Value::as_array).flatten() {
            let Some(entry) = entry.as_object() else {
                continue;
            };
            let kinds = [Kind::BusinessCalls, Kind::BusinessCpu, Kind::BusinessTime];
            usage.measure(entry, kinds);
            largest(
                &mut usage.regain,
                number(entry, "estimated_time_to_regain_access"),
            );
        }
    }
    for account in objects(headers, AD_ACCOUNT) {
        usage.note(Kind::AdAccount, number(&account, "acc_id_util_pct"));
    }
    for insights in objects(headers, INSIGHTS) {
        usage.note(Kind::InsightsApp, number(&insights, "app_id_util_pct"));
        usage.note(Kind::InsightsAccount, number(&insights, "acc_id_util_pct"));
    }
    usage
}

fn objects(headers: &HeaderMap, name: &str) -> impl Iterator<Item = Map<String, Value>> {
    let values = headers.get_all(name).iter();
    values
        .filter(|value| value.len() <= LONGEST)
        .filter_map(|value| serde_json::from_slice(value.as_bytes()).ok())
}

/// A number that is not negative, or a string that is one.
fn number(object: &Map<String, Value>, key: &str) -> Option<f64> {
    let number = match object.get(key)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    number.filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

fn largest(known: &mut Option<f64>, told: Option<f64>) {
    *known = match (*known, told) {
        (Some(known), Some(told)) => Some(known.max(told)),
        (known, told) => known.or(told),
    };
}

// === impl Usage ===

impl Usage {
    /// What is told, in per cent of the limit; may be more than 100.
    pub fn percents(&self) -> impl Iterator<Item = (UsageKind, f64)> {
        let percents = self.percents.into_iter();
        UsageKind::ALL
            .into_iter()
            .zip(percents)
            .filter_map(|(kind, percent)| Some((kind, percent?)))
    }

    /// In how many minutes a throttled business use case has access again, if that is told; 0 if it has.
    #[must_use]
    pub const fn regain_minutes(&self) -> Option<f64> {
        self.regain
    }

    /// The three measures that most headers have.
    fn measure(&mut self, told: &Map<String, Value>, kinds: [UsageKind; 3]) {
        let keys = ["call_count", "total_cputime", "total_time"];
        for (kind, key) in kinds.into_iter().zip(keys) {
            self.note(kind, number(told, key));
        }
    }

    fn note(&mut self, kind: UsageKind, told: Option<f64>) {
        if let Some(percent) = self.percents.get_mut(kind as usize) {
            largest(percent, told);
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
