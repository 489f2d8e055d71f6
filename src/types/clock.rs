//! The only door to wall time.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Wall time and tokio time from one hand.
///
/// # Why
///
/// A token's end is a wall-clock date, a sleep is measured on a monotonic clock that stands still while a
/// machine is suspended. Whoever sleeps until a date asks [`Clock::instant_of`] anew each time it wakes, and so
/// survives clock steps and suspension. A manual clock follows tokio's paused time, so tests own both.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Copy, Debug)]
enum Kind {
    System,
    Manual { wall: SystemTime, began: Instant },
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(Kind::System)
    }

    /// A clock that shows `start` now and then follows tokio time, paused or not.
    #[must_use]
    pub fn manual(start: SystemTime) -> Self {
        Self(Kind::Manual {
            wall: start,
            began: Instant::now(),
        })
    }

    /// Wall time.
    #[must_use]
    pub fn wall(&self) -> SystemTime {
        match self.0 {
            #[expect(
                clippy::disallowed_methods,
                reason = "this is the door the others are sent to"
            )]
            Kind::System => SystemTime::now(),
            Kind::Manual { wall, began } => wall + began.elapsed(),
        }
    }

    /// When `at` will be, by today's relation of the two clocks: now if it has passed, at most a year ahead.
    #[must_use]
    pub fn instant_of(&self, at: SystemTime) -> Instant {
        const YEAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);
        let ahead = at.duration_since(self.wall()).unwrap_or_default().min(YEAR);
        Instant::now() + ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_manual_clock_follows_paused_time() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let clock = Clock::manual(start);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(clock.wall(), start + Duration::from_secs(60));
        let in_a_minute = clock.instant_of(start + Duration::from_secs(120));
        assert_eq!(in_a_minute - Instant::now(), Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_date_that_has_passed_is_now_and_a_far_one_is_clamped() {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000));
        assert_eq!(clock.instant_of(SystemTime::UNIX_EPOCH), Instant::now());
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert!(clock.instant_of(far) - Instant::now() <= Duration::from_secs(366 * 24 * 60 * 60));
    }
}
