//! An HTTP/2 connection, and one exchange on a stream of it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Connection, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, Reason, RecvStream};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Request, Response, Uri, header};
use http_body::SizeHint;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use super::error::{ConnectionEnded, Fate, SendError};
use super::http2_upload::{MAX_BUFFERED_BYTES, Upload};
use super::request_body::RequestBody;
use crate::graph::Origin;
use crate::net::{BoxedIo, IoCounters, Tasks};

/// An HTTP/2 connection.
pub(super) struct Http2 {
    sender: SendRequest<Bytes>,
    open_streams: AtomicUsize,
    peer: Arc<PeerState>,
    /// Whether a response has come on it.
    was_used: AtomicBool,
}

/// What the peer of an HTTP/2 connection has said.
struct PeerState {
    /// The number of streams that it allows, or [`UNKNOWN_LIMIT`].
    stream_limit: AtomicUsize,
    /// Whether it takes no more requests: it has refused one, or ends the connection.
    is_retired: AtomicBool,
}

/// One of the streams that an HTTP/2 connection may have open, until it is dropped.
pub(super) struct Stream {
    connection: Arc<Http2>,
    sender: SendRequest<Bytes>,
    opened_at: Instant,
    /// Whether a request has been sent on it whose response has not come yet.
    is_awaiting: bool,
}

/// The body of a response. Dropped before its end, it resets the stream.
pub(super) struct Http2Body {
    stream: RecvStream,
    /// The bytes of the declared length that have not come yet.
    missing: Option<u64>,
    /// The task of an upload that goes on after the head of the response.
    upload: Option<AbortHandle>,
}

/// The limit before the peer has sent its SETTINGS: a number that no SETTINGS hold.
const UNKNOWN_LIMIT: usize = usize::MAX - 1;
/// The streams of a connection whose limit is unknown: one, so that the first request does not wait for the SETTINGS.
const INITIAL_MAX_STREAMS: usize = 1;
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the SETTINGS of a connection may take until another connection serves those that wait for them.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection takes no more requests after one was given up that had no response for so long: the peer may have lost it,
/// or have no window left for its body.
const RESPONSE_PATIENCE: Duration = Duration::from_secs(10);

// === impl Http2 ===

impl Http2 {
    /// Performs the handshake, and runs the connection as a task. `on_new_limit` is called when the peer changes the number
    /// of streams that it allows, or does not say it in time.
    pub(super) async fn handshake(
        io: BoxedIo,
        tasks: &Tasks,
        on_new_limit: impl FnMut() + Send + 'static,
    ) -> Result<Arc<Self>, h2::Error> {
        let counters = io.counters();
        let (sender, connection) = http2_builder().handshake(io).await?;
        let peer = Arc::new(PeerState {
            stream_limit: AtomicUsize::new(UNKNOWN_LIMIT),
            is_retired: AtomicBool::new(false),
        });
        drop(tasks.spawn(drive(connection, Arc::clone(&peer), counters, on_new_limit)));
        Ok(Arc::new(Self {
            sender,
            open_streams: AtomicUsize::new(0),
            peer,
            was_used: AtomicBool::new(false),
        }))
    }

    /// Whether no request can be sent on it any more.
    pub(super) fn is_closed(&self) -> bool {
        self.peer.is_retired.load(Ordering::Relaxed)
    }

    /// Opens a stream, unless the peer's limit is reached.
    pub(super) fn try_open(self: &Arc<Self>, opened_at: Instant) -> Option<Stream> {
        if !self.has_room() {
            return None;
        }
        let mut sender = self.sender.clone();
        if let Err(error) = check(&mut sender) {
            tracing::debug!(%error, "the connection takes no more requests");
            self.retire();
            return None;
        }
        self.open_streams.fetch_add(1, Ordering::Relaxed);
        Some(Stream {
            connection: Arc::clone(self),
            sender,
            opened_at,
            is_awaiting: false,
        })
    }

    pub(super) fn has_room(&self) -> bool {
        let limit = match self.peer.stream_limit.load(Ordering::Relaxed) {
            UNKNOWN_LIMIT => INITIAL_MAX_STREAMS,
            limit => limit,
        };
        !self.is_closed() && self.open_streams.load(Ordering::Relaxed) < limit
    }

    /// Whether the peer has not said yet how many streams it allows.
    pub(super) fn is_starting(&self) -> bool {
        self.peer.stream_limit.load(Ordering::Relaxed) == UNKNOWN_LIMIT && !self.is_closed()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.open_streams.load(Ordering::Relaxed) == 0
    }

