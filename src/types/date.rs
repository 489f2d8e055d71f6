//! Timestamps as people and machines write them.

use std::fmt;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

/// A timestamp in the format of RFC 3339, in UTC and to the second: `2026-11-21T09:30:00Z`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rfc3339Timestamp(pub SystemTime);

/// Year, month (from 1) and day (from 1) of a day counted from 1970-01-01.
///
/// Gregorian, whatever the year; the calendar is turned so that a year begins in March, and a leap day is its last.
#[must_use]
pub const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    (year_of_era + era * 400 + (month <= 2) as i64, month, day)
}

/// The day, counted from 1970-01-01, of a year, a month (from 1) and a day (from 1): the inverse of [`civil_from_days`].
#[must_use]
pub const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Whole seconds since 1970; 0 before that.
#[must_use]
pub fn unix_seconds(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap_or(Duration::ZERO).as_secs()).unwrap_or(i64::MAX)
}

impl fmt::Display for Rfc3339Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timestamp = Timestamp::try_from(self.0).unwrap_or(Timestamp::MAX);
        write!(f, "{timestamp:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_formatted_as_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_719_676_800, "2024-06-29T16:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            // The last one that is formatted.
            (1 << 40, "9999-12-30T22:00:00Z"),
        ] {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(Rfc3339Timestamp(at).to_string(), text);
        }
    }

    #[test]
    fn every_day_of_two_centuries_survives_the_round_trip() {
        for day in -36_500..73_000 {
            let (year, month, day_of_month) = civil_from_days(day);
            assert_eq!(days(year, month, day_of_month), day);
        }
    }
}
