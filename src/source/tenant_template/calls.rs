//! The calls for single tenants: how many at the same time, and what their results mean.
//!
//! # Why
//!
//! A slow source of one tenant must not hold up another tenant. Whose source is slow is known only once it was asked, so the calls
//! have three lanes with places of their own: for tenants that had a token quickly the last time, for those that are new, and for
//! those whose last call was slow. A call that turns out to be slow goes on in the slow lane. If all places there are taken, it ends
//! and is made again when one is free, so that it leaves its place to others. Names that requests make up are new, and take no place
//! of a tenant that is known.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::super::tenant_table::TenantRow;
use super::lane::{Lane, Place};
use crate::token::{ObtainError, Token};
use crate::types::{TenantId, lock};

/// Bounds the calls that run at the same time.
#[derive(Debug)]
pub(super) struct Calls {
    /// What is called, for messages.
    pub(super) callee: String,
    /// The limit of a call, and of the wait for its begin.
    time_limit: Duration,
    known: Lane,
    new: Lane,
    slow: Lane,
    paces: Mutex<HashMap<TenantId, Pace>>,
}

/// The result of a call; `None` if there is no such tenant.
type Answer = Result<Option<Token>, ObtainError>;

/// What is known of the last call for a tenant. Nothing, if there was none, or it found no token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pace {
    /// It found a token quickly.
    Quick,
    /// It took long.
    Slow,
}

/// The number of lanes.
pub(super) const LANES: usize = 3;
/// A call that takes longer than this part of its limit is slow.
const SLOW_PART: u32 = 10;
/// The most tenants whose pace is remembered.
const MAX_PACES: usize = 20_000;

// === impl Calls ===

impl Calls {
    /// So many calls at the same time in each lane.
    pub(super) fn new(places: usize, time_limit: Duration, callee: String) -> Self {
        Self {
            callee,
            time_limit,
            known: Lane::new(places),
            new: Lane::new(places),
            slow: Lane::new(places),
            paces: Mutex::default(),
        }
    }

    /// Makes a call for a tenant when it has a place. One that is slow may be made twice. Cancel-safe.
    pub(super) async fn run<F: Future<Output = Answer>>(&self, tenant: &TenantId, call: impl Fn() -> F) -> Answer {
        let begin_by = Instant::now() + self.time_limit;
        let slow_after = self.time_limit / SLOW_PART;
        let pace = self.paces().get(tenant).copied();
        let lane = match pace {
            Some(Pace::Quick) => Some(&self.known),
            Some(Pace::Slow) => None,
            None => Some(&self.new),
        };
        if let Some(lane) = lane {
            let place = self.enter(lane, begin_by).await?;
            let mut running = pin!(call());
            if let Ok(answer) = timeout(slow_after, &mut running).await {
                self.note_quick(tenant, &answer);
                return answer;
            }
            self.paces().insert(tenant.clone(), Pace::Slow);
            if let Some(_slow) = self.slow.try_enter() {
                drop(place);
                return running.await;
            }
        }
        let _place = self.enter(&self.slow, begin_by).await?;
        let began_at = Instant::now();
        let answer = call().await;
        if began_at.elapsed() < slow_after {
            self.note_quick(tenant, &answer);
        }
        answer
    }

    /// Waits for a place in a lane.
    async fn enter(&self, lane: &Lane, begin_by: Instant) -> Result<Place, ObtainError> {
        lane.enter(begin_by).await.ok_or_else(|| {
            let what = format!(
                "{} is busy: other calls take too long, or too many came later; try again",
                self.callee
            );
            ObtainError::transient("busy", what)
        })
    }

    /// Remembers that a call did not take long.
    fn note_quick(&self, tenant: &TenantId, answer: &Answer) {
        let mut paces = self.paces();
        if matches!(answer, Ok(Some(_))) {
            paces.insert(tenant.clone(), Pace::Quick);
        } else if paces.get(tenant) == Some(&Pace::Slow) {
            paces.remove(tenant);
        }
    }

    /// What is remembered, with room for one more.
    fn paces(&self) -> MutexGuard<'_, HashMap<TenantId, Pace>> {
        let mut paces = lock(&self.paces);
        if paces.len() >= MAX_PACES {
            paces.clear();
        }
        paces
    }
}

/// Converts the result of a call. A tenant whose token is `null` exists, and has none.
pub(super) fn to_row(tenant: &TenantId, answer: Answer) -> Result<Option<TenantRow>, ObtainError> {
    let row = |token| Some(TenantRow::of_token(tenant.clone(), token));
    match answer {
        Ok(token) => Ok(token.and_then(|token| row(Ok(token)))),
        Err(error) if error.is_absence() => Ok(row(Err(error))),
        Err(error) => Err(error),
    }
}
