//! An HTTP/1.1 connection, and one exchange on it.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use tokio::time::Instant;

use super::error::{ConnectionEnded, Fate, SendError};
use super::request_body::RequestBody;
use crate::graph::Origin;
use crate::net::{BoxedIo, IoCounters, Tasks};

/// An HTTP/1.1 connection.
pub(super) struct Http1<B> {
    sender: http1::SendRequest<B>,
    counters: Arc<IoCounters>,
    /// The end of its last exchange; `None` before the first.
    used_at: Option<Instant>,
    /// Whether a request has been sent on it whose response is not complete.
    is_busy: bool,
}

/// The largest head of a response.
const MAX_HEAD_BYTES: usize = 408 * 1024;

// === impl Http1 ===

impl<B: RequestBody> Http1<B> {
    /// Performs the handshake, and runs the connection as a task.
    pub(super) async fn handshake(io: BoxedIo, tasks: &Tasks) -> hyper::Result<Self> {
        let counters = io.counters();
        let mut builder = http1::Builder::new();
        let (sender, connection) = builder.max_buf_size(MAX_HEAD_BYTES).handshake(io).await?;
        drop(tasks.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "upstream connection closed with an error");
            }
        }));
        Ok(Self {
            sender,
            counters,
            used_at: None,
            is_busy: false,
        })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub(super) fn is_older_than(&self, age: Duration, now: Instant) -> bool {
        self.used_at.is_some_and(|used_at| now.duration_since(used_at) > age)
    }

    /// Waits until it takes a request.
    pub(super) async fn ready(&mut self) -> hyper::Result<()> {
        if self.used_at.is_none() {
            return Ok(());
        }
        // The task of the connection reads first: it may find that the peer has closed it.
        tokio::task::yield_now().await;
        self.sender.ready().await
    }

    /// Sends a request in origin-form, and waits for the head of the response.
    pub(super) fn send(
        &mut self,
        origin: &Origin,
        mut request: Request<B>,
    ) -> impl Future<Output = Result<Response<Incoming>, SendError<B>>> {
        request.headers_mut().insert(header::HOST, origin.host_header().clone());
        let (written, read) = (self.counters.written(), self.counters.read());
        self.is_busy = true;
        let response = self.sender.try_send_request(request);
        async move {
            let mut error = match response.await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            if let Some(mut request) = error.take_message() {
                request.headers_mut().remove(header::HOST);
                return Err(SendError::handed_back(request, error.into_error()));
            }
            let fate = if self.counters.written() == written {
                Fate::NotSent
            } else if self.used_at.is_some() && self.counters.read() == read {
                Fate::Unanswered
            } else {
                Fate::Unknown
            };
            Err(SendError::Ended(ConnectionEnded::new(fate, error.into_error())))
        }
    }

    /// Records that the response is complete.
    pub(super) fn complete(&mut self) {
        self.is_busy = false;
        self.used_at = Some(Instant::now());
    }

    /// The connection for the next request; none after a response that is not complete.
    pub(super) fn reusable(self) -> Option<Self> {
        (!self.is_busy).then_some(self)
    }
}
