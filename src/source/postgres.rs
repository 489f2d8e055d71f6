//! A row of a PostgreSQL table, or of whatever a query can show.
//!
//! # What is asked of the two statements
//!
//! * `query` shows one row. Its first column is the token (text, varchar, or bytea that is UTF-8; sealed by Fernet if
//!   there are keys). A second column, if there is one, is the token's end: a timestamptz, or seconds since 1970; NULL and
//!   0 are never. `params` are its `$1`, `$2` …; the server finds out their types, so that a text does for a uuid or a
//!   number without a cast.
//! * `update` gets the new token (sealed, if there are keys) as `$1`, and `params` as `$2`, `$3` …; if it uses the
//!   parameter after those, that is the new token's end in seconds since 1970, or NULL if it is unknown or never. It changes
//!   exactly one row, that which `query` shows. What it does with the token before is its own affair; for a rollback,
//!   `previous_access_token = access_token` does.
//!
//! ```sql
//! SELECT access_token FROM tenant_whatsapp_config WHERE tenant_id = $1 AND is_active
//! UPDATE tenant_whatsapp_config SET previous_access_token = access_token, access_token = $1
//!     WHERE tenant_id = $2 AND is_active
//! ```
//!
//! # Why
//!
//! * A deposit is one serializable transaction: `query`, compare, `update`, `query` again, compare, notify, commit. Other
//!   writers need not know of it: one that commits in between makes it fail and look again. An `update` that does not write
//!   where `query` looks is found out before it is committed, and not by the next start.
//! * A connection is kept only to listen. A look opens one and closes it: a pool of one for a statement every minute
//!   would be another thing that can be stale.
//! * A reconnect is a look, since notifications may have been missed. So there is one rule: `replace` waits for a
//!   notification or for the date of the next look, and what goes wrong brings that date nearer.

mod advisory_lock;
mod channel_binding;
mod connection;
mod endpoint;
mod error;
mod row;
mod store;
mod tls;
mod token_row;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tokio_postgres::Row;

use self::connection::{MAX_ROWS, PgConnection, QueryError};
use self::endpoint::PgEndpoint;
use self::error::into_obtain_error;
use self::token_row::{TokenRow, uses_parameter};
use super::fernet::Fernet;
use crate::token::{BoxFuture, ObtainError, RefreshLock, Source, StoreOutcome, Token};
use crate::types::{Fingerprint, Secret};

pub use self::endpoint::PostgresError;

/// Where the row is, and how it is read and written.
#[derive(Debug)]
pub struct PostgresSettings {
    /// `postgres://user:password@host/dbname?sslmode=verify-full`, as libpq reads it; a host that begins with `/`
    /// (`%2Frun%2Fpostgresql`) is the directory of a socket.
    ///
    /// TLS is never unverified: `require`, `verify-ca` and `verify-full` are the same, and `prefer`, the default, speaks
    /// plainly with a server that has no TLS, but not with one that has a certificate which is not trusted.
    pub url: Secret,
    /// The statement that shows the token.
    pub query: String,
    /// Its parameters.
    pub params: Vec<String>,
    /// The statement that replaces the token.
    pub update: Option<String>,
    /// The channel that says when there is news, spelt as `pg_notify` is told. A deposit notifies it.
    pub listen: Option<String>,
    /// How often to look where nothing says that there is news.
    pub poll_interval: Duration,
    /// What opens and seals the column.
    pub fernet: Option<Fernet>,
    /// Roots besides Mozilla's, as PEM.
    pub ca_file: Option<PathBuf>,
}

/// A token in a row.
pub struct PostgresSource {
    row: TokenRow,
    poll_interval: Duration,
    max_lock_hold: Duration,
    /// The connection that listens.
    listener: Option<PgConnection>,
    /// When to look without being told.
    next_poll: Instant,
    /// Until then, a notification waits: a busy channel must not drive looks.
    debounce_until: Instant,
    /// Failed looks in a row.
    consecutive_failures: u32,
}

/// The limit for a look, connecting included.
const LOAD_TIMEOUT: Duration = Duration::from_secs(9);
/// The limit for a deposit, second turns included.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a claim may be held: longer than minting takes, and a little less than others may wait for a dead holder.
const MAX_LOCK_HOLD: Duration = Duration::from_secs(25);
/// The shortest time between two looks.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The longest time between two looks.
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// The first pause after a failed look; each further one may last twice as long …
const INITIAL_BACKOFF: Duration = Duration::from_millis(500);
/// … up to this.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

// === impl PostgresSource ===

