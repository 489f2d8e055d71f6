//! The time at which a token is renewed: arithmetic, no clock.

use std::time::{Duration, SystemTime};

/// The time limits of the refresher.
#[derive(Clone, Copy, Debug)]
pub struct RefreshPolicy {
    /// The shortest time between two refreshes, whatever the traffic.
    pub min_interval: Duration,
    /// The first backoff after a failure, doubled with each further one …
    pub initial_backoff: Duration,
    /// … up to this while there is no usable token …
    pub max_backoff: Duration,
    /// … and up to this while the current one is valid.
    pub max_backoff_while_valid: Duration,
    /// The time before its expiry at which a token is renewed, unless a fifth of its validity is longer, or half of it
    /// shorter.
    pub renew_before: Duration,
    /// The interval at which the current token is inspected.
    pub inspect_interval: Duration,
}

/// The validity of a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// The time at which it was issued, or first seen.
    pub issued_at: SystemTime,
    /// The time at which it expires.
    pub expires_at: SystemTime,
}

// === impl RefreshPolicy ===

impl Default for RefreshPolicy {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            min_interval: Duration::from_secs(1),
            initial_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(60),
            max_backoff_while_valid: Duration::from_secs(60 * 60),
            renew_before: 10 * DAY,
            inspect_interval: DAY,
        }
    }
}

impl RefreshPolicy {
    /// Returns when a token of this validity is renewed: before its expiry by the larger of a fifth of its validity and
    /// [`Self::renew_before`], but by no more than half of it. So a token of an hour is renewed after half an hour, and one of
    /// 60 days twelve days before its expiry.
    ///
    /// `jitter`, drawn from 0.0..1.0, makes it earlier by up to a tenth of that, never later, so that replicas do not renew
    /// at the same moment.
    #[must_use]
    pub fn renew_at(&self, validity: Validity, jitter: f64) -> SystemTime {
        let length = validity
            .expires_at
            .duration_since(validity.issued_at)
            .unwrap_or_default();
        let slack = (length / 5).max(self.renew_before.min(length / 2));
        let slack = slack.mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 10.0);
        validity.expires_at.checked_sub(slack).unwrap_or(validity.issued_at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn lead_time(length: Duration, jitter: f64) -> Duration {
        let issued_at = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        let expires_at = issued_at + length;
        let due = RefreshPolicy::default().renew_at(Validity { issued_at, expires_at }, jitter);
        expires_at.duration_since(due).unwrap()
    }

    #[test]
    fn sixty_days_are_renewed_at_least_ten_days_early_and_an_hour_at_half_time() {
        assert_eq!(lead_time(60 * DAY, 0.0), 12 * DAY);
        assert_eq!(lead_time(60 * MINUTE, 0.0), 30 * MINUTE);
        assert_eq!(lead_time(DAY, 0.0), DAY / 2);
        assert_eq!(lead_time(30 * DAY, 0.0), 10 * DAY);
        assert!(lead_time(60 * DAY, 1.0) <= 14 * DAY);
    }

    #[test]
    fn a_token_that_expires_before_it_was_issued_is_due_at_once() {
        let issued_at = SystemTime::UNIX_EPOCH + DAY;
        let expires_at = SystemTime::UNIX_EPOCH;
        assert_eq!(
            RefreshPolicy::default().renew_at(Validity { issued_at, expires_at }, 0.5),
            expires_at
        );
    }

    proptest! {
        #[test]
        fn renewal_is_always_due_within_the_validity_and_jitter_never_makes_it_later(
            seconds in 0_u64..10_000_000,
            renew_before in 0_u64..10_000_000,
            jitter in 0.0..=1.0_f64,
        ) {
            let issued_at = SystemTime::UNIX_EPOCH + 20_000 * DAY;
            let validity = Validity { issued_at, expires_at: issued_at + Duration::from_secs(seconds) };
            let policy = RefreshPolicy { renew_before: Duration::from_secs(renew_before), ..RefreshPolicy::default() };
            let (plain, jittered) = (policy.renew_at(validity, 0.0), policy.renew_at(validity, jitter));
            prop_assert!(issued_at <= jittered && jittered <= plain && plain <= validity.expires_at);
            prop_assert!(validity.expires_at.duration_since(plain).unwrap() >= Duration::from_secs(seconds) / 5);
        }
    }
}
