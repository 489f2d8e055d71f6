//! Timestamps as people and machines write them.

use std::fmt;
use std::time::SystemTime;

use jiff::Timestamp;

/// A timestamp in the format of RFC 3339, in UTC and to the second: `2026-11-21T09:30:00Z`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rfc3339Timestamp(pub SystemTime);

impl fmt::Display for Rfc3339Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timestamp = Timestamp::try_from(self.0).unwrap_or(Timestamp::MAX);
        write!(f, "{timestamp:.0}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
}
