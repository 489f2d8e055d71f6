//! One connection, driven by a task of its own.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::TryStreamExt as _;
use futures_util::future::try_join3;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Error, Row};

use super::endpoint::PgEndpoint;
use crate::net::tls::handshake_error;

/// One connection. Dropping it closes it, which ends its transaction and releases its locks.
#[derive(derive_more::Debug)]
#[debug("PgConnection")]
pub(super) struct PgConnection {
    client: Client,
    /// Marked as changed by each notification, and closed when the connection ends.
    notifications: watch::Receiver<()>,
}

/// The reason why a statement has no result.
#[derive(Debug)]
pub(super) enum QueryError {
    /// The time limit passed.
    TimedOut,
    /// The connection was closed while it waited for notifications.
    Disconnected,
    /// There is no connection: the driver, the server or a pooler before it reported an error.
    Connect(Error),
    /// The driver or the server reported an error.
    Postgres(Error),
    /// The result is larger than allowed. The connection has the rest of it on its way, and must be dropped.
    TooManyRows,
}

/// A query in a transaction of its own.
pub(super) struct Select<'a> {
    /// The statements that begin it.
    pub(super) begin: &'static str,
    pub(super) query: &'a str,
    /// Its `$1`, `$2`, ….
    pub(super) params: &'a [String],
    pub(super) limits: ReadLimits,
}

/// The most that a query may return, and how long that may take.
#[derive(Clone, Copy)]
pub(super) struct ReadLimits {
    pub(super) rows: usize,
    /// A little more than the server's own limit.
    pub(super) timeout: Duration,
}

/// The largest result.
const MAX_RESULT_BYTES: usize = 128 * 1024 * 1024;
/// The limit for name resolution, TCP, TLS and login together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The limit for one statement. The server's own limit is shorter.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// The time that a dropped connection has to close properly, so that the server does not log a lost client.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

impl ReadLimits {
    /// For one row: a query without its WHERE must not fetch a whole table.
    pub(super) const ONE_ROW: Self = Self {
        rows: 1,
        timeout: STATEMENT_TIMEOUT,
    };
}

// === impl PgConnection ===

