//! The headers about an app's rate limits. All answers of Graph have them; they are set on command.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

const X_APP_USAGE: HeaderName = HeaderName::from_static("x-app-usage");
const X_BUSINESS_USE_CASE_USAGE: HeaderName = HeaderName::from_static("x-business-use-case-usage");
const X_AD_ACCOUNT_USAGE: HeaderName = HeaderName::from_static("x-ad-account-usage");
const X_PAGE_USAGE: HeaderName = HeaderName::from_static("x-page-usage");
const X_FB_ADS_INSIGHTS_THROTTLE: HeaderName = HeaderName::from_static("x-fb-ads-insights-throttle");

/// The default headers, as in recorded answers.
pub(crate) fn default_headers() -> HeaderMap {
    const UNUSED_APP: &str = "{\"call_count\":0,\"total_cputime\":0,\"total_time\":0}";
    const USED_BUSINESS: &str = "{\"114023108121234\":[{\"type\":\"whatsapp\",\"call_count\":1,\"total_cputime\":1,\
        \"total_time\":1,\"estimated_time_to_regain_access\":0}]}";
    HeaderMap::from_iter([
        (X_APP_USAGE, HeaderValue::from_static(UNUSED_APP)),
        (X_BUSINESS_USE_CASE_USAGE, HeaderValue::from_static(USED_BUSINESS)),
    ])
}

/// Sets headers by name: a text unchanged, other values as JSON. `null` removes a header.
///
/// # Errors
///
/// A message that says what is wrong. Then no header is changed.
pub(crate) fn set_headers(usage: &mut HeaderMap, requested: &Map<String, Value>) -> Result<(), String> {
    let mut new = usage.clone();
    for (name, value) in requested {
        let names = [
            X_APP_USAGE,
            X_BUSINESS_USE_CASE_USAGE,
            X_AD_ACCOUNT_USAGE,
            X_PAGE_USAGE,
            X_FB_ADS_INSIGHTS_THROTTLE,
        ];
        let Some(name) = names
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(name))
        else {
            return Err(format!("{name:?} is not a header about usage"));
        };
        let text = match value {
            Value::Null => {
                new.remove(name);
                continue;
            }
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
        };
        let text = HeaderValue::try_from(text)
            .map_err(|error| format!("the value of {name} is not valid in a header: {error}"))?;
        new.insert(name, text);
    }
    *usage = new;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(value: &Value) -> &Map<String, Value> {
        value.as_object().unwrap()
    }

    #[test]
    fn headers_are_set_unchanged_and_all_or_nothing() {
        let mut usage = default_headers();
        let good =
            json!({"X-App-Usage": {"call_count": 93}, "x-page-usage": "no json", "x-business-use-case-usage": null});
        set_headers(&mut usage, asked(&good)).unwrap();
        assert_eq!(usage[X_APP_USAGE], "{\"call_count\":93}");
        assert_eq!(usage[X_PAGE_USAGE], "no json");
        assert!(!usage.contains_key(X_BUSINESS_USE_CASE_USAGE));
        for bad in [
            json!({"x-page-usage": null, "vary": "x"}),
            json!({"x-page-usage": "a\nb"}),
        ] {
            assert!(set_headers(&mut usage, asked(&bad)).is_err());
            assert!(usage.contains_key(X_PAGE_USAGE), "all or nothing");
        }
    }
}
