//! Places for calls that run at the same time.
//!
//! # Why
//!
//! The call that came last begins first, and the one that has waited longest gives way if too many wait. In the order in which they
//! came, a burst of made-up names would delay all that come after it; where more is asked than can be done, each call would begin
//! when its request has nearly given up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::types::lock;

/// Places for calls. A clone has the same places.
#[derive(Clone, Debug)]
pub(super) struct Lane(Arc<Mutex<LaneState>>);

#[derive(Debug)]
struct LaneState {
    free: usize,
    /// In the order in which they came.
    waiting: VecDeque<oneshot::Sender<Place>>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Lane);

/// The most calls that wait for a place.
const MAX_WAITING: usize = 48;

// === impl Lane ===

impl Lane {
    pub(super) fn new(places: usize) -> Self {
        Self(Arc::new(Mutex::new(LaneState {
            free: places,
            waiting: VecDeque::new(),
        })))
    }

    /// Takes a place, if one is free.
    pub(super) fn try_enter(&self) -> Option<Place> {
        lock(&self.0).take_free().then(|| Place(self.clone()))
    }

    /// Waits for a place; `None` if no place is free by the deadline, or too many came later. Cancel-safe.
    pub(super) async fn enter(&self, deadline: Instant) -> Option<Place> {
        let place = {
            // Under one lock: a place that becomes free now is given to those that wait.
            let mut state = lock(&self.0);
            if state.take_free() {
                return Some(Place(self.clone()));
            }
            state.wait()
        };
        timeout_at(deadline, place).await.ok()?.ok()
    }
}

impl LaneState {
    fn take_free(&mut self) -> bool {
        let is_free = self.free > 0;
        self.free -= usize::from(is_free);
        is_free
    }

    fn wait(&mut self) -> oneshot::Receiver<Place> {
        self.waiting.retain(|waiting| !waiting.is_closed());
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.pop_front();
        }
        let (sender, place) = oneshot::channel();
        self.waiting.push_back(sender);
        place
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let next = {
            let mut state = lock(&self.0.0);
            let next = state.waiting.pop_back();
            state.free += usize::from(next.is_none());
            next
        };
        // A call that has given up drops the place, which is then for the one that came before it.
        drop(next.map(|next| next.send(Self(self.0.clone()))));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    /// Waits for a place.
    fn waiting(lane: &Lane) -> BoxFuture<'_, Option<Place>> {
        let mut place = lane.enter(soon()).boxed();
        assert!((&mut place).now_or_never().is_none());
        place
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_one_is_first_and_no_place_is_lost_with_one_that_gave_up() {
        let lane = Lane::new(1);
        let place = lane.try_enter().unwrap();
        assert!(lane.try_enter().is_none());
        let (mut first, second, gone) = (waiting(&lane), waiting(&lane), waiting(&lane));
        drop(gone);
        drop(place);
        assert!((&mut first).now_or_never().is_none());
        // It has the place although it was not polled since.
        drop(second);
        let place = first.now_or_never().unwrap().unwrap();
        assert!(lane.enter(soon()).await.is_none());
        drop(place);
        assert!(lane.try_enter().is_some());
        let state = lock(&lane.0);
        assert_eq!((state.free, state.waiting.len()), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn if_too_many_wait_the_one_that_has_waited_longest_gives_way() {
        let lane = Lane::new(1);
        let place = lane.try_enter().unwrap();
        let mut all: Vec<_> = (0..=MAX_WAITING).map(|_| waiting(&lane)).collect();
        assert!(all.remove(0).now_or_never().unwrap().is_none());
        drop(place);
        let last = all.pop().unwrap().await.unwrap();
        // The places of those that have given up are free for others.
        drop(all);
        let _newest = waiting(&lane);
        assert_eq!(lock(&lane.0).waiting.len(), 1);
        drop(last);
    }
}
