//! What the refresher does next: a pure decision.
//!
//! # Why
//!
//! Waiting, racing and resting are where refreshers go wrong, so none of it is decided where the waiting is
//! done. Events go in, one order comes out, `now` is an argument, and a proptest walks through event sequences
//! no test would think of. There is no clock, no I/O and no randomness here: jitter is drawn outside and handed
//! in with the event.
//!
//! A token that is merely due is not one that is dead. The one is renewed in peace: failures are followed by ever longer
//! rests, up to an hour, while the live one goes on. The other is urgent, and ends such a rest.

use std::time::Duration;

use tokio::time::Instant;

use super::credential::Generation;
use super::schedule::Schedule;

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// The source may have news.
    Changed,
    /// The work ended in failure. `jitter` is drawn from 0.0..1.0.
    Failed {
        /// Whether it mends itself without a person.
        transient: bool,
        /// Shortens the rest, so that a fleet does not march in step.
        jitter: f64,
    },
    /// The look ended and found what was known.
    NothingNew,
    /// The work ended with a credential.
    Obtained {
        /// Which it is.
        generation: Generation,
        /// What is known of its life.
        dates: Dates,
        /// Whether it was minted, which has a price, and not found.
        minted: bool,
    },
    /// Graph rejected this generation.
    Rejected(Generation),
    /// Graph took this generation after it had rejected it.
    Absolved(Generation),
    /// The wait is over. The dates are derived anew from wall time: monotonic time stands still in a suspended
    /// machine.
    Woke(Dates),
}

/// What is known of the live credential's life, on the monotonic clock.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Dates {
    /// When its successor should be there. Not after `ends`.
    pub due: Option<Instant>,
    /// When it ends.
    pub ends: Option<Instant>,
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
    /// Replacements that failed in a row.
    failures: u32,
    /// Minted tokens in a row that Graph rejected at once, or that were due at once.
    useless: u32,
    rest: Option<Rest>,
    replaced_at: Option<Instant>,
    /// The last order was [`Order::Replace`], and why.
    replacing: Option<Need>,
}

#[derive(Clone, Copy, Debug)]
struct Live {
    generation: Generation,
    dates: Dates,
    /// When it was minted, if it was.
    minted_at: Option<Instant>,
}

/// Why there should be another credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Need {
    /// It is time; the live one still works.
    Due,
    /// There is none, or Graph rejected it, or it has ended.
    Dead,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Instant,
    need: Need,
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
            useless: 0,
            rest: None,
            replaced_at: None,
            replacing: None,
        }
    }

    /// Takes note of an event and says what to do. Not called while an order is being carried out.
    pub fn on(&mut self, event: Event, now: Instant) -> Order {
        match (event, self.replacing) {
            (Event::Changed, _) => self.news = true,
            // A look that failed is followed by a replacement if there is need: only that may fail for good.
            (Event::Failed { transient, jitter }, Some(need)) => {
                self.failed(need, transient, jitter, now);
            }
            (Event::Failed { .. } | Event::NothingNew, _) => {}
            (Event::Woke(dates), _) => self.live = self.live.map(|live| Live { dates, ..live }),
            (
                Event::Obtained {
                    generation,
                    dates,
                    minted,
                },
                _,
            ) => self.obtained(generation, dates, minted, now),
            (Event::Rejected(generation), _) => self.rejected(generation, now),
            (Event::Absolved(generation), _) => {
                self.rejected = self.rejected.filter(|rejected| *rejected != generation);
            }
        }
        self.next(now)
    }

    /// What to do when nothing new has happened.
    pub fn next(&mut self, now: Instant) -> Order {
        self.replacing = None;
        if self.news {
            self.news = false;
            return Order::Look;
        }
        let dates = self.live.map(|live| live.dates).unwrap_or_default();
        let Some(need) = self.need(now) else {
            return Order::Wait {
                until: dates.due.or(dates.ends),
                resting: false,
            };
        };
        let rest = self
            .rest
            .filter(|rest| rest.until > now && (rest.need == need || need == Need::Due))
            .map(|rest| rest.until);
        let too_soon = self
            .replaced_at
            .map(|at| at + self.schedule.min_gap)
            .filter(|until| *until > now);
        if let Some(until) = rest.max(too_soon) {
            // A token that ends during its rest is urgent from then on.
            let ends = dates.ends.filter(|ends| *ends > now);
            return Order::Wait {
                until: Some(ends.map_or(until, |ends| until.min(ends))),
                resting: need == Need::Dead,
            };
        }
        self.replaced_at = Some(now);
        self.replacing = Some(need);
        Order::Replace
    }

    fn need(&self, now: Instant) -> Option<Need> {
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        match self.live {
            None => Some(Need::Dead),
            Some(live) if Some(live.generation) <= self.rejected || passed(live.dates.ends) => {
                Some(Need::Dead)
            }
            Some(live) => passed(live.dates.due).then_some(Need::Due),
        }
    }

    fn obtained(&mut self, generation: Generation, dates: Dates, minted: bool, now: Instant) {
        self.live = Some(Live {
            generation,
            dates,
            minted_at: minted.then_some(now),
        });
        self.failures = 0;
        self.rest = None;
        // Whoever mints what has to be renewed at once would mint for ever.
        if minted && dates.due.is_some_and(|due| due <= now) {
            self.useless(Need::Due, now);
        }
    }

    fn rejected(&mut self, generation: Generation, now: Instant) {
        let news = Some(generation) > self.rejected;
        self.rejected = self.rejected.max(Some(generation));
        let minted_at = self
            .live
            .filter(|live| news && live.generation == generation)
            .and_then(|live| live.minted_at);
        match minted_at {
            // Graph takes nothing that is minted now: more of it costs renewals and heals nobody.
            Some(at) if now < at + self.schedule.rest_most => self.useless(Need::Dead, now),
            Some(_) => self.useless = 0,
            None => {}
        }
    }

    fn useless(&mut self, need: Need, now: Instant) {
        let rest = doubled(self.schedule.rest_first, self.useless).min(self.schedule.rest_most);
        self.useless = self.useless.saturating_add(1);
        self.rest = Some(Rest {
            until: now + rest,
            need,
        });
    }

    /// Full jitter: anything between the smallest gap and the whole rest. What needs a person is not asked about often;
    /// the person's mending shows as a change of the source.
    fn failed(&mut self, need: Need, transient: bool, jitter: f64, now: Instant) {
        let most = match need {
            Need::Due => self.schedule.rest_most_due,
            Need::Dead => self.schedule.rest_most,
        };
        let left = 1.0 - jitter.clamp(0.0, 1.0);
        let rest = if transient {
            let whole = doubled(self.schedule.rest_first, self.failures).min(most);
            whole.mul_f64(left)
        } else {
            most.mul_f64(0.75 + left / 4.0)
        };
        self.failures = self.failures.saturating_add(1);
        self.rest = Some(Rest {
            until: now + rest.max(self.schedule.min_gap),
            need,
        });
    }
}

fn doubled(rest: Duration, times: u32) -> Duration {
    rest.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
