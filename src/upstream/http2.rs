//! An HTTP/2 connection, and one exchange on a stream of it.

use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::uri::{PathAndQuery, Scheme};
use http::{Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::interval;

use super::error::{ConnectionEnded, Fate, SendError};
use super::request_body::RequestBody;
use crate::graph::Origin;
use crate::net::{BoxedIo, Tasks};

/// An HTTP/2 connection.
pub(super) struct Http2<B> {
    sender: http2::SendRequest<B>,
    open_streams: AtomicUsize,
    limit: Arc<StreamLimit>,
    /// Whether a response has come on it.
    was_used: AtomicBool,
    /// Whether it takes no more requests: the peer has refused one, or ends it.
    is_retired: AtomicBool,
}

/// The number of streams that the peer of an HTTP/2 connection allows.
struct StreamLimit {
    is_known: AtomicBool,
    streams: AtomicUsize,
}

/// One of the streams that an HTTP/2 connection may have open, until it is dropped.
pub(super) struct Stream<B>(pub(super) Arc<Http2<B>>);

/// The streams of an HTTP/2 connection before its peer has said how many it allows: one, so that the first request does not
/// wait for that.
const INITIAL_MAX_STREAMS: usize = 1;
/// How often its SETTINGS are looked for at first, and how many times.
const SETTINGS_INTERVAL: Duration = Duration::from_millis(5);
const MAX_LOOKS: u32 = 200;

// === impl Http2 ===

impl<B: RequestBody> Http2<B> {
    /// Performs the handshake, and runs the connection as a task. `on_new_limit` is called when the peer changes the number
    /// of streams that it allows.
    pub(super) async fn handshake(
        io: BoxedIo,
        tasks: &Tasks,
        on_new_limit: impl Fn() + Send + 'static,
    ) -> hyper::Result<Arc<Self>> {
        let (sender, mut connection) = http2_builder(tasks).handshake(TokioIo::new(io)).await?;
        let limit = Arc::new(StreamLimit::default());
        let shared = Arc::clone(&limit);
        // hyper tells of the peer's SETTINGS only when it is asked.
        let mut settings = interval(SETTINGS_INTERVAL);
        let mut looks = 0;
        drop(tasks.spawn(async move {
            let ended = std::future::poll_fn(move |cx| {
                let ended = Pin::new(&mut connection).poll(cx);
                while !shared.is_known() && settings.poll_tick(cx).is_ready() {
                    looks += 1;
                    if looks == MAX_LOOKS || connection.current_max_send_streams() != INITIAL_MAX_STREAMS {
                        shared.set(connection.current_max_send_streams());
                        on_new_limit();
                    }
                }
                shared.update(connection.current_max_send_streams());
                ended
            });
            if let Err(error) = ended.await {
                tracing::debug!(%error, "upstream connection closed with an error");
            }
        }));
        Ok(Arc::new(Self {
            sender,
            open_streams: AtomicUsize::new(0),
            limit,
            was_used: AtomicBool::new(false),
            is_retired: AtomicBool::new(false),
        }))
    }

    /// Whether no request can be sent on it any more.
    pub(super) fn is_closed(&self) -> bool {
        self.is_retired.load(Ordering::Relaxed) || self.sender.is_closed()
    }

    /// Opens a stream, unless the peer's limit is reached.
    pub(super) fn try_open(self: &Arc<Self>) -> Option<Stream<B>> {
        if !self.has_room() {
            return None;
        }
        self.open_streams.fetch_add(1, Ordering::Relaxed);
        Some(Stream(Arc::clone(self)))
    }

    pub(super) fn has_room(&self) -> bool {
        let limit = self.limit.streams.load(Ordering::Relaxed);
        !self.is_closed() && self.open_streams.load(Ordering::Relaxed) < limit
    }

    /// Whether the peer has not said yet how many streams it allows.
    pub(super) fn is_starting(&self) -> bool {
        !self.limit.is_known() && !self.is_closed()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.open_streams.load(Ordering::Relaxed) == 0
    }
}

// === impl StreamLimit ===

impl StreamLimit {
    fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    fn set(&self, streams: usize) {
        self.is_known.store(true, Ordering::Relaxed);
        self.streams.store(streams, Ordering::Relaxed);
    }

    /// Takes over a change of a known limit.
    fn update(&self, streams: usize) {
        if self.is_known() {
            self.streams.store(streams, Ordering::Relaxed);
        }
    }
}

impl Default for StreamLimit {
    fn default() -> Self {
        Self {
            is_known: AtomicBool::new(false),
            streams: AtomicUsize::new(INITIAL_MAX_STREAMS),
        }
    }
}

// === impl Stream ===

impl<B: RequestBody> Stream<B> {
    /// Sends a request in origin-form, and waits for the head of the response.
    pub(super) fn send(
        &self,
        origin: &Origin,
        mut request: Request<B>,
    ) -> impl Future<Output = Result<Response<Incoming>, SendError<B>>> {
        let target = request.uri().path_and_query().cloned();
        *request.uri_mut() = absolute(origin, target.clone());
        // A sensitive value is sent whole each time, Huffman-coded: 6,000 instructions. In the table of the connection it is
        // one byte. RFC 7541, section 7.1.3, warns of peers who guess by the size: here, only the app could.
        if let Some(bearer) = request.headers_mut().get_mut(header::AUTHORIZATION) {
            bearer.set_sensitive(false);
        }
        let response = self.0.sender.clone().try_send_request(request);
        async move {
            let mut error = match response.await {
                Ok(response) => {
                    self.0.was_used.store(true, Ordering::Relaxed);
                    return Ok(response);
                }
                Err(error) => error,
            };
            if let Some(mut request) = error.take_message() {
                self.0.is_retired.store(true, Ordering::Relaxed);
                *request.uri_mut() = target.map_or_else(Uri::default, Uri::from);
                return Err(SendError::handed_back(request, error.into_error()));
            }
            let error = error.into_error();
            let fate = match error.source().and_then(|cause| cause.downcast_ref::<h2::Error>()) {
                // Above the last identifier of GOAWAY, or refused (RFC 9113, section 8.7).
                Some(cause) if cause.is_remote() && cause.is_go_away() => Fate::NotProcessed,
                Some(cause) if cause.is_remote() && cause.reason() == Some(h2::Reason::REFUSED_STREAM) => {
                    Fate::NotProcessed
                }
                Some(cause) if cause.is_reset() => Fate::Unknown,
                Some(_) | None if self.0.was_used.load(Ordering::Relaxed) => Fate::Unanswered,
                Some(_) | None => Fate::Unknown,
            };
            if fate == Fate::NotProcessed {
                self.0.is_retired.store(true, Ordering::Relaxed);
            }
            Err(SendError::Ended(ConnectionEnded::new(fate, error)))
        }
    }
}

impl<B> Drop for Stream<B> {
    fn drop(&mut self) {
        self.0.open_streams.fetch_sub(1, Ordering::Relaxed);
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

fn http2_builder(tasks: &Tasks) -> http2::Builder<Tasks> {
    let mut builder = http2::Builder::new(tasks.clone());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true)
        .initial_max_send_streams(INITIAL_MAX_STREAMS)
        .initial_stream_window_size(1024 * 1024)
        // More than all streams together can use: an app that does not read its answer stalls no other one.
        .initial_connection_window_size((1 << 31) - 1)
        // Graph sends `Proxy-Status` values of several KB, and repeats them.
        .max_header_list_size(128 * 1024);
    builder
}
