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
use super::policy::RefreshPolicy;

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum PlannerEvent {
    /// The source may have news.
    SourceChanged,
    /// The work ended in failure. `jitter` is drawn from 0.0..1.0.
    Failed {
        /// Whether it mends itself without a person.
        transient: bool,
        /// Shortens the rest, so that a fleet does not march in step.
        jitter: f64,
    },
    /// The look ended and found what was known.
    Unchanged,
    /// The work ended with a credential.
    Obtained {
        /// Which it is.
        generation: Generation,
        /// What is known of its life.
        deadlines: Deadlines,
        /// Whether it was minted, which has a price, and not found.
        renewed: bool,
    },
    /// Graph rejected this generation.
    Rejected(Generation),
    /// Graph took this generation after it had rejected it.
    Accepted(Generation),
    /// The wait is over. The dates are derived anew from wall time: monotonic time stands still in a suspended
    /// machine.
    TimerFired(Deadlines),
}

/// What is known of the live credential's life, on the monotonic clock.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Deadlines {
    /// When its successor should be there. Not after `expires_at`.
    pub renew_at: Option<Instant>,
    /// When it ends.
    pub expires_at: Option<Instant>,
}

/// What to do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Look at the source: free.
    Check,
    /// Find or mint a successor: costs a renewal.
    Refresh,
    /// Wait for an event, or until then.
    Wait {
        /// When to wake, if nothing happens before.
        until: Option<Instant>,
        /// Whether those who ask meanwhile hear the last failure at once.
        is_backing_off: bool,
    },
}

/// What is known, and what follows from it.
#[derive(Debug)]
pub struct RefreshPlanner {
    policy: RefreshPolicy,
    current: Option<CurrentGeneration>,
    rejected: Option<Generation>,
    /// The source may have news that no look has seen.
    source_changed: bool,
    /// Replacements that failed in a row.
    consecutive_failures: u32,
    /// Minted tokens in a row that Graph rejected at once, or that were due at once.
    consecutive_bad_renewals: u32,
    backoff: Option<Backoff>,
    last_refresh_at: Option<Instant>,
    /// The last order was [`Action::Refresh`], and why.
    refreshing_for: Option<Urgency>,
}

#[derive(Clone, Copy, Debug)]
struct CurrentGeneration {
    generation: Generation,
    deadlines: Deadlines,
    /// When it was minted, if it was.
    renewed_at: Option<Instant>,
}

/// Why there should be another credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Urgency {
    /// It is time; the live one still works.
    Due,
    /// There is none, or Graph rejected it, or it has ended.
    Dead,
}

#[derive(Clone, Copy, Debug)]
struct Backoff {
    until: Instant,
    urgency: Urgency,
}

// === impl RefreshPlanner ===

impl RefreshPlanner {
    /// A plan for a tenant without a credential. The first order is due at once: see [`Self::next_action`].
    #[must_use]
    pub const fn new(policy: RefreshPolicy) -> Self {
        Self {
            policy,
            current: None,
            rejected: None,
            source_changed: true,
            consecutive_failures: 0,
            consecutive_bad_renewals: 0,
            backoff: None,
            last_refresh_at: None,
            refreshing_for: None,
        }
    }

    /// Takes note of an event and says what to do. Not called while an order is being carried out.
    pub fn on(&mut self, event: PlannerEvent, now: Instant) -> Action {
        match (event, self.refreshing_for) {
            (PlannerEvent::SourceChanged, _) => self.source_changed = true,
            // A look that failed is followed by a replacement if there is need: only that may fail for good.
            (PlannerEvent::Failed { transient, jitter }, Some(need)) => {
                self.on_failed(need, transient, jitter, now);
            }
            (PlannerEvent::Failed { .. } | PlannerEvent::Unchanged, _) => {}
            (PlannerEvent::TimerFired(dates), _) => {
                self.current = self.current.map(|live| CurrentGeneration {
                    deadlines: dates,
                    ..live
                });
            }
            (
                PlannerEvent::Obtained {
                    generation,
                    deadlines: dates,
                    renewed: minted,
                },
                _,
            ) => self.on_obtained(generation, dates, minted, now),
            (PlannerEvent::Rejected(generation), _) => self.on_rejected(generation, now),
            (PlannerEvent::Accepted(generation), _) => {
                self.rejected = self.rejected.filter(|rejected| *rejected != generation);
            }
        }
        self.next_action(now)
    }

