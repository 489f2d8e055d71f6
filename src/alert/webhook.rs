//! The task that delivers alerts to the webhook, and the handle that sends them to the task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::OptionFuture;
use http::Request;
use http::header::{CONTENT_TYPE, USER_AGENT};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::endpoint::{Failure, WebhookUrlError, check, shown_part};
use super::payload::payload;
use super::queue::{AlertQueue, Batch, COOLDOWN, Enqueued, MAX_WAITING, QueuedAlert};
use crate::net::HttpClient;
use crate::telemetry::metrics::AlertMetrics;
use crate::token::{Alert, AlertKey, DeliveryMemory};
use crate::types::{Clock, Fingerprint, Secret, TenantId};

/// Sends alerts to the webhook task. Clones send to the same one.
#[derive(Clone, Debug)]
pub struct AlertSender {
    alerts: mpsc::Sender<Alert>,
    stop: watch::Sender<bool>,
    metrics: AlertMetrics,
    url: Fingerprint,
    overflow: Arc<Overflow>,
}

/// Whether a full queue has been logged since the last delivery.
#[derive(Debug, Default)]
struct Overflow(AtomicBool);

/// Delivers alerts, one batch at a time.
#[derive(Debug)]
pub struct Webhook {
    alerts: mpsc::Receiver<Alert>,
    stop: watch::Receiver<bool>,
    url: Secret,
    /// The part of the URL that may be shown.
    shown: String,
    client: HttpClient,
    clock: Clock,
    metrics: AlertMetrics,
    memories: Vec<Box<dyn DeliveryMemory>>,
    queue: AlertQueue,
    /// The webhook asked for no request before this moment.
    paused_until: Instant,
    overflow: Arc<Overflow>,
}

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
    /// reasons. If an alert of the same cause and reason waits, this one replaces it. Those of several tenants are delivered
    /// together.
    pub fn send(&self, alert: &Alert) {
        if let Err(error) = self.alerts.try_send(alert.clone()) {
            self.metrics.dropped.inc();
            tracing::debug!(alert = %alert.key, %error, "alert dropped: the webhook task has stopped, or has not kept up");
            if matches!(error, TrySendError::Full(_)) {
                self.overflow.warn_once();
            }
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
        let (alerts, alert_receiver) = mpsc::channel(MAX_WAITING);
        let overflow = Arc::<Overflow>::default();
        let webhook = Self {
            alerts: alert_receiver,
            stop: stop_receiver,
            shown: shown_part(url.expose())?,
            url: url.clone(),
            client: client.with_timeout(ATTEMPT_TIMEOUT),
            clock,
            metrics: metrics.clone(),
            memories: Vec::new(),
            queue: AlertQueue::default(),
            paused_until: Instant::now(),
            overflow: Arc::clone(&overflow),
        };
        let sender = AlertSender {
            alerts,
            stop,
            metrics,
            url: url.fingerprint(),
            overflow,
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
            let due = OptionFuture::from(next.map(|(_, due)| sleep_until(due)));
            // All three waits are cancel-safe. A sent alert comes first: it may go before one that is due.
            tokio::select! {
                biased;
                received = self.alerts.recv() => match received {
                    Some(alert) => self.enqueue(alert),
                    None => return,
                },
                _ = self.stop.changed(), if !is_stopping => {}
                Some(()) = due => if let Some((id, _)) = next {
                    self.deliver(id).await;
                }
            }
        }
    }

    /// Makes an attempt for the alerts of a batch that were not delivered before the start, or by another replica, within
    /// their interval.
    async fn deliver(&mut self, id: u64) {
        let Some(batch) = self.queue.batch(id) else { return };
        let (mut keys, now): (Vec<AlertKey>, _) = (batch.keys().cloned().collect(), self.clock.now());
        let interval = batch.topic.cause.repeat_interval();
        let mut known = vec![None; keys.len()];
        for memory in &mut self.memories {
            let delivered = memory.begin(&keys, now).await;
            for (known, at) in known.iter_mut().zip(delivered) {
                *known = at.max(*known);
            }
        }
        let mut known = known.into_iter();
        keys.retain(|key| {
            let at = known.next().flatten();
            let remaining = at.and_then(|at| (at + interval).duration_since(now).ok());
            // The clock of a replica that noted a later time is wrong.
            let remaining = remaining.filter(|it| !it.is_zero() && *it <= interval + COOLDOWN);
            if remaining.is_some_and(|remaining| self.queue.forget(key, remaining)) {
                self.metrics.suppressed.inc();
            }
            remaining.is_none()
        });
        let result = match self.queue.batch(id) {
            Some(batch) => Some(self.attempt(batch).await),
            None => None,
        };
        let delivered_at = matches!(result, Some(Ok(()))).then(|| self.clock.now());
        for memory in &mut self.memories {
            memory.finish(&keys, delivered_at).await;
        }
        if let (Some(result), Some(batch)) = (result, self.queue.take(id)) {
            self.settle(batch, result);
        }
    }

    /// After a stop, each alert has one attempt left.
    fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    fn enqueue(&mut self, alert: Alert) {
        let key = alert.key.clone();
        let received_at = self.clock.now();
        match self.queue.enqueue(QueuedAlert { alert, received_at }) {
            Enqueued::Waiting => {}
            Enqueued::Suppressed => {
                self.metrics.suppressed.inc();
                tracing::debug!(
                    %key,
                    "duplicate alert suppressed: already delivered within its interval, or queued"
                );
            }
            Enqueued::OldestDropped => {
                self.metrics.dropped.inc();
                self.overflow.warn_once();
            }
        }
    }

    /// The batch to attempt next, and when.
    fn next(&self) -> Option<(u64, Instant)> {
        let (now, is_stopping) = (Instant::now(), self.is_stopping());
        let due = |batch: &Batch| if is_stopping { now } else { batch.due.max(now) };
        let (id, due) = self.queue.next(due)?;
        Some((id, due.max(self.paused_until)))
    }

    async fn attempt(&self, batch: &Batch) -> Result<(), Failure> {
        let request = Request::post(self.url.expose())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("graphward/", env!("CARGO_PKG_VERSION")))
            .body(payload(batch).into())?;
        check(&self.client.send(request).await?, self.url.expose(), self.clock.now())
    }

    /// Takes the result of an attempt. The pause before the next one is the one that the webhook asked for, or else a random
    /// part of a second, of four seconds, and so on, up to 40 minutes. `backon` would retry one alert and hold up the others;
    /// its delays would replace one line.
    fn settle(&mut self, mut batch: Batch, result: Result<(), Failure>) {
        let (now, webhook, attempts) = (Instant::now(), &self.shown, batch.attempts + 1);
        let (tenant, alerts) = (batch.tenant().cloned(), batch.len());
        let (tenant, count) = (
            tenant.as_ref().map(TenantId::as_str),
            u64::try_from(alerts).unwrap_or(u64::MAX),
        );
        let cause = batch.topic.cause;
        let (interval, cause, days) = (cause.repeat_interval(), cause.label(), cause.days());
        let _about = tracing::error_span!("alert", webhook, tenant, alerts, cause, days).entered();
        match result {
            Ok(()) => {
                self.metrics.delivered.inc_by(count);
                self.overflow.reset();
                self.queue.settle_all(&batch, now + interval);
                self.queue.collect(batch.topic);
                tracing::info!("alert delivered");
            }
            Err(failure) if failure.advice.is_none() && attempts < MAX_ATTEMPTS && !self.is_stopping() => {
                let longest = Duration::from_secs(4_u64.pow(attempts - 1).min(40 * 60));
                let (error, pause) = (failure.error, failure.retry_after);
                let after = pause.unwrap_or_else(|| longest.mul_f64(fastrand::f64()));
                self.paused_until = pause.map_or(self.paused_until, |pause| now + pause);
                (batch.attempts, batch.due) = (attempts, now + after);
                self.queue.put_back(batch);
                if attempts == 1 {
                    tracing::warn!(error, ?after, "alert delivery failed; retrying for an hour");
                } else {
                    tracing::debug!(error, ?after, attempts, "alert delivery failed again; will retry");
                }
            }
            Err(Failure { error, advice, .. }) => {
                self.metrics.failed.inc_by(count);
                self.queue.settle_all(&batch, now + COOLDOWN);
                let advice = advice.unwrap_or("check that the webhook is reachable");
                tracing::warn!(error, attempts, "alert delivery failed, not retrying: {advice}");
            }
        }
    }
}

// === impl Overflow ===

impl Overflow {
    fn warn_once(&self) {
        if !self.0.swap(true, Ordering::Relaxed) {
            tracing::warn!("alert queue is full: dropping alerts; they are in this log");
        }
    }

    fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        let alerts = self.queue.len() + self.alerts.len();
        if alerts > 0 {
            self.metrics.dropped.inc_by(u64::try_from(alerts).unwrap_or(u64::MAX));
            tracing::warn!(webhook = %self.shown, alerts, "stopped with undelivered alerts; they are in this log");
        }
    }
}

#[cfg(test)]
mod tests;
