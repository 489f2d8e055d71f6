//! Addresses to listen on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Deserialize;

/// An address to listen on.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, derive_more::Display)]
#[serde(try_from = "String")]
#[schemars(extend("format" = "listen-address"))]
pub enum ListenAddr {
    /// `127.0.0.1:8080`, `[::1]:8080`; `localhost` is 127.0.0.1.
    Tcp(SocketAddr),
    /// `unix:/run/graphward/proxy.sock`.
    #[display("unix:{}", _0.display())]
    Unix(PathBuf),
}

/// A text that is not an address to listen on; the message says what to write instead.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct ListenAddrError(String);

impl ListenAddr {
    /// Returns whether the two cannot both be bound: the same socket file, or the same port on the same address or on
    /// all addresses. Port 0 means any free port and conflicts with nothing.
    #[must_use]
    pub fn conflicts_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(one), Self::Unix(two)) => one == two,
            (Self::Tcp(one), Self::Tcp(two)) => {
                let same_family = one.is_ipv4() == two.is_ipv4();
                let all = one.ip().is_unspecified() || two.ip().is_unspecified();
                one.port() != 0 && one.port() == two.port() && (one.ip() == two.ip() || (same_family && all))
            }
            (Self::Unix(_), Self::Tcp(_)) | (Self::Tcp(_), Self::Unix(_)) => false,
        }
    }

    /// The URL at which a client on this machine reaches the listener, or `unix:/path`.
    #[must_use]
    pub fn local_url(&self) -> String {
        match self.local_dial_address() {
            Self::Tcp(address) => format!("http://{address}"),
            socket @ Self::Unix(_) => socket.to_string(),
        }
    }

    /// The address at which a client on this machine reaches the listener: one on all addresses is on loopback too.
    #[must_use]
    pub fn local_dial_address(&self) -> Self {
        match self {
            Self::Unix(path) => Self::Unix(path.clone()),
            Self::Tcp(address) => {
                let ip = match address.ip() {
                    IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                    IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                    ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
                };
                Self::Tcp(SocketAddr::new(ip, address.port()))
            }
        }
    }
}

impl FromStr for ListenAddr {
    type Err = ListenAddrError;

    fn from_str(text: &str) -> Result<Self, ListenAddrError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return socket_file(path).map(Self::Unix);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Tcp(address));
        }
        if text.contains("://") {
            return wrong("must not have a scheme: write the address and the port, such as \"127.0.0.1:8080\"");
        }
        let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
        match (host, port.parse::<u16>()) {
            ("localhost", Ok(port)) => Ok(Self::Tcp((Ipv4Addr::LOCALHOST, port).into())),
            ("", Ok(port)) | ("*", Ok(port)) => wrong(format!(
                "must include an IP: \"127.0.0.1:{port}\" for this machine, \"0.0.0.0:{port}\" for all interfaces"
            )),
            (_host, Ok(_port)) if !text.starts_with('[') && !host.contains(':') => wrong(
                "must be an IP address and a port, such as \"127.0.0.1:8080\"; of hostnames, only localhost is accepted",
            ),
            (_host, Ok(_) | Err(_)) => wrong(
                "must be an IP address and a port, such as \"127.0.0.1:8080\" or \"[::1]:8080\", or a socket file, \
                 \"unix:/run/graphward/proxy.sock\"",
            ),
        }
    }
}

impl TryFrom<String> for ListenAddr {
    type Error = ListenAddrError;

    fn try_from(text: String) -> Result<Self, ListenAddrError> {
        text.parse()
    }
}

/// The longest path that the system can bind, without its closing zero.
const LONGEST_PATH: usize = 107;

fn socket_file(path: &str) -> Result<PathBuf, ListenAddrError> {
    // `unix:///run/x` is written as often as `unix:/run/x`.
    let path = path.strip_prefix("//").unwrap_or(path);
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        return wrong("must be the absolute path of a socket file, such as \"unix:/run/graphward/proxy.sock\"");
    }
    if path.len() > LONGEST_PATH {
        return wrong(format!(
            "socket path is {} bytes; the maximum is {LONGEST_PATH}",
            path.len()
        ));
    }
    Ok(Path::new(path).to_owned())
}

fn wrong<T>(what: impl Into<String>) -> Result<T, ListenAddrError> {
    Err(ListenAddrError(what.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_socket_files_are_read_and_written_back() {
        for (text, shown) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:0", "[::1]:0"),
            ("localhost:9080", "127.0.0.1:9080"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
            ("unix:///run/a.sock", "unix:/run/a.sock"),
        ] {
            assert_eq!(text.parse::<ListenAddr>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_cannot_be_listened_on_is_refused_with_what_to_write_instead() {
        for (text, words) in [
            (":8080", "127.0.0.1:8080"),
            ("*:8080", "0.0.0.0:8080"),
            ("8080", "must be an IP address and a port"),
            ("127.0.0.1", "must be an IP address and a port"),
            ("127.0.0.1:80800", "must be an IP address and a port"),
            ("::1:8080", "[::1]:8080"),
            ("", "must be an IP address and a port"),
            ("proxy.local:80", "only localhost is accepted"),
            ("http://127.0.0.1:80/", "must not have a scheme"),
            ("unix:run/a.sock", "absolute path"),
            ("unix:/run/", "absolute path"),
            ("unix:", "absolute path"),
            ("/run/a.sock", "unix:/run/graphward/proxy.sock"),
        ] {
            let error = text.parse::<ListenAddr>().unwrap_err().to_string();
            assert!(error.contains(words), "{text:?}: {error}");
        }
        let long = format!("unix:/{}", "a".repeat(107));
        assert!(long.parse::<ListenAddr>().unwrap_err().to_string().contains("107"));
    }

    #[test]
    fn listeners_clash_when_the_system_could_not_bind_both() {
        let clash = |one: &str, two: &str| {
            let (one, two) = (one.parse::<ListenAddr>().unwrap(), two.parse().unwrap());
            assert_eq!(one.conflicts_with(&two), two.conflicts_with(&one));
            one.conflicts_with(&two)
        };
        assert!(clash("127.0.0.1:80", "localhost:80"));
        assert!(clash("0.0.0.0:80", "127.0.0.1:80"));
        assert!(clash("[::]:80", "[::1]:80"));
        assert!(clash("unix:/a", "unix:/a"));
        assert!(!clash("127.0.0.1:0", "127.0.0.1:0"));
        assert!(!clash("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!clash("127.0.0.1:80", "[::1]:80"));
        assert!(!clash("unix:/a", "127.0.0.1:80"));
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_on_loopback() {
        for (listens, reached, url) in [
            ("0.0.0.0:1", "127.0.0.1:1", "http://127.0.0.1:1"),
            ("[::]:1", "[::1]:1", "http://[::1]:1"),
            ("10.0.0.1:1", "10.0.0.1:1", "http://10.0.0.1:1"),
            ("unix:/a", "unix:/a", "unix:/a"),
        ] {
            let listens: ListenAddr = listens.parse().unwrap();
            assert_eq!(listens.local_dial_address().to_string(), reached);
            assert_eq!(listens.local_url(), url);
        }
    }
}
