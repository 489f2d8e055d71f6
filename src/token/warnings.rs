//! When to warn of an end: at 14, 7, 3 and 1 days before it, each once.

use std::time::{Duration, SystemTime};

/// What has been said of one end of one token.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Warnings {
    /// The smallest number of days that was said.
    said: Option<u8>,
}

/// The days at which a warning is due, fewest first.
const DAYS: [u8; 4] = [1, 3, 7, 14];
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Warnings {
    /// The warning that is due now, as days: the fewest that still hold, and only once.
    pub(super) fn due(&mut self, ends: SystemTime, now: SystemTime) -> Option<u8> {
        let left = ends.duration_since(now).unwrap_or_default();
        let holds = |days: &u8| left <= DAY * u32::from(*days);
        let days = DAYS.into_iter().find(holds)?;
        if self.said.is_some_and(|said| said <= days) {
            return None;
        }
        self.said = Some(days);
        Some(days)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_threshold_is_told_once_and_the_nearest_one_first() {
        let ends = SystemTime::UNIX_EPOCH + 100 * DAY;
        let mut warnings = Warnings::default();
        let told: Vec<_> = (0..100 * 24)
            .filter_map(|hour| {
                let now = SystemTime::UNIX_EPOCH + Duration::from_secs(60 * 60 * hour);
                warnings.due(ends, now).map(|days| (hour / 24, days))
            })
            .collect();
        assert_eq!(told, [(86, 14), (93, 7), (97, 3), (99, 1)]);
        let mut late = Warnings::default();
        assert_eq!(late.due(ends, ends - 2 * DAY), Some(3));
        assert_eq!(late.due(ends, ends - 2 * DAY), None);
        assert_eq!(
            late.due(ends, ends + DAY),
            Some(1),
            "it has ended, and nobody was told"
        );
        assert_eq!(late.due(ends, ends + 2 * DAY), None);
    }
}
