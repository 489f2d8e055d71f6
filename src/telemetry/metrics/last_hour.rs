//! The requests of the last hour, by minute.
//!
//! # Why
//!
//! The status page is opened after something has happened, and counters have no past. The counts are those of all tenants
//! together: 2 KiB, however many tenants there are. A request only adds to atomics; one that ends just as a minute begins
//! may be missing.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tokio::time::Instant;

/// The requests of all tenants in the last 60 minutes: a number for each minute, that of the present one last.
#[derive(Debug, Default, Eq, PartialEq, Serialize)]
pub struct LastHour {
    /// All requests but tunnels.
    pub requests: Vec<u64>,
    /// Requests that Graph answered once they were sent again with a newer token.
    pub healed: Vec<u64>,
    /// Requests that graphward refused, or that were lost: Graph rejected the token, or ended the connection.
    pub refused: Vec<u64>,
}

/// Counts the requests of each minute.
#[derive(Debug)]
pub(super) struct MinuteCounts {
    started_at: Instant,
    /// A ring. The minute `n` since the start is at `n % 60`.
    ring: [Minute; MINUTES as usize],
}

#[derive(Debug, Default)]
struct Minute {
    number: AtomicU64,
    requests: AtomicU64,
    healed: AtomicU64,
    refused: AtomicU64,
}

const MINUTES: u64 = 60;

// === impl MinuteCounts ===

impl MinuteCounts {
    pub(super) fn new() -> Self {
        Self {
            started_at: Instant::now(),
            ring: array::from_fn(|_| Minute::default()),
        }
    }

    /// Counts a request that has ended.
    pub(super) fn count(&self, outcome: &'static str) {
        // Not a request for Graph. Those in the tunnel come on their own.
        if outcome == "tunnel_opened" {
            return;
        }
        let number = self.number();
        let Some(minute) = self.minute(number) else { return };
        minute.begin(number);
        minute.requests.fetch_add(1, Ordering::Relaxed);
        match outcome {
            // The app disconnected, or graphward stopped.
            "delivered" | "client_disconnected" | "client_stalled" | "closed_by_shutdown" => {}
            "healed" => _ = minute.healed.fetch_add(1, Ordering::Relaxed),
            _ => _ = minute.refused.fetch_add(1, Ordering::Relaxed),
        }
    }

    pub(super) fn last_hour(&self) -> LastHour {
        let number = self.number();
        let mut hour = LastHour::default();
        for age in (0..MINUTES).rev() {
            let wanted = number.checked_sub(age);
            let minute = wanted.and_then(|wanted| self.minute(wanted));
            // What is in its place may be older.
            let minute = minute.filter(|minute| Some(minute.number.load(Ordering::Acquire)) == wanted);
            let value =
                |counter: fn(&Minute) -> &AtomicU64| minute.map_or(0, |minute| counter(minute).load(Ordering::Relaxed));
            hour.requests.push(value(|minute| &minute.requests));
            hour.healed.push(value(|minute| &minute.healed));
            hour.refused.push(value(|minute| &minute.refused));
        }
        hour
    }

    /// The minutes since the start.
    fn number(&self) -> u64 {
        self.started_at.elapsed().as_secs() / 60
    }

    fn minute(&self, number: u64) -> Option<&Minute> {
        self.ring.get(usize::try_from(number % MINUTES).ok()?)
    }
}

// === impl Minute ===

impl Minute {
    /// Forgets the counts of an hour ago, once.
    fn begin(&self, number: u64) {
        if self.number.load(Ordering::Relaxed) < number && self.number.swap(number, Ordering::AcqRel) < number {
            for counter in [&self.requests, &self.healed, &self.refused] {
                counter.store(0, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn each_minute_of_the_last_hour_has_its_requests() {
        let counts = MinuteCounts::new();
        assert_eq!(counts.last_hour().requests, [0; 60]);
        counts.count("delivered");
        advance(MINUTE).await;
        for outcome in [
            "delivered",
            "tunnel_opened",
            "healed",
            "refused_no_token",
            "unhealed_not_sent",
        ] {
            counts.count(outcome);
        }
        counts.count("client_disconnected");
        let hour = counts.last_hour();
        assert_eq!(hour.requests[..58], [0; 58]);
        assert_eq!(hour.requests[58..], [1, 5]);
        assert_eq!((&hour.healed[58..], &hour.refused[58..]), (&[0, 1][..], &[0, 2][..]));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_of_an_hour_ago_are_forgotten_with_and_without_new_ones_in_their_place() {
        let counts = MinuteCounts::new();
        counts.count("healed");
        advance(MINUTE * 59).await;
        assert_eq!(counts.last_hour().healed[0], 1);
        advance(MINUTE).await;
        assert_eq!(counts.last_hour().healed, [0; 60]);
        counts.count("delivered");
        assert_eq!(counts.last_hour().healed, [0; 60]);
        assert_eq!(counts.last_hour().requests[59], 1);
        advance(MINUTE * 60 * 24).await;
        assert_eq!(counts.last_hour().requests, [0; 60]);
    }
}
