//! What lies between the bell and the webhook: the pile, under a lock that is held for a look only.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::pile::{Again, Key, Next, Now, Pile, Put};
use crate::telemetry::metrics::AlertMetrics;
use crate::token::Alert;
use crate::types::Clock;

/// The longest that a stop waits for the webhook.
const LAST_CHANCE: Duration = Duration::from_secs(2);

/// The pile, for those who put something on it and the one who takes it off.
pub(super) struct Desk {
    pile: Mutex<Pile>,
    news: Notify,
    phase: watch::Sender<Phase>,
    clock: Clock,
    metrics: AlertMetrics,
    /// The webhook, as it may be shown.
    place: String,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Phase {
    Open,
    Closing,
    Closed,
}

impl Desk {
    pub(super) fn new(place: String, clock: Clock, metrics: AlertMetrics) -> Self {
        Self {
            pile: Mutex::default(),
            news: Notify::new(),
            phase: watch::Sender::new(Phase::Open),
            clock,
            metrics,
            place,
        }
    }

    pub(super) fn take(&self, notice: &Alert) {
        let put = {
            let mut pile = self.pile();
            // Looked at under the lock: whoever closes takes all that is on the pile, after this.
            let phase = *self.phase.borrow();
            match phase {
                Phase::Open | Phase::Closing => pile.put(notice, self.now()),
                Phase::Closed => Put::Dropped,
            }
        };
        let (tenant, cause) = (&notice.tenant, notice.cause.label());
        match put {
            Put::Taken => {}
            Put::Known => {
                self.metrics.suppressed.inc();
                tracing::debug!(%tenant, cause, "the webhook was told of this within the day, or is about to be");
            }
            Put::Crowded { first } => {
                self.metrics.dropped.inc();
                if first {
                    let webhook = &self.place;
                    tracing::warn!(
                        webhook,
                        "more notices than wait for the webhook at most: the oldest are dropped"
                    );
                }
            }
            Put::Dropped => {
                self.metrics.dropped.inc();
                tracing::debug!(%tenant, cause, "the webhook is closed: the notice is dropped");
            }
        }
        self.news.notify_one();
    }

    /// What to tell next; waits for it. `None` if there will be nothing more.
    pub(super) async fn next(&self) -> Option<(Key, Alert, SystemTime)> {
        loop {
            let next = self.pile().next(Instant::now());
            match next {
                Next::Tell(key, notice, at) => return Some((key, notice, at)),
                Next::At(at) => {
                    // Both are cancel-safe: a ring that is missed here has left its permit.
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => {}
                        () = self.news.notified() => {}
                    }
                }
                Next::Nothing if self.is_open() => self.news.notified().await,
                Next::Nothing => return None,
            }
        }
    }

    pub(super) fn delivered(&self, key: &Key) {
        self.metrics.delivered.inc();
        self.pile().delivered(key, self.now());
    }

    /// When it will be tried again; never, if it was tried often enough.
    pub(super) fn failed(&self, key: &Key, pause: Option<Duration>) -> Option<Again> {
        let again = self.pile().failed(key, self.now(), pause, fastrand::f64());
        if again.is_none() {
            self.metrics.failed.inc();
        }
        again
    }

    pub(super) fn refused(&self, key: &Key) {
        self.metrics.failed.inc();
        self.pile().refused(key, self.now());
    }

    /// What was asked of [`super::bell::AlertSender::close`].
    pub(super) async fn close(&self) {
        self.enter(Phase::Closing);
        self.pile().hurry(Instant::now());
        self.news.notify_one();
        // Late or not: it is over.
        let _in_time = timeout(LAST_CHANCE, self.closed()).await.is_ok();
        self.shut();
    }

    /// Nothing is told from now on.
    pub(super) fn shut(&self) {
        self.enter(Phase::Closed);
        let left = self.pile().clear();
        if left > 0 {
            self.metrics.dropped.inc_by(left);
            let webhook = &self.place;
            tracing::warn!(
                webhook,
                notices = left,
                "stopped before the webhook was told; the log has them"
            );
        }
    }

    /// Waits until nothing is told any more. Cancel-safe.
    pub(super) async fn closed(&self) {
        // The sender is `self`, so the channel cannot be closed while this waits.
        let mut phase = self.phase.subscribe();
        drop(phase.wait_for(|phase| *phase == Phase::Closed).await);
    }

    pub(super) fn wall(&self) -> SystemTime {
        self.clock.now()
    }

    fn is_open(&self) -> bool {
        *self.phase.borrow() == Phase::Open
    }

    fn now(&self) -> Now {
        Now {
            instant: Instant::now(),
            wall: self.clock.now(),
        }
    }

    fn enter(&self, later: Phase) {
        self.phase.send_if_modified(|phase| {
            let changes = later > *phase;
            *phase = later.max(*phase);
            changes
        });
    }

    fn pile(&self) -> MutexGuard<'_, Pile> {
        self.pile.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("webhook", &self.place)
            .finish_non_exhaustive()
    }
}
