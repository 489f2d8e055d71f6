//! Serving: who may connect is heard, and how connections end.
//!
//! # Why
//!
//! One accept loop serves the proxy, the admin listener and the fake Graph. Every limit that hyper has a
//! default for is written down here all the same, so that a test can hold us to it. A slow head is bounded by
//! ten minutes, not seconds, because hyper counts an idle keep-alive connection as one whose head is slow, and
//! a connection closed under an app's pool is a request lost.
//!
//! Where TLS is offered, connections may also begin without it, and may become tunnels. Both cost something, so a
//! listener without TLS does neither: each kind has a task of its own.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::connect::Transport;
use super::error::BoxError;
use super::listen::Listener;
use super::server_cert::ServerCert;
use super::shutdown::{Shutdown, ShutdownPhase};
use super::sniff::{InitialProtocol, detect_protocol};
use super::tasks::Tasks;
use super::tunnel::{self, AcceptedTunnel, TunnelSender};

/// What [`serve`] needs besides a listener and services.
#[derive(Clone)]
pub struct ServeConfig {
    /// Where connection tasks run.
    pub tasks: Tasks,
    /// Who says when to stop.
    pub shutdown: Shutdown,
    /// TLS for the connections.
    pub tls: TlsMode,
}

/// Whether connections are TLS.
#[derive(Clone, Default)]
pub enum TlsMode {
    /// None is.
    #[default]
    Off,
    /// All are.
    Always(TlsAcceptor),
    /// Those are that begin with a handshake; and tunnels may be asked for.
    Optional(Arc<ServerCert>),
}

/// What a service is told about the connection that it serves.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Whether it is TLS.
    pub security: TransportSecurity,
    /// Where tunnels go, if it may become one.
    pub tunnels: Option<TunnelSender>,
}

/// Whether a connection is TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TransportSecurity {
    /// It is not.
    Plaintext,
    /// It is.
    Tls,
}

// === impl ServeConfig ===

impl fmt::Debug for ServeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeSettings")
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

// === impl Tls ===

impl fmt::Debug for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "Off",
            Self::Always(_) => "Always",
            Self::Optional(_) => "Offered",
        })
    }
}

// === impl TransportSecurity ===

impl TransportSecurity {
    /// The scheme of a URL that leads here.
    #[must_use]
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Plaintext => "http",
            Self::Tls => "https",
        }
    }
}

/// Serves a listener until the shutter closes and the last connection has ended, or has been cut. Says how many
/// were cut. `make_service` makes the service of one connection.
pub async fn serve<F, S, B>(mut listener: Listener, make_service: F, config: ServeConfig) -> usize
where
    F: Fn(ConnectionInfo) -> S + Clone + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let ServeConfig { tasks, shutdown, tls } = config;
    let builder = Arc::new(http_builder(&tasks));
    let graceful = GracefulShutdown::new();
    let mut connections = Connections::default();
    let (tunnels, mut tunnel_rx) = match tls {
        TlsMode::Optional(_) => Some(TunnelSender::new(tasks.clone())).unzip(),
        TlsMode::Off | TlsMode::Always(_) => (None, None),
    };
    loop {
        let (stream, tunnels) = tokio::select! {
            biased;
            () = shutdown.wait_for(ShutdownPhase::Graceful) => break,
            stream = listener.accept() => match stream {
                Ok(stream) => (stream, tunnels.clone()),
                Err(error) => {
                    tokio::select! {
                        () = pause_after_accept_error(&error) => {}
                        () = shutdown.wait_for(ShutdownPhase::Graceful) => {}
                    }
                    continue;
                }
            },
            tunnel = next_tunnel(&mut tunnel_rx) => match tunnel {
                // In a tunnel there is no other.
                AcceptedTunnel::Terminated(stream) => (stream, None),
                AcceptedTunnel::Passthrough(client, upstream) => {
                    let watcher = graceful.watcher();
                    connections.add(tasks.spawn(async move {
                        if let Err(error) = tunnel::copy_bidirectional(client, upstream).await {
                            tracing::debug!(%error, "a tunnel ended early");
                        }
                        drop(watcher);
                    }));
                    continue;
                }
            },
        };
        let connection = ConnectionServer {
            builder: Arc::clone(&builder),
            make_service: make_service.clone(),
            watcher: graceful.watcher(),
        };
        connections.add(match &tls {
            TlsMode::Off => {
                let info = ConnectionInfo {
                    security: TransportSecurity::Plaintext,
                    tunnels: None,
                };
                tasks.spawn(connection.serve(stream, info))
            }
            TlsMode::Always(acceptor) => tasks.spawn(connection.serve_tls(stream, acceptor.clone())),
            TlsMode::Optional(server_cert) => {
                let server_cert = Arc::clone(server_cert);
                tasks.spawn(connection.serve_detecting_tls(stream, server_cert, tunnels, shutdown.clone()))
            }
        });
    }
    drop((listener, tunnel_rx));
    tokio::select! {
        () = graceful.shutdown() => 0,
        () = shutdown.wait_for(ShutdownPhase::Forced) => connections.abort_all(),
    }
}

