//! Putting a minted token where the query finds it: compare and set, in one transaction.

use std::time::{Duration, SystemTime};

use tokio_postgres::error::SqlState;
use zeroize::Zeroizing;

use super::connection::{PgConnection, QueryError};
use super::error::into_obtain_error;
use super::token_row::{TokenRow, uses_parameter};
use crate::token::{ObtainError, StoreOutcome, Token};
use crate::types::Fingerprint;

/// Why a transaction came to nothing.
enum StoreError {
    /// Others wrote, or the connection broke: a new transaction may do better.
    Retryable(ObtainError),
    Permanent(ObtainError),
}

/// How often a transaction is begun that others get in the way of.
const MAX_ATTEMPTS: u32 = 4;

/// Serializable, so that a write between the look and the update is an error, and durable, whatever the role's settings.
const BEGIN_SERIALIZABLE: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE; SET LOCAL statement_timeout = '4500ms'; \
     SET LOCAL lock_timeout = '3s'; \
     SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'";

impl TokenRow {
    /// Writes `decode` if the query still shows `expected`.
    ///
    /// A commit whose answer is lost is not guessed at: the next turn looks, and finds the token there or not.
    pub(super) async fn store(&self, token: &Token, expected: Fingerprint) -> Result<StoreOutcome, ObtainError> {
        let Some(update) = &self.update else {
            return Err(ObtainError::permanent("not_writable", self.read_only_reason()));
        };
        let mut attempt = 1;
        loop {
            match self.try_store(update, token, expected).await {
                Ok(deposit) => return Ok(deposit),
                Err(StoreError::Permanent(error)) => return Err(error),
                Err(StoreError::Retryable(error)) if attempt == MAX_ATTEMPTS => return Err(error),
                Err(StoreError::Retryable(_)) => {}
            }
            let pause = fastrand::u64(20..200 * u64::from(attempt));
            tokio::time::sleep(Duration::from_millis(pause)).await;
            attempt += 1;
        }
    }

    async fn try_store(&self, update: &str, token: &Token, expected: Fingerprint) -> Result<StoreOutcome, StoreError> {
        let mut connection = PgConnection::connect(&self.endpoint)
            .await
            .map_err(|failed| self.store_error(failed))?;
        connection
            .batch_execute(BEGIN_SERIALIZABLE)
            .await
            .map_err(|failed| self.store_error(failed))?;
        let current = self.read_token(&mut connection).await?;
        // What is not committed is rolled back when the connection is dropped.
        if same_secret(&current, token) {
            return Ok(StoreOutcome::Stored);
        }
        if current.secret.fingerprint() != expected {
            return Ok(StoreOutcome::Conflict);
        }
        self.write_token(&mut connection, update, token).await?;
        let stored = self.read_token(&mut connection).await?;
        if !same_secret(&stored, token) {
            return Err(self.update_error(
                "does not write where `query` looks, or not what it was given: `query` shows another token after it",
            ));
        }
        if stored.expires_at.is_some()
            && stored.expires_at == current.expires_at
            && expiries_differ(stored.expires_at, token.expires_at)
        {
            return Err(self.update_error(
                "leaves the old end of the token, which `query` shows, beside the new one: set that column as well; the \
                 new end, in seconds since 1970 or NULL, is the parameter after the last of `params`",
            ));
        }
        if let Some(channel) = &self.listen {
            connection
                .execute("SELECT pg_notify($1, '')", &[Some(channel)])
                .await
                .map_err(|failed| self.store_error(failed))?;
        }
        connection
            .batch_execute("COMMIT")
            .await
            .map_err(|failed| self.store_error(failed))?;
        Ok(StoreOutcome::Stored)
    }

    async fn read_token(&self, connection: &mut PgConnection) -> Result<Token, StoreError> {
        let rows = self
            .query_rows(connection)
            .await
            .map_err(|failed| self.store_error(failed))?;
        self.decode(&rows).map_err(StoreError::Permanent)
    }

    async fn write_token(&self, connection: &mut PgConnection, update: &str, token: &Token) -> Result<(), StoreError> {
        let value = match &self.fernet {
            Some(keys) => Zeroizing::new(keys.encrypt(&token.secret)),
            None => Zeroizing::new(token.secret.expose().to_owned()),
        };
        let mut params = vec![Some(value.as_str())];
        params.extend(self.params.iter().map(|text| Some(text.as_str())));
        let expires_at = token.expires_at.map(epoch_seconds);
        if uses_parameter(update, params.len() + 1) {
            params.push(expires_at.as_deref());
        }
        match connection.execute(update, &params).await {
            Ok(1) => Ok(()),
            // Nobody can have been faster: that would have been an error.
            Ok(0) => Err(self.update_error("matches no row, though `query` shows one: correct its WHERE")),
            Ok(_) => Err(self.update_error("would change several rows, which share the token then: narrow its WHERE")),
            Err(failed) => Err(self.store_error(failed)),
        }
    }

    fn update_error(&self, problem: &str) -> StoreError {
        let what = format!(
            "`update` {problem}; nothing was written to {}",
            self.endpoint.display_name
        );
        StoreError::Permanent(ObtainError::permanent("update", what))
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
        let error = into_obtain_error(&self.endpoint.display_name, "write to", failed);
        if is_retryable {
            StoreError::Retryable(error)
        } else {
            StoreError::Permanent(error)
        }
    }
}

fn epoch_seconds(end: SystemTime) -> String {
    let since = end.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs().to_string()
}

fn same_secret(one: &Token, other: &Token) -> bool {
    one.secret.expose() == other.secret.expose()
}

/// Whether two ends are more than a minute apart.
fn expiries_differ(one: Option<SystemTime>, other: Option<SystemTime>) -> bool {
    const MINUTE: Duration = Duration::from_secs(60);
    match (one, other) {
        (Some(one), Some(other)) => one.max(other).duration_since(one.min(other)).unwrap_or_default() > MINUTE,
        (None, None) => false,
        (Some(_), None) | (None, Some(_)) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiries_within_a_minute_are_equal() {
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert!(!expiries_differ(at(100), at(160)));
        assert!(expiries_differ(at(161), at(100)));
        assert!(expiries_differ(at(100), None));
        assert!(!expiries_differ(None, None));
        assert_eq!(
            epoch_seconds(SystemTime::UNIX_EPOCH + Duration::from_millis(1_500)),
            "1"
        );
    }
}
