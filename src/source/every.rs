//! The beat of a place that does not say when there is news.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// When to look again.
#[derive(Debug)]
pub(super) struct Every {
    every: Option<Duration>,
    due: Option<Instant>,
}

// === impl Every ===

impl Every {
    /// Each time after so long, a tenth more or less, lest all that began at once should go on at once; or never.
    pub(super) const fn new(every: Option<Duration>) -> Self {
        Self { every, due: None }
    }

    /// It was looked at just now.
    pub(super) fn restart(&mut self) {
        self.due = None;
        self.next();
    }

    /// Waits until it is time. Cancel-safe. Whoever does not look then is not called again before the next time.
    pub(super) async fn due(&mut self) {
        match self.next() {
            Some(due) => {
                sleep_until(due).await;
                self.restart();
            }
            None => std::future::pending().await,
        }
    }

    fn next(&mut self) -> Option<Instant> {
        let every = self.every?;
        let jittered = || Instant::now() + every.mul_f64(0.9 + 0.2 * fastrand::f64());
        Some(*self.due.get_or_insert_with(jittered))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::time::{advance, timeout};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn it_is_due_about_each_time_however_often_the_wait_is_given_up() {
        let mut every = Every::new(Some(MINUTE));
        every.restart();
        let mut differ = Vec::new();
        for _ in 0..20 {
            let began = Instant::now();
            while timeout(Duration::from_secs(1), every.due()).await.is_err() {}
            let took = began.elapsed();
            assert!(
                (MINUTE * 9 / 10..=MINUTE * 11 / 10 + Duration::from_millis(1)).contains(&took),
                "{took:?}"
            );
            differ.push(took);
        }
        differ.dedup();
        assert!(differ.len() > 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_puts_it_off_and_without_a_time_it_is_never() {
        let mut every = Every::new(Some(MINUTE));
        for _ in 0..10 {
            advance(MINUTE / 2).await;
            every.restart();
            assert_eq!(every.due().now_or_never(), None);
        }
        let mut never = Every::new(None);
        never.restart();
        assert!(timeout(1_000 * MINUTE, never.due()).await.is_err());
    }
}
