//! A row of a PostgreSQL table, or of any query.
//!
//! # The two statements
//!
//! * `query` returns one row. Its first column is the token (text, varchar, or bytea that is UTF-8; encrypted with Fernet
//!   if there are keys). An optional second column is the token's expiry: a timestamptz, or Unix time in seconds; NULL and 0
//!   mean never. `params` are its `$1`, `$2` …; the server infers their types, so a text works for a uuid or a number
//!   without a cast.
//! * `update` gets the new token (encrypted, if there are keys) as `$1`, and `params` as `$2`, `$3` …; if it uses the
//!   parameter after those, that is the new token's expiry as Unix time in seconds, or NULL if it is unknown or never. It
//!   must change exactly one row: the one that `query` returns. It may keep the previous token for a rollback, for example
//!   with `previous_access_token = access_token`.
//!
//! ```sql
//! SELECT access_token FROM tenant_whatsapp_config WHERE tenant_id = $1 AND is_active
//! UPDATE tenant_whatsapp_config SET previous_access_token = access_token, access_token = $1
//!     WHERE tenant_id = $2 AND is_active
//! ```
//!
//! # Why
//!
//! * A store is one serializable transaction: `query`, compare, `update`, `query` again, compare, notify, commit. Other
//!   writers need not know of graphward: a concurrent commit makes the transaction fail, and graphward reads again. An
//!   `update` that does not change the row that `query` reads is found before the commit, not at the next start.
//! * A connection is kept only to listen. A load without a channel opens one and closes it: a pool for a statement every
//!   minute would be one more thing that can be stale.
//! * A reconnect loads the row, since notifications may have been missed. So there is one rule: `changed` waits for a
//!   notification or for the time of the next poll, and a failure brings that time nearer.

mod advisory_lock;
mod connection;
mod deliveries;
mod endpoint;
mod error;
mod pooler;
mod row;
mod settings;
mod store;
mod token_row;
mod url;

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tokio_postgres::Row;

use self::connection::{MAX_ROWS, PgConnection, QueryError};
use self::endpoint::PgEndpoint;
use self::error::into_obtain_error;
use self::token_row::TokenRow;
use super::absent::AbsentPolicy;
use super::decode::Format;
use super::encoding::{PlainTokens, TokenEncoding};
use super::fernet::Fernet;
use crate::net::Tasks;
use crate::token::{BoxFuture, ObtainError, RefreshLock, Source, StoreOutcome, Token};
use crate::types::Fingerprint;

pub use self::deliveries::PostgresDeliveries;
pub use self::endpoint::PostgresError;
pub use self::settings::{PostgresSettings, PostgresSourceConfig};
pub use self::url::DatabaseUrlError;

/// A token in a row.
pub struct PostgresSource {
    row: TokenRow,
    max_lock_hold: Duration,
    /// The connection that listens for notifications.
    listener: Option<PgConnection>,
    /// The time of the next poll.
    next_poll: Instant,
    /// A notification is held back until then: a busy channel must not cause a load each time.
    debounce_until: Instant,
    /// The number of failed loads in a row.
    consecutive_failures: u32,
    /// Whether it has been found out, or is being found out, if notifications arrive.
    notifications_checked: bool,
}

/// The time between two loads while the token is dead.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// The limit for a load, connecting included.
const LOAD_TIMEOUT: Duration = Duration::from_secs(9);
/// The limit for a store, retries included.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the lock may be held: longer than a renewal takes, and less than others wait for a dead holder.
const MAX_LOCK_HOLD: Duration = Duration::from_secs(25);
/// The shortest time between two loads.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The first backoff after a failed load, doubled with each further one …
const INITIAL_BACKOFF: Duration = Duration::from_millis(500);
/// … up to this.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

// === impl PostgresSource ===

