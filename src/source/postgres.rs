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

mod advisory_lock;
mod connection;
mod contents;
mod deliveries;
mod endpoint;
mod error;
mod listener;
mod narrowed;
mod pooler;
mod row;
mod settings;
mod store;
mod table;
mod tenant_changes;
mod tenant_rows;
mod token_row;
mod url;
mod value;

use std::time::Duration;

use tokio::sync::Mutex;

use self::advisory_lock::MAX_LOCK_HOLD;
use self::connection::ReadLimits;
use self::endpoint::PgEndpoint;
use self::error::{into_obtain_error, into_read_error};
use self::listener::{KeptConnection, Listener, READ_TIMEOUT};
use self::row::ColumnLayout;
use self::token_row::{RowStatements, TokenRow};
use super::absent::AbsentPolicy;
use super::decode::Format;
use super::encoding::{PlainTokens, TokenEncoding};
use super::fernet::Fernet;
use crate::net::Tasks;
use crate::token::{BoxFuture, LookInterval, ObtainError, RefreshLock, Source, StoreFuture, Token};
use crate::types::Fingerprint;

pub use self::deliveries::PostgresDeliveries;
pub use self::endpoint::PostgresError;
pub use self::settings::{PostgresConfig, PostgresSettings, PostgresTableSettings};
pub use self::table::PostgresTable;
pub use self::url::DatabaseUrlError;

/// A token in a row.
#[derive(derive_more::Debug)]
#[debug("PostgresSource({})", row.display_name)]
pub struct PostgresSource {
    row: TokenRow,
    max_lock_hold: Duration,
    listener: Listener,
}

/// The time between two loads while the token is dead.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

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
        let statements = RowStatements {
            query: settings.query,
            params: settings.params,
            update: settings.update,
            listen: settings.listen.clone(),
        };
        Ok(Self {
            listener: Listener::new(endpoint.clone(), settings.listen, settings.poll_interval),
            row: TokenRow {
                display_name: endpoint.display_name.clone(),
                endpoint,
                statements,
                encoding: TokenEncoding::new(Format::Raw),
                layout: ColumnLayout::ByPosition,
                absent: AbsentPolicy::Withdraw,
                limits: ReadLimits::ONE_ROW,
            },
            max_lock_hold: MAX_LOCK_HOLD,
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
        let row = &self.row;
        let loaded = match self.listener.select(&row.select(), READ_TIMEOUT).await {
            Ok(rows) => row.decode(&rows),
            Err(failed) => Err(into_read_error(&row.display_name, failed)),
        };
        self.listener.schedule_after(loaded.as_ref().err(), Duration::ZERO);
        loaded
    }
}

async fn acquire_lock(row: &TokenRow, max_lock_hold: Duration) -> Result<RefreshLock, ObtainError> {
    let display_name = &row.display_name;
    match advisory_lock::acquire(&row.endpoint, row.lock_key(), max_lock_hold).await {
        Ok(Some(connection)) => Ok(RefreshLock::with_guard(connection)),
        Ok(None) => Err(advisory_lock::lock_timeout(display_name)),
        Err(failed) => Err(into_obtain_error(display_name, "acquire the renewal lock at", failed)),
    }
}

impl Source for PostgresSource {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        Box::pin(self.load_row())
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.listener.wait_for_change())
    }

    fn look_interval(&self) -> Option<LookInterval> {
        Some(LookInterval::fixed(LOOK_INTERVAL))
    }

    fn describe(&self) -> String {
        self.row.display_name.clone()
    }

    fn check_writable(&self) -> Result<(), String> {
        match self.row.statements.update {
            Some(_) => Ok(()),
            None => Err(self.row.read_only_reason()),
        }
    }

    fn lock(&mut self) -> BoxFuture<'_, Result<RefreshLock, ObtainError>> {
        Box::pin(acquire_lock(&self.row, self.max_lock_hold))
    }

    fn store<'a>(&'a mut self, token: &'a Token, expected: Option<Fingerprint>) -> StoreFuture<'a> {
        Box::pin(async move {
            let once = Mutex::new(KeptConnection::new(self.row.endpoint.clone(), None));
            self.row.store(&once, token, expected).await
        })
    }
}