    /// What to do when nothing new has happened.
    pub fn next_action(&mut self, now: Instant) -> Action {
        self.refreshing_for = None;
        if self.source_changed {
            self.source_changed = false;
            return Action::Check;
        }
        let deadlines = self.current.map(|live| live.deadlines).unwrap_or_default();
        let Some(urgency) = self.urgency(now) else {
            return Action::Wait {
                until: deadlines.renew_at.or(deadlines.expires_at),
                is_backing_off: false,
            };
        };
        let backoff_until = self
            .backoff
            .filter(|rest| rest.until > now && (rest.urgency == urgency || urgency == Urgency::Due))
            .map(|rest| rest.until);
        let min_interval_until = self
            .last_refresh_at
            .map(|at| at + self.policy.min_interval)
            .filter(|until| *until > now);
        if let Some(until) = backoff_until.max(min_interval_until) {
            // A token that ends during its rest is urgent from then on.
            let expires_at = deadlines.expires_at.filter(|ends| *ends > now);
            return Action::Wait {
                until: Some(expires_at.map_or(until, |ends| until.min(ends))),
                is_backing_off: urgency == Urgency::Dead,
            };
        }
        self.last_refresh_at = Some(now);
        self.refreshing_for = Some(urgency);
        Action::Refresh
    }

    fn urgency(&self, now: Instant) -> Option<Urgency> {
        let is_past = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        match self.current {
            None => Some(Urgency::Dead),
            Some(live) if Some(live.generation) <= self.rejected || is_past(live.deadlines.expires_at) => {
                Some(Urgency::Dead)
            }
            Some(live) => is_past(live.deadlines.renew_at).then_some(Urgency::Due),
        }
    }

    fn on_obtained(&mut self, generation: Generation, deadlines: Deadlines, renewed: bool, now: Instant) {
        self.current = Some(CurrentGeneration {
            generation,
            deadlines,
            renewed_at: renewed.then_some(now),
        });
        self.consecutive_failures = 0;
        self.backoff = None;
        // Whoever mints what has to be renewed at once would mint for ever.
        if renewed && deadlines.renew_at.is_some_and(|due| due <= now) {
            self.on_bad_renewal(Urgency::Due, now);
        }
    }

    fn on_rejected(&mut self, generation: Generation, now: Instant) {
        let is_first = Some(generation) > self.rejected;
        self.rejected = self.rejected.max(Some(generation));
        let renewed_at = self
            .current
            .filter(|live| is_first && live.generation == generation)
            .and_then(|live| live.renewed_at);
        match renewed_at {
            // Graph takes nothing that is minted now: more of it costs renewals and heals nobody.
            Some(at) if now < at + self.policy.max_backoff => {
                self.on_bad_renewal(Urgency::Dead, now);
            }
            Some(_) => self.consecutive_bad_renewals = 0,
            None => {}
        }
    }

    fn on_bad_renewal(&mut self, urgency: Urgency, now: Instant) {
        let backoff = doubled(self.policy.initial_backoff, self.consecutive_bad_renewals).min(self.policy.max_backoff);
        self.consecutive_bad_renewals = self.consecutive_bad_renewals.saturating_add(1);
        self.backoff = Some(Backoff {
            until: now + backoff,
            urgency,
        });
    }

    /// Full jitter: anything between the smallest gap and the whole rest. What needs a person is not asked about often;
    /// the person's mending shows as a change of the source.
    fn on_failed(&mut self, urgency: Urgency, transient: bool, jitter: f64, now: Instant) {
        let max_backoff = match urgency {
            Urgency::Due => self.policy.max_backoff_while_valid,
            Urgency::Dead => self.policy.max_backoff,
        };
        let factor = 1.0 - jitter.clamp(0.0, 1.0);
        let backoff = if transient {
            let full = doubled(self.policy.initial_backoff, self.consecutive_failures).min(max_backoff);
            full.mul_f64(factor)
        } else {
            max_backoff.mul_f64(0.75 + factor / 4.0)
        };
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        self.backoff = Some(Backoff {
            until: now + backoff.max(self.policy.min_interval),
            urgency,
        });
    }
}

fn doubled(base: Duration, times: u32) -> Duration {
    base.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
