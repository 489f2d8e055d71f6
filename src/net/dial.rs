//! TCP connections by name, and the reasons why one cannot be made.
//!
//! # Why
//!
//! An operator who reads "cannot connect" looks at the network. So a name that cannot be resolved, a refusal and a lack of
//! file descriptors are told apart here, where the system's errors are.

use std::fmt;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::resolve::resolve;
use super::tls::{handshake_advice, handshake_error};
use crate::types::error_chain;

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
    /// The egress proxy denied the tunnel: a wrong password, or a host that it does not allow.
    EgressDenied,
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

/// The next address is tried after this time without an answer (RFC 8305, section 8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

// === impl ConnectFailure ===

impl ConnectFailure {
    /// Describes a connection that took longer than the limit; `state` says what had been done until then.
    #[must_use]
    pub fn timed_out(host: &str, state: &str) -> Self {
        let cause = format!("longer than upstream.connect_timeout ({state})");
        Self::new(host, ConnectFailureKind::TimedOut, cause)
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
        Self::new(host, kind, error_chain(error))
    }

    /// Describes a failure of a TLS handshake with a host, which was reached at this address.
    #[must_use]
    pub fn tls(host: &str, address: &str, error: &io::Error) -> Self {
        let kind = match handshake_error(error) {
            Some(rustls::Error::InvalidCertificate(_)) => ConnectFailureKind::Certificate,
            Some(rustls::Error::AlertReceived(_)) => ConnectFailureKind::TlsAlert,
            _ => ConnectFailureKind::Tls,
        };
        let cause = format!("{address}: {}{}", error_chain(error), handshake_advice(error));
        Self::new(host, kind, cause)
    }

    fn new(host: &str, kind: ConnectFailureKind, cause: String) -> Self {
        let host = host.to_owned();
        Self { host, kind, cause }
    }
}

// === impl ConnectFailureKind ===

impl ConnectFailureKind {
    /// What the process cannot do; the host follows.
    const fn label(self) -> &'static str {
        match self {
            Self::Name => "cannot resolve the name",
            Self::Refused | Self::EgressDenied => "cannot connect to",
            Self::Unroutable => "has no route to",
            Self::Exhausted => "lacks a file descriptor, a port or memory for a connection to",
            Self::TimedOut => "timed out connecting to",
            Self::Certificate => "cannot verify the TLS certificate of",
            Self::TlsAlert | Self::Tls => "cannot agree on TLS 1.2 or 1.3 with",
        }
    }
}

/// Opens a TCP connection for a host, to a `host:port` that may be another one: to the first of its addresses that answers
/// (RFC 8305).
///
/// # Errors
///
/// [`ConnectFailure`], [`ConnectFailureKind::TimedOut`] after `limit`.
pub async fn connect_tcp(host: &str, address: &str, limit: Duration) -> Result<TcpStream, ConnectFailure> {
    let deadline = Instant::now() + limit;
    let addresses = match timeout_at(deadline, resolve(address)).await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => {
            // The resolver needs descriptors, too, and reports a lack of them as a failure of the name server.
            return Err(match File::open("/dev/null") {
                Err(error) if is_exhaustion(&error) => ConnectFailure::tcp(host, &error),
                Ok(_) | Err(_) => ConnectFailure::new(host, ConnectFailureKind::Name, error_chain(&error)),
            });
        }
        Err(_elapsed) => {
            let cause = "the name server does not answer".to_owned();
            return Err(ConnectFailure::new(host, ConnectFailureKind::Name, cause));
        }
    };
    let mut attempts = Attempts::default();
    match timeout_at(deadline, attempts.race(&addresses)).await {
        Ok(Some(tcp)) => {
            // It fails only if the peer has closed the connection; the handshake will say so.
            drop(tcp.set_nodelay(true));
            Ok(tcp)
        }
        Ok(None) => Err(attempts.into_failure(host)),
        Err(_elapsed) => Err(ConnectFailure::timed_out(host, &attempts.to_string())),
    }
}

/// The addresses that were tried, each with the error that it failed with.
#[derive(Debug, Default)]
struct Attempts(Vec<(SocketAddr, Option<io::Error>)>);

impl Attempts {
    /// Tries one address after the other: the next one when one fails, or does not answer for [`ATTEMPT_DELAY`]. `None` if
    /// all fail.
    async fn race(&mut self, addresses: &[SocketAddr]) -> Option<TcpStream> {
        let mut running = FuturesUnordered::new();
        let mut rest = by_alternating_family(addresses).into_iter();
        loop {
            if let Some(address) = rest.next() {
                let index = self.0.len();
                self.0.push((address, None));
                running.push(async move { (index, TcpStream::connect(address).await) });
            }
            let finished = match rest.len() {
                0 => running.next().await,
                _ => match timeout(ATTEMPT_DELAY, running.next()).await {
                    Ok(finished) => finished,
                    Err(_elapsed) => continue,
                },
            };
            match finished? {
                (_, Ok(connected)) => return Some(connected),
                (index, Err(error)) => {
                    if let Some((_address, failure)) = self.0.get_mut(index) {
                        *failure = Some(error);
                    }
                }
            }
        }
    }

