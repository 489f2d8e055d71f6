//! Names of hosts, and the addresses that are dialed in their place, as people write them.

use std::borrow::Cow;

use http::uri::Authority;
use rustls::pki_types::ServerName;

/// A text that is not the name of a host, or not one with a port as it must be; the message says what to write.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct HostNameError(String);

/// Reads the name of a host, without a port.
///
/// # Errors
///
/// [`HostNameError`] if it has a port, or is not a name.
pub fn host_name(text: &str) -> Result<String, HostNameError> {
    match split(text) {
        Some((name, None)) => Ok(name),
        Some((_name, Some(_port))) => wrong("must be a name without a port, such as \"graph.facebook.com\""),
        None => wrong("must be a host name, such as \"graph.facebook.com\""),
    }
}

/// Reads the name of a host without the brackets of an IPv6 address, as the connector looks it up.
///
/// # Errors
///
/// As [`host_name`].
pub fn dialed_host_name(text: &str) -> Result<String, HostNameError> {
    host_name(text).map(|host| without_brackets(&host).to_owned())
}

/// Reads a `host:port` to dial.
///
/// # Errors
///
/// [`HostNameError`] if it has no port, or no name.
pub fn host_and_port(text: &str) -> Result<String, HostNameError> {
    match split(text) {
        Some((name, Some(port))) => Ok(format!("{name}:{port}")),
        Some((_name, None)) => wrong("must have a port, such as \"graph.facebook.com:443\""),
        None => wrong("must be \"host:port\", such as \"127.0.0.1:18443\""),
    }
}

/// The host of a URL, which has brackets if it is an IPv6 address, without them.
#[must_use]
pub fn without_brackets(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// The host as it stands before a port.
pub(super) fn bracketed(host: &str) -> Cow<'_, str> {
    if host.contains(':') {
        format!("[{host}]").into()
    } else {
        host.into()
    }
}

/// A host in lower case, an IPv6 address in brackets, and the port after it.
fn split(text: &str) -> Option<(String, Option<u16>)> {
    let authority: Authority = text.parse().ok()?;
    let name = authority.host();
    let port = match authority.as_str().strip_prefix(name)? {
        "" => None,
        port => Some(port.strip_prefix(':')?.parse().ok().filter(|port| *port != 0)?),
    };
    let bare = without_brackets(name);
    if bare.contains(':') != name.starts_with('[') || ServerName::try_from(bare).is_err() {
        return None;
    }
    Some((name.to_ascii_lowercase(), port))
}

fn wrong<T>(message: &str) -> Result<T, HostNameError> {
    Err(HostNameError(message.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_no_port_and_dialed_addresses_have_one() {
        assert_eq!(host_name("Graph.Local").unwrap(), "graph.local");
        assert_eq!(host_name("[::1]").unwrap(), "[::1]");
        assert_eq!(dialed_host_name("[::1]").unwrap(), "::1");
        assert!(host_name("a:80").unwrap_err().to_string().contains("without a port"));
        assert!(host_name("https://a").is_err());
        assert!(host_name("*.a").is_err());
        assert!(host_name("").is_err());
        assert_eq!(host_and_port("127.0.0.1:18443").unwrap(), "127.0.0.1:18443");
        assert_eq!(host_and_port("[::1]:443").unwrap(), "[::1]:443");
        assert!(host_and_port("a").unwrap_err().to_string().contains("must have a port"));
        assert!(host_and_port("::1:443").is_err());
        assert!(host_and_port("a:b").is_err());
        assert!(host_and_port("https://a:1").is_err());
    }
}
