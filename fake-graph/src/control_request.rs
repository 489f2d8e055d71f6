//! What the requests of the control API have in common: their bodies, their times, and why they are refused.

use std::time::Duration;

use http::StatusCode;
use serde::de::DeserializeOwned;

/// An answer that is not a 200: status and reason.
pub(crate) type ApiError = (StatusCode, String);

pub(crate) fn bad_request(why: impl Into<String>) -> ApiError {
    (StatusCode::BAD_REQUEST, why.into())
}

/// Parses a JSON body. An empty body is an empty object.
pub(crate) fn parse_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| bad_request(format!("the body is invalid: {error}")))
}

/// Parses a duration: `250ms`, `4s`, `10m`, `2h`.
///
/// # Errors
///
/// A message that says what is wrong.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = text.strip_prefix(digits).unwrap_or_default();
    let number: u32 = digits
        .parse()
        .map_err(|_no_number| format!("{text:?} is not a duration: write 250ms, 4s, 10m or 2h"))?;
    let unit = match unit {
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(60 * 60),
        _ => return Err(format!("{text:?} needs a unit: ms, s, m or h")),
    };
    Ok(unit * number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("10m"), Ok(Duration::from_secs(600)));
        for wrong in ["", "4", "s", "-4s", "4 s", "4d", "4294967296s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