    fn into_failure(self, host: &str) -> ConnectFailure {
        let cause = self.to_string();
        let failures: Vec<_> = self.0.into_iter().filter_map(|(_address, failure)| failure).collect();
        let lacking = failures.iter().find(|failure| is_exhaustion(failure));
        let no_address = io::Error::from(io::ErrorKind::NotFound);
        let failure = ConnectFailure::tcp(host, lacking.or_else(|| failures.first()).unwrap_or(&no_address));
        ConnectFailure { cause, ..failure }
    }
}

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (address, failure)) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "; " })?;
            match failure {
                Some(error) => write!(f, "{address}: {}", error_chain(error))?,
                None => write!(f, "{address}: no answer")?,
            }
        }
        Ok(())
    }
}

/// The addresses in the order of RFC 8305, section 4: as the system sorted them, but with the families in turn.
fn by_alternating_family(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_first_family = |address: &&SocketAddr| Some(address.is_ipv6()) == addresses.first().map(SocketAddr::is_ipv6);
    let (mut first, mut second) = (
        addresses.iter().filter(is_first_family),
        addresses.iter().filter(|address| !is_first_family(address)),
    );
    let mut ordered = Vec::with_capacity(addresses.len());
    while ordered.len() < addresses.len() {
        ordered.extend(first.next());
        ordered.extend(second.next());
    }
    ordered
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
    use tokio::net::TcpSocket;

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

    /// A listener that accepts nothing and whose queue is full: the system drops what else arrives.
    fn silent_listener() -> (socket2::Socket, Vec<socket2::Socket>, SocketAddr) {
        let listener = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
        listener
            .bind(&SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0)).into())
            .unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let fill = || {
            let client = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            drop(client.connect(&address.into()));
            client
        };
        let queue = std::iter::repeat_with(fill).take(4).collect();
        (listener, queue, address)
    }

    /// An address that refuses connections as long as the socket lives: it is bound, so that no other test gets the port, and
    /// never listens.
    fn refusing_address() -> (TcpSocket, SocketAddr) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_delays_no_other() {
        let (_listener, _queue, silent) = silent_listener();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let alive = listener.local_addr().unwrap();
        let mut attempts = Attempts::default();
        let connected = attempts.race(&[silent, alive]).await.unwrap();
        assert_eq!(connected.peer_addr().unwrap(), alive);
        assert_eq!(attempts.to_string(), format!("{silent}: no answer; {alive}: no answer"));
        let limit = Duration::from_millis(300);
        let failure = connect_tcp("the host", &silent.to_string(), limit)
            .await
            .unwrap_err()
            .to_string();
        assert!(failure.contains(&format!("{silent}: no answer")), "{failure}");
    }

    #[tokio::test]
    async fn an_error_names_each_address_that_was_tried() {
        let ((_one, first), (_other, second)) = (refusing_address(), refusing_address());
        let mut attempts = Attempts::default();
        assert!(attempts.race(&[first, second]).await.is_none());
        let failure = attempts.into_failure("the host");
        assert_eq!(failure.kind, ConnectFailureKind::Refused);
        for address in [first, second] {
            assert!(
                failure.cause.contains(&format!("{address}: Connection refused")),
                "{failure}"
            );
        }
    }

    #[test]
    fn the_families_take_turns_and_the_first_of_the_system_begins() {
        let parse =
            |text: &str| -> Vec<SocketAddr> { text.split(' ').map(|address| address.parse().unwrap()).collect() };
        let sorted = parse("[::1]:1 [::2]:1 [::3]:1 1.1.1.1:1 2.2.2.2:1");
        assert_eq!(
            by_alternating_family(&sorted),
            parse("[::1]:1 1.1.1.1:1 [::2]:1 2.2.2.2:1 [::3]:1")
        );
        let sorted = parse("1.1.1.1:1 [::1]:1 2.2.2.2:1");
        assert_eq!(by_alternating_family(&sorted), sorted);
        assert_eq!(by_alternating_family(&[]), []);
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_not_called_unreachable() {
        // A label has at most 63 letters: the resolver knows without asking a name server.
        let address = format!("{}.invalid:443", "a".repeat(64));
        let error = connect_tcp("the name", &address, Duration::from_secs(60))
            .await
            .unwrap_err();
        assert_eq!(error.kind, ConnectFailureKind::Name, "{error}");
        let (_bound, closed) = refusing_address();
        let error = connect_tcp("the host", &closed.to_string(), Duration::from_secs(60))
            .await
            .unwrap_err();
        assert_eq!(error.kind, ConnectFailureKind::Refused, "{error}");
    }
}
