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
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use super::connect::Transport;
use super::dial::is_exhaustion;
use super::error::BoxError;
use super::lazy_timer::LazyTimer;
use super::listen::Listener;
use super::server_cert::ServerCert;
use super::shutdown::{Shutdown, ShutdownPhase};
use super::sniff::{TransportSecurity, detect_tls};
use super::tasks::Tasks;
use super::tunnel::{self, AcceptedTunnel, TunnelSender};

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
}

/// The facts about a connection that its service gets.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// The security of the transport.
    pub security: TransportSecurity,
    /// Takes the connection if it becomes a tunnel, where that is allowed.
    pub tunnels: Option<TunnelSender>,
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
    let (builder, shutdown) = (http_builder(&config.tasks), config.shutdown.clone());
    let serve_http = move |stream, info: ConnectionInfo| -> BoxFuture<'static, _> {
        let (io, may_upgrade) = (TokioIo::new(stream), info.tunnels.is_some());
        let (service, shutdown) = (make_service(info), shutdown.clone());
        if may_upgrade {
            let connection = builder.serve_connection_with_upgrades(io, service).into_owned();
            Box::pin(serve_gracefully(connection, shutdown))
        } else {
            let connection = builder.serve_connection(io, service).into_owned();
            Box::pin(serve_gracefully(connection, shutdown))
        }
    };
    accept(listener, Arc::new(serve_http), config).await
}

/// Serves HTTP on a connection until it ends. Each connection has a service of its own.
type ServeHttp = dyn Fn(Box<dyn Transport>, ConnectionInfo) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync;

/// Accepts connections and tunnels until the shutdown begins, and waits for their end.
async fn accept(mut listener: Listener, serve_http: Arc<ServeHttp>, config: ServeConfig) -> usize {
    let ServeConfig {
        tasks,
        shutdown,
        server_cert,
        max_connections,
    } = config;
    let slots = Arc::new(Semaphore::new(max_connections.get() as usize));
    // Every open connection holds a sender.
    let (open, mut force_closed) = mpsc::unbounded_channel();
    let not_http = Arc::new(NotHttpWarning::default());
    let tunnel_channel = server_cert.is_some().then(|| TunnelSender::new(tasks.clone()));
    let (tunnels, mut tunnel_rx) = tunnel_channel.unzip();
    let mut accepting = true;
    loop {
        let (stream, tunnels) = tokio::select! {
            biased;
            () = shutdown.wait_for(ShutdownPhase::Graceful), if accepting => {
                accepting = false;
                continue;
            }
            stream = listener.accept() => match stream {
                Ok(stream) => (stream, tunnels.clone()),
                Err(error) => {
                    tokio::select! {
                        () = pause_after_accept_error(&error) => {}
                        () = shutdown.wait_for(ShutdownPhase::Graceful) => {}
                    }
                    if accepting {
                        continue;
                    }
                    break;
                }
            },
            tunnel = next_tunnel(&mut tunnel_rx) => match tunnel {
                // Tunnels are not nested.
                AcceptedTunnel::Terminated(stream) => (stream, None),
                AcceptedTunnel::Passthrough(client, upstream) => {
                    let (open, shutdown) = (open.clone(), shutdown.clone());
                    drop(tasks.spawn(async move {
                        tokio::select! {
                            result = tunnel::copy_bidirectional(client, upstream) => if let Err(error) = result {
                                tracing::debug!(%error, "tunnel closed with an error");
                            },
                            // The receiver is there until all senders are gone.
                            () = shutdown.wait_for(ShutdownPhase::Forced) => drop(open.send(ForceClosedTunnel)),
                        }
                    }));
                    continue;
                }
            },
            // No connection is waiting any more.
            () = yield_now(), if !accepting => break,
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            drop(tasks.spawn(refuse(stream)));
            continue;
        };
        let connection = ConnectionServer {
            serve_http: Arc::clone(&serve_http),
            shutdown: shutdown.clone(),
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
    drop((listener, tunnel_rx, open));
    let mut tunnels = 0;
    while let Some(ForceClosedTunnel) = force_closed.recv().await {
        tunnels += 1;
    }
    tunnels
}

/// Answers a connection that is one too many, and closes it.
async fn refuse(mut stream: Box<dyn Transport>) {
    tracing::warn!("a connection was refused: listen.max_connections are open");
    let write = stream.write_all(TOO_MANY_CONNECTIONS.as_bytes());
    // Whether the client is there to read it makes no difference.
    drop(timeout(Duration::from_secs(1), write).await);
}

/// A tunnel that was force-closed.
struct ForceClosedTunnel;

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

/// Serves one connection.
struct ConnectionServer {
    serve_http: Arc<ServeHttp>,
    shutdown: Shutdown,
    not_http: Arc<NotHttpWarning>,
    /// Dropped when the connection has ended.
    _open: mpsc::UnboundedSender<ForceClosedTunnel>,
    _slot: OwnedSemaphorePermit,
}

impl ConnectionServer {
    async fn serve(self, stream: Box<dyn Transport>, info: ConnectionInfo) {
        let security = info.security;
        if let Err(error) = (self.serve_http)(stream, info).await {
            tracing::debug!(%error, "connection closed with an error");
            let is_not_http = error.downcast_ref().is_some_and(hyper::Error::is_parse);
            if is_not_http && security == TransportSecurity::Plaintext {
                self.not_http.warn();
            }
        }
    }

    /// Detects whether the connection is TLS, then serves HTTP, which may become a tunnel.
    async fn serve_detecting_tls(
        self,
        stream: Box<dyn Transport>,
        server_cert: Arc<ServerCert>,
        tunnels: Option<TunnelSender>,
    ) {
        let accepting = pin!(detect_and_accept(stream, &server_cert));
        // If the shutdown begins first, no request has begun, so none is lost.
        if let Some(Some((stream, security))) = before_shutdown(accepting, &self.shutdown).await {
            self.serve(stream, ConnectionInfo { security, tunnels }).await;
        }
    }
}

/// Serves a connection until it ends. Once the shutdown begins, it ends after the current request, or by force.
async fn serve_gracefully<C>(connection: C, shutdown: Shutdown) -> Result<(), C::Error>
where
    C: GracefulConnection,
{
    let mut connection = pin!(connection);
    if let Some(result) = before_shutdown(connection.as_mut(), &shutdown).await {
        return result;
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        result = connection => result,
        () = shutdown.wait_for(ShutdownPhase::Forced) => Ok(()),
    }
}

/// Returns the output of a future; `None` if the shutdown begins first, and the future has then been polled once more with
/// all that had arrived.
async fn before_shutdown<F: Future>(mut future: Pin<&mut F>, shutdown: &Shutdown) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = &mut future => return Some(output),
        () = shutdown.wait_for(ShutdownPhase::Graceful) => {}
    }
    tokio::select! {
        biased;
        output = future => Some(output),
        // The runtime looks for arrived data before it goes on here.
        () = yield_now() => None,
    }
}