impl PostgresSource {
    /// Creates a source for the token that `query` returns. The server need not be reachable yet.
    ///
    /// The URL is `postgres://user:password@host/dbname?sslmode=verify-full`, as libpq and the drivers of other languages read
    /// it; a host that begins with `/` (`%2Frun%2Fpostgresql`) is the directory of a socket. TLS is always verified: `require`, `verify-ca` and
    /// `verify-full` are the same, and `prefer`, the default, uses plain text with a server that has no TLS, but refuses one
    /// whose certificate is not trusted.
    ///
    /// # Errors
    ///
    /// [`PostgresError`] if the database cannot be reached like this.
    pub fn new(url: &str, settings: PostgresSettings, tasks: Tasks) -> Result<Self, PostgresError> {
        let endpoint = PgEndpoint::new(url, settings.ca_file.as_deref(), tasks)?;
        let now = Instant::now();
        Ok(Self {
            next_poll: now + settings.poll_interval,
            row: TokenRow {
                endpoint,
                settings,
                encoding: TokenEncoding::new(Format::Raw),
                absent: AbsentPolicy::Withdraw,
            },
            max_lock_hold: MAX_LOCK_HOLD,
            listener: None,
            debounce_until: now,
            consecutive_failures: 0,
            notifications_checked: false,
        })
    }

    /// Sets the keys with which the column is encrypted, if it is, and what happens to one that is not.
    #[must_use]
    pub fn encrypted_with(mut self, keys: Option<Fernet>, plain: PlainTokens) -> Self {
        self.row.encoding.encrypt_with(keys, plain);
        self
    }

    /// Sets what it means if the query returns no row or NULL; the default is that the token was withdrawn.
    #[must_use]
    pub const fn with_absent(mut self, absent: AbsentPolicy) -> Self {
        self.row.absent = absent.or(AbsentPolicy::Withdraw);
        self
    }

    /// Sets the limit for how long the lock is held; the default is 25 s. A renewal that takes longer loses the lock.
    #[must_use]
    pub fn with_max_lock_hold(self, max_lock_hold: Duration) -> Self {
        Self { max_lock_hold, ..self }
    }

    /// Returns what replicas that read this row know about each other's alerts.
    #[must_use]
    pub fn deliveries(&self) -> PostgresDeliveries {
        PostgresDeliveries::new(self.row.endpoint.clone(), self.row.lock_key())
    }

    async fn load_row(&mut self) -> Result<Token, ObtainError> {
        // Set first, since this future may be dropped at any await.
        self.next_poll = Instant::now() + self.backoff();
        let rows = timeout(LOAD_TIMEOUT, self.read())
            .await
            .unwrap_or(Err(QueryError::TimedOut));
        let loaded = match rows {
            Ok(rows) => self.row.decode(&rows),
            Err(failed) => Err(into_obtain_error(&self.row.endpoint.display_name, "read", failed)),
        };
        let now = Instant::now();
        self.debounce_until = now + MIN_POLL_INTERVAL;
        match &loaded {
            Err(error) if error.is_transient() && error.reason() != "missing" => {
                self.consecutive_failures = self.consecutive_failures.saturating_add(1);
                self.next_poll = now + self.backoff();
            }
            Ok(_) | Err(_) => {
                self.consecutive_failures = 0;
                self.next_poll = now + self.jittered_interval();
            }
        }
        if self.listener.is_some() && !std::mem::replace(&mut self.notifications_checked, true) {
            let endpoint = self.row.endpoint.clone();
            let tasks = endpoint.tasks.clone();
            drop(tasks.spawn(async move { pooler::check_notifications(&endpoint).await }));
        }
        loaded
    }

    /// Returns the time until the next poll: a little less than configured, so that replicas do not poll at the same moment.
    fn jittered_interval(&self) -> Duration {
        self.row.settings.poll_interval.mul_f64(1.0 - fastrand::f64() / 10.0)
    }

    /// Returns the time until the next attempt: random, up to a limit that doubles. `backon` would not shorten this: a
    /// notification or a rejection ends the wait, so there is no future to retry.
    fn backoff(&self) -> Duration {
        let limit = INITIAL_BACKOFF
            .saturating_mul(1 << self.consecutive_failures.min(10))
            .min(MAX_BACKOFF);
        MIN_POLL_INTERVAL + limit.mul_f64(fastrand::f64())
    }

