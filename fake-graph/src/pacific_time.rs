//! Graph's error texts tell the time in Menlo Park: `Saturday, 29-Jun-24 09:00:00 PDT`.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::clock::unix_seconds;

/// Formats a date as Graph does.
pub(crate) fn format_pacific(at: SystemTime) -> String {
    // The rule has not changed since 2007. By it, a database of time zones need be neither shipped nor found.
    let zone = TimeZone::posix("PST8PDT,M3.2.0,M11.1.0").unwrap_or(TimeZone::UTC);
    let at = Timestamp::from_second(unix_seconds(at)).unwrap_or_default();
    at.to_zoned_datetime(zone)
        .strftime("%A, %d-%b-%y %H:%M:%S %Z")
        .to_string()
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
