//! Decides what the refresher does next: a pure function.
//!
//! # Why
//!
//! Waits, races and backoffs are where refreshers fail, so none of them is decided where the waiting is done. An event
//! goes in, an action comes out, `now` is an argument, and a proptest tries event sequences that no test author would
//! think of. There is no clock, no I/O and no randomness here: jitter is drawn outside and passed in with the event.
//!
//! Looks and renewals have separate clocks. A look is cheap, so a dead token's sources are read every few seconds; a renewal
//! has a cost, so its backoff grows, and no look shortens it. Where thousands of tenants share a source, their looks become less
//! frequent, too, while no request needs the token: those of an app that was disabled are all dead at the same time.
//!
//! A token that is due for renewal is not dead. Its renewal is not urgent: failures are followed by ever longer backoffs, up
//! to an hour, while it stays in use. A dead token is urgent, and ends such a backoff.
//!
//! `backon` retries a future until it succeeds, with jitter of its own. Here a rejection, an expiry or a change of a source
//! ends a backoff, and the future differs by then. Only its sequence of delays could be used, in place of `doubled`: three
//! lines.

use std::time::Duration;

use tokio::time::Instant;

use super::credential::Generation;
use super::policy::RefreshPolicy;
use super::sources::WITHDRAWAL_INTERVAL;
use super::traits::LookInterval;

/// An event that may change what to do.
#[derive(Clone, Copy, Debug)]
pub enum PlannerEvent {
    /// A source may have changed.
    SourceChanged,
    /// Sources, renewer and policy may have changed: what failed before may succeed now.
    Reconfigured(Deadlines),
    /// The action failed.
    Failed(Failure),
    /// Another replica renews the token now.
    Locked {
        /// Makes the time until the next attempt longer or shorter; drawn from 0.0..1.0.
        jitter: f64,
    },
    /// The check found no new token.
    Unchanged,
    /// The action obtained a credential.
    Obtained(CurrentGeneration),
    /// Graph rejected a request, which does not prove that the token is dead.
    Doubted,
    /// Graph rejected this generation.
    Rejected(Generation),
    /// Graph accepted this generation after a rejection.
    Accepted(Generation),
    /// The source withdrew the current credential.
    Withdrawn,
    /// The wait is over. The deadlines are computed again from wall time: monotonic time stops while a machine is
    /// suspended.
    TimerFired(Deadlines),
}

/// A failed action.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// A later attempt may succeed without the operator.
    pub transient: bool,
    /// Shortens the backoff, so that replicas do not retry at the same moment; drawn from 0.0..1.0.
    pub jitter: f64,
}

/// The current credential.
#[derive(Clone, Copy, Debug)]
pub struct CurrentGeneration {
    /// Its generation.
    pub generation: Generation,
    /// Its deadlines.
    pub deadlines: Deadlines,
    /// It was renewed, which has a cost, and not found in a source.
    pub renewed: bool,
}

/// The deadlines of the current credential, on the monotonic clock.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Deadlines {
    /// The time at which it is renewed. Not after `expires_at`.
    pub renew_at: Option<Instant>,
    /// The time at which it expires.
    pub expires_at: Option<Instant>,
}

/// The next action.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Read the sources, which is free.
    Check,
    /// Obtain another token, which may cost a renewal.
    Refresh,
    /// Wait for an event, or until this time.
    Wait(Option<Instant>),
    /// Wait for an event, or until this time. Requests meanwhile get the last failure at once.
    BackOff(Instant),
}

/// The state of a tenant's token, and the decision that follows from it.
#[derive(Debug, Default)]
pub struct RefreshPlanner {
    pub(super) policy: RefreshPolicy,
    current: Option<CurrentGeneration>,
    /// The time at which the current credential was renewed, unless it was found in a source.
    renewed_at: Option<Instant>,
    rejected: Option<Generation>,
    /// A source announced a change that no check has seen.
    source_changed: bool,
    /// The number of refreshes that failed in a row.
    consecutive_failures: u32,
    /// The number of renewed tokens in a row that Graph rejected at once, or that were due at once.
    consecutive_bad_renewals: u32,
    backoff: Option<Backoff>,
    /// Until when no refresh is tried because another replica renews the token, for which requests wait.
    locked_until: Option<Instant>,
    last_refresh_at: Option<Instant>,
    /// When the sources were last checked for a token that may be dead.
    doubt_checked_at: Option<Instant>,
    /// The time between two looks at the sources while there is no valid token; `None` if no source has to be looked at.
    pub(super) look_interval: Option<LookInterval>,
    pub(super) next_look: Option<Instant>,
    /// The number of looks since there was a valid token.
    looks: u32,
    /// The urgency of the last action, if that was [`Action::Refresh`].
    refreshing_for: Option<Urgency>,
}

