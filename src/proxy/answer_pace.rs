//! Spaces out the answers that graphward gives a tenant itself.
//!
//! # Why
//!
//! An app that sends again as soon as it has an answer is slowed down by the time that Graph takes. Nothing slows it down where
//! graphward answers itself: a dead token, a call that no rule allows, a name that no tenant has. 256 connections in such a
//! loop took a whole core, and another tenant waited 47 times as long for its slowest answers. So if there are several tenants,
//! one gets at most [`ANSWERS_PER_SECOND`] of these answers, after a first [`BURST`]. The delay is at most a second, and costs
//! the app nothing: it would have got the same answer, and the next one.
//!
//! The answers are spaced evenly. With the same delay for each, they would come in bursts, and so would the next requests.
//! Another answer (429) in the place of a delay is sent again at once, too. Yielding between the requests of a connection helps
//! little, since each connection has only one.
//!
//! A delayed answer keeps its place among the requests in flight, so none is delayed while half of those places are taken.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The pace of the answers to one tenant. Answers that Graph has given do not count.
#[derive(Debug)]
pub struct AnswerPace {
    created_at: Instant,
    /// When the next answer is due, in microseconds.
    next_due: AtomicU64,
}

/// The number of answers that are not delayed after a pause.
const BURST: u64 = 100;
/// The number of answers in a second after that.
const ANSWERS_PER_SECOND: u64 = 500;
/// The time between two answers, in microseconds.
const INTERVAL: u64 = 1_000_000 / ANSWERS_PER_SECOND;
/// The pause after which a whole burst is not delayed, in microseconds.
const PAUSE: u64 = (BURST - 1) * INTERVAL;
/// The longest delay, in microseconds.
const MAX_DELAY: u64 = 1_000_000;

impl Default for AnswerPace {
    fn default() -> Self {
        Self {
            created_at: Instant::now(),
            next_due: AtomicU64::new(0),
        }
    }
}

impl AnswerPace {
    /// Counts an answer, and returns how long to delay it.
    pub(crate) fn next_delay(&self) -> Duration {
        // It begins with a pause.
        let now = PAUSE + u64::try_from(self.created_at.elapsed().as_micros()).unwrap_or(u64::MAX / 2);
        let after = |next_due: u64| {
            let due = next_due.max(now - PAUSE);
            // The queue does not grow past the longest delay.
            (due <= now + MAX_DELAY).then_some(due + INTERVAL)
        };
        let (Ok(due) | Err(due)) = self.next_due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after);
        Duration::from_micros(due.saturating_sub(now).min(MAX_DELAY))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_are_spaced_evenly_after_a_burst_and_none_waits_longer_than_a_second() {
        let pace = AnswerPace::default();
        for _pause in 0..3 {
            for _ in 0..BURST {
                assert_eq!(pace.next_delay(), Duration::ZERO);
            }
            for number in 1..=ANSWERS_PER_SECOND {
                assert_eq!(pace.next_delay(), Duration::from_micros(number * INTERVAL));
            }
            for _ in 0..10 {
                assert_eq!(pace.next_delay(), Duration::from_micros(MAX_DELAY));
            }
            // Each of them was due by then, and a burst besides.
            sleep(Duration::from_micros((ANSWERS_PER_SECOND + BURST) * INTERVAL)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_steady_stream_below_the_limit_is_not_delayed() {
        let pace = AnswerPace::default();
        for _ in 0..5_000 {
            assert_eq!(pace.next_delay(), Duration::ZERO);
            sleep(Duration::from_micros(INTERVAL)).await;
        }
    }
}