    fn retire(&self) {
        self.peer.is_retired.store(true, Ordering::Relaxed);
    }
}

/// Runs a connection to its end, or until its peer is silent.
async fn drive(
    mut connection: Connection<BoxedIo, Bytes>,
    peer: Arc<PeerState>,
    counters: Arc<IoCounters>,
    mut on_new_limit: impl FnMut(),
) {
    let pings = connection.ping_pong();
    let mut keep_alive = pin!(keep_alive(pings, counters));
    let mut settings_overdue = pin!(sleep(SETTINGS_TIMEOUT));
    let ended = poll_fn(|cx| {
        let ended = Pin::new(&mut connection).poll(cx);
        let limit = connection.max_concurrent_send_streams();
        if peer.stream_limit.swap(limit, Ordering::Relaxed) != limit {
            on_new_limit();
        }
        if limit == UNKNOWN_LIMIT
            && !peer.is_retired.load(Ordering::Relaxed)
            && settings_overdue.as_mut().poll(cx).is_ready()
        {
            tracing::debug!("the upstream has sent no SETTINGS: its connection takes no more requests");
            peer.is_retired.store(true, Ordering::Relaxed);
            on_new_limit();
        }
        if ended.is_pending() && keep_alive.as_mut().poll(cx).is_ready() {
            tracing::debug!("upstream connection closed: no answer to a PING");
            return Poll::Ready(Ok(()));
        }
        ended
    });
    if let Err(error) = ended.await {
        tracing::debug!(%error, "upstream connection closed with an error");
    }
    peer.is_retired.store(true, Ordering::Relaxed);
}

/// Sends a PING from time to time; returns when it is not answered, and nothing else comes either. On a slow network, the
/// answer comes after all that is already on its way.
async fn keep_alive(pings: Option<PingPong>, counters: Arc<IoCounters>) {
    let Some(mut pings) = pings else {
        return;
    };
    loop {
        sleep(KEEP_ALIVE_INTERVAL).await;
        let mut pong = pin!(pings.ping(Ping::opaque()));
        loop {
            let read = counters.read();
            match timeout(KEEP_ALIVE_TIMEOUT, &mut pong).await {
                Ok(Ok(_pong)) => break,
                // The connection reports its own end.
                Ok(Err(_)) => std::future::pending().await,
                Err(_elapsed) if counters.read() == read => return,
                Err(_elapsed) => {}
            }
        }
    }
}

/// Whether a connection takes a request now.
fn check(sender: &mut SendRequest<Bytes>) -> Result<(), h2::Error> {
    match sender.poll_ready(&mut Context::from_waker(Waker::noop())) {
        // A clone that has sent nothing is never pending.
        Poll::Ready(result) => result,
        Poll::Pending => Ok(()),
    }
}

// === impl Stream ===

impl Stream {
    /// Sends a request in origin-form, and waits for the head of the response.
    pub(super) fn send<B: RequestBody>(
        &mut self,
        origin: &Origin,
        request: Request<B>,
        tasks: &Tasks,
    ) -> impl Future<Output = Result<Response<Http2Body>, SendError<B>>> {
        let started = self.start(origin, request);
        self.is_awaiting = started.is_ok();
        async move {
            let (mut response, mut upload) = started?;
            let response = poll_fn(|cx| {
                if let Some(running) = &mut upload
                    && let Poll::Ready(sent) = running.poll(cx)
                {
                    upload = None;
                    sent.map_err(|error| ConnectionEnded::new(Fate::Unknown, error))?;
                }
                let response = ready!(Pin::new(&mut response).poll(cx));
                Poll::Ready(response.map_err(|error| self.ended(error)))
            });
            let response = response.await;
            self.is_awaiting = false;
            let response = response.map_err(SendError::Ended)?;
            self.connection.was_used.store(true, Ordering::Relaxed);
            // It has to go on while the app does not read a response that has come early.
            let upload = upload.map(|upload| tasks.spawn(upload.finish()));
            Ok(Http2Body::new(response, upload))
        }
    }

