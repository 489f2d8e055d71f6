//! TCP connections by name, and the reasons why one cannot be made.
//!
//! # Why
//!
//! An operator who reads "cannot connect" looks at the network. So a name that cannot be resolved, a refusal and a lack of
//! file descriptors are told apart here, where the system's errors are.

use std::fs::File;
use std::io;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// A connection that failed, as it is reported to people and programs.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{} {host}: {cause}", .kind.label())]
pub struct ConnectFailure {
    /// The host.
    pub host: String,
    /// The kind of failure.
    pub kind: ConnectFailureKind,
    /// The error of the system, of the resolver or of TLS.
    pub cause: String,
}

/// The reason why a connection failed; TLS failures are told apart as RFC 9209 does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConnectFailureKind {
    /// The name has no address, or the name server did not answer.
    Name,
    /// The host, or a firewall before it, refused.
    Refused,
    /// There is no route.
    Unroutable,
    /// The process or the machine has no file descriptor, port or memory left for a connection.
    Exhausted,
    /// It took longer than the limit.
    TimedOut,
    /// The certificate cannot be verified.
    Certificate,
    /// The host ended the TLS handshake.
    TlsAlert,
    /// The host has no TLS, or no version of it that is supported; or the URL is not `https`: a token is never sent in plaintext.
    Tls,
}

// === impl ConnectFailure ===

impl ConnectFailure {
    /// Describes a connection that took longer than the limit.
    #[must_use]
    pub fn timed_out(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            kind: ConnectFailureKind::TimedOut,
            cause: "longer than upstream.connect_timeout".to_owned(),
        }
    }

    /// Describes a failure of TCP.
    #[must_use]
    pub fn tcp(host: &str, error: &io::Error) -> Self {
        use io::ErrorKind::{HostUnreachable, NetworkUnreachable};
        let kind = if is_exhaustion(error) {
            ConnectFailureKind::Exhausted
        } else if matches!(error.kind(), HostUnreachable | NetworkUnreachable) {
            ConnectFailureKind::Unroutable
        } else {
            ConnectFailureKind::Refused
        };
        Self::new(host, kind, error)
    }

    /// Describes a failure of a TLS handshake.
    #[must_use]
    pub fn tls(host: &str, error: &io::Error) -> Self {
        let kind = match error.get_ref().and_then(|cause| cause.downcast_ref()) {
            Some(rustls::Error::InvalidCertificate(_)) => ConnectFailureKind::Certificate,
            Some(rustls::Error::AlertReceived(_)) => ConnectFailureKind::TlsAlert,
            _ => ConnectFailureKind::Tls,
        };
        Self::new(host, kind, error)
    }

    fn new(host: &str, kind: ConnectFailureKind, error: &io::Error) -> Self {
        Self {
            host: host.to_owned(),
            kind,
            cause: error.to_string(),
        }
    }
}

// === impl ConnectFailureKind ===

impl ConnectFailureKind {
    /// What the process cannot do; the host follows.
    const fn label(self) -> &'static str {
        match self {
            Self::Name => "cannot resolve the name",
            Self::Refused => "cannot connect to",
            Self::Unroutable => "has no route to",
            Self::Exhausted => {
                "lacks a file descriptor (raise LimitNOFILE or ulimit -n), a port or memory for a connection to"
            }
            Self::TimedOut => "timed out connecting to",
            Self::Certificate => "cannot verify the TLS certificate of",
            Self::TlsAlert | Self::Tls => "cannot agree on TLS 1.2 or 1.3 with",
        }
    }
}

/// Opens a TCP connection for a host, to a `host:port` that may be another one.
///
/// # Errors
///
/// [`ConnectFailure`], [`ConnectFailureKind::TimedOut`] after `limit`.
pub async fn connect_tcp(host: &str, address: &str, limit: Duration) -> Result<TcpStream, ConnectFailure> {
    let connected = timeout(limit, resolve_and_connect(host, address)).await;
    connected.unwrap_or_else(|_elapsed| Err(ConnectFailure::timed_out(host)))
}

async fn resolve_and_connect(host: &str, address: &str) -> Result<TcpStream, ConnectFailure> {
    let addresses: Vec<_> = match lookup_host(address).await {
        Ok(addresses) => addresses.collect(),
        // The resolver needs descriptors, too, and reports a lack of them as a failure of the name server.
        Err(error) => {
            return Err(match File::open("/dev/null") {
                Err(error) if is_exhaustion(&error) => ConnectFailure::tcp(host, &error),
                Ok(_) | Err(_) => ConnectFailure::new(host, ConnectFailureKind::Name, &error),
            });
        }
    };
    let connected = TcpStream::connect(&*addresses).await;
    let connected = connected.and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp));
    connected.map_err(|error| ConnectFailure::tcp(host, &error))
}

/// Returns whether the system lacks something of its own for a connection, whatever the network is like.
pub(super) fn is_exhaustion(error: &io::Error) -> bool {
    let Some(errno) = Errno::from_io_error(error) else {
        return false;
    };
    matches!(
        errno,
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::ADDRNOTAVAIL
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_lacks_is_not_a_fault_of_the_network() {
        for (errno, expected) in [
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::ADDRNOTAVAIL, true),
            (Errno::NOBUFS, true),
            (Errno::CONNREFUSED, false),
            (Errno::HOSTUNREACH, false),
            (Errno::ACCESS, false),
        ] {
            assert_eq!(is_exhaustion(&errno.into()), expected, "{errno:?}");
        }
        assert!(!is_exhaustion(&io::Error::other(
            "failed to lookup address information"
        )));
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_not_called_unreachable() {
        // A label has at most 63 letters: the resolver knows without asking a name server.
        let address = format!("{}.invalid:443", "a".repeat(64));
        let error = connect_tcp("the name", &address, Duration::from_secs(60))
            .await
            .unwrap_err();
        assert_eq!(error.kind, ConnectFailureKind::Name, "{error}");
        let closed = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let error = connect_tcp("the host", &closed.to_string(), Duration::from_secs(60))
            .await
            .unwrap_err();
        assert_eq!(error.kind, ConnectFailureKind::Refused, "{error}");
    }
}
