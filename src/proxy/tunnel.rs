//! CONNECT: opens tunnels to Graph and to configured hosts.
//!
//! # Why
//!
//! An app that only has `HTTPS_PROXY` requests a tunnel to Graph, and would speak TLS with Graph in it. graphward
//! terminates the tunnel instead: it is a connection like any other, served with graphward's certificate. `HTTPS_PROXY`
//! applies to all calls of the app, so operators may configure other hosts, which get the app's bytes unchanged and no
//! token. There are no tunnels to other hosts: they would let every client of graphward reach what graphward reaches. The
//! exception is `graphward exec` on loopback: its child runs beside it and reaches them anyway, and cannot list all hosts
//! that it calls in advance.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING, VIA};
use http::request::Parts;
use http::{HeaderMap, Version};
use hyper::upgrade::OnUpgrade;

use super::refusal::Refusal;
use super::validation::{advice_for_meta_host, shown_host};
use crate::graph::OTHER_GRAPH_HOSTS;
use crate::net::ca::GRAPH_HOSTS;
use crate::net::{
    ConnectionInfo, Dialer, ListenConfig, TransportSecurity, TunnelScope, VIA_GRAPHWARD, without_brackets,
};
use crate::types::TokenFamily;

/// The hosts that CONNECT may name.
#[derive(Clone, Debug)]
pub struct TunnelHosts {
    /// Graph's hosts, whose tunnels graphward terminates.
    graph_hosts: Vec<(String, u16)>,
    /// Other hosts, whose tunnels graphward passes through.
    passthrough: Vec<String>,
    scope: TunnelScope,
    /// Opens connections to the other hosts.
    dialer: Dialer,
}

/// Graph's host, beside [`OTHER_GRAPH_HOSTS`].
const GRAPH_HOST: &str = "graph.facebook.com";
/// The port of https.
const HTTPS_PORT: u16 = 443;

// === impl TunnelHosts ===

impl TunnelHosts {
    /// Takes Graph's hosts, each with a port that CONNECT may name besides 443, and the settings of other hosts.
    #[must_use]
    pub fn new(graph_hosts: impl IntoIterator<Item = (String, u16)>, listen: &ListenConfig, dialer: Dialer) -> Self {
        Self {
            graph_hosts: graph_hosts.into_iter().collect(),
            passthrough: listen.tunnel_hosts.clone(),
            scope: listen.tunnel_scope,
            dialer,
        }
    }

    /// Why no tunnel is opened to a host that graphward does not serve, and what to do.
    ///
    /// To one of Graph's hosts, an app that keeps Graph's address would get through an unread tunnel: if `upstream.origin` is a fake
    /// Graph, its messages would reach people.
    fn refusal(&self, host: &str, port: u16) -> Option<String> {
        let is_host = |name: &str| name.eq_ignore_ascii_case(host);
        let graph_hosts = || self.graph_hosts.iter().map(|(host, _port)| host.as_str());
        let is_listed = self.passthrough.iter().any(|name| is_host(name));
        let origin = graph_hosts().next().unwrap_or_default();
        let is_graphs = match TokenFamily::from_host(origin) {
            _ if is_listed => false,
            Some(_) => is_host(GRAPH_HOST) || OTHER_GRAPH_HOSTS.into_iter().any(is_host),
            None => GRAPH_HOSTS.into_iter().any(is_host),
        };
        if is_graphs && !graph_hosts().any(is_host) {
            let advice = advice_for_meta_host(origin);
            let reason = format!("a host of Graph; {advice}. listen.tunnel_hosts passes it through unread");
            return Some(reason);
        }
        if !is_graphs && self.scope == TunnelScope::AnyHost || is_listed && port == HTTPS_PORT {
            return None;
        }
        let names = graph_hosts().chain(self.passthrough.iter().map(String::as_str));
        let names = names.collect::<Vec<_>>().join(", ");
        let advice = "Add the host to NO_PROXY to bypass graphward, or to listen.tunnel_hosts";
        Some(format!("but only to {names}, on port 443. {advice}"))
    }
}

