//! When the tenants of a table are visited: opened without a request, so that what is due for their token is done.
//!
//! # Why
//!
//! The token of a business that sends nothing for two months must not die. So what is renewed depends on its end and not on
//! traffic. One queue has the next visit of each tenant, and few run at a time: ten thousand tokens that are due in the same minute
//! are a queue, and no storm at Graph or the database.

use std::collections::HashMap;
use std::future::poll_fn;
use std::task::{Poll, ready};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue::Key;

use crate::token::{RefreshPolicy, Validity, VisitReport};
use crate::types::TenantId;

/// What visits are for.
#[derive(Clone, Copy, Debug)]
pub struct VisitPolicy {
    /// Whether tokens are renewed.
    pub renews: bool,
    /// Whether Graph is asked about tokens.
    pub verifies: bool,
    /// When a token is renewed.
    pub refresh: RefreshPolicy,
}

/// The next visit of each tenant.
#[derive(Debug, Default)]
pub struct VisitQueue {
    queue: DelayQueue<TenantId>,
    keys: HashMap<TenantId, Key>,
}

/// The time over which the first visits are spread.
const FIRST_SPREAD: Duration = Duration::from_secs(60 * 60);
/// The time until a renewal that failed is tried again; a quarter of the time until the end of the token, if that is less …
const RETRY_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// … but at least this.
const MIN_RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// The time until the visit after one that was given up: its database or Graph hangs.
const GIVEN_UP_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// At least the time until the visit after one that found that another replica renews the token: then it has done so, and the row
/// has the new one, or has failed.
const LOCKED_INTERVAL: Duration = Duration::from_secs(10);
/// The longest time in the queue, which has a limit. A visit that comes too early finds nothing to do.
const MAX_DELAY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

// === impl VisitPolicy ===

impl VisitPolicy {
    /// Returns the time of the first visit of a tenant whose token was just seen: when it is to be renewed, but at random within
    /// the next hour if Graph is to be asked about it before, or its end is unknown. `jitter` is drawn from 0.0..1.0.
    #[must_use]
    pub fn first_visit(&self, expires_at: Option<SystemTime>, now: SystemTime, jitter: f64) -> Option<SystemTime> {
        let renewal = expires_at.filter(|_| self.renews).map(|expires_at| {
            let validity = Validity {
                issued_at: now,
                expires_at,
            };
            self.refresh.renew_at(validity, jitter).max(now)
        });
        let asks = self.verifies || (self.renews && renewal.is_none());
        let inspection = asks.then(|| now + FIRST_SPREAD.mul_f64(jitter));
        renewal.into_iter().chain(inspection).min()
    }

    /// Returns the time of the visit after one; `None` in place of its report says that it was given up.
    #[must_use]
    pub fn next_visit(&self, report: Option<VisitReport>, now: SystemTime, jitter: f64) -> Option<SystemTime> {
        let Some(report) = report else {
            return (self.renews || self.verifies).then(|| now + GIVEN_UP_INTERVAL.mul_f64(1.0 + jitter));
        };
        if report.is_locked {
            return Some(now + LOCKED_INTERVAL.mul_f64(1.0 + jitter));
        }
        let renewal = report.renew_at.filter(|_| self.renews);
        let renewal = renewal.map(|at| {
            if at > now {
                at
            } else {
                let left = report.expires_at.and_then(|at| at.duration_since(now).ok());
                // A token with little time left is tried more than once before its end.
                let interval = left.map_or(RETRY_INTERVAL, |left| {
                    (left / 4).clamp(MIN_RETRY_INTERVAL, RETRY_INTERVAL)
                });
                now + interval.mul_f64(1.0 + jitter)
            }
        });
        let interval = self.refresh.inspect_interval.mul_f64(0.9 + jitter / 10.0);
        // What had no date may get one: an inspection that failed, for example.
        let inspection = (self.verifies || (self.renews && renewal.is_none())).then(|| now + interval);
        renewal.into_iter().chain(inspection).min()
    }
}

// === impl VisitQueue ===

impl VisitQueue {
    /// Sets the time until the next visit of a tenant; without one, it is not visited any more.
    pub fn set(&mut self, id: &TenantId, delay: Option<Duration>) {
        let at = delay.map(|delay| Instant::now() + delay.min(MAX_DELAY));
        match (self.keys.get(id), at) {
            (Some(key), Some(at)) => self.queue.reset_at(key, at),
            (Some(key), None) => {
                drop(self.queue.try_remove(key));
                self.keys.remove(id);
            }
            (None, Some(at)) => {
                let key = self.queue.insert_at(id.clone(), at);
                self.keys.insert(id.clone(), key);
            }
            (None, None) => {}
        }
    }

