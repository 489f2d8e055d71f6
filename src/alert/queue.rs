//! The alerts that wait for the webhook, in batches, and what was settled.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::token::{Alert, AlertCause, AlertKey};
use crate::types::TenantId;

/// The alerts that wait, and when those that were settled may be sent again.
#[derive(Debug, Default)]
pub(super) struct AlertQueue {
    /// In the order of arrival, or of the last attempt.
    batches: Vec<Batch>,
    /// The number of each alert that waits.
    numbers: HashMap<AlertKey, u64>,
    last_number: u64,
    /// A settled alert is not attempted again before this moment.
    not_before: HashMap<TenantId, Vec<(AlertKey, Instant)>>,
    /// After a delivery, alerts of the same topic are collected until this moment.
    collected_until: HashMap<Topic, Instant>,
}

/// Alerts of one topic, which are delivered together: one of each tenant.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) id: u64,
    pub(super) topic: Topic,
    /// By their numbers, in the order of arrival.
    alerts: BTreeMap<u64, QueuedAlert>,
    /// The number of attempts so far.
    pub(super) attempts: u32,
    /// The moment of the next attempt.
    pub(super) due: Instant,
}

/// An alert that waits.
#[derive(Clone, Debug)]
pub(super) struct QueuedAlert {
    pub(super) alert: Alert,
    pub(super) received_at: SystemTime,
}

/// What alerts of several tenants have in common.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Topic {
    pub(super) cause: AlertCause,
    reason: String,
}

/// What became of an alert.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Enqueued {
    Waiting,
    /// It was delivered already, or one like it waits.
    Suppressed,
    /// It waits, and the oldest one does not any more.
    OldestDropped,
}

/// The most alerts that wait: one of each of ten thousand tenants, and more.
pub(super) const MAX_WAITING: usize = 16_384;
/// The most reasons of one cause of a tenant that are delivered in its interval.
const MAX_REASONS: usize = 8;
/// An alert that was given up is not attempted again within this time.
pub(super) const COOLDOWN: Duration = Duration::from_secs(10 * 60);
/// How long the first alert of a topic waits for those of other tenants.
pub(super) const GATHER_TIME: Duration = Duration::from_millis(250);
/// The time between two deliveries of a topic.
const COLLECT_TIME: Duration = Duration::from_secs(30);

// === impl AlertQueue ===

impl AlertQueue {
    /// The number of alerts that wait.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Adds an alert to those of its topic, unless it was delivered already. One that waits is replaced.
    pub(super) fn enqueue(&mut self, queued: QueuedAlert) -> Enqueued {
        let (key, now) = (&queued.alert.key, Instant::now());
        if let Some(number) = self.numbers.get(key) {
            let mut batches = self.batches.iter_mut();
            if let Some(waiting) = batches.find_map(|batch| batch.alerts.get_mut(number)) {
                *waiting = queued;
            }
            return Enqueued::Suppressed;
        }
        let settled = self.not_before.get(&key.tenant).map_or(&[][..], Vec::as_slice);
        let not_before = settled
            .iter()
            .find(|(settled, _)| settled == key)
            .map(|(_, until)| *until);
        let is_settled = |until: Instant| until > now + COOLDOWN;
        let reasons = settled
            .iter()
            .filter(|(other, until)| other.has_cause_of(key) && is_settled(*until));
        if not_before.is_some_and(is_settled) || reasons.count() >= MAX_REASONS {
            return Enqueued::Suppressed;
        }
        let topic = Topic::of(key);
        let due = (now + GATHER_TIME).max(self.collected_until.get(&topic).copied().unwrap_or(now));
        self.add(queued, not_before.map_or(due, |until| until.max(due)));
        if self.len() <= MAX_WAITING {
            return Enqueued::Waiting;
        }
        self.drop_oldest();
        Enqueued::OldestDropped
    }

    /// Adds an alert to a batch that has not been attempted, and is attempted about then.
    fn add(&mut self, queued: QueuedAlert, due: Instant) {
        let topic = Topic::of(&queued.alert.key);
        self.last_number += 1;
        let number = self.last_number;
        self.numbers.insert(queued.alert.key.clone(), number);
        let is_like = |batch: &&mut Batch| batch.topic == topic && batch.attempts == 0;
        let is_soon = |batch: &&mut Batch| batch.due <= due + COLLECT_TIME && batch.due + COLLECT_TIME >= due;
        let like = self.batches.iter_mut().find(|batch| is_like(batch) && is_soon(batch));
        if let Some(batch) = like {
            batch.due = batch.due.max(due);
            batch.alerts.insert(number, queued);
            return;
        }
        self.batches.push(Batch {
            id: number,
            topic,
            alerts: BTreeMap::from([(number, queued)]),
            attempts: 0,
            due,
        });
    }

