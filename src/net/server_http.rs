//! HTTP on the connection of a client: its limits, its life from one request to the next, and its end.
//!
//! # Why
//!
//! hyper keeps 16 KiB of buffers and more for a connection, even if it waits for days. So where hundreds are open, one that
//! falls idle is taken apart: what remains is the stream, and its next bytes get a new server. hyper closes a connection at
//! once if it is idle, and not otherwise: if graphward were mistaken, the client would be told to close. HTTP/2 connections,
//! and those that may become a tunnel, are not taken apart. The alternative was another allocator, which gives the memory of a
//! burst back: mimalloc needs 9 MiB more at rest, and more for 400 uploads.
//!
//! Limits for which hyper has defaults are written down here as well, so that tests can check them. hyper counts an idle
//! connection as one whose head is slow, and a connection closed under an app's pool is a lost request. So the limit for a
//! head is not hyper's: a tick, once a second, looks at what each connection does.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, TryFutureExt as _};
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::metrics::counter::Counter;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::activity::Activity;
use super::client_reader::StreamSpawner;
use super::client_stream::{ClientProtocol, ClientStream, EarlyResponse, TransportSecurity};
use super::error::BoxError;
use super::flood_guard::{FloodGuard, MAX_STREAMS, report_cut_by_h2};
use super::lazy_timer::TimeLimit;
use super::shutdown::{Shutdown, ShutdownPhase};
use super::tasks::Tasks;
use super::tunnel::TunnelSender;
use super::wake_ups::when_woken;

/// The facts about a connection that its service gets.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// The security of the transport.
    pub security: TransportSecurity,
    /// The user id of the process that connected, if it did over a Unix socket. A tunnel has that of the CONNECT request.
    pub peer_uid: Option<u32>,
    /// The address that connected over TCP.
    pub peer_address: Option<SocketAddr>,
    /// Takes the connection if it becomes a tunnel, where that is allowed.
    pub tunnels: Option<TunnelSender>,
    /// Whether the last response came before the end of its request.
    pub early_response: EarlyResponse,
}

impl ConnectionInfo {
    /// Describes the peer: its address, or the user id of its process.
    #[must_use]
    pub fn describe_peer(&self) -> String {
        match (self.peer_address, self.peer_uid) {
            (Some(address), _) => address.to_string(),
            (None, Some(uid)) => format!("uid {uid}"),
            (None, None) => "unknown".to_owned(),
        }
    }
}

/// The life of a connection.
#[derive(Clone)]
pub(super) struct ConnectionLife {
    pub(super) shutdown: Shutdown,
    pub(super) activity: Arc<Activity>,
    /// The limit for receiving the head of a request, from its first byte.
    pub(super) head_timeout: Duration,
}

/// Serves HTTP on a stream until it ends, or until it is idle: then it is returned.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it is a function")]
pub struct HttpServer(
    pub(super) Arc<dyn Fn(ClientStream, ClientProtocol, ConnectionInfo, ConnectionLife) -> Served + Send + Sync>,
);

type Served = BoxFuture<'static, Result<Option<ClientStream>, BoxError>>;

/// The time between two looks at a connection.
const TICK: Duration = Duration::from_secs(1);
/// The time after which an idle connection is closed.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// The limit for a request on a connection that has none while the process stops: it gets 503, and neither an incomplete head
/// nor an HTTP/2 client that answers no PING delays the stop.
pub(super) const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// The largest head, its end included, and the most bytes that are read or written at a time. The proxy's own limit is
/// stricter.
const BUFFER_BYTES: usize = 72 * 1024;

/// Returns a server of HTTP for [`serve`](super::serve()); `make_service` makes the service of one stream.
pub fn http_server<F, S, B>(make_service: F, tasks: &Tasks, send_timeout: Duration, cut_floods: &Counter) -> HttpServer
where
    F: Fn(ConnectionInfo) -> S + Send + Sync + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + Unpin + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let streams = StreamSpawner {
        tasks: tasks.clone(),
        send_timeout: TimeLimit::new(send_timeout),
    };
    let (mut http1, http2, cut_floods) = (http1::Builder::new(), http2_builder(streams), cut_floods.clone());
    http1
        .header_read_timeout(None)
        // An app that closes its side has given up on the request. It may retry, and then both must not be sent. HTTP
        // clients do not half-close; one that does counts as disconnected.
        .half_close(false)
        // `max_headers` stays at hyper's default of 100 (431 past it): setting the same number would cost an allocation
        // per request.
        .max_buf_size(BUFFER_BYTES);
    HttpServer(Arc::new(
        move |mut stream: ClientStream, protocol, info: ConnectionInfo, life: ConnectionLife| -> Served {
            let may_upgrade = info.tunnels.is_some();
            let (service, activity) = (make_service(info), Arc::clone(&life.activity));
            let service = service_fn(move |request| {
                let active = activity.begin_request();
                let until_its_end = move |error| (error, &active).0;
                // Boxed: an idle connection would keep the space for it.
                let response = Box::pin(service.call(request));
                response.map_ok(|response| response.map(|body| body.map_err(until_its_end)))
            });
            if protocol == ClientProtocol::Http2 {
                let cut_floods = cut_floods.clone();
                let stream = FloodGuard::new(stream, Arc::clone(&life.activity), cut_floods.clone());
                let connection = http2.serve_connection(TokioIo::new(stream), service);
                let close = http2::Connection::graceful_shutdown;
                return Box::pin(async move {
                    let served = life.serve_to_end(pin!(connection), close).await;
                    Ok(served
                        .inspect_err(|error| report_cut_by_h2(error, &cut_floods))
                        .map(|()| None)?)
                });
            }
            stream.activity = Some(Arc::clone(&life.activity));
            let stream = TokioIo::new(stream);
            let mut connection = http1.serve_connection(stream, service);
            if may_upgrade {
                let connection = connection.with_upgrades();
                let close = http1::UpgradeableConnection::graceful_shutdown;
                return Box::pin(async move { Ok(life.serve_http1(pin!(connection), close).await.map(|()| None)?) });
            }
            Box::pin(async move {
                let close = http1::Connection::graceful_shutdown;
                tokio::select! {
                    biased;
                    result = life.serve_http1(Pin::new(&mut connection), close) => return Ok(result.map(|()| None)?),
                    () = life.wait_until_idle_in_a_crowd() => close(Pin::new(&mut connection)),
                }
                let closed = poll_fn(|cx| Poll::Ready(connection.poll_without_shutdown(cx))).await;
                if let Poll::Ready(result) = closed {
                    result?;
                    let parts = connection.into_parts();
                    return Ok(Some(parts.io.into_inner().put_back(parts.read_buf)));
                }
                Ok(life
                    .serve_http1(Pin::new(&mut connection), close)
                    .await
                    .map(|()| None)?)
            })
        },
    ))
}

