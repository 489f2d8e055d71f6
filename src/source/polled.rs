//! A source that does not announce changes, and is asked for the token from time to time.
//!
//! # Why
//!
//! The message of a failed call has the causes in one line, since one line reaches the log, the admin listener and a refused
//! request. None of these errors contains a secret.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::token::{BoxFuture, LookInterval, ObtainError, Source, Token};

/// A call that returns the token: of a service, or of a command.
pub trait TokenCall: Display + Send + 'static {
    /// The time between two calls while the token is dead.
    const LOOK_INTERVAL: Duration;

    /// Gets the token.
    fn call(&mut self) -> impl Future<Output = Result<Token, ObtainError>> + Send;
}

/// A source that makes a call about once in each period.
#[derive(Debug)]
pub struct PolledSource<C> {
    call: C,
    period: Option<Duration>,
    next_poll: Option<Instant>,
}

/// How often a source is read, unless the operator says otherwise.
pub(super) fn default_poll_interval() -> Duration {
    Duration::from_secs(60)
}

// === impl PolledSource ===

impl<C: TokenCall> PolledSource<C> {
    /// Creates a source with a period, a tenth more or less so that replicas do not poll at the same moment. Without one,
    /// it is read only when a token is wanted.
    pub const fn new(call: C, period: Option<Duration>) -> Self {
        Self {
            call,
            period,
            next_poll: None,
        }
    }

    /// Starts the period again, after a poll.
    fn restart_period(&mut self) {
        self.next_poll = None;
        self.next_poll();
    }

    fn next_poll(&mut self) -> Option<Instant> {
        let period = self.period?;
        let jittered = || Instant::now() + period.mul_f64(0.9 + 0.2 * fastrand::f64());
        Some(*self.next_poll.get_or_insert_with(jittered))
    }
}

impl<C: TokenCall> Source for PolledSource<C> {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        Box::pin(async {
            // Before the call as well: one that is canceled counts as a poll.
            self.restart_period();
            let loaded = self.call.call().await;
            self.restart_period();
            loaded
        })
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            match self.next_poll() {
                // Without a load, the next wait is for the period after this one.
                Some(due) => {
                    sleep_until(due).await;
                    self.restart_period();
                }
                None => std::future::pending().await,
            }
        })
    }

    fn look_interval(&self) -> Option<LookInterval> {
        Some(LookInterval::fixed(C::LOOK_INTERVAL))
    }

    fn describe(&self) -> String {
        self.call.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use futures_util::FutureExt as _;
    use tokio::time::{advance, timeout};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    struct EmptyCall;

    impl Display for EmptyCall {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("empty call")
        }
    }

    impl TokenCall for EmptyCall {
        const LOOK_INTERVAL: Duration = MINUTE;

        async fn call(&mut self) -> Result<Token, ObtainError> {
            Err(ObtainError::nothing_new())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_changes_once_per_period_even_if_the_wait_is_canceled() {
        let mut source = PolledSource::new(EmptyCall, Some(MINUTE));
        assert!(source.load().await.is_err());
        let mut durations = Vec::new();
        for _ in 0..20 {
            let started_at = Instant::now();
            while timeout(Duration::from_secs(1), source.changed()).await.is_err() {}
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
    async fn a_load_starts_the_period_again_and_without_one_it_never_changes() {
        let mut source = PolledSource::new(EmptyCall, Some(MINUTE));
        for _ in 0..10 {
            advance(MINUTE / 2).await;
            assert!(source.load().await.is_err());
            assert_eq!(source.changed().now_or_never(), None);
        }
        let mut never = PolledSource::new(EmptyCall, None);
        assert!(never.load().await.is_err());
        assert!(timeout(1_000 * MINUTE, never.changed()).await.is_err());
    }
}
