//! What is to be told, what was, and when to try again: pure decisions, with the time handed in.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::token::{Alert, AlertCause};
use crate::types::TenantId;

/// Notices that wait, one for each cause of each tenant, and what became of those before.
#[derive(Debug, Default)]
pub(super) struct Pile {
    waiting: HashMap<Key, Waiting>,
    past: HashMap<Key, Past>,
    /// The one that is being told.
    telling: Option<Key>,
    /// The webhook asked for silence until then.
    silent: Option<Instant>,
    /// What comes is counted, so that the oldest is known.
    turn: u64,
    /// Whether each has one try left.
    hurried: bool,
    /// Whether something was dropped since the last delivery.
    crowded: bool,
}

/// What is told once in a day.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    pub(super) tenant: TenantId,
    pub(super) cause: AlertCause,
}

/// The time on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) wall: SystemTime,
}

/// What became of a notice that was put here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Put {
    /// It waits to be told.
    Taken,
    /// Its cause was told within the day; or waits to be, and now in these words.
    Known,
    /// It waits to be told, and the oldest does not any more.
    Crowded {
        /// Whether that has not happened since the last delivery.
        first: bool,
    },
    /// Nothing is told any more.
    Dropped,
}

/// What to do next.
#[derive(Debug)]
pub(super) enum Next {
    /// Tell this, which was rung then.
    Tell(Key, Alert, SystemTime),
    /// Wait until then.
    At(Instant),
    /// Wait for a notice.
    Nothing,
}

/// What failed is tried again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Again {
    /// After how long.
    pub(super) after: Duration,
    /// How often it was tried.
    pub(super) tries: u32,
}

#[derive(Debug)]
struct Waiting {
    notice: Alert,
    rung: SystemTime,
    tries: u32,
    due: Instant,
    turn: u64,
}

#[derive(Clone, Copy, Debug)]
enum Past {
    Told(SystemTime),
    Failed(Instant),
}

/// As many wait at most; a tenant has a dozen causes, most of which exclude each other.
const MOST: usize = 256;
/// What was told is not told again so soon.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// What was given up is not tried again so soon, even if it is rung.
const REST: Duration = Duration::from_secs(10 * 60);
/// A notice is tried so often: with the pauses of [`pause_after`], for an hour at most.
const TRIES: u32 = 8;

// === impl Pile ===

impl Pile {
    pub(super) fn put(&mut self, notice: &Alert, now: Now) -> Put {
        let key = Key {
            tenant: notice.tenant.clone(),
            cause: notice.cause,
        };
        let due = match self.past.get(&key) {
            Some(Past::Told(at)) if within_a_day(*at, now.wall) => return Put::Known,
            Some(Past::Failed(at)) if !self.hurried => now.instant.max(*at + REST),
            Some(Past::Told(_) | Past::Failed(_)) | None => now.instant,
        };
        if let Some(waiting) = self.waiting.get_mut(&key) {
            waiting.notice = notice.clone();
            waiting.rung = now.wall;
            return Put::Known;
        }
        let full = self.waiting.len() >= MOST;
        if full {
            self.drop_oldest();
        }
        self.turn += 1;
        let waiting = Waiting {
            notice: notice.clone(),
            rung: now.wall,
            tries: if self.hurried { TRIES - 1 } else { 0 },
            due,
            turn: self.turn,
        };
        self.waiting.insert(key, waiting);
        if full {
            let first = !std::mem::replace(&mut self.crowded, true);
            Put::Crowded { first }
        } else {
            Put::Taken
        }
    }

    /// The one that was tried least, the oldest of those first; so that what keeps failing holds up nothing.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        let ready = self.waiting.iter().filter(|(_, one)| one.due <= now);
        let first = ready.min_by_key(|(_, one)| (one.tries, one.turn));
        let silent = self.silent.filter(|until| *until > now);
        match (first, silent) {
            (Some(_), Some(until)) => Next::At(until),
            (Some((key, one)), None) => {
                self.telling = Some(key.clone());
                Next::Tell(key.clone(), one.notice.clone(), one.rung)
            }
            (None, _) => match self.waiting.values().map(|one| one.due).min() {
                Some(due) => Next::At(due),
                None => Next::Nothing,
            },
        }
    }

    /// It was told.
    pub(super) fn delivered(&mut self, key: &Key, now: Now) {
        self.crowded = false;
        self.settle(key, Past::Told(now.wall), now);
    }

    /// It will not be taken.
    pub(super) fn refused(&mut self, key: &Key, now: Now) {
        self.settle(key, Past::Failed(now.instant), now);
    }

    /// It may be taken later: when it is tried again, which is after what the webhook asked for, or after a part of a pause,
    /// chosen by `jitter` in 0.0..1.0. `None` if it was tried often enough.
    pub(super) fn failed(&mut self, key: &Key, now: Now, asked: Option<Duration>, jitter: f64) -> Option<Again> {
        if let Some(asked) = asked {
            self.silent = Some(now.instant + asked);
        }
        let waiting = self.waiting.get_mut(key)?;
        waiting.tries += 1;
        let tries = waiting.tries;
        let Some(pause) = pause_after(tries) else {
            self.refused(key, now);
            return None;
        };
        let after = asked.unwrap_or_else(|| pause.mul_f64(jitter));
        waiting.due = now.instant + after;
        self.telling = None;
        Some(Again { after, tries })
    }

    /// Each has one more try, now.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.hurried = true;
        for waiting in self.waiting.values_mut() {
            waiting.tries = TRIES - 1;
            waiting.due = now;
        }
    }

    /// Forgets what waits: how many.
    pub(super) fn clear(&mut self) -> u64 {
        let left = self.waiting.len();
        self.waiting.clear();
        u64::try_from(left).unwrap_or(u64::MAX)
    }

    fn settle(&mut self, key: &Key, how: Past, now: Now) {
        self.telling = None;
        self.waiting.remove(key);
        self.past.retain(|_, past| match past {
            Past::Told(at) => within_a_day(*at, now.wall),
            Past::Failed(at) => *at + REST > now.instant,
        });
        self.past.insert(key.clone(), how);
    }

    fn drop_oldest(&mut self) {
        let others = self.waiting.iter();
        let others = others.filter(|(key, _)| self.telling.as_ref() != Some(*key));
        let oldest = others.min_by_key(|(_, one)| one.turn);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.waiting.remove(&key);
        }
    }
}

/// Whichever is later: a clock that was set back by a year must not silence a cause for a year.
fn within_a_day(told: SystemTime, now: SystemTime) -> bool {
    let apart = now.duration_since(told).unwrap_or_else(|earlier| earlier.duration());
    apart < DAY
}

/// The longest pause after so many tries: a second, four times as long each time, at most 40 minutes; 63 minutes in all.
fn pause_after(tries: u32) -> Option<Duration> {
    const LONGEST: u64 = 40 * 60;
    let power = 4_u64.saturating_pow(tries.saturating_sub(1));
    (tries < TRIES).then(|| Duration::from_secs(power.min(LONGEST)))
}

#[cfg(test)]
mod tests;