fn http2_builder(streams: StreamSpawner) -> http2::Builder<StreamSpawner> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(64 * 1024)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(256)
        .max_send_buf_size(400 * 1024)
        .keep_alive_interval(Duration::from_secs(60))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

// === impl ConnectionLife ===

impl ConnectionLife {
    /// Returns the output of a future; `None` if the connection has to end first, and the future has then been polled once
    /// more with all that had arrived. While the process stops, there is [`FIRST_REQUEST_TIMEOUT`] for it.
    pub(super) async fn before_end<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        if self.shutdown.current() != ShutdownPhase::Running {
            return timeout(FIRST_REQUEST_TIMEOUT, future).await.ok();
        }
        tokio::select! {
            biased;
            output = &mut future => return Some(output),
            () = when_woken(self.wait_until_it_has_to_end()) => {}
        }
        tokio::select! {
            biased;
            output = future => Some(output),
            // The runtime looks for arrived data before it goes on here.
            () = yield_now() => None,
        }
    }

    async fn wait_until_it_has_to_end(&self) {
        tokio::select! {
            () = self.shutdown.wait_for(ShutdownPhase::Graceful) => {}
            () = self.activity.wait_to_make_room() => {}
        }
    }

    /// Serves a connection until it ends: after the current requests if it has to, or by force. One that has none has
    /// [`FIRST_REQUEST_TIMEOUT`] for the whole head of one.
    async fn serve_to_end<C>(&self, mut connection: Pin<&mut C>, close: fn(Pin<&mut C>)) -> hyper::Result<()>
    where
        C: Future<Output = hyper::Result<()>>,
    {
        if let Some(result) = self.before_end(connection.as_mut()).await {
            return result;
        }
        // Another connection needs the place of this one.
        let may_be_cut = self.activity.is_receiving_head() || self.activity.may_be_given_up();
        if self.shutdown.current() == ShutdownPhase::Running && may_be_cut {
            return Ok(());
        }
        // hyper closes an idle connection now, but waits for the rest of a head, and over HTTP/2 for the answer to a PING.
        close(connection.as_mut());
        let brings_no_request = async {
            sleep(FIRST_REQUEST_TIMEOUT).await;
            while !self.activity.has_no_request() {
                sleep(FIRST_REQUEST_TIMEOUT).await;
            }
        };
        tokio::select! {
            result = connection => result,
            () = brings_no_request => Ok(()),
            () = self.shutdown.wait_for(ShutdownPhase::Forced) => Ok(()),
        }
    }

    /// The same, but not for longer than one is idle, or receives a head.
    async fn serve_http1<C>(&self, connection: Pin<&mut C>, close: fn(Pin<&mut C>)) -> hyper::Result<()>
    where
        C: Future<Output = hyper::Result<()>>,
    {
        tokio::select! {
            biased;
            result = self.serve_to_end(connection, close) => result,
            () = when_woken(self.wait_until_overdue()) => {
                tracing::debug!("connection closed: no request, or not the whole head of one, arrived in time");
                Ok(())
            }
        }
    }

    /// This changes only when the task of the connection is polled.
    async fn wait_until_idle_in_a_crowd(&self) {
        let is_over = |_cx: &mut Context<'_>| {
            if self.activity.is_idle_in_a_crowd() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        };
        poll_fn(is_over).await;
    }

    async fn wait_until_overdue(&self) {
        let (mut state, mut lasts) = (None, Duration::ZERO);
        loop {
            sleep(TICK).await;
            let limit = if self.activity.is_receiving_head() {
                Some(self.head_timeout)
            } else {
                self.activity.is_idle().then_some(IDLE_TIMEOUT)
            };
            let current = limit.map(|limit| (limit, self.activity.idle_since()));
            lasts = if state == current { lasts + TICK } else { TICK };
            state = current;
            if limit.is_some_and(|limit| lasts > limit) {
                return;
            }
        }
    }
}
