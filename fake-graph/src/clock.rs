//! Wall time, by which tokens expire.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// The clock of a fake Graph: the machine's, or one that follows tokio time, which tests may pause.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Option<Start>);

/// The two times at which a manual clock started.
#[derive(Clone, Copy, Debug)]
struct Start {
    wall: SystemTime,
    instant: Instant,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(None)
    }

    /// A clock that shows `start` now and then follows tokio time, paused or not.
    #[must_use]
    pub fn manual(start: SystemTime) -> Self {
        let instant = Instant::now();
        Self(Some(Start { wall: start, instant }))
    }

    /// Wall time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        match self.0 {
            None => SystemTime::now(),
            Some(start) => start.wall + start.instant.elapsed(),
        }
    }
}

/// Whole seconds since 1970; 0 before that.
pub(crate) fn unix_seconds(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap_or(Duration::ZERO).as_secs()).unwrap_or(i64::MAX)
}
