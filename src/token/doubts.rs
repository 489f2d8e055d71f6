//! The unproven rejections of a token, by endpoint.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::rejection::EndpointHistory;
use crate::graph::{EndpointId, GraphError};

/// The endpoints whose rejections no answer covers; the oldest is first.
#[derive(Clone, Debug, Default)]
pub(super) struct Doubts(VecDeque<Doubt>);

#[derive(Clone, Debug)]
struct Doubt {
    endpoint: EndpointId,
    history: EndpointHistory,
    /// The number of its first rejection.
    first: u64,
    /// The number of the first that counts as evidence.
    first_counted: u64,
    /// The number of its last one.
    last: u64,
    first_at: Instant,
    last_at: Instant,
    /// The number of rejections since `first_at`, and since the last acceptance of any request: only these are evidence.
    count: u32,
    error: GraphError,
}

/// The most endpoints that are remembered.
pub(super) const MAX_ENDPOINTS: usize = 64;
/// This many rejections by one endpoint, over at least this time, are convincing.
const CONVINCING_COUNT: u32 = 3;
const CONVINCING_TIME: Duration = Duration::from_secs(2);

// === impl Doubts ===

impl Doubts {
    /// Records the rejection with this number.
    pub(super) fn record(
        &mut self,
        endpoint: EndpointId,
        history: EndpointHistory,
        number: u64,
        error: &GraphError,
        now: Instant,
    ) {
        if let Some(doubt) = self.0.iter_mut().find(|doubt| doubt.endpoint == endpoint) {
            if doubt.count == 0 {
                (doubt.first_counted, doubt.first_at) = (number, now);
            }
            (doubt.last, doubt.last_at, doubt.count) = (number, now, doubt.count.saturating_add(1));
            doubt.history = history;
            return;
        }
        if self.0.len() == MAX_ENDPOINTS {
            self.0.pop_front();
        }
        self.0.push_back(Doubt {
            endpoint,
            history,
            first: number,
            first_counted: number,
            last: number,
            first_at: now,
            last_at: now,
            count: 1,
            error: error.clone(),
        });
    }

    /// Removes the endpoints that were rejected up to this number, and returns those that have never succeeded. One that has
    /// succeeded stays if it was rejected later as well: it may have been rejected for another reason then.
    pub(super) fn take_covered(&mut self, asked: u64) -> Vec<EndpointId> {
        let is_new = |doubt: &Doubt| doubt.history == EndpointHistory::NeverSucceeded && doubt.first <= asked;
        let covered = self.0.iter().filter(|doubt| is_new(doubt));
        let endpoints = covered.map(|doubt| doubt.endpoint).collect();
        self.0.retain(|doubt| doubt.last > asked && !is_new(doubt));
        endpoints
    }

    /// Takes a success as evidence against all of them. They stay, because requests wait for an answer about them.
    pub(super) fn refute(&mut self) {
        self.refute_through(u64::MAX);
    }

    /// Takes the success of a request that began after the rejection with this number as evidence against those up to it.
    pub(super) fn refute_through(&mut self, number: u64) {
        for doubt in &mut self.0 {
            if doubt.last <= number {
                doubt.count = 0;
            } else if doubt.first_counted <= number && doubt.count > 0 {
                (doubt.count, doubt.first_counted, doubt.first_at) = (1, doubt.last, doubt.last_at);
            }
        }
    }

    /// Takes the rejections by this endpoint as no evidence: it is known to need another kind of token.
    pub(super) fn discount(&mut self, endpoint: EndpointId) {
        let known = self.0.iter_mut().filter(|doubt| doubt.endpoint == endpoint);
        known.for_each(|doubt| doubt.count = 0);
    }

    /// Removes those up to this number that a success has refuted.
    pub(super) fn drop_refuted(&mut self, asked: u64) {
        self.0.retain(|doubt| doubt.count > 0 || doubt.last > asked);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The number of the first of them.
    pub(super) fn first_number(&self) -> Option<u64> {
        self.0.iter().map(|doubt| doubt.last).min()
    }

    /// The error of the newest.
    pub(super) fn last_error(&self) -> Option<GraphError> {
        self.0.back().map(|doubt| doubt.error.clone())
    }

    pub(super) fn has_later_than(&self, number: u64) -> bool {
        self.0.iter().any(|doubt| doubt.last > number)
    }

    /// Returns whether an endpoint that has never succeeded is among those after this number.
    pub(super) fn has_new_endpoint(&self, number: u64) -> bool {
        let is_new = |doubt: &Doubt| doubt.last > number && doubt.history == EndpointHistory::NeverSucceeded;
        self.0.iter().any(is_new)
    }

    /// Returns whether so much was rejected, without a success in between, that the token counts as dead although Graph cannot be
    /// asked: requests to two endpoints, or three to one over at least two seconds.
    pub(super) fn is_convincing(&self) -> bool {
        let insists =
            |doubt: &Doubt| doubt.count >= CONVINCING_COUNT && doubt.last_at - doubt.first_at >= CONVINCING_TIME;
        let standing = self.0.iter().filter(|doubt| doubt.count > 0);
        standing.clone().count() > 1 || standing.clone().any(insists)
    }
}
