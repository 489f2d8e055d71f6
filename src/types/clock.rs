//! The only door to wall time.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Wall time and tokio time from one hand.
///
/// # Why
///
/// A token's end is a wall-clock date, a sleep is measured on a monotonic clock that stands still while a
/// machine is suspended. Whoever sleeps until a date asks [`Clock::instant_at`] anew each time it wakes, and so
/// survives clock steps and suspension. A manual clock follows tokio's paused time, so tests own both.
#[derive(Clone, Copy, Debug)]
pub struct Clock(ClockKind);

#[derive(Clone, Copy, Debug)]
enum ClockKind {
    System,
    Manual {
        wall_start: SystemTime,
        started_at: Instant,
    },
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(ClockKind::System)
    }

    /// A clock that shows `start` now and then follows tokio time, paused or not.
    #[must_use]
    pub fn manual(start: SystemTime) -> Self {
        Self(ClockKind::Manual {
            wall_start: start,
            started_at: Instant::now(),
        })
    }

    /// Wall time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        match self.0 {
            #[expect(clippy::disallowed_methods, reason = "this is the door the others are sent to")]
            ClockKind::System => SystemTime::now(),
            ClockKind::Manual {
                wall_start: wall,
                started_at: began,
            } => wall + began.elapsed(),
        }
    }

    /// When `at` will be, by today's relation of the two clocks: now if it has passed, at most a year ahead.
    #[must_use]
    pub fn instant_at(&self, at: SystemTime) -> Instant {
        const MAX_AHEAD: Duration = Duration::from_secs(366 * 24 * 60 * 60);
        let ahead = at.duration_since(self.now()).unwrap_or_default().min(MAX_AHEAD);
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
        assert_eq!(clock.now(), start + Duration::from_secs(60));
        let in_a_minute = clock.instant_at(start + Duration::from_secs(120));
        assert_eq!(in_a_minute - Instant::now(), Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_date_that_has_passed_is_now_and_a_far_one_is_clamped() {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000));
        assert_eq!(clock.instant_at(SystemTime::UNIX_EPOCH), Instant::now());
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert!(clock.instant_at(far) - Instant::now() <= Duration::from_secs(366 * 24 * 60 * 60));
    }
}
