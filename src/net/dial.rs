//! TCP connections by name, and the reasons why one cannot be made.
//!
//! # Why
//!
//! An operator who reads "cannot connect" looks at the network. So a name that cannot be resolved, a refusal and a lack of
//! file descriptors are told apart here, where the system's errors are.

use std::fmt;
use std::fs::File;
use std::io;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// The reason why a connection failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is not `https`: a token is never sent in plaintext.
    #[error("only https is allowed")]
    NotHttps,
    /// The name has no address, or the name server did not answer.
    #[error("cannot resolve {address}")]
    Resolve {
        /// The address, with the name in it.
        address: String,
        /// The resolver's error.
        source: io::Error,
    },
    /// TCP failed.
    #[error("cannot connect to {address}")]
    Unreachable {
        /// The address.
        address: String,
        /// The system's error.
        source: io::Error,
    },
    /// The process or the machine has no file descriptor, port or memory left for a connection.
    #[error("no file descriptor, port or memory is left for a connection to {address}")]
    Exhausted {
        /// The address.
        address: String,
        /// The system's error.
        source: io::Error,
    },
    /// The certificate is not valid for the host, or the server does not support TLS 1.2 or 1.3.
    #[error("TLS handshake with {host} failed")]
    Tls {
        /// The host name that the certificate has to have.
        host: String,
        /// The error of rustls.
        source: io::Error,
    },
    /// The time limit passed.
    #[error("timed out connecting to {address}")]
    TimedOut {
        /// The address.
        address: String,
    },
}

/// A connection that failed, as it is reported to people and programs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectFailure {
    /// The host.
    pub host: String,
    /// The kind of failure.
    pub kind: ConnectFailureKind,
    /// The error of the system, of the resolver or of TLS.
    pub cause: String,
}

/// The kind of a failed connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConnectFailureKind {
    /// The name cannot be resolved.
    Name,
    /// The host, or a firewall before it, refused.
    Refused,
    /// There is no route.
    Unroutable,
    /// The process or the machine lacks something.
    Exhausted,
    /// It took too long.
    TimedOut,
    /// The certificate cannot be verified.
    Certificate,
    /// The host ended the TLS handshake.
    TlsAlert,
    /// The host has no TLS, or no version of it that is supported.
    Tls,
}

// === impl ConnectError ===

impl ConnectError {
    /// Describes the failure to connect to a host; TLS failures are told apart as RFC 9209 does.
    #[must_use]
    pub fn to_failure(&self, host: String) -> ConnectFailure {
        use io::ErrorKind::{HostUnreachable, NetworkUnreachable};
        let kind = match self {
            Self::NotHttps => ConnectFailureKind::Tls,
            Self::Resolve { .. } => ConnectFailureKind::Name,
            Self::Unreachable { source, .. } if matches!(source.kind(), HostUnreachable | NetworkUnreachable) => {
                ConnectFailureKind::Unroutable
            }
            Self::Unreachable { .. } => ConnectFailureKind::Refused,
            Self::Exhausted { .. } => ConnectFailureKind::Exhausted,
            Self::TimedOut { .. } => ConnectFailureKind::TimedOut,
            Self::Tls { source, .. } => match source.get_ref().and_then(|cause| cause.downcast_ref()) {
                Some(rustls::Error::InvalidCertificate(_)) => ConnectFailureKind::Certificate,
                Some(rustls::Error::AlertReceived(_)) => ConnectFailureKind::TlsAlert,
                _ => ConnectFailureKind::Tls,
            },
        };
        let cause = match self {
            Self::TimedOut { .. } => "longer than upstream.connect_timeout".to_owned(),
            Self::NotHttps => self.to_string(),
            Self::Resolve { source, .. }
            | Self::Unreachable { source, .. }
            | Self::Exhausted { source, .. }
            | Self::Tls { source, .. } => source.to_string(),
        };
        ConnectFailure { host, kind, cause }
    }
}

// === impl ConnectFailure ===

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ConnectFailureKind::Name => "cannot resolve the name",
            ConnectFailureKind::Refused => "cannot connect to",
            ConnectFailureKind::Unroutable => "has no route to",
            ConnectFailureKind::Exhausted => {
                "lacks a file descriptor (raise LimitNOFILE or ulimit -n), a port or memory for a connection to"
            }
            ConnectFailureKind::TimedOut => "timed out connecting to",
            ConnectFailureKind::Certificate => "cannot verify the TLS certificate of",
            ConnectFailureKind::TlsAlert | ConnectFailureKind::Tls => "cannot agree on TLS 1.2 or 1.3 with",
        };
        write!(f, "{what} {}: {}", self.host, self.cause)
    }
}

/// Opens a TCP connection to `host:port`.
///
/// # Errors
///
/// [`ConnectError::Resolve`], [`ConnectError::Unreachable`] or [`ConnectError::Exhausted`], or [`ConnectError::TimedOut`]
/// after `limit`.
pub async fn connect_tcp(address: &str, limit: Duration) -> Result<TcpStream, ConnectError> {
    let connected = timeout(limit, resolve_and_connect(address)).await;
    connected.unwrap_or_else(|_elapsed| {
        Err(ConnectError::TimedOut {
            address: address.to_owned(),
        })
    })
}

async fn resolve_and_connect(address: &str) -> Result<TcpStream, ConnectError> {
    let to = || address.to_owned();
    let addresses: Vec<_> = match lookup_host(address).await {
        Ok(addresses) => addresses.collect(),
        // The resolver needs descriptors, too, and reports a lack of them as a failure of the name server.
        Err(source) => {
            let address = to();
            return Err(match File::open("/dev/null") {
                Err(source) if is_exhaustion(&source) => ConnectError::Exhausted { address, source },
                Ok(_) | Err(_) => ConnectError::Resolve { address, source },
            });
        }
    };
    let connected = TcpStream::connect(&*addresses).await;
    let connected = connected.and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp));
    connected.map_err(|source| match to() {
        address if is_exhaustion(&source) => ConnectError::Exhausted { address, source },
        address => ConnectError::Unreachable { address, source },
    })
}

/// Returns whether the system lacks something of its own for a connection, whatever the network is like.
fn is_exhaustion(error: &io::Error) -> bool {
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
        let error = connect_tcp(&address, Duration::from_secs(60)).await.unwrap_err();
        assert!(matches!(error, ConnectError::Resolve { .. }), "{error:?}");
        let closed = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let error = connect_tcp(&closed.to_string(), Duration::from_secs(60))
            .await
            .unwrap_err();
        assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    }
}
