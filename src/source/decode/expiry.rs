//! The expiry of a token, as token endpoints and files write it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde_json::Value;

use crate::types::Rfc3339Timestamp;

/// The names of a date: Unix time in seconds or, if it is that large, in milliseconds; or RFC 3339.
pub(super) const EXPIRES_AT_KEYS: [&str; 5] = [
    "expires_at",
    "expiresAt",
    "token_expires_at",
    "tokenExpiresAt",
    "expiry",
];
/// The names of a number of seconds from now.
const EXPIRES_IN_KEYS: [&str; 2] = ["expires_in", "expiresIn"];

/// A larger number is in milliseconds: in seconds it would be the year 5138.
const MAX_EPOCH_SECONDS: f64 = 1e11;

/// Returns the expiry among the members of an object; a relative one only if the time of receipt is known.
///
/// A 0 often means no expiry or an unknown one, which are the same here.
pub(super) fn expires_at(
    member: impl Fn(&str) -> Option<Value>,
    received_at: Option<SystemTime>,
) -> Option<SystemTime> {
    if let Some(date) = EXPIRES_AT_KEYS.iter().find_map(|name| parse_date(&member(name)?)) {
        return Some(date);
    }
    let received_at = received_at?;
    let lifetime = |name: &&str| parse_number(&member(name)?).filter(|seconds| *seconds > 0.0);
    let seconds = EXPIRES_IN_KEYS.iter().find_map(lifetime)?;
    received_at.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

/// Returns the name of the date among the members of an object.
pub(super) fn expiry_key(member: impl Fn(&str) -> Option<Value>) -> Option<&'static str> {
    let is_date = |name: &&str| member(name).is_some_and(|value| parse_date(&value).is_some());
    EXPIRES_AT_KEYS.into_iter().find(is_date)
}

