//! Durations and sizes as people write them: `500ms`, `5s`, `64KiB`.
//!
//! # Why
//!
//! One integer and one unit, nothing else: `1m30s` and `1.5s` would make two ways of writing everything, and a bare `5` is
//! how milliseconds become seconds. Sizes have only the units that mean one thing. The crates for such units accept all of
//! that, and would need more code to forbid it than this takes.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, Error, Visitor};

use super::error::quote;

/// A text that is not a duration or a size.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnitError {
    /// It is not an integer and a unit of time.
    #[error("must be an integer followed by ms, s, m, h or d, such as \"500ms\" or \"5s\"")]
    Duration,
    /// It is not an integer and a unit of size.
    #[error("must be an integer followed by B, KiB, MiB, GiB or TiB, such as \"64KiB\", or \"0\"")]
    Size,
    /// It is beyond 64 bits.
    #[error("is too large")]
    TooLarge,
}

/// Reads a duration.
///
/// # Errors
///
/// [`UnitError`] if it is not an integer and a unit; `0` needs no unit.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    read(text, &TIMES, UnitError::Duration).map(Duration::from_millis)
}

/// Reads a size, as bytes.
///
/// # Errors
///
/// [`UnitError`] if it is not an integer and a unit; `0` needs no unit.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    read(text, &SIZES, UnitError::Size)
}

/// Writes a duration as [`parse_duration`] reads it, in the largest unit that fits; less than a millisecond is lost.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    write(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &TIMES)
}

/// Writes a number of bytes as [`parse_size`] reads it, in the largest unit that fits.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    write(bytes, &SIZES)
}

/// Deserializes a duration between two numbers of milliseconds.
pub(super) fn duration<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(
    from: D,
) -> Result<Duration, D::Error> {
    let millis = from.deserialize_any(Quantity {
        expected: "a quoted string with a unit, such as \"5s\"",
        integer: |number| Err(format!("must be a quoted string with a unit, such as \"{number}s\"")),
        text: |text| read(text, &TIMES, UnitError::Duration),
    })?;
    if (MIN..=MAX).contains(&millis) {
        return Ok(Duration::from_millis(millis));
    }
    let [min, max, given] = [MIN, MAX, millis].map(|millis| write(millis, &TIMES));
    Err(Error::custom(format!("must be between {min} and {max}, not {given}")))
}

/// Deserializes a duration that may be left out.
pub(super) fn optional_duration<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(
    from: D,
) -> Result<Option<Duration>, D::Error> {
    duration::<D, MIN, MAX>(from).map(Some)
}

/// Deserializes a size of at most so many bytes.
pub(super) fn size<'de, D: Deserializer<'de>, const MAX: u64>(from: D) -> Result<u64, D::Error> {
    let bytes = from.deserialize_any(Quantity {
        expected: "a quoted string with a unit, such as \"64KiB\" or \"1MiB\"",
        integer: |number| match number {
            0 => Ok(0),
            _ => Err("must be a quoted string with a unit, such as \"64KiB\" or \"1MiB\"".to_owned()),
        },
        text: parse_size,
    })?;
    if bytes <= MAX {
        return Ok(bytes);
    }
    let [max, given] = [MAX, bytes].map(format_size);
    Err(Error::custom(format!("must be at most {max}, not {given}")))
}

/// A number with a unit.
struct Quantity {
    expected: &'static str,
    integer: fn(i64) -> Result<u64, String>,
    text: fn(&str) -> Result<u64, UnitError>,
}

impl Visitor<'_> for Quantity {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
        (self.integer)(number).map_err(E::custom)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        (self.text)(text).map_err(|error| match error {
            UnitError::TooLarge => E::custom(format!("{error}: {}", quote(text))),
            UnitError::Duration | UnitError::Size => E::custom(format!("{error}, not {}", quote(text))),
        })
    }
}

/// In milliseconds, smallest first.
const TIMES: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("d", 24 * 60 * 60 * 1000),
];

/// In bytes, smallest first.
const SIZES: [(&str, u64); 5] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

fn read(text: &str, units: &[(&str, u64)], wrong: UnitError) -> Result<u64, UnitError> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if digits.is_empty() {
        return Err(wrong);
    }
    // These are digits, so the only error is that there are too many.
    let number: u64 = digits.parse().map_err(|_overflow| UnitError::TooLarge)?;
    if number == 0 && unit.is_empty() {
        return Ok(0);
    }
    let (_, factor) = units
        .iter()
        .find(|(name, _)| *name == unit.trim_start_matches(' '))
        .ok_or(wrong)?;
    number.checked_mul(*factor).ok_or(UnitError::TooLarge)
}

fn write(number: u64, units: &[(&str, u64)]) -> String {
    let unit = units
        .iter()
        .rev()
        .find(|(_, factor)| number >= *factor && number.is_multiple_of(*factor));
    match unit {
        Some((name, factor)) => format!("{}{name}", number / factor),
        None => "0".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_an_integer_and_a_unit() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("5s", 5_000),
            ("5 s", 5_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("14d", 1_209_600_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "", "5", "s", "-5s", "+5s", "1.5s", "1m30s", "5S", "5sec", "5s ", " 5s", "5µs", "٣s",
        ] {
            assert_eq!(parse_duration(text), Err(UnitError::Duration), "{text:?}");
        }
        for text in ["99999999999999999999s", "9999999999999999999d"] {
            assert_eq!(parse_duration(text), Err(UnitError::TooLarge), "{text:?}");
        }
    }

    #[test]
    fn sizes_are_an_integer_and_a_binary_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("512B", 512),
            ("64KiB", 65_536),
            ("1MiB", 1_048_576),
            ("1GiB", 1 << 30),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "1", "1MB", "1mib", "1M", "-1MiB", "0.5GiB", "GiB"] {
            assert_eq!(parse_size(text), Err(UnitError::Size), "{text:?}");
        }
        assert_eq!(parse_size("99999999TiB"), Err(UnitError::TooLarge));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(number: u64) {
            prop_assert_eq!(parse_size(&format_size(number)), Ok(number));
            let time = Duration::from_millis(number);
            prop_assert_eq!(parse_duration(&format_duration(time)), Ok(time));
        }

        #[test]
        fn no_text_is_both_a_size_and_a_duration_except_zero(text in ".{0,40}") {
            let read = (parse_size(&text).is_ok(), parse_duration(&text).is_ok());
            prop_assert!(read != (true, true) || text.starts_with('0'));
        }
    }
}
