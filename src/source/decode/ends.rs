//! When a token ends, as those who hand it out say it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use crate::types::{Utc, days};

/// Names of a date: seconds since 1970, milliseconds if there are that many, or text of RFC 3339.
pub(super) const ABSOLUTE: [&str; 5] = [
    "expires_at",
    "expiresAt",
    "token_expires_at",
    "tokenExpiresAt",
    "expiry",
];
/// Names of a number of seconds from now.
const RELATIVE: [&str; 2] = ["expires_in", "expiresIn"];

/// More seconds than this are milliseconds: they would end in the year 5138.
const MOST_SECONDS: f64 = 1e11;
const DAY: i64 = 24 * 60 * 60;

/// The end that these members tell; those that count from when it was `said`, only if that is known.
///
/// No end and an unknown one are the same, and both are often said by a 0.
pub(super) fn end(members: &Map<String, Value>, said: Option<SystemTime>) -> Option<SystemTime> {
    let absolute = ABSOLUTE.iter().filter_map(|name| members.get(*name));
    if let Some(date) = absolute.filter_map(date).next() {
        return Some(date);
    }
    let said = said?;
    let relative = RELATIVE.iter().filter_map(|name| members.get(*name));
    let seconds = relative.filter_map(number).find(|seconds| *seconds > 0.0)?;
    said.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

/// A date in the form of the one that stood there; `None` if that was none.
pub(super) fn rewritten(was: &str, ends: Option<SystemTime>) -> Option<String> {
    let value: Value = serde_json::from_str(was).ok()?;
    let since = ends.map(|ends| ends.duration_since(UNIX_EPOCH).unwrap_or_default());
    match &value {
        Value::Number(_) => {}
        Value::String(_) if number(&value).is_some() => {}
        Value::String(text) => {
            rfc3339(text)?;
            let shown = since.map(|since| format!("\"{}\"", Utc(UNIX_EPOCH + since)));
            return Some(shown.unwrap_or_else(|| "null".to_owned()));
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    }
    let since = since.unwrap_or_default();
    let number = match number(&value)? {
        seconds if seconds > MOST_SECONDS => since.as_millis(),
        _ => u128::from(since.as_secs()),
    };
    Some(if value.is_string() {
        format!("\"{number}\"")
    } else {
        number.to_string()
    })
}

fn date(value: &Value) -> Option<SystemTime> {
    let seconds = match (number(value), value) {
        (Some(number), _) if number > MOST_SECONDS => number / 1e3,
        (Some(number), _) => number,
        (None, Value::String(text)) => return rfc3339(text),
        (
            None,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_),
        ) => return None,
    };
    // What is not before 1970 and not beyond the clock's last day.
    let since = Duration::try_from_secs_f64(seconds).ok()?;
    (seconds > 0.0)
        .then(|| UNIX_EPOCH.checked_add(since))
        .flatten()
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text
            .trim()
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// `2026-11-21T08:00:00Z`, and what languages and databases make of it: a space for the `T`, fractions, an offset with
/// or without minutes. Without an offset it is UTC.
fn rfc3339(text: &str) -> Option<SystemTime> {
    let (year, rest) = digits(text.trim(), 4)?;
    let (month, rest) = digits(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = digits(rest.strip_prefix('-')?, 2)?;
    let (hour, rest) = digits(rest.strip_prefix(['T', 't', ' '])?, 2)?;
    let (minute, rest) = digits(rest.strip_prefix(':')?, 2)?;
    let (second, rest) = digits(rest.strip_prefix(':')?, 2)?;
    let fits = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour <= 24
        && minute <= 59
        && second <= 60;
    let rest = rest.strip_prefix('.').map_or(rest, |fraction| {
        fraction.trim_start_matches(|digit: char| digit.is_ascii_digit())
    });
    let ahead = match rest {
        "" | "Z" | "z" => 0,
        _ => {
            let sign = if rest.starts_with('-') { -1 } else { 1 };
            let (hours, rest) = digits(rest.strip_prefix(['+', '-'])?, 2)?;
            let rest = rest.strip_prefix(':').unwrap_or(rest);
            let (minutes, rest) = if rest.is_empty() {
                (0, "")
            } else {
                digits(rest, 2)?
            };
            if !rest.is_empty() {
                return None;
            }
            sign * (hours * 3_600 + minutes * 60)
        }
    };
    if !fits {
        return None;
    }
    let seconds = days(year, month, day) * DAY + hour * 3_600 + minute * 60 + second - ahead;
    UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
}

fn digits(text: &str, count: usize) -> Option<(i64, &str)> {
    let (number, rest) = text.split_at_checked(count)?;
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    Some((digits.then(|| number.parse().ok())??, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn seconds(at: Option<SystemTime>) -> Option<u64> {
        at.map(|at| at.duration_since(UNIX_EPOCH).unwrap().as_secs())
    }

    fn found(members: &Value, said: Option<u64>) -> Option<u64> {
        let said = said.map(|said| UNIX_EPOCH + Duration::from_secs(said));
        seconds(end(members.as_object().unwrap(), said))
    }

    #[test]
    fn a_date_is_read_as_everybody_writes_it() {
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
            for name in ABSOLUTE {
                assert_eq!(
                    found(&json!({ name: date }), None),
                    Some(1_795_248_000),
                    "{date}"
                );
            }
        }
    }

    #[test]
    fn seconds_from_now_count_only_if_now_is_known() {
        for name in RELATIVE {
            for said in [json!(5_183_999), json!("5183999")] {
                let members = json!({ name: said });
                assert_eq!(found(&members, Some(1_000)), Some(5_184_999));
                assert_eq!(found(&members, None), None);
            }
            assert_eq!(found(&json!({ name: 0 }), Some(1_000)), None);
            assert_eq!(found(&json!({ name: -5 }), Some(1_000)), None);
        }
        let both = json!({ "expires_in": 60, "expires_at": 5_000 });
        assert_eq!(found(&both, Some(1_000)), Some(5_000));
    }

    #[test]
    fn a_past_end_is_kept_and_what_is_no_end_is_none() {
        assert_eq!(found(&json!({ "expires_at": 1 }), None), Some(1));
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
            assert_eq!(found(&json!({ "expires_at": none }), None), None, "{none}");
        }
    }

    #[test]
    fn a_date_is_written_in_the_form_of_the_one_before() {
        let ends = Some(UNIX_EPOCH + Duration::from_secs(1_795_248_000));
        for (was, now, unknown) in [
            ("17", "1795248000", "0"),
            ("\"17\"", "\"1795248000\"", "\"0\""),
            ("1700000000000", "1795248000000", "0"),
            (
                "\"2020-02-29T00:00:00+01:00\"",
                "\"2026-11-21T08:00:00Z\"",
                "null",
            ),
        ] {
            assert_eq!(rewritten(was, ends).as_deref(), Some(now));
            assert_eq!(rewritten(was, None).as_deref(), Some(unknown));
        }
        for other in ["null", "true", "\"soon\"", "{}"] {
            assert_eq!(rewritten(other, ends), None);
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(since in 1_u64..253_402_300_799) {
            let text = Utc(UNIX_EPOCH + Duration::from_secs(since)).to_string();
            prop_assert_eq!(seconds(rfc3339(&text)), Some(since));
        }

        #[test]
        fn reading_is_total(text in ".{0,40}", number in any::<f64>()) {
            for value in [json!(text), json!(number)] {
                let members = json!({ "expires_at": value, "expires_in": value });
                let _end = found(&members, Some(1));
            }
        }
    }
}
