//! The timer of a source that does not announce changes.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The time of the next poll.
#[derive(Debug)]
pub(super) struct PollInterval {
    period: Option<Duration>,
    next_poll: Option<Instant>,
}

/// How often a source is read, unless the operator says otherwise.
pub(super) fn default_poll_interval() -> Duration {
    Duration::from_secs(60)
}

// === impl PollInterval ===

impl PollInterval {
    /// Creates a timer with a period, a tenth more or less so that replicas do not poll at the same moment; or without one.
    pub(super) const fn new(period: Option<Duration>) -> Self {
        Self {
            period,
            next_poll: None,
        }
    }

    /// Starts the period again, after a poll.
    pub(super) fn reset(&mut self) {
        self.next_poll = None;
        self.next_tick();
    }

    /// Waits until the next poll. Cancel-safe. Without a poll it waits for the period after that.
    pub(super) async fn tick(&mut self) {
        match self.next_tick() {
            Some(due) => {
                sleep_until(due).await;
                self.reset();
            }
            None => std::future::pending().await,
        }
    }

    /// Polls, which starts the period again. It starts first, too: a poll that is canceled counts as one.
    pub(super) async fn poll<T>(&mut self, poll: impl Future<Output = T>) -> T {
        self.reset();
        let polled = poll.await;
        self.reset();
        polled
    }

    fn next_tick(&mut self) -> Option<Instant> {
        let period = self.period?;
        let jittered = || Instant::now() + period.mul_f64(0.9 + 0.2 * fastrand::f64());
        Some(*self.next_poll.get_or_insert_with(jittered))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::time::{advance, timeout};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn it_ticks_once_per_period_even_if_the_wait_is_canceled() {
        let mut interval = PollInterval::new(Some(MINUTE));
        interval.reset();
        let mut durations = Vec::new();
        for _ in 0..20 {
            let started_at = Instant::now();
            while timeout(Duration::from_secs(1), interval.tick()).await.is_err() {}
            let took = started_at.elapsed();
            assert!(
                (MINUTE * 9 / 10..=MINUTE * 11 / 10 + Duration::from_millis(1)).contains(&took),
                "{took:?}"
            );
            durations.push(took);
        }
        durations.dedup();
        assert!(durations.len() > 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_resets_it_and_without_a_period_it_never_ticks() {
        let mut interval = PollInterval::new(Some(MINUTE));
        for _ in 0..10 {
            advance(MINUTE / 2).await;
            interval.reset();
            assert_eq!(interval.tick().now_or_never(), None);
        }
        let mut never = PollInterval::new(None);
        never.reset();
        assert!(timeout(1_000 * MINUTE, never.tick()).await.is_err());
    }
}
