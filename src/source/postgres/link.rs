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

use super::address::Address;
use super::tls::Stream;

/// One connection.
pub(super) struct Link {
    /// There until it is closed.
    client: Option<Client>,
    wire: Wire,
}

struct Wire {
    connection: Connection<Socket, Stream>,
    /// A notification came that nobody has taken.
    rung: bool,
    /// It has ended, and must not be asked again.
    ended: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// Not in time.
    Late,
    /// The connection is gone.
    Gone,
    /// What the driver or the server says.
    Said(Error),
}

/// The limit for name look-up, TCP, TLS and login together.
const CONNECT: Duration = Duration::from_secs(5);
/// The limit for one statement. The server is told to give up before.
const ANSWER: Duration = Duration::from_secs(5);

/// The most rows that are waited for: a query without its WHERE must not fetch a whole table.
pub(super) const MOST_ROWS: usize = 100;

// === impl Link ===

impl Link {
    pub(super) async fn open(address: &Address) -> Result<Self, Failed> {
        let connecting = Box::pin(address.config.connect(address.tls.clone()));
        match timeout(CONNECT, connecting).await {
            Ok(Ok((client, connection))) => Ok(Self {
                client: Some(client),
                wire: Wire {
                    connection,
                    rung: false,
                    ended: false,
                },
            }),
            Ok(Err(error)) => Err(Failed::Said(error)),
            Err(_elapsed) => Err(Failed::Late),
        }
    }

    /// Runs statements that have no parameters and no rows.
    pub(super) async fn run(&mut self, statements: &str) -> Result<(), Failed> {
        let client = self.client.as_ref().ok_or(Failed::Gone)?;
        let work = client.batch_execute(statements);
        self.wire.drive(work).await
    }

    /// The rows of a query, at most [`MOST_ROWS`]; after that many the connection is good for nothing.
    ///
    /// Parameters travel as text, and the server finds out their types, so `tenant_id = $1` is right for a text, a number
    /// and a uuid. Statements have no name, and so get through a pooler.
    pub(super) async fn rows(
        &mut self,
        query: &str,
        parameters: &[&str],
    ) -> Result<Vec<Row>, Failed> {
        let client = self.client.as_ref().ok_or(Failed::Gone)?;
        let parameters: Vec<_> = parameters.iter().map(|text| Text(text)).collect();
        let work = async {
            let typed = parameters.iter().map(|text| (text, Type::UNKNOWN));
            let mut stream = pin!(client.query_typed_raw(query, typed).await?);
            let mut rows = Vec::new();
            while let Some(row) = stream.try_next().await? {
                rows.push(row);
                if rows.len() == MOST_ROWS {
                    break;
                }
            }
            Ok(rows)
        };
        self.wire.drive(work).await
    }

    /// How many rows a statement changed; a parameter may be NULL.
    pub(super) async fn change(
        &mut self,
        statement: &str,
        parameters: &[Option<&str>],
    ) -> Result<u64, Failed> {
        let client = self.client.as_ref().ok_or(Failed::Gone)?;
        let parameters: Vec<_> = parameters.iter().map(|text| text.map(Text)).collect();
        let typed: Vec<(&(dyn ToSql + Sync), Type)> = parameters
            .iter()
            .map(|text| (text as &(dyn ToSql + Sync), Type::UNKNOWN))
            .collect();
        let work = client.execute_typed(statement, &typed);
        self.wire.drive(work).await
    }

    /// Waits for a notification; it stays to be taken. Cancel-safe. An error is the end of the connection.
    pub(super) async fn heard(&mut self) -> Result<(), Failed> {
        let wire = &mut self.wire;
        poll_fn(|cx| {
            let lost = wire.listen(cx);
            if wire.rung {
                return Poll::Ready(Ok(()));
            }
            lost.map(Err)
        })
        .await
    }

    /// Takes what rang, if something did.
    pub(super) fn take_rung(&mut self) -> bool {
        std::mem::take(&mut self.wire.rung)
    }
}

/// Says goodbye without waiting: what is open is rolled back, and the server need not log that a client vanished.
impl Drop for Link {
    fn drop(&mut self) {
        drop(self.client.take());
        let mut cx = Context::from_waker(Waker::noop());
        if self.wire.listen(&mut cx).is_ready() {
            tracing::trace!("the connection to the database had ended");
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("rung", &self.wire.rung)
            .field("ended", &self.wire.ended)
            .finish_non_exhaustive()
    }
}

// === impl Wire ===

impl Wire {
    /// Waits for the answer to work that was given to the client, and moves the bytes meanwhile.
    async fn drive<T>(
        &mut self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failed> {
        let mut work = pin!(work);
        let driven = poll_fn(|cx| {
            let lost = self.listen(cx);
            match work.as_mut().poll(cx) {
                // The server's own words come by the connection.
                Poll::Ready(Err(error)) if error.is_closed() => match lost {
                    Poll::Ready(lost) => Poll::Ready(Err(lost)),
                    Poll::Pending => Poll::Ready(Err(Failed::Said(error))),
                },
                Poll::Ready(done) => Poll::Ready(done.map_err(Failed::Said)),
                Poll::Pending => lost.map(Err),
            }
        });
        match timeout(ANSWER, driven).await {
            Ok(done) => done,
            Err(_elapsed) => Err(Failed::Late),
        }
    }

    /// Moves bytes and hears notifications, until there is nothing more to do now; ready when the connection has ended.
    fn listen(&mut self, cx: &mut Context<'_>) -> Poll<Failed> {
        while !self.ended {
            match self.connection.poll_message(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(AsyncMessage::Notification(_)))) => self.rung = true,
                Poll::Ready(Some(Ok(_notice))) => {}
                Poll::Ready(Some(Err(error))) => {
                    self.ended = true;
                    return Poll::Ready(Failed::Said(error));
                }
                Poll::Ready(None) => self.ended = true,
            }
        }
        Poll::Ready(Failed::Gone)
    }
}

// === impl Failed ===

impl Failed {
    /// Whether the connection was no longer there, so that a new one may do better at once.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Gone => true,
            Self::Late => false,
            Self::Said(error) => match error.code() {
                Some(code) => {
                    *code == SqlState::ADMIN_SHUTDOWN || *code == SqlState::CRASH_SHUTDOWN
                }
                None => error.is_closed() || is_io(error),
            },
        }
    }

    /// The server's code, if it is the server that speaks.
    pub(super) fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Said(error) => error.code(),
            Self::Late | Self::Gone => None,
        }
    }
}

/// Whether it is the network that speaks.
pub(super) fn is_io(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}

// === a parameter ===

/// A parameter that travels as text. It may be a token.
struct Text<'a>(&'a str);

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text")
    }
}

impl ToSql for Text<'_> {
    fn to_sql(
        &self,
        _type: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Send + Sync>> {
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
