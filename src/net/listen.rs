//! Listeners.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use tempfile::TempPath;
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, UnixListener, UnixSocket};
use tokio::sync::mpsc;

use super::connect::Transport;
use super::listen_addr::ListenAddr;
use super::server_cert::TlsFiles;
use super::socket_mode::SocketMode;
use crate::types::OneOrMany;

/// Where graphward listens, and for whom.
#[derive(Clone, Debug, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenConfig {
    /// The addresses that the app connects to, one or a list: `IP:PORT` or `unix:/path`.
    #[schemars(with = "OneOrMany<ListenAddr>")]
    pub proxy: Vec<ListenAddr>,
    /// The address that operators connect to: health and metrics.
    pub admin: ListenAddr,
    /// The permissions of Unix sockets, in octal.
    pub socket_mode: SocketMode,
    /// The most connections of the app at a time, on each of its addresses, 1 to 1000000. Past it, the oldest idle one is
    /// closed, or else one that waits for the head of a request; if all have requests, the new one is refused.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: NonZeroU32,
    /// How long a client may read nothing of a response before it is given up, 1ms to 1d.
    #[schemars(extend("formatMinimum" = "1ms", "formatMaximum" = "1d"))]
    pub send_timeout: Duration,
    /// Host names that the app may use besides loopback names, the listeners' own and the upstream's.
    #[schemars(extend("format" = "host"))]
    pub allowed_hosts: Vec<String>,
    /// The certificate for clients that insist on https.
    pub tls: Option<TlsFiles>,
    /// Further hosts, on port 443, that CONNECT is passed through to, without a token.
    #[schemars(extend("format" = "host"))]
    pub tunnel_hosts: Vec<String>,
    /// How far CONNECT reaches. It is not a key: only `graphward exec` widens it, for its own child.
    #[serde(skip)]
    pub tunnel_scope: TunnelScope,
}

/// The hosts that CONNECT is passed through to, besides those of Graph, whose tunnels end in graphward.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TunnelScope {
    /// Port 443 of the hosts of `tunnel_hosts`.
    #[default]
    Listed,
    /// Every port of every host, for a client that could connect to them itself.
    AnyHost,
}

/// A bound TCP, Unix or in-memory listener.
#[derive(Debug)]
pub struct Listener(ListenerKind);

#[derive(Debug)]
enum ListenerKind {
    Tcp(TcpListener),
    /// Dropping the path removes the socket file.
    Unix(UnixListener, TempPath),
    InMemory(mpsc::Receiver<DuplexStream>),
}

/// An accepted connection.
pub(super) struct Accepted {
    pub(super) transport: Box<dyn Transport>,
    /// The user id of the process that connected, over a Unix socket.
    pub(super) peer_uid: Option<u32>,
    /// The address that connected, over TCP.
    pub(super) peer_address: Option<SocketAddr>,
}

/// The number of connections that may wait to be accepted, as the standard library has it.
const BACKLOG: u32 = 1024;

/// Connects to a [`Listener::in_memory`].
#[derive(Clone, Debug)]
pub struct InMemoryConnector(mpsc::Sender<DuplexStream>);

/// Returns why an address cannot be bound, and what to do, as the end of a message that names it.
#[must_use]
pub fn bind_advice(error: &io::Error) -> &'static str {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, AlreadyExists, NotFound, PermissionDenied};
    const ADVICE: [(io::ErrorKind, &str); 5] = [
        (
            AddrInUse,
            ", where another process listens; stop it, if it is an earlier graphward, or set another address",
        ),
        (AlreadyExists, ", which is a file; remove it, or set another path"),
        (AddrNotAvailable, ", which is not an address of this machine"),
        (NotFound, ", in a directory that does not exist; create it"),
        (PermissionDenied, "; ports below 1024 need CAP_NET_BIND_SERVICE"),
    ];
    let known = ADVICE.iter().find(|(kind, _)| *kind == error.kind());
    known.map_or("", |(_, advice)| advice)
}

// === impl Listener ===