/// The reason for a refresh.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Urgency {
    /// The current token is due for renewal, but valid.
    Due,
    /// There is no token, or Graph rejected it, or it has expired.
    Dead,
}

#[derive(Clone, Copy, Debug)]
struct Backoff {
    until: Instant,
    urgency: Urgency,
}

/// The shortest time between two checks for a token that may be dead.
const MIN_DOUBT_INTERVAL: Duration = Duration::from_secs(10);
/// About the time until the next refresh of a token that another replica renews. It reads the sources, too, which may have the new
/// token by then.
const LOCKED_INTERVAL: Duration = Duration::from_secs(2);

// === impl RefreshPlanner ===

impl RefreshPlanner {
    /// Creates the planner of a tenant without a credential. The first action is due at once: see [`Self::next_action`].
    #[must_use]
    pub fn new(policy: RefreshPolicy) -> Self {
        Self {
            policy,
            source_changed: true,
            ..Self::default()
        }
    }

    /// Records an event and returns the next action. Not called while an action is in progress.
    pub fn on_event(&mut self, event: PlannerEvent, now: Instant) -> Action {
        match (event, self.refreshing_for) {
            (PlannerEvent::SourceChanged, _) => self.source_changed = true,
            (PlannerEvent::Reconfigured(deadlines), _) => {
                self.current = self.current.map(|current| CurrentGeneration { deadlines, ..current });
                self.source_changed = true;
                self.consecutive_failures = 0;
                self.looks = 0;
                // An operator is behind it, and waits for what is due now.
                (self.backoff, self.last_refresh_at) = (None, None);
            }
            // A failed check is followed by a refresh if one is needed, so only a failed refresh counts.
            (PlannerEvent::Failed(failure), Some(urgency)) => self.on_failed(urgency, failure, now),
            (PlannerEvent::Locked { jitter }, _) => {
                self.locked_until = Some(now + LOCKED_INTERVAL.mul_f64(0.75 + jitter / 2.0));
            }
            (PlannerEvent::Failed(_) | PlannerEvent::Unchanged, _) => {}
            (PlannerEvent::TimerFired(deadlines), _) => {
                self.current = self.current.map(|current| CurrentGeneration { deadlines, ..current });
            }
            (PlannerEvent::Obtained(current), _) => self.on_obtained(current, now),
            (PlannerEvent::Doubted, _) => self.on_doubted(now),
            (PlannerEvent::Rejected(generation), _) => self.on_rejected(generation, now),
            (PlannerEvent::Accepted(generation), _) => {
                self.rejected = self.rejected.filter(|rejected| *rejected != generation);
            }
            (PlannerEvent::Withdrawn, _) => self.current = None,
        }
        self.next_action(now)
    }

