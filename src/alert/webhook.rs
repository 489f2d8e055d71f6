//! The task that delivers alerts to the webhook, and the handle that sends them to the task.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use futures_util::future::OptionFuture;
use http::Request;
use http::header::{CONTENT_TYPE, USER_AGENT};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::endpoint::{Failure, WebhookUrlError, check, shown_part};
use super::payload::payload;
use crate::net::HttpClient;
use crate::telemetry::metrics::AlertMetrics;
use crate::token::{Alert, AlertKey, DeliveryMemory};
use crate::types::{Clock, Fingerprint, Secret};

/// Sends alerts to the webhook task. Clones send to the same one.
#[derive(Clone, Debug)]
pub struct AlertSender {
    /// A receiver that falls behind loses the oldest alerts, as a full queue does.
    alerts: broadcast::Sender<Alert>,
    stop: watch::Sender<bool>,
    metrics: AlertMetrics,
    url: Fingerprint,
}

/// Delivers alerts, one at a time.
#[derive(Debug)]
pub struct Webhook {
    alerts: broadcast::Receiver<Alert>,
    stop: watch::Receiver<bool>,
    url: Secret,
    /// The part of the URL that may be shown.
    shown: String,
    client: HttpClient,
    clock: Clock,
    metrics: AlertMetrics,
    memories: Vec<Box<dyn DeliveryMemory>>,
    /// In the order of arrival, or of the last attempt; one for each key.
    waiting: Vec<QueuedAlert>,
    /// A settled alert is not attempted again before this moment.
    not_before: HashMap<AlertKey, Instant>,
    /// The webhook asked for no request before this moment.
    paused_until: Instant,
    /// Whether a full queue has been logged since the last delivery.
    overflow_logged: bool,
}

/// An alert that waits.
#[derive(Clone, Debug)]
struct QueuedAlert {
    alert: Alert,
    received_at: SystemTime,
    /// The number of attempts so far.
    attempts: u32,
    /// The moment of the next attempt.
    due: Instant,
}

/// The most alerts that wait; a tenant has a dozen causes, most of which exclude each other.
const MAX_WAITING: usize = 256;
/// The most reasons of one cause of a tenant that are delivered in its interval.
const MAX_REASONS: usize = 8;
/// An alert that was given up is not attempted again within this time.
const COOLDOWN: Duration = Duration::from_secs(10 * 60);
/// The most attempts for an alert, within 63 minutes.
const MAX_ATTEMPTS: u32 = 8;
/// The longest that one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that a stop waits for the last attempts.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

// === impl AlertSender ===

impl AlertSender {
    /// Hands an alert to the webhook task, without waiting.
    ///
    /// It is suppressed if the same cause of the same tenant was delivered within 24 hours for the same reason, or for many
    /// reasons. If an alert of the same cause and reason waits, this one replaces it.
    pub fn send(&self, alert: &Alert) {
        if self.alerts.send(alert.clone()).is_err() {
            self.metrics.dropped.inc();
            tracing::debug!(alert = %alert.key, "alert dropped: the webhook task has stopped");
        }
    }

    /// Returns the fingerprint of the webhook's URL.
    #[must_use]
    pub const fn url(&self) -> Fingerprint {
        self.url
    }

    /// Gives every waiting alert one more attempt, for at most two seconds in all, and drops the rest. Returns at once if
    /// no alert waits or the task has ended; later alerts are dropped.
    pub async fn close(&self) {
        self.stop.send_replace(true);
        let _in_time = timeout(FLUSH_TIMEOUT, self.alerts.closed()).await.is_ok();
    }
}

// === impl Webhook ===

