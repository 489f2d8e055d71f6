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
use super::identity::Identity;
use super::listen::Listener;
use super::shutter::{Phase, Shutter};
use super::sniff::{Beginning, sniff};
use super::tasks::Tasks;
use super::tunnel::{self, Tunnel, Tunnels};

/// What [`serve`] needs besides a listener and services.
#[derive(Clone)]
pub struct ServeSettings {
    /// Where connection tasks run.
    pub tasks: Tasks,
    /// Who says when to stop.
    pub shutter: Shutter,
    /// TLS for the connections.
    pub tls: Tls,
}

/// Whether connections are TLS.
#[derive(Clone, Default)]
pub enum Tls {
    /// None is.
    #[default]
    Off,
    /// All are.
    Always(TlsAcceptor),
    /// Those are that begin with a handshake; and tunnels may be asked for.
    Offered(Arc<Identity>),
}

/// What a service is told about the connection that it serves.
#[derive(Clone, Debug)]
pub struct Line {
    /// Whether it is TLS.
    pub security: Security,
    /// Where tunnels go, if it may become one.
    pub tunnels: Option<Tunnels>,
}

/// Whether a connection is TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Security {
    /// It is not.
    Plain,
    /// It is.
    Tls,
}

// === impl ServeSettings ===

impl fmt::Debug for ServeSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeSettings")
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

// === impl Tls ===

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "Off",
            Self::Always(_) => "Always",
            Self::Offered(_) => "Offered",
        })
    }
}

// === impl Security ===

impl Security {
    /// The scheme of a URL that leads here.
    #[must_use]
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Plain => "http",
            Self::Tls => "https",
        }
    }
}

/// Serves a listener until the shutter closes and the last connection has ended, or has been cut. Says how many
/// were cut. `services` makes the service of one connection.
pub async fn serve<F, S, B>(mut listener: Listener, services: F, settings: ServeSettings) -> usize
where
    F: Fn(Line) -> S + Clone + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let ServeSettings {
        tasks,
        shutter,
        tls,
    } = settings;
    let builder = Arc::new(http(&tasks));
    let graceful = GracefulShutdown::new();
    let mut connections = Connections::default();
    let (tunnels, mut dug) = match tls {
        Tls::Offered(_) => Some(Tunnels::new(tasks.clone())).unzip(),
        Tls::Off | Tls::Always(_) => (None, None),
    };
    loop {
        let (stream, tunnels) = tokio::select! {
            biased;
            () = shutter.reached(Phase::Closing) => break,
            stream = listener.accept() => match stream {
                Ok(stream) => (stream, tunnels.clone()),
                Err(error) => {
                    tokio::select! {
                        () = pause_after(&error) => {}
                        () = shutter.reached(Phase::Closing) => {}
                    }
                    continue;
                }
            },
            tunnel = next(&mut dug) => match tunnel {
                // In a tunnel there is no other.
                Tunnel::Ours(stream) => (stream, None),
                Tunnel::Through(near, far) => {
                    let watcher = graceful.watcher();
                    connections.add(tasks.spawn(async move {
                        if let Err(error) = tunnel::pass(near, far).await {
                            tracing::debug!(%error, "a tunnel ended early");
                        }
                        drop(watcher);
                    }));
                    continue;
                }
            },
        };
        let guest = Guest {
            builder: Arc::clone(&builder),
            services: services.clone(),
            watcher: graceful.watcher(),
        };
        connections.add(match &tls {
            Tls::Off => {
                let line = Line {
                    security: Security::Plain,
                    tunnels: None,
                };
                tasks.spawn(guest.serve(stream, line))
            }
            Tls::Always(acceptor) => tasks.spawn(guest.serve_tls(stream, acceptor.clone())),
            Tls::Offered(identity) => {
                let identity = Arc::clone(identity);
                tasks.spawn(guest.serve_any(stream, identity, tunnels, shutter.clone()))
            }
        });
    }
    drop((listener, dug));
    tokio::select! {
        () = graceful.shutdown() => 0,
        () = shutter.reached(Phase::Cut) => connections.cut(),
    }
}

