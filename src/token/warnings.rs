//! The times of the warnings of an expiry: 14, 7, 3 and 1 days before it, each once; and the words for it.

use std::time::{Duration, SystemTime};

use super::alert::{Alert, AlertCause};
use crate::types::{Rfc3339Timestamp, TenantId};

/// The warnings about one expiry of one token.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ExpiryWarnings {
    /// The smallest number of days that was warned of.
    last_warned_days: Option<u8>,
}

/// The days at which a warning is due, fewest first.
const WARNING_DAYS: [u8; 4] = [1, 3, 7, 14];
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl ExpiryWarnings {
    /// Returns the warning that is due now, as the smallest number of days that holds, and only once.
    pub(super) fn take_due(&mut self, expires_at: SystemTime, now: SystemTime) -> Option<u8> {
        let days = warning_days(expires_at, now)?;
        if self.last_warned_days.is_some_and(|warned| warned <= days) {
            return None;
        }
        self.last_warned_days = Some(days);
        Some(days)
    }
}

/// Returns the smallest number of days that a warning of this expiry has now.
#[must_use]
pub fn warning_days(expires_at: SystemTime, now: SystemTime) -> Option<u8> {
    let left = expires_at.duration_since(now).unwrap_or_default();
    let is_within = |days: &u8| left <= DAY * u32::from(*days);
    WARNING_DAYS.into_iter().find(is_within)
}

/// The alert that a token expires within this number of days.
#[must_use]
pub fn expiry_alert(tenant: &TenantId, days: u8, expires_at: SystemTime, now: SystemTime, remediation: &str) -> Alert {
    let summary = format!("The token expires {}.", format_expiry(expires_at, now));
    Alert::new(tenant, AlertCause::Expiry(days), "", &summary, remediation)
}

/// The alert that the expiry of a token is unknown.
pub(super) fn unknown_expiry_alert(tenant: &TenantId) -> Alert {
    Alert::new(
        tenant,
        AlertCause::ExpiryUnknown,
        "",
        "graphward does not know when the token expires, so it cannot warn before that.",
        "Set app.id and app.secret to those of the token's app and leave token.verify on, so that Graph tells the expiry; \
         or write it beside the token, as `expires_at` in JSON or as a second column.",
    )
}

/// `in 3 days, at 2026-11-21T09:30:00Z`.
pub(super) fn format_expiry(expires_at: SystemTime, now: SystemTime) -> String {
    const HOUR: u64 = 60 * 60;
    let left = match expires_at.duration_since(now).unwrap_or_default().as_secs() {
        0 => "now".to_owned(),
        seconds if seconds < 2 * 60 => format!("in {seconds} seconds"),
        seconds if seconds < 2 * HOUR => format!("in {} minutes", seconds / 60),
        seconds if seconds < 48 * HOUR => format!("in {} hours", seconds / HOUR),
        seconds => format!("in {} days", seconds / (24 * HOUR)),
    };
    format!("{left}, at {}", Rfc3339Timestamp(expires_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_threshold_is_warned_of_once_and_the_nearest_one_first() {
        let expires_at = SystemTime::UNIX_EPOCH + 100 * DAY;
        let mut warnings = ExpiryWarnings::default();
        let warned: Vec<_> = (0..100 * 24)
            .filter_map(|hour| {
                let now = SystemTime::UNIX_EPOCH + Duration::from_secs(60 * 60 * hour);
                warnings.take_due(expires_at, now).map(|days| (hour / 24, days))
            })
            .collect();
        assert_eq!(warned, [(86, 14), (93, 7), (97, 3), (99, 1)]);
        let mut started_late = ExpiryWarnings::default();
        assert_eq!(started_late.take_due(expires_at, expires_at - 2 * DAY), Some(3));
        assert_eq!(started_late.take_due(expires_at, expires_at - 2 * DAY), None);
        assert_eq!(
            started_late.take_due(expires_at, expires_at + DAY),
            Some(1),
            "it has expired without a warning"
        );
        assert_eq!(started_late.take_due(expires_at, expires_at + 2 * DAY), None);
    }
}