impl Webhook {
    /// A sender, and the task that delivers its alerts to an `http` or `https` URL. Until the task runs, the alerts wait.
    ///
    /// # Errors
    ///
    /// [`WebhookUrlError`] if the URL cannot be called.
    pub fn new(
        url: Secret,
        client: &HttpClient,
        clock: Clock,
        metrics: AlertMetrics,
    ) -> Result<(AlertSender, Self), WebhookUrlError> {
        let (stop, stop_receiver) = watch::channel(false);
        let (alerts, alert_receiver) = broadcast::channel(MAX_WAITING);
        let webhook = Self {
            alerts: alert_receiver,
            stop: stop_receiver,
            shown: shown_part(url.expose())?,
            url: url.clone(),
            client: client.with_timeout(ATTEMPT_TIMEOUT),
            clock,
            metrics: metrics.clone(),
            memories: Vec::new(),
            waiting: Vec::new(),
            not_before: HashMap::new(),
            paused_until: Instant::now(),
            overflow_logged: false,
        };
        let sender = AlertSender {
            alerts,
            stop,
            metrics,
            url: url.fingerprint(),
        };
        Ok((sender, webhook))
    }

    /// Adds a memory of what was delivered before this start, or by other replicas.
    #[must_use]
    pub fn with_memory(mut self, memory: impl DeliveryMemory) -> Self {
        self.memories.push(Box::new(memory));
        self
    }