    async fn read(&mut self) -> Result<Vec<Row>, QueryError> {
        if let Some(mut connection) = self.listener.take() {
            // What the notifications so far announce was committed, and this query sees it.
            connection.clear_notified();
            let rows = self.row.query_in_transaction(&connection).await;
            // The connection may have been lost since the last load.
            if !rows.as_ref().is_err_and(QueryError::is_disconnected) {
                self.keep_listener(connection, &rows).await;
                return rows;
            }
        }
        // It listens first and queries second: a commit between the two causes a notification.
        let connection = self.row.connect().await?;
        let rows = self.row.query_in_transaction(&connection).await;
        self.keep_listener(connection, &rows).await;
        rows
    }

    /// Keeps a connection that has to listen and still can.
    async fn keep_listener(&mut self, connection: PgConnection, result: &Result<Vec<Row>, QueryError>) {
        if self.row.settings.listen.is_none() {
            return;
        }
        let usable = match result {
            Ok(rows) => rows.len() < MAX_ROWS,
            Err(failed) if failed.code().is_some() => connection.batch_execute("ROLLBACK").await.is_ok(),
            Err(_) => false,
        };
        self.listener = usable.then_some(connection);
    }

    async fn wait_for_change(&mut self) {
        loop {
            let Some(connection) = &mut self.listener else {
                sleep_until(self.next_poll).await;
                break;
            };
            let is_disconnected = tokio::select! {
                notified = connection.wait_notified() => notified.is_err(),
                () = sleep_until(self.next_poll) => break,
            };
            if is_disconnected {
                // The next load listens again.
                self.listener = None;
                self.next_poll = self.next_poll.min(Instant::now() + self.backoff());
            } else {
                // The notification stays until this wait is over: this future may be dropped.
                sleep_until(self.debounce_until).await;
                connection.clear_notified();
                break;
            }
        }
        // Without a load this must not complete again at once.
        self.next_poll = Instant::now() + self.jittered_interval();
    }
}

async fn acquire_lock(row: &TokenRow, max_lock_hold: Duration) -> Result<RefreshLock, ObtainError> {
    let display_name = &row.endpoint.display_name;
    match advisory_lock::acquire(&row.endpoint, row.lock_key(), max_lock_hold).await {
        Ok(Some(connection)) => Ok(RefreshLock::with_guard(connection)),
        Ok(None) => {
            let what = format!("another replica holds the renewal lock for the token of {display_name}");
            Err(ObtainError::transient("lock_timeout", what))
        }
        Err(failed) => Err(into_obtain_error(display_name, "acquire the renewal lock at", failed)),
    }
}

impl Source for PostgresSource {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        Box::pin(self.load_row())
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.wait_for_change())
    }

    fn look_interval(&self) -> Option<Duration> {
        Some(LOOK_INTERVAL)
    }

    fn describe(&self) -> String {
        self.row.endpoint.display_name.clone()
    }

    fn check_writable(&self) -> Result<(), String> {
        match self.row.settings.update {
            Some(_) => Ok(()),
            None => Err(self.row.read_only_reason()),
        }
    }

    fn lock(&mut self) -> BoxFuture<'_, Result<RefreshLock, ObtainError>> {
        Box::pin(acquire_lock(&self.row, self.max_lock_hold))
    }

    fn store<'a>(
        &'a mut self,
        token: &'a Token,
        expected: Fingerprint,
    ) -> BoxFuture<'a, Result<StoreOutcome, ObtainError>> {
        let row = &self.row;
        Box::pin(async move {
            timeout(STORE_TIMEOUT, row.store(token, expected))
                .await
                .unwrap_or_else(|_elapsed| {
                    let source = &row.endpoint.display_name;
                    Err(into_obtain_error(source, "store the token in", QueryError::TimedOut))
                })
        })
    }
}

impl fmt::Debug for PostgresSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresSource({})", self.row.endpoint.display_name)
    }
}
