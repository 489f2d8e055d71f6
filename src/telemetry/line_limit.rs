//! Bounds the lines of the log about what is refused.
//!
//! # Why
//!
//! An app that makes names of tenants up, or a client that opens ever more connections, is refused each time. A line for each
//! would bury the log.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::types::lock;

/// Allows a few lines in a second, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct LineLimit(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    /// When the second of `written` began.
    since: Option<Instant>,
    written: u32,
    /// How many were left out and not counted in the log.
    left_out: u64,
}

/// The most lines in a second.
const LINES_PER_SECOND: u32 = 5;

// === impl LineLimit ===

impl LineLimit {
    /// Returns how many lines were left out before this one; `None` if it is left out, too.
    pub(crate) fn admit(&self) -> Option<u64> {
        let mut lines = lock(&self.0);
        if lines
            .since
            .is_none_or(|since| since.elapsed() >= Duration::from_secs(1))
        {
            (lines.since, lines.written) = (Some(Instant::now()), 0);
        }
        if lines.written >= LINES_PER_SECOND {
            lines.left_out += 1;
            return None;
        }
        lines.written += 1;
        Some(std::mem::take(&mut lines.left_out))
    }

    /// Returns how many lines were left out since the last one, once a second is over.
    pub(crate) fn take_left_out(&self) -> u64 {
        let mut lines = lock(&self.0);
        let is_over = lines
            .since
            .is_none_or(|since| since.elapsed() >= Duration::from_secs(1));
        if is_over {
            std::mem::take(&mut lines.left_out)
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_few_lines_a_second_are_written_and_the_others_are_counted_once() {
        let limit = LineLimit::default();
        let admitted: Vec<_> = (0..3_000).filter_map(|_| limit.admit()).collect();
        assert_eq!(admitted, [0; 5]);
        assert_eq!(limit.take_left_out(), 0, "a line may follow that says it");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(limit.admit(), Some(2_995));
        for _ in 0..10 {
            limit.admit();
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((limit.take_left_out(), limit.take_left_out()), (6, 0));
    }
}
