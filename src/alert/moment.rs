//! How long a server asks us to wait: `Retry-After` (RFC 9110, section 10.2.3).

use std::time::{Duration, SystemTime};

use crate::types::days;

/// What `Retry-After` asks for: seconds, or a date in the form that is written today. Nothing if it is neither.
pub(super) fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(imf_fixdate(text)?))?;
    Some(then.duration_since(now).unwrap_or_default())
}

const DAY: i64 = 24 * 60 * 60;
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
    let days = days(year, i64::try_from(month).ok()? + 1, day);
    u64::try_from(days * DAY + hour * 3_600 + minute * 60 + second).ok()
}

fn number(text: &str, within: std::ops::RangeInclusive<i64>) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits)?;
    within.contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
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