    /// Sends the head of a request, which has no header that concerns a connection (RFC 9113, section 8.2.2): `proxy` removes
    /// those of the app.
    fn start<B: RequestBody>(
        &mut self,
        origin: &Origin,
        request: Request<B>,
    ) -> Result<(ResponseFuture, Option<Upload<B>>), SendError<B>> {
        if let Err(error) = check(&mut self.sender) {
            self.connection.retire();
            return Err(SendError::handed_back(request, error));
        }
        let (mut head, body) = request.into_parts();
        head.uri = absolute(origin, head.uri.path_and_query().cloned());
        if let Some(length) = body.size_hint().exact()
            && (length > 0 || !matches!(head.method, Method::GET | Method::HEAD | Method::DELETE))
        {
            head.headers
                .entry(header::CONTENT_LENGTH)
                .or_insert_with(|| length.into());
        }
        // A sensitive value is sent whole each time, Huffman-coded: 6,000 instructions. In the table of the connection it is
        // one byte. RFC 7541, section 7.1.3, warns of peers who guess by the size: here, only the app could.
        if let Some(bearer) = head.headers.get_mut(header::AUTHORIZATION) {
            bearer.set_sensitive(false);
        }
        let is_empty = body.is_end_stream();
        match self.sender.send_request(Request::from_parts(head, ()), is_empty) {
            Ok((response, stream)) => Ok((response, (!is_empty).then(|| Upload::new(body, stream)))),
            Err(error) => Err(SendError::Ended(ConnectionEnded::new(Fate::NotSent, error))),
        }
    }

    fn ended(&self, error: h2::Error) -> ConnectionEnded {
        let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        // Above the last identifier of GOAWAY, or refused (RFC 9113, section 8.7).
        let fate = if error.is_remote() && (error.is_go_away() || is_refused) {
            self.connection.retire();
            Fate::NotProcessed
        } else if !error.is_reset() && self.connection.was_used.load(Ordering::Relaxed) {
            Fate::Unanswered
        } else {
            Fate::Unknown
        };
        ConnectionEnded::new(fate, error)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.is_awaiting && self.opened_at.elapsed() > RESPONSE_PATIENCE {
            tracing::debug!("a request had no response for long: its connection takes no more requests");
            self.connection.retire();
        }
        self.connection.open_streams.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Http2Body ===

impl Http2Body {
    fn new(response: Response<RecvStream>, upload: Option<AbortHandle>) -> Response<Self> {
        let length = response.headers().get(header::CONTENT_LENGTH);
        let declared = length.and_then(|length| length.to_str().ok()?.parse().ok());
        // To HEAD, and in a 304, the length is that of a body that is not sent.
        let missing = if response.body().is_end_stream() {
            Some(0)
        } else {
            declared
        };
        response.map(|stream| Self {
            stream,
            missing,
            upload,
        })
    }

    /// Receives the next bytes.
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        Poll::Ready(match ready!(self.stream.poll_data(cx)) {
            Some(Ok(data)) => {
                // Of a stream that has ended, there is no window.
                drop(self.stream.flow_control().release_capacity(data.len()));
                if let Some(missing) = &mut self.missing {
                    *missing = missing.saturating_sub(data.len() as u64);
                }
                Some(Ok(data))
            }
            // The response is whole: what becomes of the stream or the connection after it does not concern its reader. A
            // response without a length is whole when the peer has ended the stream, whatever the code of a reset.
            Some(Err(_)) if self.missing == Some(0) => None,
            end => end,
        })
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self.missing {
            Some(missing) => SizeHint::with_exact(missing),
            None if self.is_end_stream() => SizeHint::with_exact(0),
            None => SizeHint::default(),
        }
    }
}

impl Drop for Http2Body {
    /// Ends an upload that holds the stream, unless the response is complete.
    fn drop(&mut self) {
        if let Some(upload) = &self.upload
            && self.size_hint().exact() != Some(0)
            && !self.is_end_stream()
        {
            upload.abort();
        }
    }
}

/// The URI with this path and query at an origin.
fn absolute(origin: &Origin, target: Option<PathAndQuery>) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTPS);
    parts.authority = Some(origin.authority().clone());
    parts.path_and_query = target;
    Uri::from_parts(parts).unwrap_or_default()
}

fn http2_builder() -> h2::client::Builder {
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_max_send_streams(UNKNOWN_LIMIT)
        .max_send_buffer_size(MAX_BUFFERED_BYTES)
        .initial_window_size(1024 * 1024)
        // More than all streams together can use: an app that does not read its answer stalls no other one.
        .initial_connection_window_size((1 << 31) - 1)
        // Graph sends `Proxy-Status` values of several KB, and repeats them.
        .max_header_list_size(128 * 1024);
    builder
}

#[cfg(test)]
mod tests;
