//! The last events: what happened to tokens, and what operators changed.
//!
//! # Why
//!
//! They are kept in memory, for the admin listener. What must survive a restart is in the log and in the audit.
//!
//! The ids of a process follow the Unix time of its start in milliseconds, so that they are greater than those of the process before
//! it: with ids from 1, a reader that had seen three events would miss the first three of the next process.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use serde::{Serialize, Serializer};
use tokio::sync::watch;

use crate::types::{Clock, Rfc3339Timestamp, TenantId, lock};

/// Keeps the last events. Clones share them.
#[derive(Clone, Debug)]
pub struct EventLog {
    ring: Arc<Mutex<VecDeque<Event>>>,
    last_id: watch::Sender<u64>,
    /// The id before that of the first event.
    origin: u64,
    clock: Clock,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Its number, greater than those of all events before it, of earlier processes too.
    pub id: u64,
    /// When it happened.
    #[serde(serialize_with = "write_text")]
    pub time: Rfc3339Timestamp,
    /// The tenant's name; empty if it is about none.
    #[serde(serialize_with = "write_text")]
    pub tenant: TenantId,
    /// What happened, a word of a closed list.
    pub kind: &'static str,
    /// What happened, in words, without a secret.
    pub reason: String,
}

/// The most events that are kept.
const MAX_EVENTS: usize = 1_000;

// === impl EventLog ===

impl EventLog {
    /// Creates an empty log.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let since_epoch = clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let origin = u64::try_from(since_epoch.as_millis()).unwrap_or_default();
        Self {
            ring: Arc::default(),
            last_id: watch::Sender::new(origin),
            origin,
            clock,
        }
    }

    /// Adds an event; the oldest goes if there are too many.
    pub fn add(&self, tenant: &TenantId, kind: &'static str, reason: impl Into<String>) {
        let mut ring = lock(&self.ring);
        let id = *self.last_id.borrow() + 1;
        if ring.len() == MAX_EVENTS {
            drop(ring.pop_front());
        }
        ring.push_back(Event {
            id,
            time: Rfc3339Timestamp(self.clock.now()),
            tenant: tenant.clone(),
            kind,
            reason: reason.into(),
        });
        self.last_id.send_replace(id);
    }

    /// Returns the events after this one; all of them after one that is not known yet, which a clock that was set back leaves behind.
    #[must_use]
    pub fn after(&self, id: u64) -> Vec<Event> {
        let ring = lock(&self.ring);
        let last = ring.back().map_or(0, |event| event.id);
        let after = if id > last { 0 } else { id };
        ring.iter().filter(|event| event.id > after).cloned().collect()
    }

    /// Waits until there is an event after this one. Cancel-safe.
    pub async fn wait_for(&self, id: u64) {
        let is_newer = |last: &u64| *last > self.origin && *last != id;
        // The sender is `self`, so the channel cannot be closed while this waits.
        drop(self.last_id.subscribe().wait_for(is_newer).await);
    }
}

fn write_text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn ids(log: &EventLog, events: &[Event]) -> (Option<u64>, Option<u64>, usize) {
        let id = |event: Option<&Event>| event.map(|event| event.id - log.origin);
        (id(events.first()), id(events.last()), events.len())
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_thousand_events_are_kept_and_those_after_one_are_returned() {
        let log = EventLog::new(Clock::system());
        let tenant = TenantId::default();
        assert!(log.after(0).is_empty());
        for _ in 0..1_500 {
            log.add(&tenant, "loaded", "a token of a file");
        }
        let after = |id| ids(&log, &log.after(id));
        assert_eq!(after(0), (Some(501), Some(1_500), 1_000));
        assert_eq!(after(log.origin + 1_498), (Some(1_499), Some(1_500), 2));
        assert!(log.after(log.origin + 1_500).is_empty());
        // The clock was set back since the process that the reader has seen.
        assert_eq!(after(log.origin + 7_000), (Some(501), Some(1_500), 1_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_of_an_earlier_process_misses_no_event_of_the_next_one() {
        let past = EventLog {
            origin: 1_000,
            last_id: watch::Sender::new(1_000),
            ..EventLog::new(Clock::system())
        };
        for _ in 0..3 {
            past.add(&TenantId::default(), "loaded", "a token of a file");
        }
        let seen = past.after(0).last().unwrap().id;
        let next = EventLog::new(Clock::system());
        assert!(timeout(Duration::from_secs(1), next.wait_for(seen)).await.is_err());
        for _ in 0..5 {
            next.add(&TenantId::default(), "loaded", "a token of a file");
        }
        assert_eq!(ids(&next, &next.after(seen)), (Some(1), Some(5), 5));
        assert!(timeout(Duration::from_secs(1), next.wait_for(seen)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_waits_for_the_next_event_only() {
        let log = EventLog::new(Clock::system());
        let wait = async |id| timeout(Duration::from_secs(1), log.wait_for(id)).await.is_ok();
        assert!(!wait(0).await);
        log.add(&TenantId::default(), "set", "by the operator");
        assert!(wait(0).await);
        assert!(!wait(log.origin + 1).await);
        assert!(wait(log.origin + 7).await);
        let json = serde_json::to_value(log.after(0)).unwrap();
        assert_eq!(json[0]["tenant"], "default");
        assert_eq!(json[0]["kind"], "set");
        assert!(json[0]["time"].as_str().unwrap().ends_with('Z'));
    }
}