/// The next tunnel; there is never one where none can be asked for. Cancel-safe.
async fn next_tunnel(tunnel_rx: &mut Option<mpsc::Receiver<AcceptedTunnel>>) -> AcceptedTunnel {
    let tunnel = match tunnel_rx {
        Some(dug) => dug.recv().await,
        None => None,
    };
    match tunnel {
        Some(tunnel) => tunnel,
        None => std::future::pending().await,
    }
}

/// A connection that is about to be served.
struct ConnectionServer<F> {
    builder: Arc<auto::Builder<Tasks>>,
    make_service: F,
    watcher: Watcher,
}

impl<F, S, B> ConnectionServer<F>
where
    F: Fn(ConnectionInfo) -> S,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    async fn serve(self, stream: Box<dyn Transport>, info: ConnectionInfo) {
        let service = (self.make_service)(info);
        let connection = self
            .builder
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        log_connection_result(self.watcher.watch(connection).await);
    }

    async fn serve_tls(self, stream: Box<dyn Transport>, acceptor: TlsAcceptor) {
        let Some(stream) = accept_tls(stream, acceptor).await else {
            return;
        };
        let info = ConnectionInfo {
            security: TransportSecurity::Tls,
            tunnels: None,
        };
        self.serve(stream, info).await;
    }

    /// TLS or not, as it begins; and then HTTP, which may become a tunnel.
    async fn serve_detecting_tls(
        self,
        stream: Box<dyn Transport>,
        server_cert: Arc<ServerCert>,
        tunnels: Option<TunnelSender>,
        shutdown: Shutdown,
    ) {
        let accepted = tokio::select! {
            biased;
            // No request has begun, so none is lost.
            () = shutdown.wait_for(ShutdownPhase::Graceful) => None,
            opened = detect_and_accept(stream, &server_cert) => opened,
        };
        let Some((stream, security)) = accepted else {
            return;
        };
        let allows_tunnels = tunnels.is_some();
        let info = ConnectionInfo { security, tunnels };
        if !allows_tunnels {
            return self.serve(stream, info).await;
        }
        let service = (self.make_service)(info);
        let connection = self
            .builder
            .serve_connection_with_upgrades(TokioIo::new(stream), service)
            .into_owned();
        log_connection_result(self.watcher.watch(connection).await);
    }
}

/// The connection, once it is known what it is; none if that is not to be found out.
async fn detect_and_accept(
    stream: Box<dyn Transport>,
    server_cert: &ServerCert,
) -> Option<(Box<dyn Transport>, TransportSecurity)> {
    let Ok(detected) = timeout(HEADER_READ_TIMEOUT, detect_protocol(stream)).await else {
        tracing::debug!("a connection never began");
        return None;
    };
    let (protocol, stream) = detected?;
    match protocol {
        InitialProtocol::Plaintext => Some((Box::new(stream), TransportSecurity::Plaintext)),
        InitialProtocol::Tls => {
            let stream = accept_tls(stream, server_cert.acceptor()).await?;
            Some((stream, TransportSecurity::Tls))
        }
    }
}

async fn accept_tls(stream: impl Transport + 'static, acceptor: TlsAcceptor) -> Option<Box<dyn Transport>> {
    match timeout(TLS_HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(Box::new(stream)),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
        Err(_elapsed) => {
            tracing::debug!("a TLS handshake took too long");
            None
        }
    }
}

fn log_connection_result(result: Result<(), BoxError>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// The tasks of open connections.
///
/// # Why
///
/// They are cut by aborting them, so that no connection has to look, at each of its wake-ups, whether it is to
/// end.
#[derive(Debug, Default)]
struct Connections {
    tasks: Vec<AbortHandle>,
    /// How many there may be before those that have ended are let go.
    prune_threshold: usize,
}

impl Connections {
    fn add(&mut self, task: AbortHandle) {
        if self.tasks.len() >= self.prune_threshold {
            self.tasks.retain(|task| !task.is_finished());
            self.prune_threshold = (self.tasks.len() * 2).max(64);
        }
        self.tasks.push(task);
    }

    fn abort_all(self) -> usize {
        let open = self.tasks.into_iter().filter(|task| !task.is_finished());
        open.inspect(AbortHandle::abort).count()
    }
}

/// The longest a TLS handshake with a client may take.
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest a connection may be silent before a request.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(600);

/// What is served: HTTP/1.1, and HTTP/2 by prior knowledge.
fn http_builder(tasks: &Tasks) -> auto::Builder<Tasks> {
    let mut builder = auto::Builder::new(tasks.clone());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        // An app that closes is gone, and its request with it: one that gave up waiting for a newer token sends again,
        // and both must not be sent. Clients of HTTP do not half-close; one that does is taken for gone.
        .half_close(false)
        // `max_headers` stays at hyper's 100 (431 past it): naming the same number would cost an allocation per
        // request. The buffer has to hold a whole head, so it also bounds that; `proxy::arrival` is stricter.
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

/// Waits after a failed accept. A connection that vanished is nobody's fault; anything else (no descriptors
/// left) would come back at once and turn the loop into a busy one.
async fn pause_after_accept_error(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        return;
    }
    tracing::warn!(%error, "cannot accept connections; trying again in a second");
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[cfg(test)]
mod tests;
