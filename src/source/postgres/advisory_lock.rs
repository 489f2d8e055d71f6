//! The renewal lock that replicas share: an advisory lock that ends with its transaction.
//!
//! # Why
//!
//! The lock belongs to a *transaction*, for three reasons: it ends with its holder, it works through a connection pooler,
//! and the server itself ends an idle transaction. So a holder that hangs, or whose machine is disconnected, blocks the
//! others until that timeout and no longer. If it wakes after all, its store compares before it sets like any other.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tokio_postgres::error::SqlState;

use super::connection::{PgConnection, QueryError};
use super::endpoint::PgEndpoint;
use crate::token::ObtainError;

/// How long the lock may be held: longer than a renewal takes, and less than others wait for a dead holder.
pub(super) const MAX_LOCK_HOLD: Duration = Duration::from_secs(25);

/// The longest wait for a lock that another replica holds: longer than any replica holds it.
const MAX_LOCK_WAIT: Duration = Duration::from_secs(35);

/// Returns the key of the lock, on which replicas that read the same row agree. The server keeps databases apart.
pub(super) fn lock_key(query: &str, params: &[String]) -> i64 {
    let mut digest = Sha256::new();
    // A constant that keeps this key apart from those of other applications. It must not change.
    digest.update(b"graphward's claim to mint\0");
    for text in std::iter::once(query).chain(params.iter().map(String::as_str)) {
        digest.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(text);
    }
    i64::from_be_bytes(digest.finalize().first_chunk().copied().unwrap_or_default())
}

/// Returns a connection that holds the lock until it is dropped, or idle for `max_hold`; `None` if another replica keeps it.
///
/// The lock is requested again every few seconds, so that the loss of the server is noticed.
pub(super) async fn acquire(
    endpoint: &PgEndpoint,
    key: i64,
    max_hold: Duration,
) -> Result<Option<PgConnection>, QueryError> {
    let deadline = Instant::now() + MAX_LOCK_WAIT;
    let begin = begin(max_hold);
    let key = key.to_string();
    let connection = PgConnection::connect(endpoint).await?;
    while Instant::now() < deadline {
        connection.batch_execute(&begin).await?;
        match connection
            .execute("SELECT pg_advisory_xact_lock($1)", &[Some(&key)])
            .await
        {
            Ok(_) => return Ok(Some(connection)),
            Err(failed) if failed.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                connection.batch_execute("ROLLBACK").await?;
            }
            Err(failed) => return Err(failed),
        }
    }
    Ok(None)
}

/// Returns a connection that holds the lock, as [`acquire`] does; `None` at once if another replica has it.
pub(super) async fn try_acquire(
    endpoint: &PgEndpoint,
    key: i64,
    max_hold: Duration,
) -> Result<Option<PgConnection>, QueryError> {
    let connection = PgConnection::connect(endpoint).await?;
    connection.batch_execute(&begin(max_hold)).await?;
    let rows = connection
        .execute(
            "SELECT 1 WHERE pg_try_advisory_xact_lock($1)",
            &[Some(&key.to_string())],
        )
        .await?;
    Ok((rows == 1).then_some(connection))
}

/// Returns the error about a lock that another replica keeps.
pub(super) fn lock_timeout(source: &str) -> ObtainError {
    let what = format!("another replica holds the renewal lock for the token of {source}");
    ObtainError::transient("lock_timeout", what)
}

fn begin(max_hold: Duration) -> String {
    format!(
        "BEGIN; SET LOCAL lock_timeout = '3s'; SET LOCAL statement_timeout = '4500ms'; \
         SET LOCAL idle_in_transaction_session_timeout = {}",
        max_hold.as_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_key_depends_on_the_query_and_its_parameters() {
        let key = |query, params: &[&str]| {
            let params: Vec<_> = params.iter().map(|text| (*text).to_owned()).collect();
            lock_key(query, &params)
        };
        assert_eq!(key("SELECT 1", &["a"]), key("SELECT 1", &["a"]));
        assert_ne!(key("SELECT 1", &["a"]), key("SELECT 1", &["b"]));
        assert_ne!(key("SELECT 1", &["ab", ""]), key("SELECT 1", &["a", "b"]));
        // Replicas of different versions must agree.
        assert_eq!(key("SELECT 1", &["a"]), 6_941_900_094_388_736_024);
    }
}
