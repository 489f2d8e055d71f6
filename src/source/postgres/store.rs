//! Stores a renewed token where the query finds it, in one row or in several that have the same token: compare and set, in one
//! transaction.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};
use tokio_postgres::error::SqlState;

use super::super::encoding::{encode_secret, expiries_differ, same_secret};
use super::connection::{PgConnection, QueryError};
use super::error::into_obtain_error;
use super::listener::KeptConnection;
use super::token_row::{RowStatements, TokenRow, uses_parameter};
use crate::token::{ObtainError, StoreOutcome, Token};
use crate::types::{Fingerprint, unix_seconds};

/// The reason why a transaction failed.
enum StoreError {
    /// Another transaction interfered, or the connection was lost: a new transaction may succeed.
    Retryable(ObtainError),
    Permanent(ObtainError),
}

/// The limit for a store, attempts included.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);
/// The number of attempts when other transactions interfere.
const MAX_ATTEMPTS: u32 = 6;

/// Serializable, so that a write between `query` and `update` is an error; durable, even if the role's settings are not. It waits a
/// second for a row, and no longer: others may wait for its connection.
const BEGIN_SERIALIZABLE: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE; SET LOCAL statement_timeout = '4500ms'; \
     SET LOCAL lock_timeout = '1s'; \
     SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'";

impl TokenRow {
    /// Writes `token` if the query still returns `expected`, or whatever one row has, over this connection.
    ///
    /// If the response to a commit is lost, the next attempt reads the row, and finds the token there or not.
    pub(super) async fn store(
        &self,
        over: &Mutex<KeptConnection>,
        token: &Token,
        expected: Option<Fingerprint>,
    ) -> Result<StoreOutcome, ObtainError> {
        let Some(update) = &self.statements.update else {
            return Err(ObtainError::permanent("not_writable", self.read_only_reason()));
        };
        let attempts = async {
            let mut attempt = 1;
            loop {
                match self.try_store(&mut *over.lock().await, update, token, expected).await {
                    Ok(outcome) => return Ok(outcome),
                    Err(StoreError::Permanent(error)) => return Err(error),
                    Err(StoreError::Retryable(error)) if attempt == MAX_ATTEMPTS => return Err(error),
                    Err(StoreError::Retryable(_)) => {}
                }
                let pause = fastrand::u64(20..200 * u64::from(attempt));
                sleep(Duration::from_millis(pause)).await;
                attempt += 1;
            }
        };
        timeout(STORE_TIMEOUT, attempts)
            .await
            .unwrap_or_else(|_elapsed| Err(self.obtain_error(QueryError::TimedOut)))
    }

    async fn try_store(
        &self,
        over: &mut KeptConnection,
        update: &str,
        token: &Token,
        expected: Option<Fingerprint>,
    ) -> Result<StoreOutcome, StoreError> {
        let store_error = |failed| self.store_error(failed);
        let connection = over.take().await.map_err(store_error)?;
        connection
            .batch_execute(&self.endpoint.begin(BEGIN_SERIALIZABLE))
            .await
            .map_err(store_error)?;
        let (current, count) = self.read_rows(&connection).await?;
        // The operator replaces a value that is no token. Several rows have to be those of one token.
        let current = match current {
            Err(_) if expected.is_none() && count == 1 => None,
            current => Some(current.map_err(StoreError::Permanent)?),
        };
        // Dropping the connection rolls back what is not committed.
        if let Some(current) = &current {
            let is_same = same_secret(&current.secret, &token.secret);
            let writes_expiry = uses_parameter(update, self.statements.params.len() + 2);
            if is_same && !(writes_expiry && expiries_differ(current.expires_at, token.expires_at)) {
                return Ok(StoreOutcome::Stored);
            }
            if !is_same && expected.is_some_and(|expected| current.secret.fingerprint() != expected) {
                return Ok(StoreOutcome::Conflict);
            }
        }
        let changed = self.write_token(&connection, update, token).await?;
        if usize::try_from(changed).is_ok_and(|changed| changed > count) {
            return Err(self.update_error(&format!(
                "would change several rows ({changed}), and `query` returns {count}: narrow its WHERE clause"
            )));
        }
        let stored = self.read_rows(&connection).await?.0.map_err(StoreError::Permanent)?;
        if !same_secret(&stored.secret, &token.secret) {
            return Err(self.update_error(
                "does not change the row that `query` reads, or does not write $1: `query` returns another token after it",
            ));
        }
        if stored.expires_at.is_some()
            && current.is_some_and(|current| stored.expires_at == current.expires_at)
            && expiries_differ(stored.expires_at, token.expires_at)
        {
            return Err(self.update_error(&format!(
                "does not update the expiry column that `query` reads: set that column as well; the new expiry (Unix time \
                 in seconds, or NULL) is ${}",
                self.statements.params.len() + 2
            )));
        }
        if let Some(channel) = &self.statements.listen {
            connection
                .execute("SELECT pg_notify($1, '')", &[Some(channel)])
                .await
                .map_err(store_error)?;
        }
        connection.batch_execute("COMMIT").await.map_err(store_error)?;
        over.keep(connection, None).await;
        Ok(StoreOutcome::Stored)
    }

    /// Returns the token of the rows, or why they have none, and their number.
    async fn read_rows(&self, connection: &PgConnection) -> Result<(Result<Token, ObtainError>, usize), StoreError> {
        let RowStatements { query, params, .. } = &self.statements;
        let rows = connection.query(query, params, self.limits).await;
        let rows = rows.map_err(|failed| self.store_error(failed))?;
        Ok((self.decode(&rows), rows.len()))
    }

    /// Returns the number of rows that it has changed.
    async fn write_token(&self, connection: &PgConnection, update: &str, token: &Token) -> Result<u64, StoreError> {
        let value = encode_secret(&token.secret, self.encoding.fernet.as_ref());
        let mut params = vec![Some(value.as_str())];
        params.extend(self.statements.params.iter().map(|text| Some(text.as_str())));
        let expires_at = token.expires_at.map(|at| unix_seconds(at).to_string());
        if uses_parameter(update, params.len() + 1) {
            params.push(expires_at.as_deref());
        }
        match connection.execute(update, &params).await {
            // A concurrent change would have been an error of serialization.
            Ok(0) => Err(self.update_error("matches no row although `query` returns one: fix its WHERE clause")),
            Ok(changed) => Ok(changed),
            Err(failed) => Err(self.store_error(failed)),
        }
    }

    fn update_error(&self, problem: &str) -> StoreError {
        let what = format!("`update` {problem}; nothing was written to {}", self.display_name);
        StoreError::Permanent(ObtainError::permanent("update_statement", what))
    }

    fn obtain_error(&self, failed: QueryError) -> ObtainError {
        into_obtain_error(&self.display_name, "store the token in", failed)
    }

    fn store_error(&self, failed: QueryError) -> StoreError {
        let is_contended = failed.code().is_some_and(|code| {
            [
                SqlState::T_R_SERIALIZATION_FAILURE,
                SqlState::T_R_DEADLOCK_DETECTED,
                SqlState::LOCK_NOT_AVAILABLE,
            ]
            .contains(code)
        });
        let is_retryable = is_contended || failed.is_disconnected();
        let error = self.obtain_error(failed);
        if is_retryable {
            StoreError::Retryable(error)
        } else {
            StoreError::Permanent(error)
        }
    }
}
