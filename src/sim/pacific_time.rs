//! Graph's error texts tell the time in Menlo Park: `Saturday, 29-Jun-24 09:00:00 PDT`.
//!
//! # Why
//!
//! A time zone crate with its tables would be larger than the rest of the fake, for one zone whose rule has not
//! changed since 2007: daylight saving from the second Sunday of March to the first Sunday of November.

use std::time::SystemTime;

use crate::types::{civil_from_days, days, unix_seconds};

/// A date as Graph writes it.
pub(super) fn format_pacific(at: SystemTime) -> String {
    let utc = unix_seconds(at);
    let (zone, offset) = if is_daylight_saving(utc) {
        ("PDT", -7 * HOUR)
    } else {
        ("PST", -8 * HOUR)
    };
    let local = utc + offset;
    let (days, seconds) = (local.div_euclid(DAY), local.rem_euclid(DAY));
    let (year, month, day) = civil_from_days(days);
    let weekday = name_at(&WEEKDAYS, weekday(days));
    let month = name_at(&MONTHS, month - 1);
    let (hour, minute, second) = (seconds / HOUR, seconds / 60 % 60, seconds % 60);
    let year = year.rem_euclid(100);
    format!("{weekday}, {day:02}-{month}-{year:02} {hour:02}:{minute:02}:{second:02} {zone}")
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

fn name_at(names: &[&'static str], index: i64) -> &'static str {
    let index = usize::try_from(index).unwrap_or_default();
    names.get(index).copied().unwrap_or_default()
}

/// Clocks change at 2:00 local time, which is 10:00 UTC in March and 9:00 UTC in November.
fn is_daylight_saving(utc: i64) -> bool {
    let (year, ..) = civil_from_days(utc.div_euclid(DAY));
    let begins = (first_sunday(year, 3) + 7) * DAY + 10 * HOUR;
    let ends = first_sunday(year, 11) * DAY + 9 * HOUR;
    (begins..ends).contains(&utc)
}

/// The first Sunday of a month, in days since 1970.
fn first_sunday(year: i64, month: i64) -> i64 {
    let first = days(year, month, 1);
    first + (7 - weekday(first)) % 7
}

/// 0 is Sunday; 1970 began on a Thursday.
const fn weekday(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> String {
        format_pacific(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
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
}
