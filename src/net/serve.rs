//! The accept loop: accepts connections, serves HTTP on them, and ends them at shutdown.
//!
//! # Why
//!
//! One accept loop serves the proxy and the admin endpoint. Limits for which hyper has defaults are written down here as
//! well, so that tests can check them. The header timeout is ten minutes, not seconds, because hyper counts an idle
//! keep-alive connection as one whose head is slow, and a connection closed under an app's pool is a lost request.
//!
//! A request that a client sent before a shutdown is read, even if its connection was idle or still waited to be accepted:
//! closing a socket with unread bytes resets the connection, and the client cannot know what became of its request.
//!
//! With TLS configured, a connection may still be plaintext, and may become a tunnel. Detecting both costs an allocation
//! and a read, so a listener without TLS does neither: each kind of connection has a task of its own.

use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use prometheus_client::metrics::counter::Counter;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::client_reader::StreamSpawner;
use super::connect::Transport;
use super::error::BoxError;
use super::flood_guard::FloodGuard;
use super::lazy_timer::{LazyTimer, TimeLimit};
use super::listen::Listener;
use super::server_cert::ServerCert;
use super::server_connection::{
    ConnectionInfo, ConnectionServer, ForceClosedTunnel, HEADER_READ_TIMEOUT, NotHttpWarning, ServeHttp, pass_through,
    serve_gracefully,
};
use super::shutdown::{Shutdown, ShutdownPhase};
use super::sniff::TransportSecurity;
use super::tasks::Tasks;
use super::tunnel::{AcceptedTunnel, TunnelSender};
use crate::types::error_chain;

/// The parameters of [`serve`] besides a listener and services.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// Runs the connections.
    pub tasks: Tasks,
    /// Ends the connections.
    pub shutdown: Shutdown,
    /// With a certificate, connections may be TLS and may become tunnels.
    pub server_cert: Option<Arc<ServerCert>>,
    /// The most open connections at a time.
    pub max_connections: NonZeroU32,
    /// How long a client may read nothing of a response.
    pub send_timeout: Duration,
    /// Counts HTTP/2 connections that were cut because the client flooded them.
    pub cut_floods: Counter,
}

/// Serves a listener until the shutdown begins and the last connection has ended, or has been force-closed. Returns the
/// number of force-closed tunnels to other hosts: what is in them is unknown, whereas services know their requests.
/// `make_service` makes the service of one connection.
pub async fn serve<F, S, B>(listener: Listener, make_service: F, config: ServeConfig) -> usize
where
    F: Fn(ConnectionInfo) -> S + Send + Sync + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let streams = StreamSpawner {
        tasks: config.tasks.clone(),
        send_timeout: TimeLimit::new(config.send_timeout),
    };
    let (builder, shutdown) = (http_builder(streams), config.shutdown.clone());
    let cut_floods = config.cut_floods.clone();
    let serve_http = move |stream, info: ConnectionInfo| -> BoxFuture<'static, _> {
        let (io, may_upgrade) = (
            TokioIo::new(FloodGuard::new(stream, cut_floods.clone())),
            info.tunnels.is_some(),
        );
        let (service, shutdown) = (make_service(info), shutdown.clone());
        let has_served = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&has_served);
        let service = service_fn(move |request| {
            flag.store(true, Ordering::Relaxed);
            service.call(request)
        });
        if may_upgrade {
            let connection = builder.serve_connection_with_upgrades(io, service).into_owned();
            Box::pin(serve_gracefully(connection, shutdown, has_served))
        } else {
            let connection = builder.serve_connection(io, service).into_owned();
            Box::pin(serve_gracefully(connection, shutdown, has_served))
        }
    };
    accept(listener, Arc::new(serve_http), config).await
}

