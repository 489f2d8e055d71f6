//! What the refresher does next: a pure decision.
//!
//! # Why
//!
//! Waiting, racing and resting are where refreshers go wrong, so none of it is decided where the waiting is
//! done. Events go in, one order comes out, `now` is an argument, and a proptest walks through event sequences
//! no test would think of. There is no clock, no I/O and no randomness here: jitter is drawn outside and handed
//! in with the event.

use std::time::Duration;

use tokio::time::Instant;

use super::credential::Generation;

/// The refresher's times.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// At most one replacement per this, whatever the traffic.
    pub min_gap: Duration,
    /// The first rest after a failure; doubled with each further one …
    pub rest_first: Duration,
    /// … up to this.
    pub rest_most: Duration,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// The source may have news.
    Changed,
    /// The work ended in failure. `jitter` is drawn from 0.0..1.0.
    Failed {
        /// Whether it mends itself without a person.
        transient: bool,
        /// Shortens the rest by up to a quarter, so that a fleet does not march in step.
        jitter: f64,
    },
    /// The look ended and found what was known.
    NothingNew,
    /// The work ended with a credential.
    Obtained {
        /// Which it is.
        generation: Generation,
        /// When its successor should be there, if that is known.
        due: Option<Instant>,
    },
    /// Graph rejected this generation.
    Rejected(Generation),
    /// Graph took this generation after it had rejected it.
    Absolved(Generation),
    /// The wait is over. `due` is derived anew from wall time: monotonic time stands still in a suspended
    /// machine.
    Woke {
        /// When the live credential's successor should be there, if that is known.
        due: Option<Instant>,
    },
}

/// What to do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// Look at the source: free.
    Look,
    /// Find or mint a successor: costs a renewal.
    Replace,
    /// Wait for an event, or until then.
    Wait {
        /// When to wake, if nothing happens before.
        until: Option<Instant>,
        /// Whether those who ask meanwhile hear the last failure at once.
        resting: bool,
    },
}

/// What is known, and what follows from it.
#[derive(Debug)]
pub struct Plan {
    schedule: Schedule,
    live: Option<Live>,
    rejected: Option<Generation>,
    /// The source may have news that no look has seen.
    news: bool,
    failures: u32,
    rest_until: Option<Instant>,
    replaced_at: Option<Instant>,
    /// The last order was [`Order::Replace`].
    replacing: bool,
}

#[derive(Clone, Copy, Debug)]
struct Live {
    generation: Generation,
    due: Option<Instant>,
}

// === impl Schedule ===

impl Default for Schedule {
    fn default() -> Self {
        Self {
            min_gap: Duration::from_secs(1),
            rest_first: Duration::from_secs(1),
            rest_most: Duration::from_secs(60),
        }
    }
}

// === impl Plan ===

impl Plan {
    /// A plan for a tenant without a credential. The first order is due at once: see [`Self::next`].
    #[must_use]
    pub const fn new(schedule: Schedule) -> Self {
        Self {
            schedule,
            live: None,
            rejected: None,
            news: true,
            failures: 0,
            rest_until: None,
            replaced_at: None,
            replacing: false,
        }
    }

    /// Takes note of an event and says what to do. Not called while an order is being carried out.
    pub fn on(&mut self, event: Event, now: Instant) -> Order {
        match event {
            Event::Changed => self.news = true,
            // A look that failed is followed by a replacement if there is need: only that may fail for good.
            Event::Failed { transient, jitter } if self.replacing => {
                self.rest(transient, jitter, now);
            }
            Event::Failed { .. } | Event::NothingNew => {}
            Event::Woke { due } => self.live = self.live.map(|live| Live { due, ..live }),
            Event::Obtained { generation, due } => {
                self.live = Some(Live { generation, due });
                self.failures = 0;
                self.rest_until = None;
            }
            Event::Absolved(generation) => {
                self.rejected = self.rejected.filter(|rejected| *rejected != generation);
            }
            Event::Rejected(generation) => self.rejected = self.rejected.max(Some(generation)),
        }
        self.next(now)
    }

    /// What to do when nothing new has happened.
    pub fn next(&mut self, now: Instant) -> Order {
        self.replacing = false;
        if self.news {
            self.news = false;
            return Order::Look;
        }
        let resting = self.rest_until.filter(|until| *until > now);
        let too_soon = self
            .replaced_at
            .map(|at| at + self.schedule.min_gap)
            .filter(|until| *until > now);
        if !self.needs(now) {
            let until = self.live.and_then(|live| live.due);
            return Order::Wait {
                until,
                resting: false,
            };
        }
        if let Some(until) = resting.max(too_soon) {
            return Order::Wait {
                until: Some(until),
                resting: true,
            };
        }
        self.replaced_at = Some(now);
        self.replacing = true;
        Order::Replace
    }

    /// No credential, or the live one was rejected, or it is past due.
    fn needs(&self, now: Instant) -> bool {
        self.live.is_none_or(|live| {
            Some(live.generation) <= self.rejected || live.due.is_some_and(|due| due <= now)
        })
    }

    fn rest(&mut self, transient: bool, jitter: f64, now: Instant) {
        let Schedule {
            rest_first,
            rest_most,
            ..
        } = self.schedule;
        let doubled =
            rest_first.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        // What needs a person is not asked about often; the person's mending shows as a change of the source.
        let rest = if transient {
            doubled.min(rest_most)
        } else {
            rest_most
        };
        self.failures = self.failures.saturating_add(1);
        self.rest_until = Some(now + rest.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 4.0));
    }
}

#[cfg(test)]
mod tests;
