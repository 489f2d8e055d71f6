//! CONNECT: where a tunnel may lead.
//!
//! # Why
//!
//! An app that only knows `HTTPS_PROXY` asks for a tunnel to Graph, and would speak TLS with Graph in it. The tunnel ends
//! here instead: what comes through is a connection like any other, served with our certificate. `HTTPS_PROXY` applies
//! to all that an app calls, so operators may name other hosts, which hear its bytes as they are and no token. There is
//! no tunnel to anywhere else: whoever reaches this proxy would reach everything that it reaches.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Method, Version};
use hyper::upgrade::OnUpgrade;

use super::refusal::Refusal;
use crate::net::{ConnectError, TunnelSender, connect_tcp};

/// Where CONNECT may lead.
#[derive(Clone, Debug)]
pub struct TunnelHosts {
    /// Graph's: tunnels to these end here.
    graph_hosts: Vec<(String, u16)>,
    /// Those of others.
    passthrough: Vec<PassthroughHost>,
    /// The longest it may take to reach one of the others.
    connect_timeout: Duration,
    /// All of them, for a message.
    host_list: Arc<str>,
}

/// A host that CONNECT, to its port 443, is passed through to.
#[derive(Clone, Debug)]
pub struct PassthroughHost {
    /// Its name.
    pub host: String,
    /// The `host:port` that is dialled.
    pub address: String,
}

/// The port of https.
const HTTPS_PORT: u16 = 443;

// === impl TunnelHosts ===

impl TunnelHosts {
    /// Graph's hosts, each with a port that may be named besides 443; and those of others.
    #[must_use]
    pub fn new(
        graph_hosts: impl IntoIterator<Item = (String, u16)>,
        passthrough: Vec<PassthroughHost>,
        connect_timeout: Duration,
    ) -> Self {
        let graph_hosts: Vec<_> = graph_hosts.into_iter().collect();
        let names = graph_hosts.iter().map(|(host, _port)| host);
        let names: Vec<_> = names.chain(passthrough.iter().map(|far| &far.host)).cloned().collect();
        Self {
            graph_hosts,
            passthrough,
            connect_timeout,
            host_list: names.join(", ").into(),
        }
    }
}

/// Whether a request asks for a tunnel that there may be: HTTP/2 has another kind.
pub(crate) fn is_connect(head: &Parts) -> bool {
    head.method == Method::CONNECT && head.version < Version::HTTP_2
}

/// Opens the tunnel that a request asks for; it is open when the answer, a 200, is out.
///
/// # Errors
///
/// The [`Refusal`] that says why not.
pub(crate) async fn open(mut head: Parts, hosts: &TunnelHosts, tunnels: &TunnelSender) -> Result<(), Refusal> {
    check_no_body(&head.headers)?;
    let upgrade = head.extensions.remove::<OnUpgrade>();
    let (host, port) = parse_authority(&head)?;
    let Some(upgrade) = upgrade else {
        return Err(Refusal::MethodNotAllowed("CONNECT on this connection"));
    };
    let is_graph_host = |(name, extra_port): &(String, u16)| {
        name.eq_ignore_ascii_case(host) && (port == HTTPS_PORT || port == *extra_port)
    };
    if hosts.graph_hosts.iter().any(is_graph_host) {
        tunnels.terminate(upgrade);
        return Ok(());
    }
    let is_requested = |far: &&PassthroughHost| far.host.eq_ignore_ascii_case(host) && port == HTTPS_PORT;
    let Some(passthrough) = hosts.passthrough.iter().find(is_requested) else {
        return Err(Refusal::TunnelNotAllowed(Arc::clone(&hosts.host_list)));
    };
    match connect_tcp(&passthrough.address, hosts.connect_timeout).await {
        Ok(stream) => tunnels.pass_through(upgrade, stream),
        Err(ConnectError::TimedOut { .. }) => {
            return Err(Refusal::ConnectTimeout(passthrough.host.clone()));
        }
        Err(ConnectError::Unreachable { .. } | ConnectError::NotHttps | ConnectError::Tls { .. }) => {
            return Err(Refusal::ConnectFailed(passthrough.host.clone()));
        }
    }
    Ok(())
}

/// What comes behind the head is the tunnel's, so there cannot be a body.
fn check_no_body(headers: &HeaderMap) -> Result<(), Refusal> {
    let is_zero = |length: &http::HeaderValue| length == "0";
    if headers.contains_key(TRANSFER_ENCODING) || !headers.get_all(CONTENT_LENGTH).iter().all(is_zero) {
        return Err(Refusal::MalformedRequest("it is a CONNECT with a body"));
    }
    Ok(())
}

/// `host:port`, both there (RFC 9110, section 9.3.6). What `Host` says besides does not count, but there is one.
fn parse_authority(head: &Parts) -> Result<(&str, u16), Refusal> {
    const NOT_HOST_PORT: Refusal = Refusal::MalformedRequest("its target is not host:port");
    let hosts = head.headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && head.version == Version::HTTP_11) {
        return Err(Refusal::MalformedRequest("it does not have one Host"));
    }
    let authority = head.uri.authority().ok_or(NOT_HOST_PORT)?;
    if head.uri.scheme().is_some() || authority.as_str().contains('@') {
        return Err(NOT_HOST_PORT);
    }
    Ok((authority.host(), authority.port_u16().ok_or(NOT_HOST_PORT)?))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn connect_request(target: &str, version: Version, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::connect(target).version(version);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_target_is_a_host_and_a_port_and_there_is_one_host_field() {
        let host = ("host", "elsewhere");
        for (target_, version, fields, fits) in [
            ("graph.facebook.com:443", Version::HTTP_11, &[host][..], true),
            ("[::1]:8443", Version::HTTP_11, &[host], true),
            ("graph.facebook.com:443", Version::HTTP_10, &[], true),
            ("graph.facebook.com:443", Version::HTTP_11, &[], false),
            ("graph.facebook.com:443", Version::HTTP_11, &[host, host], false),
            ("graph.facebook.com", Version::HTTP_11, &[host], false),
            ("me@graph.facebook.com:443", Version::HTTP_11, &[host], false),
            ("https://graph.facebook.com:443/", Version::HTTP_11, &[host], false),
            ("/", Version::HTTP_11, &[host], false),
        ] {
            let head = connect_request(target_, version, fields);
            assert_eq!(parse_authority(&head).is_ok(), fits, "{target_} {version:?} {fields:?}");
        }
    }

    #[test]
    fn a_body_is_one_that_has_a_length_or_pieces() {
        for (fields, bare) in [
            (&[][..], true),
            (&[("content-length", "0")], true),
            (&[("content-length", "1")], false),
            (&[("content-length", "0"), ("content-length", "5")], false),
            (&[("transfer-encoding", "chunked")], false),
        ] {
            let head = connect_request("a:443", Version::HTTP_11, fields);
            assert_eq!(check_no_body(&head.headers).is_ok(), bare, "{fields:?}");
        }
    }
}