/// Detects TLS and performs the handshake; `None` if the connection ends or times out before.
async fn detect_and_accept(
    stream: Box<dyn Transport>,
    server_cert: &ServerCert,
) -> Option<(Box<dyn Transport>, TransportSecurity)> {
    let Ok(detected) = timeout(HEADER_READ_TIMEOUT, detect_tls(stream)).await else {
        tracing::debug!("connection closed: no data received before the header timeout");
        return None;
    };
    let (security, stream) = detected?;
    let stream: Box<dyn Transport> = match security {
        TransportSecurity::Plaintext => Box::new(stream),
        TransportSecurity::Tls => match timeout(TLS_HANDSHAKE_TIMEOUT, server_cert.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => Box::new(stream),
            Ok(Err(error)) => {
                tracing::debug!(%error, "TLS handshake failed");
                return None;
            }
            Err(_elapsed) => {
                tracing::debug!("TLS handshake timed out");
                return None;
            }
        },
    };
    Some((stream, security))
}

/// Warns about clients that do not send HTTP, at most once a minute.
///
/// # Why
///
/// Most of them speak TLS to a listener without a certificate, and report only a "wrong version number". hyper does not say
/// which byte it could not parse, and looking at each connection's first byte would cost all of them.
#[derive(Debug, Default)]
struct NotHttpWarning(Mutex<Option<Instant>>);

impl NotHttpWarning {
    fn warn(&self) {
        let mut warned_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if warned_at.is_none_or(|at| at.elapsed() >= Duration::from_secs(60)) {
            *warned_at = Some(Instant::now());
            tracing::warn!(
                "a client did not send HTTP. If it speaks TLS, use http:// in the base URL of the app, or set listen.tls, with \
                 a certificate from `graphward ca`"
            );
        }
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
/// The limit for a TLS handshake with a client.
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The limit for receiving the head of a request, idle time before it included.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(600);

/// HTTP/1.1, and HTTP/2 with prior knowledge or by ALPN, with their limits.
fn http_builder(tasks: &Tasks) -> auto::Builder<Tasks> {
    let mut builder = auto::Builder::new(tasks.clone());
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
    let advice = if is_exhaustion(error) {
        "; raise LimitNOFILE or ulimit -n"
    } else {
        ""
    };
    tracing::warn!(%error, "cannot accept connections; retrying in 1 s{advice}");
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[cfg(test)]
mod tests;
