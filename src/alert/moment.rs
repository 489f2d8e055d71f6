//! Dates as others write and read them: RFC 3339 in what we send, RFC 9110 in `Retry-After`.

use std::time::{Duration, SystemTime};

/// `2025-10-01T00:00:00Z`; before 1970, 1970.
pub(super) fn rfc3339(at: SystemTime) -> String {
    let (days, seconds) = (unix(at) / DAY, unix(at) % DAY);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// What `Retry-After` asks for: seconds, or a date in the form that is written today. Nothing if it is neither.
pub(super) fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(imf_fixdate(text)?))?;
    Some(then.duration_since(now).unwrap_or_default())
}

const DAY: u64 = 24 * 60 * 60;
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// `Sun, 06 Nov 1994 08:49:37 GMT`, in seconds since 1970.
fn imf_fixdate(text: &str) -> Option<u64> {
    let (_weekday, date) = text.strip_suffix(" GMT")?.split_once(", ")?;
    let mut words = date.split(' ');
    let mut word = || words.next();
    let day = number(word()?, 1..=31)?;
    let name = word()?;
    let month = MONTHS.iter().position(|month| *month == name)?;
    let year = number(word()?, 1970..=9999)?;
    let mut time = word()?.split(':');
    let hour = number(time.next()?, 0..=23)?;
    let minute = number(time.next()?, 0..=59)?;
    let second = number(time.next()?, 0..=60)?;
    if word().is_some() || time.next().is_some() {
        return None;
    }
    let days = days(year, u64::try_from(month).ok()? + 1, day);
    Some(days * DAY + hour * 3_600 + minute * 60 + second)
}

fn number(text: &str, within: std::ops::RangeInclusive<u64>) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits)?;
    within.contains(&number).then_some(number)
}

fn unix(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// The year, month and day that are so many days after 1 January 1970. The year is counted from March, so that leap days
/// come last.
const fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + carry, month, day)
}

/// Days since 1 January 1970 of a date that is not before it.
const fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn dates_are_written_as_the_calendar_has_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_210_096, "2024-02-29T12:34:56Z"),
            (1_759_276_800, "2025-10-01T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(at(seconds)), text);
        }
        assert_eq!(
            rfc3339(SystemTime::UNIX_EPOCH - Duration::from_secs(1)),
            "1970-01-01T00:00:00Z"
        );
    }

    #[test]
    fn each_day_of_six_centuries_is_found_again() {
        let mut before = (1969, 12, 31);
        for day in 0..220_000 {
            let date = civil(day);
            assert!(date > before, "{date:?}");
            assert_eq!(days(date.0, date.1, date.2), day);
            before = date;
        }
    }

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_by_a_date() {
        let now = at(784_111_777);
        for (text, pause) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 PST", None),
            ("Sun, 06 Nov 1994 08:50 GMT", None),
            ("Sun, 06 Foo 1994 08:50:37 GMT", None),
            ("Sun, +6 Nov 1994 08:50:37 GMT", None),
            ("Sun, 06 Nov 1994 08:50:37 09 GMT", None),
            ("Sun, 06 Nov 99999999999999999999 08:50:37 GMT", None),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            let pause = pause.map(Duration::from_secs);
            assert_eq!(retry_after(text, now), pause, "{text:?}");
        }
    }
}
