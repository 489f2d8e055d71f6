//! Durations and sizes as people write them: `500ms`, `5s`, `64KiB`.
//!
//! # Why
//!
//! One integer and one unit, nothing else: `1m30s` and `1.5s` would make two ways of writing everything, and a bare `5` is
//! how milliseconds become seconds. Sizes have only the units that mean one thing. `humantime` and `bytesize` accept all
//! of that, in several spellings of each unit, so the two tables of units and [`Unit::read`] would stay as a check before
//! them; they print `1m 30s` and `1.5 MiB`, which this cannot read back, so [`Unit::write`] would stay, too. They would
//! delete no line.

use std::time::Duration;

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
    TIMES.read(text).map(Duration::from_millis)
}

/// The units of what is measured, smallest first.
#[derive(Debug)]
pub struct Unit {
    names: [(&'static str, u64); 5],
    invalid: UnitError,
}

/// In milliseconds.
pub const TIMES: Unit = Unit {
    names: [
        ("ms", 1),
        ("s", 1000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
    ],
    invalid: UnitError::Duration,
};

/// In bytes.
pub const SIZES: Unit = Unit {
    names: [
        ("B", 1),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
    ],
    invalid: UnitError::Size,
};

impl Unit {
    /// Reads a number with a unit; `0` needs none.
    ///
    /// # Errors
    ///
    /// [`UnitError`] if it is not an integer and a unit.
    pub fn read(&self, text: &str) -> Result<u64, UnitError> {
        let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        if digits.is_empty() {
            return Err(self.invalid);
        }
        // These are digits, so the only error is that there are too many.
        let number: u64 = digits.parse().map_err(|_overflow| UnitError::TooLarge)?;
        if number == 0 && unit.is_empty() {
            return Ok(0);
        }
        let unit = unit.trim_start_matches(' ');
        let (_, factor) = self.names.iter().find(|(name, _)| *name == unit).ok_or(self.invalid)?;
        number.checked_mul(*factor).ok_or(UnitError::TooLarge)
    }

    /// Writes a number in the largest unit that fits.
    #[must_use]
    pub fn write(&self, number: u64) -> String {
        let fits = |(_, factor): &&(&str, u64)| number >= *factor && number.is_multiple_of(*factor);
        match self.names.iter().rev().find(fits) {
            Some((name, factor)) => format!("{}{name}", number / factor),
            None => "0".to_owned(),
        }
    }

    /// Reads a number between two others, which are written in the same way.
    ///
    /// # Errors
    ///
    /// A message that says what the text must be. It does not repeat the text, which may be a secret in the wrong place.
    pub fn between(&self, text: &str, min: Option<&str>, max: Option<&str>) -> Result<u64, String> {
        let number = self.read(text).map_err(|error| error.to_string())?;
        let min = min.and_then(|min| self.read(min).ok()).unwrap_or(0);
        let max = max.and_then(|max| self.read(max).ok()).unwrap_or(u64::MAX);
        if (min..=max).contains(&number) {
            return Ok(number);
        }
        let [min, max, given] = [min, max, number].map(|number| self.write(number));
        Err(format!("must be between {min} and {max}, not {given}"))
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
            assert_eq!(SIZES.read(text), Ok(bytes), "{text}");
        }
        for text in ["", "1", "1MB", "1mib", "1M", "-1MiB", "0.5GiB", "GiB"] {
            assert_eq!(SIZES.read(text), Err(UnitError::Size), "{text:?}");
        }
        assert_eq!(SIZES.read("99999999TiB"), Err(UnitError::TooLarge));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(number: u64) {
            prop_assert_eq!(SIZES.read(&SIZES.write(number)), Ok(number));
            let time = Duration::from_millis(number);
            prop_assert_eq!(parse_duration(&TIMES.write(number)), Ok(time));
        }

        #[test]
        fn no_text_is_both_a_size_and_a_duration_except_zero(text in ".{0,40}") {
            let read = (SIZES.read(&text).is_ok(), parse_duration(&text).is_ok());
            prop_assert!(read != (true, true) || text.starts_with('0'));
        }
    }
}