/// Accepts connections and tunnels until the shutdown begins, and waits for their end. Connections that come in the meantime
/// are served too, briefly: they hold nothing up.
async fn accept(mut listener: Listener, serve_http: Arc<ServeHttp>, config: ServeConfig) -> usize {
    let ServeConfig {
        tasks,
        shutdown,
        server_cert,
        max_connections,
        send_timeout,
        ..
    } = config;
    let send_timeout = TimeLimit::new(send_timeout);
    let slots = Arc::new(Semaphore::new(max_connections.get() as usize));
    // Every connection from before the shutdown holds a sender.
    let (open, mut force_closed) = mpsc::unbounded_channel();
    let mut open = Some(open);
    let not_http = Arc::new(NotHttpWarning::default());
    let tunnel_channel = server_cert.is_some().then(|| TunnelSender::new(tasks.clone()));
    let (tunnels, mut tunnel_rx) = tunnel_channel.unzip();
    let (mut accepting, mut force_closed_tunnels) = (true, 0);
    loop {
        let (stream, tunnels) = tokio::select! {
            biased;
            () = shutdown.wait_for(ShutdownPhase::Graceful), if accepting => {
                accepting = false;
                continue;
            }
            stream = accept_next(&mut listener) => (stream, tunnels.clone()),
            tunnel = next_tunnel(&mut tunnel_rx) => match tunnel {
                // Tunnels are not nested.
                AcceptedTunnel::Terminated(stream) => (stream, None),
                AcceptedTunnel::Passthrough(client, upstream) => {
                    drop(tasks.spawn(pass_through(client, upstream, shutdown.clone(), open.clone())));
                    continue;
                }
            },
            // No connection from before the shutdown is waiting any more.
            () = yield_now(), if !accepting && open.is_some() => {
                (open, tunnel_rx) = (None, None);
                continue;
            }
            closed = force_closed.recv() => match closed {
                Some(ForceClosedTunnel) => {
                    force_closed_tunnels += 1;
                    continue;
                }
                None => return force_closed_tunnels,
            },
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            drop(tasks.spawn(refuse(stream)));
            continue;
        };
        let connection = ConnectionServer {
            serve_http: Arc::clone(&serve_http),
            shutdown: shutdown.clone(),
            send_timeout: send_timeout.clone(),
            not_http: Arc::clone(&not_http),
            _open: open.clone(),
            _slot: slot,
        };
        drop(match &server_cert {
            None => {
                let security = TransportSecurity::Plaintext;
                tasks.spawn(connection.serve(stream, ConnectionInfo { security, tunnels }))
            }
            Some(server_cert) => {
                let server_cert = Arc::clone(server_cert);
                tasks.spawn(connection.serve_detecting_tls(stream, server_cert, tunnels))
            }
        });
    }
}

/// Accepts the next connection. Cancel-safe.
async fn accept_next(listener: &mut Listener) -> Box<dyn Transport> {
    loop {
        match listener.accept().await {
            Ok(stream) => return stream,
            Err(error) => pause_after_accept_error(&error).await,
        }
    }
}

/// Answers a connection that is one too many, and closes it.
async fn refuse(mut stream: Box<dyn Transport>) {
    tracing::warn!("a connection was refused: listen.max_connections are open");
    let write = stream.write_all(TOO_MANY_CONNECTIONS.as_bytes());
    // Whether the client is there to read it makes no difference.
    drop(timeout(Duration::from_secs(1), write).await);
}

/// Receives the next tunnel; waits forever where tunnels are not allowed. Cancel-safe.
async fn next_tunnel(tunnel_rx: &mut Option<mpsc::Receiver<AcceptedTunnel>>) -> AcceptedTunnel {
    let tunnel = match tunnel_rx {
        Some(tunnel_rx) => tunnel_rx.recv().await,
        None => None,
    };
    match tunnel {
        Some(tunnel) => tunnel,
        None => std::future::pending().await,
    }
}

/// The response to a connection past `listen.max_connections`, in Graph's format.
const TOO_MANY_CONNECTIONS: &str = concat!(
    "HTTP/1.1 503 Service Unavailable\r\n",
    "content-type: application/json; charset=UTF-8\r\n",
    "proxy-status: graphward; error=connection_limit_reached\r\n",
    "retry-after: 1\r\nconnection: close\r\ncontent-length: 192\r\n\r\n",
    r#"{"error":{"message":"graphward has too many connections; reduce them, or raise listen.max_connections.","#,
    r#""type":"GraphwardException","code":990002,"is_transient":true,"fbtrace_id":"graphward"}}"#,
);
/// HTTP/1.1, and HTTP/2 with prior knowledge or by ALPN, with their limits.
fn http_builder(streams: StreamSpawner) -> auto::Builder<StreamSpawner> {
    let mut builder = auto::Builder::new(streams);
    builder
        .http1()
        .timer(LazyTimer::default())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        // An app that closes its side has given up on the request. It may retry, and then both must not be sent. HTTP
        // clients do not half-close; one that does counts as disconnected.
        .half_close(false)
        // `max_headers` stays at hyper's default of 100 (431 past it): setting the same number would cost an allocation
        // per request. The buffer has to hold a whole head, so it also bounds that; the proxy's own limit is stricter.
        .max_buf_size(408 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .max_header_list_size(64 * 1024)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(256)
        .max_send_buf_size(400 * 1024)
        .keep_alive_interval(Duration::from_secs(60))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// Pauses after a failed accept, unless the client closed the connection. Any other error, such as no free descriptors,
/// would repeat at once and make this a busy loop.
async fn pause_after_accept_error(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        return;
    }
    tracing::warn!(error = error_chain(error), "cannot accept connections; retrying in 1 s");
    sleep(Duration::from_secs(1)).await;
}

#[cfg(test)]
mod tests;
