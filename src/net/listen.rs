//! Listeners: who may connect, how connections are served, and how they end.
//!
//! # Why
//!
//! One accept loop serves the proxy, the admin listener and the fake Graph. Every limit that hyper has a
//! default for is written down here all the same, so that a test can hold us to it. A slow head is bounded by
//! ten minutes, not seconds, because hyper counts an idle keep-alive connection as one whose head is slow, and
//! a connection closed under an app's pool is a request lost.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use super::connect::Transport;
use super::error::BoxError;
use super::tasks::Tasks;

/// A bound place where connections arrive.
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
    Pipe(mpsc::Receiver<DuplexStream>),
}

/// Removes a Unix socket's file when its listener goes.
#[derive(Debug)]
struct SocketFile(PathBuf);

/// The way into a [`Listener::pipe`].
#[derive(Clone, Debug)]
pub struct Door(mpsc::Sender<DuplexStream>);

/// Closes listeners and their connections: first politely, then not.
#[derive(Clone, Debug)]
pub struct Shutter(watch::Sender<Phase>);

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Phase {
    Open,
    Closing,
    Cut,
}

/// What [`serve`] needs besides a listener and a service.
#[derive(Clone)]
pub struct ServeSettings {
    /// Where connection tasks run.
    pub tasks: Tasks,
    /// Who says when to stop.
    pub shutter: Shutter,
    /// TLS for the connections, or none.
    pub tls: Option<TlsAcceptor>,
}

// === impl Listener ===

impl Listener {
    /// Listens on a TCP address.
    ///
    /// # Errors
    ///
    /// What the system says: the port is taken, the address is not ours, …
    pub async fn tcp(address: SocketAddr) -> io::Result<Self> {
        Ok(Self(Kind::Tcp(TcpListener::bind(address).await?)))
    }

    /// Listens on a Unix socket. A socket file that nobody listens on any more is replaced; any other file is
    /// not.
    ///
    /// # Errors
    ///
    /// What the system says; [`io::ErrorKind::AddrInUse`] if somebody listens there, or the file is no socket.
    pub async fn unix(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::FileTypeExt as _;
        let stale = match tokio::fs::symlink_metadata(path).await {
            Ok(file) if file.file_type().is_socket() => {
                // Any other failure (no permission, a queue that is full) says that somebody is there.
                let connected = tokio::net::UnixStream::connect(path).await;
                connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
            }
            Ok(_not_a_socket) => false,
            Err(_absent) => false,
        };
        if stale {
            tokio::fs::remove_file(path).await?;
        }
        Ok(Self(Kind::Unix(
            UnixListener::bind(path)?,
            SocketFile(path.to_owned()),
        )))
    }

    /// An in-memory listener and the door to it, for tests that own time.
    #[must_use]
    pub fn pipe() -> (Self, Door) {
        let (door, pipes) = mpsc::channel(64);
        (Self(Kind::Pipe(pipes)), Door(door))
    }

    /// Where it listens, if on TCP.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kind::Tcp(listener) => listener.local_addr().ok(),
            Kind::Unix(..) | Kind::Pipe(_) => None,
        }
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Transport>> {
        Ok(match &mut self.0 {
            Kind::Tcp(listener) => {
                let (stream, _peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Kind::Unix(listener, _file) => Box::new(listener.accept().await?.0),
            Kind::Pipe(pipes) => match pipes.recv().await {
                Some(pipe) => Box::new(pipe),
                // All doors are gone: nobody will come, and nobody is told.
                None => std::future::pending().await,
            },
        })
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "http://{address}"),
                Err(_unknown) => f.write_str("tcp"),
            },
            Kind::Unix(_, file) => write!(f, "unix:{}", file.0.display()),
            Kind::Pipe(_) => f.write_str("pipe"),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

// === impl Door ===

impl Door {
    /// Connects. The listener's end is served like any other connection.
    pub async fn connect(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        // A listener that is gone refuses by dropping its end, as a closed socket would.
        drop(self.0.send(theirs).await);
        ours
    }
}

// === impl Shutter ===

impl Shutter {
    /// Open.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(Phase::Open))
    }

    /// Stop accepting; HTTP/1 connections close after the request in hand, HTTP/2 ones get GOAWAY.
    pub fn close(&self) {
        self.enter(Phase::Closing);
    }

    /// Cut what is left.
    pub fn cut(&self) {
        self.enter(Phase::Cut);
    }

    fn enter(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let later = phase > *now;
            *now = phase.max(*now);
            later
        });
    }

    async fn reached(&self, phase: Phase) {
        // The sender is `self`, so the channel cannot be closed while this waits.
        drop(self.0.subscribe().wait_for(|now| *now >= phase).await);
    }
}

impl Default for Shutter {
    fn default() -> Self {
        Self::new()
    }
}

// === impl ServeSettings ===

impl fmt::Debug for ServeSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeSettings")
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

/// Serves a listener until the shutter closes and the last connection has ended, or has been cut. Says how many
/// were cut.
pub async fn serve<S, B>(mut listener: Listener, service: S, settings: ServeSettings) -> usize
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
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
    loop {
        let stream = tokio::select! {
            biased;
            () = shutter.reached(Phase::Closing) => break,
            stream = listener.accept() => stream,
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                tokio::select! {
                    () = pause_after(&error) => {}
                    () = shutter.reached(Phase::Closing) => {}
                }
                continue;
            }
        };
        let (builder, service) = (Arc::clone(&builder), service.clone());
        let (watcher, tls) = (graceful.watcher(), tls.clone());
        connections.add(tasks.spawn(async move {
            let stream: Box<dyn Transport> = match tls {
                None => stream,
                Some(tls) => match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                    Ok(Ok(stream)) => Box::new(stream),
                    Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
                    Err(_elapsed) => return tracing::debug!("a TLS handshake took too long"),
                },
            };
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            if let Err(error) = watcher.watch(connection.into_owned()).await {
                tracing::debug!(%error, "a connection ended early");
            }
        }));
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => 0,
        () = shutter.reached(Phase::Cut) => connections.cut(),
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

/// What is served: HTTP/1.1, and HTTP/2 by prior knowledge.
fn http(tasks: &Tasks) -> auto::Builder<Tasks> {
    let mut builder = auto::Builder::new(tasks.clone());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(600))
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
mod tests {
    use tokio::net::{UnixSocket, UnixStream};

    use super::*;

    #[tokio::test]
    async fn a_socket_file_is_replaced_only_if_nobody_listens_there() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        let listener = Listener::unix(&path).await.unwrap();
        let taken = || async { Listener::unix(&path).await.unwrap_err().kind() };
        assert_eq!(taken().await, io::ErrorKind::AddrInUse);
        drop(listener);
        assert!(!path.exists());

        // Somebody who is too busy to accept is somebody.
        let busy = UnixSocket::new_stream().unwrap();
        busy.bind(&path).unwrap();
        let _busy = busy.listen(0).unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = UnixStream::connect(&path).await {
            waiting.push(stream);
        }
        assert_eq!(taken().await, io::ErrorKind::AddrInUse);
    }
}