impl PostgresSource {
    /// The token that `query` shows. The server need not be there yet.
    ///
    /// # Errors
    ///
    /// [`PostgresError`] if the settings cannot work.
    pub fn new(settings: PostgresSettings) -> Result<Self, PostgresError> {
        let endpoint = PgEndpoint::new(&settings.url, settings.ca_file.as_deref())?;
        if settings.query.trim().is_empty() {
            return Err(PostgresError::Query);
        }
        let listen = settings.listen;
        if listen.as_ref().is_some_and(|channel| {
            // As NAMEDATALEN has it; a longer one would be cut, and never notified.
            !(1..=63).contains(&channel.len()) || channel.contains('\0')
        }) {
            return Err(PostgresError::Listen);
        }
        if settings
            .update
            .as_ref()
            .is_some_and(|update| !uses_parameter(update, 1))
        {
            return Err(PostgresError::Update);
        }
        let poll_interval = settings.poll_interval.clamp(MIN_POLL_INTERVAL, MAX_POLL_INTERVAL);
        let now = Instant::now();
        Ok(Self {
            row: TokenRow {
                endpoint,
                query: settings.query,
                params: settings.params,
                update: settings.update,
                listen,
                fernet: settings.fernet,
            },
            poll_interval,
            max_lock_hold: MAX_LOCK_HOLD,
            listener: None,
            next_poll: now + poll_interval,
            debounce_until: now,
            consecutive_failures: 0,
        })
    }

    /// The same with another limit for how long a claim is held; 25 s unless told. Whoever mints for longer loses it, and
    /// perhaps mints in vain.
    #[must_use]
    pub fn with_max_lock_hold(self, max_lock_hold: Duration) -> Self {
        Self { max_lock_hold, ..self }
    }

    async fn load_row(&mut self) -> Result<Token, ObtainError> {
        // Until it is known better; this future may be dropped at any await.
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
        loaded
    }

    /// How long to wait before the next look: a little less than asked for, so that replicas do not march in step.
    fn jittered_interval(&self) -> Duration {
        self.poll_interval.mul_f64(1.0 - fastrand::f64() / 10.0)
    }

    /// How long to wait before the next attempt: any time up to a limit that doubles.
    fn backoff(&self) -> Duration {
        let limit = INITIAL_BACKOFF
            .saturating_mul(1 << self.consecutive_failures.min(10))
            .min(MAX_BACKOFF);
        MIN_POLL_INTERVAL + limit.mul_f64(fastrand::f64())
    }

    async fn read(&mut self) -> Result<Vec<Row>, QueryError> {
        if let Some(mut connection) = self.listener.take() {
            // What has rung so far was committed before, and will be seen.
            connection.take_notified();
            let rows = self.row.query_in_transaction(&mut connection).await;
            // It may have died since the last look.
            if !rows.as_ref().is_err_and(QueryError::is_disconnected) {
                self.keep_listener(connection, &rows).await;
                return rows;
            }
        }
        // It listens first and looks second: what is committed between the two rings.
        let mut connection = self.row.connect().await?;
        let rows = self.row.query_in_transaction(&mut connection).await;
        self.keep_listener(connection, &rows).await;
        rows
    }

    /// Keeps a connection that is to listen and still can.
    async fn keep_listener(&mut self, mut connection: PgConnection, result: &Result<Vec<Row>, QueryError>) {
        if self.row.listen.is_none() {
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
                heard = connection.wait_notified() => heard.is_err(),
                () = sleep_until(self.next_poll) => break,
            };
            if is_disconnected {
                // Whoever looks will listen again.
                self.listener = None;
                self.next_poll = self.next_poll.min(Instant::now() + self.backoff());
            } else {
                // What rang stays so until this has been waited for.
                sleep_until(self.debounce_until).await;
                connection.take_notified();
                break;
            }
        }
        // If nobody looks after all, this must not be ready for ever.
        self.next_poll = Instant::now() + self.jittered_interval();
    }
}

async fn acquire_lock(row: &TokenRow, max_lock_hold: Duration) -> Result<RefreshLock, ObtainError> {
    let display_name = &row.endpoint.display_name;
    let key = advisory_lock::lock_key(&row.query, &row.params);
    match advisory_lock::acquire(&row.endpoint, key, max_lock_hold).await {
        Ok(Some(link)) => Ok(RefreshLock::with_guard(link)),
        Ok(None) => {
            let what = format!("another replica holds the right to renew the token of {display_name}");
            Err(ObtainError::transient("timeout", what))
        }
        Err(failed) => Err(into_obtain_error(display_name, "claim the right to renew at", failed)),
    }
}

impl Source for PostgresSource {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        Box::pin(self.load_row())
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.wait_for_change())
    }

    fn describe(&self) -> String {
        self.row.endpoint.display_name.clone()
    }

    fn check_writable(&self) -> Result<(), String> {
        match self.row.update {
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
                    Err(into_obtain_error(
                        &row.endpoint.display_name,
                        "write to",
                        QueryError::TimedOut,
                    ))
                })
        })
    }
}

impl fmt::Debug for PostgresSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSource")
            .field("place", &self.row.endpoint.display_name)
            .field("listens", &self.listener.is_some())
            .finish_non_exhaustive()
    }
}