    /// Waits until a visit is due. Cancel-safe.
    pub async fn next(&mut self) -> TenantId {
        let due = poll_fn(|cx| match ready!(self.queue.poll_expired(cx)) {
            Some(expired) => Poll::Ready(expired.into_inner()),
            // The queue is empty: the caller polls again after it has set a visit.
            None => Poll::Pending,
        });
        let id = due.await;
        self.keys.remove(&id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn policy(renews: bool, verifies: bool) -> VisitPolicy {
        VisitPolicy {
            renews,
            verifies,
            refresh: RefreshPolicy::default(),
        }
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + 20_000 * DAY
    }

    #[test]
    fn a_token_of_known_end_is_visited_when_it_is_to_be_renewed_however_little_its_tenant_sends() {
        let first = |expires_in: Duration| policy(true, false).first_visit(Some(now() + expires_in), now(), 0.0);
        assert_eq!(first(60 * DAY), Some(now() + 48 * DAY));
        assert_eq!(first(2 * HOUR), Some(now() + HOUR));
        let expired = policy(true, false).first_visit(Some(now() - DAY), now(), 0.5);
        assert_eq!(expired, Some(now()));
    }

    #[test]
    fn what_graph_is_asked_about_or_whose_end_is_unknown_is_visited_within_an_hour() {
        for (policy, expires_at) in [
            (policy(false, true), Some(now() + 60 * DAY)),
            (policy(true, true), None),
            (policy(true, false), None),
        ] {
            assert_eq!(policy.first_visit(expires_at, now(), 0.5), Some(now() + HOUR / 2));
        }
    }

    #[test]
    fn a_token_that_ends_before_graph_would_be_asked_about_it_is_visited_in_time() {
        let policy = policy(true, true);
        let minute = Duration::from_secs(60);
        let first = policy.first_visit(Some(now() + 20 * minute), now(), 0.9);
        assert!(first.unwrap() <= now() + 10 * minute, "{first:?}");
        let report = VisitReport {
            renew_at: Some(now()),
            expires_at: Some(now() + 20 * minute),
            is_locked: false,
        };
        let again = policy.next_visit(Some(report), now(), 0.9);
        assert!(again.unwrap() <= now() + 10 * minute, "{again:?}");
        let almost_over = VisitReport {
            expires_at: Some(now() + minute / 60),
            ..report
        };
        assert_eq!(policy.next_visit(Some(almost_over), now(), 0.0), Some(now() + minute));
    }

    #[test]
    fn nothing_is_visited_if_nothing_is_renewed_and_graph_is_not_asked() {
        let policy = policy(false, false);
        assert_eq!(policy.first_visit(None, now(), 0.5), None);
        assert_eq!(policy.first_visit(Some(now()), now(), 0.5), None);
        let report = VisitReport {
            renew_at: Some(now()),
            ..VisitReport::default()
        };
        assert_eq!(policy.next_visit(Some(report), now(), 0.5), None);
    }

    #[test]
    fn a_renewal_that_failed_is_tried_again_after_an_hour_and_one_that_did_not_when_it_is_due_again() {
        let report = |renew_at| VisitReport {
            renew_at: Some(renew_at),
            ..VisitReport::default()
        };
        let policy_only_renewals = policy(true, false);
        let next = |renew_at| policy_only_renewals.next_visit(Some(report(renew_at)), now(), 0.0);
        assert_eq!(next(now()), Some(now() + HOUR));
        assert_eq!(next(now() + 48 * DAY), Some(now() + 48 * DAY));
        let daily = policy(true, true).next_visit(Some(report(now() + 48 * DAY)), now(), 1.0);
        assert_eq!(daily, Some(now() + DAY));
        let unknown = policy(true, false).next_visit(Some(VisitReport::default()), now(), 1.0);
        assert_eq!(unknown, Some(now() + DAY));
    }

    #[test]
    fn a_token_that_another_replica_renews_is_visited_again_in_seconds_and_not_by_all_replicas_at_once() {
        let report = VisitReport {
            renew_at: Some(now()),
            is_locked: true,
            ..VisitReport::default()
        };
        let seconds = |jitter| {
            let next = policy(true, true).next_visit(Some(report), now(), jitter).unwrap();
            next.duration_since(now()).unwrap().as_secs()
        };
        assert_eq!((seconds(0.0), seconds(0.5), seconds(1.0)), (10, 15, 20));
    }

    #[test]
    fn a_visit_that_was_given_up_is_made_again_within_minutes() {
        let minute = Duration::from_secs(60);
        assert_eq!(
            policy(true, false).next_visit(None, now(), 0.0),
            Some(now() + 10 * minute)
        );
        assert_eq!(policy(false, false).next_visit(None, now(), 0.0), None);
    }

    #[tokio::test(start_paused = true)]
    async fn visits_are_due_in_the_order_of_their_times_and_each_tenant_has_one() {
        let id = |name: &str| TenantId::new(name).unwrap();
        let mut queue = VisitQueue::default();
        queue.set(&id("late"), Some(500 * DAY));
        queue.set(&id("b"), Some(2 * HOUR));
        queue.set(&id("a"), Some(3 * HOUR));
        queue.set(&id("a"), Some(HOUR));
        queue.set(&id("gone"), Some(HOUR));
        queue.set(&id("gone"), None);
        let started = Instant::now();
        assert_eq!(queue.next().await, id("a"));
        assert_eq!(queue.next().await, id("b"));
        assert_eq!(queue.next().await, id("late"));
        assert!(started.elapsed() < 31 * DAY);
        assert!(tokio::time::timeout(100 * DAY, queue.next()).await.is_err());
        queue.set(&id("again"), Some(HOUR));
        assert_eq!(queue.next().await, id("again"));
    }
}
