//! What replicas that read the same row know about each other's alerts.
//!
//! # Why
//!
//! Graphward has no table of its own, and needs no right to create one. An advisory lock with two numbers can be read by
//! every session: the first number stands for the alert, the second is the minute of its delivery. Each replica that
//! delivered the alert, or learned that it was delivered, holds the lock, so the note survives as long as one of them does.
//! The age is read from the note, so that one which a connection pooler keeps too long does no harm.
//!
//! While a replica delivers, it holds the lock of a transaction, as for a renewal: the others wait, and if it dies, go on.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

use super::advisory_lock::acquire;
use super::connection::{PgConnection, QueryError, ReadLimits};
use super::endpoint::PgEndpoint;
use crate::token::{AlertKey, BoxFuture, DeliveryMemory};
use crate::types::unix_seconds;

/// The alerts about one row.
#[derive(derive_more::Debug)]
#[debug("PostgresDeliveries({})", endpoint.display_name)]
pub struct PostgresDeliveries {
    endpoint: PgEndpoint,
    /// The key of the row's renewal lock.
    row: i64,
    /// Holds the lock while an alert is delivered.
    turn: Option<PgConnection>,
    /// Holds the notes.
    session: Option<PgConnection>,
    notes: usize,
}

/// The longest time that others wait for a replica that hangs: longer than an attempt to deliver an alert takes.
const MAX_TURN: Duration = Duration::from_secs(25);

/// The most notes of a session: the database has room for some thousand locks of all sessions.
const MAX_NOTES: usize = 256;
/// The most alerts of a digest that replicas tell each other: each replica sends a larger one.
const MAX_SHARED: usize = 64;

/// The last delivery among the notes of all sessions with this database.
const LAST_NOTE: &str = "SELECT max(objid::bigint)::text FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 \
     AND classid = $1::oid AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

// === impl PostgresDeliveries ===

impl PostgresDeliveries {
    pub(super) const fn new(endpoint: PgEndpoint, row: i64) -> Self {
        Self {
            endpoint,
            row,
            turn: None,
            session: None,
            notes: 0,
        }
    }

    async fn take_turn(&mut self, alerts: &[AlertKey]) -> Result<Vec<Option<SystemTime>>, QueryError> {
        // Another key than the one of the renewal lock, which is held for longer.
        self.turn = acquire(&self.endpoint, !self.row, MAX_TURN).await?;
        let mut delivered = Vec::new();
        for alert in alerts {
            let Some(turn) = &self.turn else {
                break;
            };
            let rows = turn
                .query(LAST_NOTE, &[self.number(alert)], ReadLimits::ONE_ROW)
                .await?;
            let minute = rows.first().and_then(|row| row.try_get::<_, Option<String>>(0).ok()?);
            let minute: Option<u64> = minute.and_then(|minute| minute.parse().ok());
            let delivered_at = minute.map(|minute| UNIX_EPOCH + Duration::from_secs(minute * 60));
            if let Some(at) = delivered_at {
                self.note(alert, at).await?;
            }
            delivered.push(delivered_at);
        }
        Ok(delivered)
    }

    async fn note(&mut self, alert: &AlertKey, at: SystemTime) -> Result<(), QueryError> {
        const NOTE: &str = "SELECT pg_advisory_lock_shared($1, $2)";
        let minute = unix_seconds(at) / 60;
        let (alert, minute) = (self.number(alert), minute.to_string());
        let note = [Some(alert.as_str()), Some(minute.as_str())];
        self.notes += 1;
        if self.notes > MAX_NOTES {
            (self.session, self.notes) = (None, 1);
        }
        if let Some(session) = &self.session
            && session.execute(NOTE, &note).await.is_ok()
        {
            return Ok(());
        }
        let session = self.session.insert(PgConnection::connect(&self.endpoint).await?);
        session.execute(NOTE, &note).await.map(drop)
    }

    /// Returns the number that stands for an alert about this row; a positive one for PostgreSQL, too.
    fn number(&self, alert: &AlertKey) -> String {
        let digest = Sha256::digest(format!("{}/{alert}", self.row));
        let bytes = digest.first_chunk().copied().unwrap_or_default();
        (u32::from_be_bytes(bytes) >> 1).to_string()
    }
}

impl DeliveryMemory for PostgresDeliveries {
    fn begin<'a>(&'a mut self, alerts: &'a [AlertKey], _now: SystemTime) -> BoxFuture<'a, Vec<Option<SystemTime>>> {
        Box::pin(async move {
            if alerts.len() > MAX_SHARED {
                return Vec::new();
            }
            self.take_turn(alerts).await.unwrap_or_else(|error| {
                tracing::debug!(?error, "cannot find out whether another replica delivered an alert");
                Vec::new()
            })
        })
    }

    fn finish<'a>(&'a mut self, alerts: &'a [AlertKey], delivered_at: Option<SystemTime>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Some(at) = delivered_at.filter(|_| alerts.len() <= MAX_SHARED) {
                for alert in alerts {
                    if let Err(error) = self.note(alert, at).await {
                        tracing::debug!(?error, "cannot tell other replicas that an alert was delivered");
                        break;
                    }
                }
            }
            self.turn = None;
        })
    }
}
