//! Timers for time limits that are hardly ever reached.
//!
//! # Why
//!
//! Each request has two limits, of minutes, and ends in milliseconds. To arm and disarm a timer of the runtime for each
//! costs 3,100 instructions, 5 % of a request. Here a timer that is not needed any more stays armed, and serves the next
//! limit: it fires too early, and is armed again for the rest of the time. So the runtime's timers are touched once in
//! minutes.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::types::lock;

/// A source of [`LazySleep`]s that share armed timers. Their limits should have the same length.
#[derive(Clone, Debug, Default)]
struct LazyTimer(Arc<Mutex<Vec<Pin<Box<Sleep>>>>>);

/// Waits until a deadline.
#[derive(Debug)]
pub struct LazySleep {
    deadline: Instant,
    /// Armed for the deadline, or for an earlier time; `None` before the first poll.
    armed: Option<Pin<Box<Sleep>>>,
    timer: LazyTimer,
}

/// A time limit of one length, for many waits.
#[derive(Clone, Debug)]
pub struct TimeLimit {
    /// Its length.
    pub length: Duration,
    timer: LazyTimer,
}

/// The timers that are kept. A kept timer holds on to the task that has used it, until it fires.
const MAX_KEPT: usize = 64;

// === impl LazyTimer ===

impl LazyTimer {
    /// Waits until a deadline.
    fn until(&self, deadline: Instant) -> LazySleep {
        LazySleep {
            deadline,
            armed: None,
            timer: self.clone(),
        }
    }

    fn armed(&self, deadline: Instant) -> Pin<Box<Sleep>> {
        let kept = lock(&self.0).pop();
        let kept = kept.filter(|kept| kept.deadline() <= deadline);
        kept.unwrap_or_else(|| Box::pin(sleep_until(deadline)))
    }
}

// === impl TimeLimit ===

impl TimeLimit {
    /// A limit of this length.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        let timer = LazyTimer::default();
        Self { length, timer }
    }

    /// Waits for the end of the limit, which begins now.
    #[must_use]
    pub fn start(&self) -> LazySleep {
        self.timer.until(Instant::now() + self.length)
    }
}

// === impl LazySleep ===

impl LazySleep {
    /// The deadline.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Moves the deadline, to a later time.
    pub const fn extend(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }
}

impl Future for LazySleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { deadline, armed, timer } = &mut *self;
        let armed = armed.get_or_insert_with(|| timer.armed(*deadline));
        loop {
            ready!(armed.as_mut().poll(cx));
            if Instant::now() >= *deadline {
                return Poll::Ready(());
            }
            armed.as_mut().reset(*deadline);
        }
    }
}

impl Drop for LazySleep {
    fn drop(&mut self) {
        if let Some(armed) = self.armed.take()
            && !armed.is_elapsed()
        {
            let mut kept = lock(&self.timer.0);
            if kept.len() < MAX_KEPT {
                kept.push(armed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{sleep, timeout};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_limit_ends_exactly_when_it_should_on_a_timer_of_its_own_and_on_a_kept_one() {
        let timer = LazyTimer::default();
        for seconds in [0, 20, 90] {
            let mut unused = timer.until(Instant::now() + LIMIT);
            assert!(timeout(Duration::from_millis(1), &mut unused).await.is_err());
            drop(unused);
            sleep(Duration::from_secs(seconds)).await;
            let start = Instant::now();
            timer.until(start + LIMIT).await;
            assert!(
                start.elapsed() - LIMIT <= Duration::from_millis(1),
                "{:?}",
                start.elapsed()
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_limit_is_not_made_longer_by_a_kept_timer() {
        let timer = LazyTimer::default();
        let mut long = timer.until(Instant::now() + LIMIT);
        assert!(timeout(Duration::from_millis(1), &mut long).await.is_err());
        drop(long);
        let start = Instant::now();
        timer.until(start + Duration::from_secs(1)).await;
        assert!(start.elapsed() < Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_extended_limit_ends_later() {
        let timer = LazyTimer::default();
        let start = Instant::now();
        let mut limit = timer.until(start + LIMIT);
        assert!(timeout(Duration::from_millis(1), &mut limit).await.is_err());
        limit.extend(start + 2 * LIMIT);
        limit.await;
        assert!(start.elapsed() >= 2 * LIMIT);
    }

    #[tokio::test]
    async fn few_timers_are_kept() {
        let timer = LazyTimer::default();
        let mut limits: Vec<_> = (0..2 * MAX_KEPT).map(|_| timer.until(Instant::now() + LIMIT)).collect();
        for limit in &mut limits {
            assert!(timeout(Duration::ZERO, limit).await.is_err());
        }
        drop(limits);
        assert_eq!(timer.0.lock().unwrap().len(), MAX_KEPT);
    }
}
