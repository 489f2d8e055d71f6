//! When a token's successor should be there: arithmetic, no clock.

use std::time::{Duration, SystemTime};

/// The refresher's times.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// At most one replacement per this, whatever the traffic.
    pub min_gap: Duration,
    /// The first rest after a failure; doubled with each further one …
    pub rest_first: Duration,
    /// … up to this while there is no usable token …
    pub rest_most: Duration,
    /// … and up to this while the live one still works.
    pub rest_most_due: Duration,
    /// How long before its end a token is renewed, unless a fifth of its life is longer, or half of it shorter.
    pub early: Duration,
    /// How often Graph is asked about the token in use.
    pub inspect_every: Duration,
}

/// A token's life, as far as it is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Life {
    /// When it was issued, or first seen.
    pub begins: SystemTime,
    /// When it ends.
    pub ends: SystemTime,
}

// === impl Schedule ===

impl Default for Schedule {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            min_gap: Duration::from_secs(1),
            rest_first: Duration::from_secs(1),
            rest_most: Duration::from_secs(60),
            rest_most_due: Duration::from_secs(60 * 60),
            early: 10 * DAY,
            inspect_every: DAY,
        }
    }
}

impl Schedule {
    /// When a token of this life should be renewed: before its end by the larger of a fifth of its life and
    /// [`Self::early`], though by no more than half of it, so that an hour-long token is renewed after half an hour and
    /// one of 60 days twelve days before its end.
    ///
    /// `jitter`, drawn from 0.0..1.0, makes it earlier by up to a tenth of that, never later: a fleet does not march in
    /// step.
    #[must_use]
    pub fn due(&self, life: Life, jitter: f64) -> SystemTime {
        let length = life.ends.duration_since(life.begins).unwrap_or_default();
        let slack = (length / 5).max(self.early.min(length / 2));
        let slack = slack.mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 10.0);
        life.ends.checked_sub(slack).unwrap_or(life.begins)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn before_its_end(length: Duration, jitter: f64) -> Duration {
        let begins = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        let ends = begins + length;
        let due = Schedule::default().due(Life { begins, ends }, jitter);
        ends.duration_since(due).unwrap()
    }

    #[test]
    fn sixty_days_are_renewed_at_least_ten_days_early_and_an_hour_at_half_time() {
        assert_eq!(before_its_end(60 * DAY, 0.0), 12 * DAY);
        assert_eq!(before_its_end(60 * MINUTE, 0.0), 30 * MINUTE);
        assert_eq!(before_its_end(DAY, 0.0), DAY / 2);
        assert_eq!(before_its_end(30 * DAY, 0.0), 10 * DAY);
        assert!(before_its_end(60 * DAY, 1.0) <= 14 * DAY);
    }

    #[test]
    fn a_token_that_has_ended_before_it_began_is_due_at_once() {
        let begins = SystemTime::UNIX_EPOCH + DAY;
        let ends = SystemTime::UNIX_EPOCH;
        assert_eq!(Schedule::default().due(Life { begins, ends }, 0.5), ends);
    }

    proptest! {
        #[test]
        fn whatever_the_life_it_is_due_within_it_and_jitter_never_makes_it_later(
            seconds in 0_u64..10_000_000,
            early in 0_u64..10_000_000,
            jitter in 0.0..=1.0_f64,
        ) {
            let begins = SystemTime::UNIX_EPOCH + 20_000 * DAY;
            let life = Life { begins, ends: begins + Duration::from_secs(seconds) };
            let schedule = Schedule { early: Duration::from_secs(early), ..Schedule::default() };
            let (plain, jittered) = (schedule.due(life, 0.0), schedule.due(life, jitter));
            prop_assert!(begins <= jittered && jittered <= plain && plain <= life.ends);
            prop_assert!(life.ends.duration_since(plain).unwrap() >= Duration::from_secs(seconds) / 5);
        }
    }
}