impl Listener {
    /// Listens on a TCP address.
    ///
    /// # Errors
    ///
    /// The system's error: the port is in use, the address is not local, …
    pub async fn tcp(address: SocketAddr) -> io::Result<Self> {
        Ok(Self(ListenerKind::Tcp(TcpListener::bind(address).await?)))
    }

    /// Listens on a Unix socket with these permissions, whatever the umask. A stale socket file, on which no process listens, is replaced; any other file is not.
    ///
    /// # Errors
    ///
    /// The system's error; [`io::ErrorKind::AddrInUse`] if a process listens there, [`io::ErrorKind::AlreadyExists`] if the
    /// file is not a socket.
    pub async fn unix(path: &Path, mode: SocketMode) -> io::Result<Self> {
        use std::os::unix::fs::FileTypeExt as _;
        let stale = match tokio::fs::symlink_metadata(path).await {
            Ok(file) if file.file_type().is_socket() => {
                // Any other error (no permission, a full backlog) means that a process listens.
                let connected = tokio::net::UnixStream::connect(path).await;
                connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
            }
            Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => false,
        };
        if stale {
            tokio::fs::remove_file(path).await?;
        }
        let socket = UnixSocket::new_stream()?;
        socket.bind(path)?;
        let file = TempPath::try_from_path(path)?;
        // No process can connect before `listen`, so none connects by the permissions of the umask.
        tokio::fs::set_permissions(path, mode.permissions()).await?;
        let listener = socket.listen(BACKLOG)?;
        Ok(Self(ListenerKind::Unix(listener, file)))
    }

    /// An in-memory listener and its connector, for tests with paused time.
    #[must_use]
    pub fn in_memory() -> (Self, InMemoryConnector) {
        let (sender, receiver) = mpsc::channel(64);
        (Self(ListenerKind::InMemory(receiver)), InMemoryConnector(sender))
    }

    /// Returns the TCP address, if it is a TCP listener.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.0 {
            ListenerKind::Tcp(listener) => listener.local_addr().ok(),
            ListenerKind::Unix(..) | ListenerKind::InMemory(_) => None,
        }
    }

    /// Accepts the next connection. Cancel-safe.
    pub(super) async fn accept(&mut self) -> io::Result<Accepted> {
        let (mut peer_uid, mut peer_address) = (None, None);
        let transport: Box<dyn Transport> = match &mut self.0 {
            ListenerKind::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                peer_address = Some(peer);
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            ListenerKind::Unix(listener, _file) => {
                let (stream, _peer) = listener.accept().await?;
                peer_uid = stream.peer_cred().ok().map(|peer| peer.uid());
                Box::new(stream)
            }
            ListenerKind::InMemory(receiver) => match receiver.recv().await {
                Some(pipe) => Box::new(pipe),
                // All connectors are dropped: no connection will come.
                None => std::future::pending().await,
            },
        };
        Ok(Accepted {
            transport,
            peer_uid,
            peer_address,
        })
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ListenerKind::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "http://{address}"),
                Err(_unknown) => f.write_str("tcp"),
            },
            ListenerKind::Unix(_, file) => write!(f, "unix:{}", file.display()),
            ListenerKind::InMemory(_) => f.write_str("pipe"),
        }
    }
}

// === impl InMemoryConnector ===

impl InMemoryConnector {
    /// Connects. The listener serves its end like any other connection.
    pub async fn connect(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(64 * 1024);
        // If the listener is gone, its end is dropped, as with a closed socket.
        drop(self.0.send(server).await);
        client
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn a_socket_file_is_replaced_only_if_no_process_listens_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        let listener = Listener::unix(&path, SocketMode::GROUP).await.unwrap();
        let bind_error = || async { Listener::unix(&path, SocketMode::GROUP).await.unwrap_err().kind() };
        assert_eq!(bind_error().await, io::ErrorKind::AddrInUse);
        drop(listener);
        assert!(!path.exists());

        // A process that is too busy to accept still listens.
        let busy = UnixSocket::new_stream().unwrap();
        busy.bind(&path).unwrap();
        let _busy = busy.listen(0).unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = UnixStream::connect(&path).await {
            waiting.push(stream);
        }
        assert_eq!(bind_error().await, io::ErrorKind::AddrInUse);
    }
}