/// The next tunnel; there is never one where none can be asked for. Cancel-safe.
async fn next(dug: &mut Option<mpsc::Receiver<Tunnel>>) -> Tunnel {
    let tunnel = match dug {
        Some(dug) => dug.recv().await,
        None => None,
    };
    match tunnel {
        Some(tunnel) => tunnel,
        None => std::future::pending().await,
    }
}

/// A connection that is about to be served.
struct Guest<F> {
    builder: Arc<auto::Builder<Tasks>>,
    services: F,
    watcher: Watcher,
}

impl<F, S, B> Guest<F>
where
    F: Fn(Line) -> S,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    async fn serve(self, stream: Box<dyn Transport>, line: Line) {
        let service = (self.services)(line);
        let connection = self
            .builder
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        ended(self.watcher.watch(connection).await);
    }

    async fn serve_tls(self, stream: Box<dyn Transport>, acceptor: TlsAcceptor) {
        let Some(stream) = handshake(stream, acceptor).await else {
            return;
        };
        let line = Line {
            security: Security::Tls,
            tunnels: None,
        };
        self.serve(stream, line).await;
    }

    /// TLS or not, as it begins; and then HTTP, which may become a tunnel.
    async fn serve_any(
        self,
        stream: Box<dyn Transport>,
        identity: Arc<Identity>,
        tunnels: Option<Tunnels>,
        shutter: Shutter,
    ) {
        let opened = tokio::select! {
            biased;
            // No request has begun, so none is lost.
            () = shutter.reached(Phase::Closing) => None,
            opened = open(stream, &identity) => opened,
        };
        let Some((stream, security)) = opened else {
            return;
        };
        let may_become_one = tunnels.is_some();
        let line = Line { security, tunnels };
        if !may_become_one {
            return self.serve(stream, line).await;
        }
        let service = (self.services)(line);
        let connection = self
            .builder
            .serve_connection_with_upgrades(TokioIo::new(stream), service)
            .into_owned();
        ended(self.watcher.watch(connection).await);
    }
}

/// The connection, once it is known what it is; none if that is not to be found out.
async fn open(
    stream: Box<dyn Transport>,
    identity: &Identity,
) -> Option<(Box<dyn Transport>, Security)> {
    let Ok(sniffed) = timeout(SLOW_HEAD, sniff(stream)).await else {
        tracing::debug!("a connection never began");
        return None;
    };
    let (beginning, stream) = sniffed?;
    match beginning {
        Beginning::Plain => Some((Box::new(stream), Security::Plain)),
        Beginning::Handshake => {
            let stream = handshake(stream, identity.acceptor()).await?;
            Some((stream, Security::Tls))
        }
    }
}

async fn handshake(
    stream: impl Transport + 'static,
    acceptor: TlsAcceptor,
) -> Option<Box<dyn Transport>> {
    match timeout(HANDSHAKE, acceptor.accept(stream)).await {
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

fn ended(how: Result<(), BoxError>) {
    if let Err(error) = how {
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
    room: usize,
}

impl Connections {
    fn add(&mut self, task: AbortHandle) {
        if self.tasks.len() >= self.room {
            self.tasks.retain(|task| !task.is_finished());
            self.room = (self.tasks.len() * 2).max(64);
        }
        self.tasks.push(task);
    }

    fn cut(self) -> usize {
        let open = self.tasks.into_iter().filter(|task| !task.is_finished());
        open.inspect(AbortHandle::abort).count()
    }
}

/// The longest a TLS handshake with a client may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The longest a connection may be silent before a request.
const SLOW_HEAD: Duration = Duration::from_secs(600);

/// What is served: HTTP/1.1, and HTTP/2 by prior knowledge.
fn http(tasks: &Tasks) -> auto::Builder<Tasks> {
    let mut builder = auto::Builder::new(tasks.clone());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(SLOW_HEAD)
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
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    ) {
        return;
    }
    tracing::warn!(%error, "cannot accept connections; trying again in a second");
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[cfg(test)]
mod tests;
