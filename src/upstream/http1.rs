//! An HTTP/1.1 connection, and one exchange on it.
//!
//! # Why
//!
//! A connection that is a task of its own costs each request two wake-ups across tasks. So the request that uses a connection
//! polls it. An upload that is still to arrive is the exception: it has to go on while the app does not read a response that
//! has come early, so its connection becomes a task.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sync_wrapper::SyncWrapper;
use tokio::time::Instant;

use super::error::{ConnectionEnded, Fate, SendError};
use super::request_body::RequestBody;
use crate::graph::Origin;
use crate::net::{BoxedIo, IoCounters, Tasks, WakeUps};

/// An HTTP/1.1 connection.
pub(super) struct Http1<B: RequestBody> {
    // Dropped before the driver, so that the connection finds that it has to close.
    sender: http1::SendRequest<B>,
    driver: Driver<B>,
    counters: Arc<IoCounters>,
    /// The end of its last exchange; `None` before the first.
    used_at: Option<Instant>,
    /// Whether a request has been sent on it that is not sent to its end, or whose response is not complete.
    is_busy: bool,
}

/// Polls a connection for the task that uses it.
struct Driver<B: RequestBody> {
    /// `None` if it is a task, or has ended.
    connection: Option<SyncWrapper<Box<HttpConnection<B>>>>,
    wake_ups: Arc<WakeUps>,
    waker: Waker,
}

type HttpConnection<B> = http1::Connection<TokioIo<BoxedIo>, B>;

/// The largest head of a response.
const MAX_HEAD_BYTES: usize = 408 * 1024;
/// How often a connection is polled before other tasks have their turn.
const MAX_POLLS: u32 = 16;

// === impl Http1 ===

impl<B: RequestBody> Http1<B> {
    /// Performs the handshake.
    pub(super) async fn handshake(io: BoxedIo) -> hyper::Result<Self> {
        let counters = io.counters();
        let mut builder = http1::Builder::new();
        let (sender, connection) = builder.max_buf_size(MAX_HEAD_BYTES).handshake(TokioIo::new(io)).await?;
        Ok(Self {
            sender,
            driver: Driver::new(connection),
            counters,
            used_at: None,
            is_busy: false,
        })
    }

    /// Whether it has ended. What has arrived is read first.
    pub(super) fn is_closed(&mut self) -> bool {
        self.driver.poll_woken();
        self.sender.is_closed()
    }

    pub(super) fn is_older_than(&self, age: Duration, now: Instant) -> bool {
        self.used_at.is_some_and(|used_at| now.duration_since(used_at) > age)
    }

    /// Whether it takes a request. What has arrived is read first.
    pub(super) async fn is_open(&mut self) -> bool {
        if self.driver.connection.is_none() {
            // Its task reads.
            tokio::task::yield_now().await;
        }
        !self.is_closed()
    }

    /// Sends a request in origin-form, and waits for the head of the response.
    pub(super) fn send(
        &mut self,
        origin: &Origin,
        mut request: Request<B>,
        tasks: &Tasks,
    ) -> impl Future<Output = Result<Response<Incoming>, SendError<B>>> {
        request.headers_mut().insert(header::HOST, origin.host_header().clone());
        let (written, read) = (self.counters.written(), self.counters.read());
        self.is_busy = true;
        if request.body().is_arriving() {
            self.driver.spawn(tasks);
        }
        let response = self.sender.try_send_request(request);
        async move {
            let mut response = pin!(response);
            let response = poll_fn(|cx| self.driver.poll(cx, |cx| response.as_mut().poll(cx)));
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

    /// Receives the next frame of the response's body.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Incoming,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        self.driver.poll(cx, |cx| Pin::new(&mut *body).poll_frame(cx))
    }

    /// Records that the response is complete. The exchange is not, if the peer has answered before it took the whole request.
    pub(super) fn complete(&mut self) {
        self.is_busy = !self.sender.is_ready();
        self.used_at = Some(Instant::now());
    }

    /// Whether it serves no other request, because an exchange on it is not complete.
    pub(super) const fn is_busy(&self) -> bool {
        self.is_busy
    }
}

// === impl Driver ===

impl<B: RequestBody> Driver<B> {
    fn new(connection: HttpConnection<B>) -> Self {
        let (wake_ups, waker) = WakeUps::new();
        Self {
            connection: Some(SyncWrapper::new(Box::new(connection))),
            wake_ups,
            waker,
        }
    }

    /// Polls what the user waits for, and before it the connection, as often as that is woken.
    fn poll<T>(&mut self, cx: &mut Context<'_>, mut awaited: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        for _ in 0..MAX_POLLS {
            self.poll_woken();
            if self.connection.is_none() {
                return awaited(cx);
            }
            // Only the connection can wake it.
            if let Poll::Ready(output) = awaited(&mut Context::from_waker(Waker::noop())) {
                return Poll::Ready(output);
            }
            if self.wake_ups.forward_to(cx) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_woken(&mut self) {
        if let Some(connection) = &mut self.connection
            && self.wake_ups.take()
            && let Poll::Ready(result) = Pin::new(connection.get_mut()).poll(&mut Context::from_waker(&self.waker))
        {
            log_end(result);
            self.connection = None;
        }
    }

    /// Makes the connection a task.
    fn spawn(&mut self, tasks: &Tasks) {
        if let Some(connection) = self.connection.take() {
            drop(tasks.spawn(async move { log_end(connection.into_inner().await) }));
        }
    }
}

impl<B: RequestBody> Drop for Driver<B> {
    /// Closes the connection: TLS says so to the peer.
    fn drop(&mut self) {
        self.waker.wake_by_ref();
        self.poll_woken();
    }
}

fn log_end(result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "upstream connection closed with an error");
    }
}
