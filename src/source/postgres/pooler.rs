//! Finds out whether notifications arrive.
//!
//! # Why
//!
//! A pooler in transaction mode accepts LISTEN, and then gives the server's connection to another client: no notification
//! ever arrives, and no error says so. A notification that a connection sends to itself does arrive, within its own
//! transaction, so it takes two connections to tell. The channel is a random one: the app may listen to the configured one.

use std::time::Duration;

use tokio::time::timeout;

use super::connection::{PgConnection, QueryError};
use super::endpoint::PgEndpoint;

/// The longest wait for the notification.
const NOTIFICATION_TIMEOUT: Duration = Duration::from_secs(5);

/// Notifies itself, and warns if the notification does not arrive.
pub(super) async fn check_notifications(endpoint: &PgEndpoint) {
    let database = &endpoint.display_name;
    match arrives(endpoint).await {
        Ok(true) => tracing::debug!(%database, "notifications arrive"),
        Ok(false) => tracing::warn!(
            %database,
            "`listen` has no effect: a notification from graphward to itself did not arrive. The database URL probably \
             leads to a connection pooler in transaction mode; use the database's own address or a session pool, or remove \
             `listen`. Until then, graphward notices a new token only every `poll_interval`"
        ),
        // The source itself reports that the database cannot be reached.
        Err(_failed) => tracing::debug!(%database, "could not find out whether notifications arrive"),
    }
}

async fn arrives(endpoint: &PgEndpoint) -> Result<bool, QueryError> {
    let channel = format!("graphward_{:016x}", fastrand::u64(..));
    let listener = PgConnection::connect(endpoint).await?;
    listener.batch_execute(&format!("LISTEN {channel}")).await?;
    let notifier = PgConnection::connect(endpoint).await?;
    notifier.execute("SELECT pg_notify($1, '')", &[Some(&channel)]).await?;
    let notified = timeout(NOTIFICATION_TIMEOUT, listener.wait_notified()).await;
    Ok(notified.is_ok_and(|notified| notified.is_ok()))
}