impl PgConnection {
    pub(super) async fn connect(endpoint: &PgEndpoint) -> Result<Self, QueryError> {
        let connecting = Box::pin(endpoint.config.connect(endpoint.tls.clone()));
        let connected = with_timeout(CONNECT_TIMEOUT, connecting).await;
        let (client, mut connection) = connected.map_err(QueryError::into_connect)?;
        let (sender, notifications) = watch::channel(());
        drop(endpoint.tasks.spawn(async move {
            let drive = async {
                while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                    if let AsyncMessage::Notification(_) = message {
                        sender.send_replace(());
                    }
                }
            };
            let dropped = async {
                sender.closed().await;
                sleep(CLOSE_TIMEOUT).await;
            };
            tokio::select! {
                () = drive => {}
                () = dropped => {}
            }
        }));
        Ok(Self { client, notifications })
    }

    /// Runs statements that have no parameters and return no rows.
    pub(super) async fn batch_execute(&self, statements: &str) -> Result<(), QueryError> {
        with_timeout(STATEMENT_TIMEOUT, self.client.batch_execute(statements)).await
    }

    /// Returns the rows of a query.
    ///
    /// Parameters are sent as text, and the server infers their types, so `tenant_id = $1` works for a text, a number and
    /// a uuid. Statements have no name, so they work through a connection pooler.
    pub(super) async fn query(
        &self,
        query: &str,
        parameters: &[String],
        limits: ReadLimits,
    ) -> Result<Vec<Row>, QueryError> {
        let parameters = parameters.iter().map(|text| (TextParam(text), Type::UNKNOWN));
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let is_complete = with_timeout(limits.timeout, async {
            let mut stream = pin!(self.client.query_typed_raw(query, parameters).await?);
            while let Some(row) = stream.try_next().await? {
                bytes += row.raw_size_bytes();
                rows.push(row);
                if rows.len() > limits.rows || bytes > MAX_RESULT_BYTES {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await?;
        if is_complete {
            Ok(rows)
        } else {
            Err(QueryError::TooManyRows)
        }
    }

    /// Returns the rows of a query in a transaction that `begin` begins. All is sent at once, so this takes one round trip: if the
    /// beginning fails, PostgreSQL refuses the query.
    pub(super) async fn select(&self, begin: &str, select: &Select<'_>) -> Result<Vec<Row>, QueryError> {
        let Select {
            query, params, limits, ..
        } = *select;
        let begun = with_timeout(limits.timeout, self.client.batch_execute(begin));
        let committed = with_timeout(limits.timeout, self.client.batch_execute("COMMIT"));
        let ((), rows, ()) = try_join3(begun, self.query(query, params, limits), committed).await?;
        Ok(rows)
    }

    /// Returns the number of rows that a statement changed. A parameter may be NULL.
    pub(super) async fn execute(&self, statement: &str, parameters: &[Option<&str>]) -> Result<u64, QueryError> {
        let parameters: Vec<_> = parameters.iter().map(|text| text.map(TextParam)).collect();
        let typed: Vec<(&(dyn ToSql + Sync), Type)> = parameters
            .iter()
            .map(|text| (text as &(dyn ToSql + Sync), Type::UNKNOWN))
            .collect();
        with_timeout(STATEMENT_TIMEOUT, self.client.execute_typed(statement, &typed)).await
    }

    /// Waits for a notification, which stays until [`Self::clear_notified`]. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`QueryError::Disconnected`] if the connection ends.
    pub(super) async fn wait_notified(&self) -> Result<(), QueryError> {
        // A clone, so that the notification is still unseen if this future is dropped.
        let changed = self.notifications.clone().changed().await;
        changed.map_err(|_closed| QueryError::Disconnected)
    }

    /// Forgets the notifications so far.
    pub(super) fn clear_notified(&mut self) {
        self.notifications.mark_unchanged();
    }
}

async fn with_timeout<T>(limit: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, QueryError> {
    match timeout(limit, work).await {
        Ok(done) => done.map_err(QueryError::Postgres),
        Err(_elapsed) => Err(QueryError::TimedOut),
    }
}

// === impl QueryError ===

impl QueryError {
    /// Returns whether the connection was lost, so that a new one may succeed at once.
    pub(super) fn is_disconnected(&self) -> bool {
        match self {
            Self::Disconnected => true,
            Self::TimedOut | Self::Connect(_) | Self::TooManyRows => false,
            Self::Postgres(error) => match error.code() {
                Some(code) => *code == SqlState::ADMIN_SHUTDOWN || *code == SqlState::CRASH_SHUTDOWN,
                None => error.is_closed() || is_io(error),
            },
        }
    }

    /// The same as an error of the connection.
    fn into_connect(self) -> Self {
        if let Self::Postgres(error) = self {
            Self::Connect(error)
        } else {
            self
        }
    }

    /// The server's error code, if the server reported the error.
    pub(super) fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Connect(error) | Self::Postgres(error) => error.code(),
            Self::TimedOut | Self::Disconnected | Self::TooManyRows => None,
        }
    }
}

/// Returns whether the network failed.
pub(super) fn is_io(error: &Error) -> bool {
    let is_caused_by_io = std::error::Error::source(error).is_some_and(|cause| cause.is::<io::Error>());
    is_caused_by_io && handshake_error(error).is_none()
}

/// A parameter that is sent as text. It may be a token.
#[derive(derive_more::Debug)]
#[debug("TextParam")]
struct TextParam<'a>(&'a str);

impl ToSql for TextParam<'_> {
    fn to_sql(&self, _type: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Send + Sync>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_type: &Type) -> bool {
        true
    }

    fn encode_format(&self, _type: &Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}