/// Formats a date like the original; `None` if the original is not a date.
pub(super) fn rewrite_date(original: &str, expires_at: Option<SystemTime>) -> Option<String> {
    let value: Value = serde_json::from_str(original).ok()?;
    let since_1970 = expires_at.map(|at| at.duration_since(UNIX_EPOCH).unwrap_or_default());
    match &value {
        Value::Number(_) => {}
        Value::String(_) if parse_number(&value).is_some() => {}
        Value::String(text) => {
            parse_rfc3339(text)?;
            let date = since_1970.map(|since| format!("\"{}\"", Rfc3339Timestamp(UNIX_EPOCH + since)));
            return Some(date.unwrap_or_else(|| "null".to_owned()));
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    }
    let since_1970 = since_1970.unwrap_or_default();
    let number = match parse_number(&value)? {
        seconds if seconds > MAX_EPOCH_SECONDS => since_1970.as_millis(),
        _ => u128::from(since_1970.as_secs()),
    };
    Some(if value.is_string() {
        format!("\"{number}\"")
    } else {
        number.to_string()
    })
}

fn parse_date(value: &Value) -> Option<SystemTime> {
    let seconds = match (parse_number(value), value) {
        (Some(number), _) if number > MAX_EPOCH_SECONDS => number / 1e3,
        (Some(number), _) => number,
        (None, Value::String(text)) => return parse_rfc3339(text),
        (None, Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => return None,
    };
    let since_1970 = Duration::try_from_secs_f64(seconds).ok()?;
    (seconds > 0.0).then(|| UNIX_EPOCH.checked_add(since_1970)).flatten()
}

fn parse_number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Parses RFC 3339 and its variants of languages and databases: a space for the `T`, fractions, an offset with or without
/// minutes. Without an offset it is UTC.
fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    let timestamp: Timestamp = text.parse().or_else(|_no_offset| format!("{text}Z").parse()).ok()?;
    SystemTime::try_from(timestamp).ok().filter(|at| *at >= UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn seconds(at: Option<SystemTime>) -> Option<u64> {
        at.map(|at| at.duration_since(UNIX_EPOCH).unwrap().as_secs())
    }

    fn expiry_seconds(members: &Value, received_at: Option<u64>) -> Option<u64> {
        let received_at = received_at.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        seconds(expires_at(|name| members.get(name).cloned(), received_at))
    }

    #[test]
    fn every_common_date_format_is_read() {
        for date in [
            json!(1_795_248_000),
            json!(1_795_248_000.0),
            json!("1795248000"),
            json!(1_795_248_000_000_u64),
            json!("1795248000000"),
            json!("2026-11-21T08:00:00Z"),
            json!("2026-11-21t08:00:00.123456z"),
            json!("2026-11-21 08:00:00+00"),
            json!("2026-11-21T09:30:00+01:30"),
            json!("2026-11-21T00:00:00.5-0800"),
            json!("2026-11-21T08:00:00"),
        ] {
            for name in EXPIRES_AT_KEYS {
                assert_eq!(
                    expiry_seconds(&json!({ name: date }), None),
                    Some(1_795_248_000),
                    "{date}"
                );
            }
        }
    }

    #[test]
    fn relative_expiries_need_the_time_of_receipt() {
        for name in EXPIRES_IN_KEYS {
            for lifetime in [json!(5_183_999), json!("5183999")] {
                let members = json!({ name: lifetime });
                assert_eq!(expiry_seconds(&members, Some(1_000)), Some(5_184_999));
                assert_eq!(expiry_seconds(&members, None), None);
            }
            assert_eq!(expiry_seconds(&json!({ name: 0 }), Some(1_000)), None);
            assert_eq!(expiry_seconds(&json!({ name: -5 }), Some(1_000)), None);
        }
        let both = json!({ "expires_in": 60, "expires_at": 5_000 });
        assert_eq!(expiry_seconds(&both, Some(1_000)), Some(5_000));
    }

    #[test]
    fn a_past_expiry_is_kept_and_an_invalid_one_is_none() {
        assert_eq!(expiry_seconds(&json!({ "expires_at": 1 }), None), Some(1));
        for none in [
            json!(0),
            json!("0"),
            json!(-1),
            json!(null),
            json!(true),
            json!(""),
            json!("never"),
            json!("NaN"),
            json!("inf"),
            json!(1e300),
            json!("2026-13-01T00:00:00Z"),
            json!("2026-11-21"),
            json!("2026-11-21T08:00:00+1"),
            json!("1026-11-21T08:00:00Z"),
            json!([1]),
        ] {
            assert_eq!(expiry_seconds(&json!({ "expires_at": none }), None), None, "{none}");
        }
    }

    #[test]
    fn a_date_is_written_in_the_format_of_the_original() {
        let expires_at = Some(UNIX_EPOCH + Duration::from_secs(1_795_248_000));
        for (original, known, unknown) in [
            ("17", "1795248000", "0"),
            ("\"17\"", "\"1795248000\"", "\"0\""),
            ("1700000000000", "1795248000000", "0"),
            ("\"2020-02-29T00:00:00+01:00\"", "\"2026-11-21T08:00:00Z\"", "null"),
        ] {
            assert_eq!(rewrite_date(original, expires_at).as_deref(), Some(known));
            assert_eq!(rewrite_date(original, None).as_deref(), Some(unknown));
        }
        for other in ["null", "true", "\"soon\"", "{}"] {
            assert_eq!(rewrite_date(other, expires_at), None);
        }
    }

    proptest! {
        #[test]
        fn formatted_dates_parse_back(since in 1_u64..253_402_207_200) {
            let text = Rfc3339Timestamp(UNIX_EPOCH + Duration::from_secs(since)).to_string();
            prop_assert_eq!(seconds(parse_rfc3339(&text)), Some(since));
        }

        #[test]
        fn parsing_never_panics(text in ".{0,40}", number in any::<f64>()) {
            for value in [json!(text), json!(number)] {
                let members = json!({ "expires_at": value, "expires_in": value });
                let _expiry = expiry_seconds(&members, Some(1));
            }
        }
    }
}
