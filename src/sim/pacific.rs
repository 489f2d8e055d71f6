//! Graph's error texts tell the time in Menlo Park: `Saturday, 29-Jun-24 09:00:00 PDT`.
//!
//! # Why
//!
//! A time zone crate with its tables would be larger than the rest of the fake, for one zone whose rule has not
//! changed since 2007: daylight saving from the second Sunday of March to the first Sunday of November.

use std::time::{Duration, SystemTime};

/// A date as Graph writes it.
pub(super) fn pacific(at: SystemTime) -> String {
    let utc = unix(at);
    let (zone, offset) = if daylight(utc) {
        ("PDT", -7 * HOUR)
    } else {
        ("PST", -8 * HOUR)
    };
    let local = utc + offset;
    let (days, seconds) = (local.div_euclid(DAY), local.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let weekday = name(&WEEKDAYS, weekday(days));
    let month = name(&MONTHS, month - 1);
    let (hour, minute, second) = (seconds / HOUR, seconds / 60 % 60, seconds % 60);
    let year = year.rem_euclid(100);
    format!("{weekday}, {day:02}-{month}-{year:02} {hour:02}:{minute:02}:{second:02} {zone}")
}

/// Seconds since 1970; before that, 0.
pub(super) fn unix(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap_or(Duration::ZERO).as_secs()).unwrap_or(i64::MAX)
}

const HOUR: i64 = 60 * 60;
const DAY: i64 = 24 * HOUR;
const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

fn name(names: &[&'static str], index: i64) -> &'static str {
    let index = usize::try_from(index).unwrap_or_default();
    names.get(index).copied().unwrap_or_default()
}

/// Clocks change at 2:00 local time, which is 10:00 UTC in March and 9:00 UTC in November.
fn daylight(utc: i64) -> bool {
    let (year, ..) = civil(utc.div_euclid(DAY));
    let begins = (sunday_from(year, 3) + 7) * DAY + 10 * HOUR;
    let ends = sunday_from(year, 11) * DAY + 9 * HOUR;
    (begins..ends).contains(&utc)
}

/// The first Sunday of a month, in days since 1970.
fn sunday_from(year: i64, month: i64) -> i64 {
    let first = days(year, month, 1);
    first + (7 - weekday(first)) % 7
}

/// 0 is Sunday; 1970 began on a Thursday.
const fn weekday(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

/// Days since 1970 of a date. The year is counted from March, so that leap days come last.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date of a day since 1970; the inverse of [`days`].
const fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> String {
        pacific(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    #[test]
    fn dates_read_as_in_a_recorded_answer() {
        assert_eq!(at(1_719_676_800), "Saturday, 29-Jun-24 09:00:00 PDT");
        assert_eq!(at(1_719_857_190), "Monday, 01-Jul-24 11:06:30 PDT");
    }

    #[test]
    fn clocks_change_in_march_and_november() {
        assert_eq!(at(1_710_064_799), "Sunday, 10-Mar-24 01:59:59 PST");
        assert_eq!(at(1_710_064_800), "Sunday, 10-Mar-24 03:00:00 PDT");
        assert_eq!(at(1_730_624_399), "Sunday, 03-Nov-24 01:59:59 PDT");
        assert_eq!(at(1_730_624_400), "Sunday, 03-Nov-24 01:00:00 PST");
        assert_eq!(at(0), "Wednesday, 31-Dec-69 16:00:00 PST");
        assert_eq!(at(1_709_193_600), "Thursday, 29-Feb-24 00:00:00 PST");
    }

    #[test]
    fn every_day_of_two_centuries_survives_the_round_trip() {
        for day in -36_500..73_000 {
            let (year, month, of_month) = civil(day);
            assert_eq!(days(year, month, of_month), day);
        }
    }
}