/// Opens the requested tunnel. It is open once the response, a 200, has been sent.
///
/// # Errors
///
/// The [`Refusal`] that says why the tunnel is not opened.
pub(crate) async fn open(mut head: Parts, hosts: &TunnelHosts, connection: &ConnectionInfo) -> Result<(), Refusal> {
    check_no_body(&head.headers)?;
    let upgrade = head.extensions.remove::<OnUpgrade>();
    let (host, port) = parse_authority(&head)?;
    let shown = || format!("{}:{port}", shown_host(host));
    let not_possible = |reason| Refusal::TunnelNotPossible { host: shown(), reason };
    let is_own = head.headers.get_all(VIA).iter().any(|via| via == VIA_GRAPHWARD);
    let (tunnels, upgrade) = match (&connection.tunnels, upgrade) {
        _ if is_own => {
            return Err(not_possible(
                "the request is graphward's own: HTTPS_PROXY or upstream.proxy names a graphward",
            ));
        }
        _ if head.version >= Version::HTTP_2 => return Err(not_possible("tunnels require HTTP/1.1")),
        (Some(tunnels), Some(upgrade)) => (tunnels, upgrade),
        (None, _) if connection.security == TransportSecurity::Tls => {
            return Err(not_possible(
                "this connection is a tunnel, and tunnels cannot be nested",
            ));
        }
        (_, _) => {
            return Err(not_possible(
                "the listener has no certificate. Set listen.tls, with a certificate from `graphward ca`, or remove \
                 HTTPS_PROXY and use graphward's address as the base URL",
            ));
        }
    };
    let is_graph_host = |(name, extra_port): &(String, u16)| {
        name.eq_ignore_ascii_case(host) && (port == HTTPS_PORT || port == *extra_port)
    };
    if hosts.graph_hosts.iter().any(is_graph_host) {
        tunnels.terminate(upgrade, connection.peer_uid);
        return Ok(());
    }
    if let Some(reason) = hosts.refusal(host, port) {
        return Err(Refusal::TunnelNotAllowed { host: shown(), reason });
    }
    let host = without_brackets(host).to_ascii_lowercase();
    let stream = hosts.dialer.dial(&host, port).await.map_err(Refusal::Connect)?;
    tunnels.pass_through(upgrade, stream);
    Ok(())
}

/// Rejects a body: the bytes after the head belong to the tunnel.
fn check_no_body(headers: &HeaderMap) -> Result<(), Refusal> {
    let is_zero = |length: &http::HeaderValue| length == "0";
    if headers.contains_key(TRANSFER_ENCODING) || !headers.get_all(CONTENT_LENGTH).iter().all(is_zero) {
        return Err(Refusal::MalformedRequest("a CONNECT request must not have a body"));
    }
    Ok(())
}

/// Reads `host:port`, where both are required (RFC 9110, section 9.3.6). The value of `Host` is ignored, but there must be
/// one.
fn parse_authority(head: &Parts) -> Result<(&str, u16), Refusal> {
    const NOT_HOST_PORT: Refusal = Refusal::MalformedRequest("the CONNECT target must be host:port");
    let hosts = head.headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && head.version == Version::HTTP_11) {
        return Err(Refusal::MalformedRequest(
            "the request must have exactly one Host header",
        ));
    }
    let authority = head.uri.authority().ok_or(NOT_HOST_PORT)?;
    if head.uri.scheme().is_some() || authority.as_str().contains('@') {
        return Err(NOT_HOST_PORT);
    }
    // With the dot of the DNS root it is the same host.
    let host = authority.host().strip_suffix('.').unwrap_or_else(|| authority.host());
    Ok((host, authority.port_u16().ok_or(NOT_HOST_PORT)?))
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
        for (target, version, fields, is_valid) in [
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
            let head = connect_request(target, version, fields);
            assert_eq!(
                parse_authority(&head).is_ok(),
                is_valid,
                "{target} {version:?} {fields:?}"
            );
        }
        let head = connect_request("graph.facebook.com.:443", Version::HTTP_11, &[host]);
        assert_eq!(parse_authority(&head).unwrap(), ("graph.facebook.com", 443));
    }

    #[test]
    fn a_request_with_a_length_or_chunks_has_a_body() {
        for (fields, is_bodiless) in [
            (&[][..], true),
            (&[("content-length", "0")], true),
            (&[("content-length", "1")], false),
            (&[("content-length", "0"), ("content-length", "5")], false),
            (&[("transfer-encoding", "chunked")], false),
        ] {
            let head = connect_request("a:443", Version::HTTP_11, fields);
            assert_eq!(check_no_body(&head.headers).is_ok(), is_bodiless, "{fields:?}");
        }
    }
}
