//! The only access to wall time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Wall time and tokio time.
///
/// # Why
///
/// A token's expiry is a wall-clock date; a sleep is measured on a monotonic clock that stops while a machine is suspended.
/// A task that sleeps until a date calls [`Clock::instant_at`] again each time it wakes, and so survives clock steps and
/// suspension. A manual clock follows tokio's paused time, so tests control both.
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

/// Returns Unix time in whole seconds; 0 for a date before 1970.
#[must_use]
pub fn unix_seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Clock {
    /// Creates a clock that shows the system's time.
    #[must_use]
    pub const fn system() -> Self {
        Self(ClockKind::System)
    }

    /// Creates a clock that shows `start` now and then follows tokio time, paused or not.
    #[must_use]
    pub fn manual(start: SystemTime) -> Self {
        Self(ClockKind::Manual {
            wall_start: start,
            started_at: Instant::now(),
        })
    }

    /// Returns the wall time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        match self.0 {
            #[expect(clippy::disallowed_methods, reason = "this is the caller that clippy.toml allows")]
            ClockKind::System => SystemTime::now(),
            ClockKind::Manual { wall_start, started_at } => wall_start + started_at.elapsed(),
        }
    }

    /// Converts a date by the current relation of the two clocks: now if it has passed, at most a year ahead.
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
