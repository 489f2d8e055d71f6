//! One connection, driven by whoever waits for it.
//!
//! # Why
//!
//! The usual way is a task for each connection. There is none here: what nobody waits for need not move, and a connection
//! that is dropped is closed at once, with its locks and its transaction.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::TryStreamExt as _;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;

use tokio_postgres::types::{Format, IsNull, ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Connection, Error, Row, Socket};

use super::endpoint::PgEndpoint;
use super::tls::PgTlsStream;

/// One connection.
pub(super) struct PgConnection {
    /// There until it is closed.
    client: Option<Client>,
    driver: ConnectionDriver,
}

struct ConnectionDriver {
    connection: Connection<Socket, PgTlsStream>,
    /// A notification came that nobody has taken.
    notified: bool,
    /// It has ended, and must not be asked again.
    is_closed: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum QueryError {
    /// Not in time.
    TimedOut,
    /// The connection is gone.
    Disconnected,
    /// What the driver or the server says.
    Postgres(Error),
}

/// The limit for name look-up, TCP, TLS and login together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The limit for one statement. The server is told to give up before.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// The most rows that are waited for: a query without its WHERE must not fetch a whole table.
pub(super) const MAX_ROWS: usize = 100;

// === impl PgConnection ===

impl PgConnection {
    pub(super) async fn connect(endpoint: &PgEndpoint) -> Result<Self, QueryError> {
        let connecting = Box::pin(endpoint.config.connect(endpoint.tls.clone()));
        match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok((client, connection))) => Ok(Self {
                client: Some(client),
                driver: ConnectionDriver {
                    connection,
                    notified: false,
                    is_closed: false,
                },
            }),
            Ok(Err(error)) => Err(QueryError::Postgres(error)),
            Err(_elapsed) => Err(QueryError::TimedOut),
        }
    }

    /// Runs statements that have no parameters and no rows.
    pub(super) async fn batch_execute(&mut self, statements: &str) -> Result<(), QueryError> {
        let client = self.client.as_ref().ok_or(QueryError::Disconnected)?;
        let work = client.batch_execute(statements);
        self.driver.drive(work).await
    }

    /// The rows of a query, at most [`MAX_ROWS`]; after that many the connection is good for nothing.
    ///
    /// Parameters travel as text, and the server finds out their types, so `tenant_id = $1` is right for a text, a number
    /// and a uuid. Statements have no name, and so get through a pooler.
    pub(super) async fn query(&mut self, query: &str, parameters: &[&str]) -> Result<Vec<Row>, QueryError> {
        let client = self.client.as_ref().ok_or(QueryError::Disconnected)?;
        let parameters: Vec<_> = parameters.iter().map(|text| TextParam(text)).collect();
        let work = async {
            let typed = parameters.iter().map(|text| (text, Type::UNKNOWN));
            let mut stream = pin!(client.query_typed_raw(query, typed).await?);
            let mut rows = Vec::new();
            while let Some(row) = stream.try_next().await? {
                rows.push(row);
                if rows.len() == MAX_ROWS {
                    break;
                }
            }
            Ok(rows)
        };
        self.driver.drive(work).await
    }

    /// How many rows a statement changed; a parameter may be NULL.
    pub(super) async fn execute(&mut self, statement: &str, parameters: &[Option<&str>]) -> Result<u64, QueryError> {
        let client = self.client.as_ref().ok_or(QueryError::Disconnected)?;
        let parameters: Vec<_> = parameters.iter().map(|text| text.map(TextParam)).collect();
        let typed: Vec<(&(dyn ToSql + Sync), Type)> = parameters
            .iter()
            .map(|text| (text as &(dyn ToSql + Sync), Type::UNKNOWN))
            .collect();
        let work = client.execute_typed(statement, &typed);
        self.driver.drive(work).await
    }

    /// Waits for a notification; it stays to be taken. Cancel-safe. An error is the end of the connection.
    pub(super) async fn wait_notified(&mut self) -> Result<(), QueryError> {
        let wire = &mut self.driver;
        poll_fn(|cx| {
            let closed = wire.poll_messages(cx);
            if wire.notified {
                return Poll::Ready(Ok(()));
            }
            closed.map(Err)
        })
        .await
    }

    /// Takes what rang, if something did.
    pub(super) fn take_notified(&mut self) -> bool {
        std::mem::take(&mut self.driver.notified)
    }
}

/// Says goodbye without waiting: what is open is rolled back, and the server need not log that a client vanished.
impl Drop for PgConnection {
    fn drop(&mut self) {
        drop(self.client.take());
        let mut cx = Context::from_waker(Waker::noop());
        if self.driver.poll_messages(&mut cx).is_ready() {
            tracing::trace!("the connection to the database had ended");
        }
    }
}

impl fmt::Debug for PgConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("rung", &self.driver.notified)
            .field("ended", &self.driver.is_closed)
            .finish_non_exhaustive()
    }
}

// === impl Wire ===

impl ConnectionDriver {
    /// Waits for the answer to work that was given to the client, and moves the bytes meanwhile.
    async fn drive<T>(&mut self, work: impl Future<Output = Result<T, Error>>) -> Result<T, QueryError> {
        let mut work = pin!(work);
        let driven = poll_fn(|cx| {
            let closed = self.poll_messages(cx);
            match work.as_mut().poll(cx) {
                // The server's own words come by the connection.
                Poll::Ready(Err(error)) if error.is_closed() => match closed {
                    Poll::Ready(lost) => Poll::Ready(Err(lost)),
                    Poll::Pending => Poll::Ready(Err(QueryError::Postgres(error))),
                },
                Poll::Ready(done) => Poll::Ready(done.map_err(QueryError::Postgres)),
                Poll::Pending => closed.map(Err),
            }
        });
        match timeout(STATEMENT_TIMEOUT, driven).await {
            Ok(done) => done,
            Err(_elapsed) => Err(QueryError::TimedOut),
        }
    }

    /// Moves bytes and hears notifications, until there is nothing more to do now; ready when the connection has ended.
    fn poll_messages(&mut self, cx: &mut Context<'_>) -> Poll<QueryError> {
        while !self.is_closed {
            match self.connection.poll_message(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(AsyncMessage::Notification(_)))) => self.notified = true,
                Poll::Ready(Some(Ok(_notice))) => {}
                Poll::Ready(Some(Err(error))) => {
                    self.is_closed = true;
                    return Poll::Ready(QueryError::Postgres(error));
                }
                Poll::Ready(None) => self.is_closed = true,
            }
        }
        Poll::Ready(QueryError::Disconnected)
    }
}

// === impl Failed ===

impl QueryError {
    /// Whether the connection was no longer there, so that a new one may do better at once.
    pub(super) fn is_disconnected(&self) -> bool {
        match self {
            Self::Disconnected => true,
            Self::TimedOut => false,
            Self::Postgres(error) => match error.code() {
                Some(code) => *code == SqlState::ADMIN_SHUTDOWN || *code == SqlState::CRASH_SHUTDOWN,
                None => error.is_closed() || is_io(error),
            },
        }
    }

    /// The server's code, if it is the server that speaks.
    pub(super) fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Postgres(error) => error.code(),
            Self::TimedOut | Self::Disconnected => None,
        }
    }
}

/// Whether it is the network that speaks.
pub(super) fn is_io(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}

// === a parameter ===

/// A parameter that travels as text. It may be a token.
struct TextParam<'a>(&'a str);

impl fmt::Debug for TextParam<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text")
    }
}

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
