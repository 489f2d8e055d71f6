//! The time of day, for lines on a terminal.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::types::Clock;

/// Writes the time of day in UTC, `18:39:08Z`.
#[derive(Debug)]
pub(super) struct TimeOfDay;

impl FormatTime for TimeOfDay {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write_time(writer, Clock::system().now())
    }
}

fn write_time(writer: &mut impl fmt::Write, now: SystemTime) -> fmt::Result {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    write!(writer, "{:02}:{:02}:{:02}Z", hours % 24, minutes % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn hours_minutes_and_seconds_have_two_digits() {
        let mut text = String::new();
        let time = UNIX_EPOCH + Duration::from_secs(3 * 86_400 + 7 * 3600 + 5 * 60 + 9);
        write_time(&mut text, time).unwrap();
        assert_eq!(text, "07:05:09Z");
    }
}
