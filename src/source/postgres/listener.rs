//! A connection that is kept, and the one that listens for changes.
//!
//! # Why
//!
//! * Notifications may be missed while the connection is lost, so the query runs again after each reconnect. Hence one rule:
//!   [`Listener::wait_for_change`] completes at a notification or when the next poll is due, which is sooner after a failure.
//! * A connection is kept only to listen. A read without a channel opens one and closes it: a pool for a statement every
//!   minute would be one more thing that can be stale.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tokio_postgres::Row;

use super::connection::{PgConnection, QueryError, Select};
use super::endpoint::{PgEndpoint, quote_identifier};
use super::pooler;
use crate::token::ObtainError;

/// A connection that is opened when it is needed, and kept as long as it is usable.
pub(super) struct KeptConnection {
    endpoint: PgEndpoint,
    /// The channel that it listens to.
    channel: Option<String>,
    connection: Option<PgConnection>,
}

/// The connection that listens for changes, and the times at which to read.
pub(super) struct Listener {
    kept: KeptConnection,
    poll_interval: Duration,
    /// The time of the next poll.
    next_poll: Instant,
    /// A notification is held back until then: a busy channel must not cause a read each time.
    debounce_until: Instant,
    /// The number of failed reads in a row.
    consecutive_failures: u32,
    /// Whether it has been found out, or is being found out, if notifications arrive.
    notifications_checked: bool,
}

/// The limit for the read of a row, connecting included.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(9);
/// The shortest time between two reads.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The first backoff after a failed read, doubled with each further one …
const INITIAL_BACKOFF: Duration = Duration::from_millis(500);
/// … up to this.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

// === impl KeptConnection ===

impl KeptConnection {
    pub(super) const fn new(endpoint: PgEndpoint, channel: Option<String>) -> Self {
        Self {
            endpoint,
            channel,
            connection: None,
        }
    }

    /// Returns the rows of a query, on a new connection if this one was lost. Dropping the future closes it.
    pub(super) async fn select(&mut self, select: &Select<'_>) -> Result<Vec<Row>, QueryError> {
        if let Some(mut connection) = self.connection.take() {
            // What the notifications so far announce was committed, and this query sees it.
            connection.clear_notified();
            let rows = connection.select(&self.endpoint.begin(select.begin), select).await;
            // The connection may have been lost since it was used last.
            if !rows.as_ref().is_err_and(QueryError::is_disconnected) {
                self.keep(connection, rows.as_ref().err()).await;
                return rows;
            }
        }
        // It listens first and queries second: a commit between the two causes a notification.
        let connection = PgConnection::connect(&self.endpoint).await?;
        if let Some(channel) = &self.channel {
            let listen = format!("LISTEN {}", quote_identifier(channel));
            connection.batch_execute(&listen).await?;
        }
        let rows = connection.select(&self.endpoint.begin(select.begin), select).await;
        self.keep(connection, rows.as_ref().err()).await;
        rows
    }

    /// Takes the connection, or opens one. [`Self::keep`] gives it back; one that is dropped rolls back what it has begun.
    pub(super) async fn take(&mut self) -> Result<PgConnection, QueryError> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => PgConnection::connect(&self.endpoint).await,
        }
    }

    pub(super) async fn keep(&mut self, connection: PgConnection, failed: Option<&QueryError>) {
        let is_usable = match failed {
            None => true,
            // Its transaction has ended.
            Some(failed) => failed.code().is_some() && connection.batch_execute("").await.is_ok(),
        };
        self.connection = is_usable.then_some(connection);
    }
}

// === impl Listener ===

impl Listener {
    pub(super) fn new(endpoint: PgEndpoint, channel: Option<String>, poll_interval: Duration) -> Self {
        let now = Instant::now();
        Self {
            kept: KeptConnection::new(endpoint, channel),
            poll_interval,
            next_poll: now + poll_interval,
            debounce_until: now,
            consecutive_failures: 0,
            notifications_checked: false,
        }
    }

    /// Returns the rows of a query within a time limit, connecting included. [`Self::schedule_after`] has to follow.
    pub(super) async fn select(&mut self, select: &Select<'_>, limit: Duration) -> Result<Vec<Row>, QueryError> {
        // Set first, since this future may be dropped at any await.
        self.next_poll = Instant::now() + self.backoff();
        let rows = timeout(limit, self.kept.select(select)).await;
        if self.kept.channel.is_none() {
            self.kept.connection = None;
        }
        if self.kept.connection.is_some() && !std::mem::replace(&mut self.notifications_checked, true) {
            let endpoint = self.kept.endpoint.clone();
            let tasks = endpoint.tasks.clone();
            drop(tasks.spawn(async move { pooler::check_notifications(&endpoint).await }));
        }
        rows.unwrap_or(Err(QueryError::TimedOut))
    }

    /// Sets the time of the next read. Notifications cause none within `pause`.
    pub(super) fn schedule_after(&mut self, failed: Option<&ObtainError>, pause: Duration) {
        let now = Instant::now();
        self.debounce_until = now + pause.max(MIN_POLL_INTERVAL);
        if failed.is_some_and(|error| error.is_transient() && error.reason() != "missing") {
            self.consecutive_failures = self.consecutive_failures.saturating_add(1);
            self.next_poll = now + self.backoff();
        } else {
            self.consecutive_failures = 0;
            self.next_poll = now + self.jittered_interval();
        }
    }

    /// Waits for a notification or the time of the next poll. Cancel-safe.
    pub(super) async fn wait_for_change(&mut self) {
        loop {
            let Some(connection) = &mut self.kept.connection else {
                sleep_until(self.next_poll).await;
                break;
            };
            let is_disconnected = tokio::select! {
                notified = connection.wait_notified() => notified.is_err(),
                () = sleep_until(self.next_poll) => break,
            };
            if is_disconnected {
                // The next read listens again.
                self.kept.connection = None;
                self.next_poll = self.next_poll.min(Instant::now() + self.backoff());
            } else {
                // The notification stays until this wait is over: this future may be dropped.
                sleep_until(self.debounce_until).await;
                connection.clear_notified();
                break;
            }
        }
        // Without a read this must not complete again at once.
        self.next_poll = Instant::now() + self.jittered_interval();
    }

    /// Returns the time until the next poll: a little less than configured, so that replicas do not poll at the same moment.
    fn jittered_interval(&self) -> Duration {
        self.poll_interval.mul_f64(1.0 - fastrand::f64() / 10.0)
    }

    /// Returns the time until the next attempt: random, up to a limit that doubles. `backon` would not shorten this: a
    /// notification or a rejection ends the wait, so there is no future to retry.
    fn backoff(&self) -> Duration {
        let limit = INITIAL_BACKOFF
            .saturating_mul(1 << self.consecutive_failures.min(10))
            .min(MAX_BACKOFF);
        MIN_POLL_INTERVAL + limit.mul_f64(fastrand::f64())
    }
}