    /// Runs until [`AlertSender::close`], or until it is dropped.
    pub async fn run(mut self) {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = self.deliver_all() => {}
            () = async { drop(stop.wait_for(|stop| *stop).await); sleep(FLUSH_TIMEOUT).await } => {}
        }
    }

    async fn deliver_all(&mut self) {
        loop {
            let (next, is_stopping) = (self.next(), self.is_stopping());
            if next.is_none() && is_stopping && self.alerts.is_empty() {
                return;
            }
            let due = OptionFuture::from(next.as_ref().map(|next| sleep_until(next.due)));
            // All three waits are cancel-safe. A sent alert comes first: it may go before one that is due.
            tokio::select! {
                biased;
                received = self.alerts.recv() => match received {
                    Ok(alert) => self.enqueue(alert),
                    Err(RecvError::Lagged(missed)) => self.count_dropped(missed),
                    Err(RecvError::Closed) => return,
                },
                _ = self.stop.changed(), if !is_stopping => {}
                Some(()) = due => if let Some(next) = next {
                    self.deliver(next).await;
                }
            }
        }
    }

    /// Makes an attempt, unless the alert was delivered before the start, or by another replica, within its interval.
    async fn deliver(&mut self, next: QueuedAlert) {
        let now = self.clock.now();
        let mut known = None;
        for memory in &mut self.memories {
            known = known.max(memory.begin(&next.alert.key, now).await);
        }
        let interval = next.alert.key.cause.repeat_interval();
        let remaining = known.and_then(|at| (at + interval).duration_since(now).ok());
        // The clock of a replica that noted a later time is wrong.
        let remaining = remaining.filter(|it| !it.is_zero() && *it <= interval + COOLDOWN);
        let result = match remaining {
            Some(_) => None,
            None => Some(self.attempt(&next).await),
        };
        let delivered_at = matches!(result, Some(Ok(()))).then(|| self.clock.now());
        for memory in &mut self.memories {
            memory.finish(&next.alert.key, delivered_at).await;
        }
        match result {
            Some(result) => self.settle(next, result),
            None => self.forget(next.alert.key, remaining.unwrap_or_default()),
        }
    }

    /// After a stop, each alert has one attempt left.
    fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    fn enqueue(&mut self, alert: Alert) {
        let (key, now, received_at) = (&alert.key, Instant::now(), self.clock.now());
        let not_before = self.not_before.get(key).copied().unwrap_or(now);
        let queued = self.waiting.iter_mut().find(|queued| queued.alert.key == *key);
        let is_settled = |(other, until): &(&AlertKey, &Instant)| other.has_cause_of(key) && **until > now + COOLDOWN;
        let settled = self.not_before.iter().filter(is_settled).count();
        if queued.is_some() || not_before > now + COOLDOWN || settled >= MAX_REASONS {
            self.metrics.suppressed.inc();
            tracing::debug!(
                %key,
                "duplicate alert suppressed: already delivered within its interval, or queued"
            );
            if let Some(queued) = queued {
                (queued.alert, queued.received_at) = (alert, received_at);
            }
            return;
        }
        self.waiting.push(QueuedAlert {
            alert,
            received_at,
            attempts: 0,
            due: not_before,
        });
        if self.waiting.len() > MAX_WAITING {
            drop(self.waiting.remove(0));
            self.count_dropped(1);
        }
    }

    fn count_dropped(&mut self, count: u64) {
        self.metrics.dropped.inc_by(count);
        if !std::mem::replace(&mut self.overflow_logged, true) {
            tracing::warn!(webhook = %self.shown, "alert queue is full: dropping the oldest alerts");
        }
    }

    /// The alert to attempt next, and when: of those that are due, the first with the fewest attempts.
    fn next(&self) -> Option<QueuedAlert> {
        let now = Instant::now();
        let due = |queued: &QueuedAlert| if self.is_stopping() { now } else { queued.due.max(now) };
        let waiting = self.waiting.iter();
        let mut next = waiting.min_by_key(|queued| (due(queued), queued.attempts))?.clone();
        next.due = due(&next).max(self.paused_until);
        Some(next)
    }

    /// Removes an alert that was delivered already, unless its interval is almost over: then it waits for the end.
    fn forget(&mut self, key: AlertKey, remaining: Duration) {
        let not_before = Instant::now() + remaining;
        let queued = self.waiting.iter_mut().find(|queued| queued.alert.key == key);
        if let Some(queued) = queued.filter(|_| remaining <= COOLDOWN) {
            queued.due = not_before;
            return;
        }
        self.metrics.suppressed.inc();
        self.waiting.retain(|queued| queued.alert.key != key);
        self.not_before.insert(key, not_before);
    }

    async fn attempt(&self, queued: &QueuedAlert) -> Result<(), Failure> {
        let request = Request::post(self.url.expose())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("graphward/", env!("CARGO_PKG_VERSION")))
            .body(payload(&queued.alert, queued.received_at).into())?;
        check(&self.client.send(request).await?, self.url.expose(), self.clock.now())
    }

    /// Takes the result of an attempt. The pause before the next one is the one that the webhook asked for, or else a random
    /// part of a second, of four seconds, and so on, up to 40 minutes. `backon` would retry one alert and hold up the others;
    /// its delays would replace one line.
    fn settle(&mut self, mut queued: QueuedAlert, result: Result<(), Failure>) {
        let (key, now, webhook) = (queued.alert.key.clone(), Instant::now(), &self.shown);
        self.waiting.retain(|queued| queued.alert.key != key);
        self.not_before.retain(|_, until| *until > now);
        let (tenant, cause, attempts) = (key.tenant.clone(), key.cause, queued.attempts + 1);
        let (interval, cause, days) = (cause.repeat_interval(), cause.label(), cause.days());
        match result {
            Ok(()) => {
                self.metrics.delivered.inc();
                self.overflow_logged = false;
                self.not_before.insert(key, now + interval);
                tracing::info!(webhook, %tenant, cause, days, "alert delivered");
            }
            Err(failure) if failure.advice.is_none() && attempts < MAX_ATTEMPTS && !self.is_stopping() => {
                let longest = Duration::from_secs(4_u64.pow(attempts - 1).min(40 * 60));
                let (error, pause) = (failure.error, failure.retry_after);
                let after = pause.unwrap_or_else(|| longest.mul_f64(fastrand::f64()));
                self.paused_until = pause.map_or(self.paused_until, |pause| now + pause);
                (queued.attempts, queued.due) = (attempts, now + after);
                self.waiting.push(queued);
                if attempts == 1 {
                    tracing::warn!(webhook, %tenant, cause, days, error, ?after, "alert delivery failed; retrying for an hour");
                }
                tracing::debug!(webhook, %tenant, cause, days, error, ?after, attempts, "alert delivery failed; will retry");
            }
            Err(Failure { error, advice, .. }) => {
                self.metrics.failed.inc();
                self.not_before.insert(key, now + COOLDOWN);
                let advice = advice.unwrap_or("check that the webhook is reachable");
                tracing::warn!(webhook, %tenant, cause, days, error, attempts, "alert delivery failed, not retrying: {advice}");
            }
        }
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        let alerts = self.waiting.len() + self.alerts.len();
        if alerts > 0 {
            self.metrics.dropped.inc_by(u64::try_from(alerts).unwrap_or(u64::MAX));
            tracing::warn!(webhook = %self.shown, alerts, "stopped with undelivered alerts; they are in this log");
        }
    }
}

#[cfg(test)]
mod tests;