    fn drop_oldest(&mut self) {
        let first = |batch: &Batch| batch.alerts.first_key_value().map(|(number, _)| *number);
        let oldest = self.batches.iter_mut().min_by_key(|batch| first(batch));
        if let Some((_, oldest)) = oldest.and_then(|batch| batch.alerts.pop_first()) {
            self.numbers.remove(&oldest.alert.key);
        }
        self.batches.retain(|batch| !batch.alerts.is_empty());
    }

    /// The batch to attempt next: of those that are due, the first with the fewest attempts. All are due at a stop.
    pub(super) fn next(&self, is_due: impl Fn(&Batch) -> Instant) -> Option<(u64, Instant)> {
        let next = self
            .batches
            .iter()
            .min_by_key(|batch| (is_due(batch), batch.attempts))?;
        Some((next.id, is_due(next)))
    }

    pub(super) fn batch(&self, id: u64) -> Option<&Batch> {
        self.batches.iter().find(|batch| batch.id == id)
    }

    /// Removes an alert that was delivered already, unless its interval is almost over: then it waits for the end, and this
    /// returns false.
    pub(super) fn forget(&mut self, key: &AlertKey, remaining: Duration) -> bool {
        let not_before = Instant::now() + remaining;
        let number = self.numbers.remove(key).unwrap_or_default();
        let mut batches = self.batches.iter_mut();
        let queued = batches.find_map(|batch| batch.alerts.remove(&number));
        self.batches.retain(|batch| !batch.alerts.is_empty());
        if let Some(queued) = queued
            && remaining <= COOLDOWN
        {
            self.add(queued, not_before);
            return false;
        }
        self.settle(key.clone(), not_before);
        true
    }

    /// Removes a batch after an attempt.
    pub(super) fn take(&mut self, id: u64) -> Option<Batch> {
        let now = Instant::now();
        self.not_before.retain(|_, settled| {
            settled.retain(|(_, until)| *until > now);
            !settled.is_empty()
        });
        self.collected_until.retain(|_, until| *until > now);
        let index = self.batches.iter().position(|batch| batch.id == id)?;
        let batch = self.batches.remove(index);
        for key in batch.keys() {
            self.numbers.remove(key);
        }
        Some(batch)
    }

    /// Does not attempt the alerts of a batch again before this moment.
    pub(super) fn settle_all(&mut self, batch: &Batch, not_before: Instant) {
        for key in batch.keys() {
            self.settle(key.clone(), not_before);
        }
    }

    /// After a delivery, collects the alerts of the topic for a while.
    pub(super) fn collect(&mut self, topic: Topic) {
        self.collected_until.insert(topic, Instant::now() + COLLECT_TIME);
    }

    fn settle(&mut self, key: AlertKey, not_before: Instant) {
        let settled = self.not_before.entry(key.tenant.clone()).or_default();
        settled.retain(|(other, _)| *other != key);
        settled.push((key, not_before));
    }

    /// Puts a batch back for another attempt. It joins one of its topic with as many attempts: however many alerts come while
    /// the webhook is dead, there are few batches of a topic.
    pub(super) fn put_back(&mut self, mut batch: Batch) {
        for (number, queued) in &batch.alerts {
            self.numbers.insert(queued.alert.key.clone(), *number);
        }
        let is_like = |other: &Batch| other.topic == batch.topic && other.attempts == batch.attempts;
        let like = self.batches.iter().position(is_like);
        if let Some(like) = like.map(|index| self.batches.remove(index)) {
            batch.due = batch.due.min(like.due);
            batch.alerts.extend(like.alerts);
        }
        self.batches.push(batch);
    }
}

// === impl Batch ===

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.alerts.len()
    }

    pub(super) fn alerts(&self) -> impl ExactSizeIterator<Item = &QueuedAlert> {
        self.alerts.values()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &AlertKey> {
        self.alerts().map(|queued| &queued.alert.key)
    }

    /// The tenant, if it is the only one.
    pub(super) fn tenant(&self) -> Option<&TenantId> {
        self.keys().next().filter(|_| self.len() == 1).map(|key| &key.tenant)
    }
}

// === impl Topic ===

impl Topic {
    fn of(key: &AlertKey) -> Self {
        Self {
            cause: key.cause,
            reason: key.reason.clone(),
        }
    }
}