    /// Returns the next action without a new event.
    pub fn next_action(&mut self, now: Instant) -> Action {
        self.refreshing_for = None;
        let urgency = self.urgency(now);
        if urgency != Some(Urgency::Dead) {
            // A look that waits after many others is not for the token that dies next.
            if std::mem::take(&mut self.looks) > 0 {
                self.hasten_look(now);
            }
        } else if let Some(interval) = self.look_interval {
            // One that confirms what a source has said stays where it is: a little earlier, it would confirm nothing.
            let next = now + interval.after(self.looks);
            self.next_look.get_or_insert(next);
        }
        let is_look_due = self.next_look.is_some_and(|at| at <= now);
        if self.source_changed || is_look_due {
            self.source_changed = false;
            // A look that is to confirm what the source of a valid token has said does not count.
            self.looks = self
                .looks
                .saturating_add((is_look_due && urgency == Some(Urgency::Dead)).into());
            self.next_look = None;
            return Action::Check;
        }
        let deadlines = self.current.map(|current| current.deadlines).unwrap_or_default();
        let Some(urgency) = urgency else {
            let deadline = deadlines.renew_at.or(deadlines.expires_at);
            return Action::Wait(deadline.into_iter().chain(self.next_look).min());
        };
        let backoff_until = self
            .backoff
            .filter(|backoff| backoff.until > now && (backoff.urgency == urgency || urgency == Urgency::Due))
            .map(|backoff| backoff.until);
        let locked_until = self.locked_until.filter(|until| *until > now);
        let min_interval_until = self
            .last_refresh_at
            .map(|at| at + self.policy.min_interval)
            .filter(|until| *until > now);
        if let Some(until) = backoff_until.max(min_interval_until).max(locked_until) {
            // A token that expires during its backoff is urgent from then on.
            let expires_at = deadlines.expires_at.filter(|at| *at > now);
            let until = expires_at.map_or(until, |at| until.min(at));
            let until = self.next_look.map_or(until, |at| until.min(at));
            return match urgency {
                Urgency::Dead if locked_until.is_none() => Action::BackOff(until),
                Urgency::Dead | Urgency::Due => Action::Wait(Some(until)),
            };
        }
        self.last_refresh_at = Some(now);
        // A refresh reads the sources, too.
        self.next_look = None;
        self.refreshing_for = Some(urgency);
        Action::Refresh
    }

    /// Brings a look that is far away nearer: a request waits for a token.
    pub(super) fn hasten_look(&mut self, now: Instant) {
        self.next_look = self.earlier_look(now).or(self.next_look);
    }

    /// The time to which a request that waits brings the next look; `None` for one that is near, or is to confirm what a source has
    /// just said.
    pub(super) fn earlier_look(&self, now: Instant) -> Option<Instant> {
        let soon = now + self.look_interval?.first.max(WITHDRAWAL_INTERVAL);
        self.next_look.filter(|at| *at > soon).and(Some(soon))
    }

    /// Returns whether another replica renews the token, by the last attempt.
    pub(super) fn is_locked(&self, now: Instant) -> bool {
        self.locked_until.is_some_and(|until| until > now)
    }

    fn urgency(&self, now: Instant) -> Option<Urgency> {
        let is_past = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        match self.current {
            Some(current) if Some(current.generation) > self.rejected && !is_past(current.deadlines.expires_at) => {
                is_past(current.deadlines.renew_at).then_some(Urgency::Due)
            }
            _ => Some(Urgency::Dead),
        }
    }

    fn on_obtained(&mut self, current: CurrentGeneration, now: Instant) {
        self.current = Some(current);
        self.renewed_at = current.renewed.then_some(now);
        self.doubt_checked_at = None;
        self.consecutive_failures = 0;
        self.backoff = None;
        // A renewer whose tokens are due at once must not be called in a loop.
        if current.renewed && current.deadlines.renew_at.is_some_and(|due| due <= now) {
            self.on_bad_renewal(Urgency::Due, now);
        }
    }

    /// A newer token would heal at once, but a request that needs another kind of token may come every second.
    fn on_doubted(&mut self, now: Instant) {
        let is_recent = |at: Instant| now < at + MIN_DOUBT_INTERVAL;
        if !self.doubt_checked_at.is_some_and(is_recent) {
            self.doubt_checked_at = Some(now);
            self.source_changed = true;
        }
    }

    fn on_rejected(&mut self, generation: Generation, now: Instant) {
        let is_first = Some(generation) > self.rejected;
        self.rejected = self.rejected.max(Some(generation));
        let renewed_at = self
            .current
            .filter(|current| is_first && current.generation == generation)
            .and(self.renewed_at);
        match renewed_at {
            // Graph rejects newly renewed tokens: more renewals would not help.
            Some(at) if now < at + self.policy.max_backoff => self.on_bad_renewal(Urgency::Dead, now),
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

    /// The backoff has full jitter: random, between the shortest interval and the limit. A permanent failure is not retried
    /// often: the operator's fix is announced as a change of a source.
    fn on_failed(&mut self, urgency: Urgency, failure: Failure, now: Instant) {
        let max_backoff = match urgency {
            Urgency::Due => self.policy.max_backoff_while_valid,
            Urgency::Dead => self.policy.max_backoff,
        };
        let factor = 1.0 - failure.jitter.clamp(0.0, 1.0);
        let backoff = if failure.transient {
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
