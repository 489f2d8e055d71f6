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
use crate::net::{ConnectError, Tunnels, dial};

/// Where CONNECT may lead.
#[derive(Clone, Debug)]
pub struct TunnelHosts {
    /// Graph's: tunnels to these end here.
    graph: Vec<(String, u16)>,
    /// Those of others.
    far: Vec<Far>,
    /// The longest it may take to reach one of the others.
    within: Duration,
    /// All of them, for a message.
    names: Arc<str>,
}

/// A host that CONNECT, to its port 443, is passed through to.
#[derive(Clone, Debug)]
pub struct Far {
    /// Its name.
    pub host: String,
    /// The `host:port` that is dialled.
    pub address: String,
}

/// The port of https.
const HTTPS: u16 = 443;

// === impl TunnelHosts ===

impl TunnelHosts {
    /// Graph's hosts, each with a port that may be named besides 443; and those of others.
    #[must_use]
    pub fn new(
        graph: impl IntoIterator<Item = (String, u16)>,
        far: Vec<Far>,
        within: Duration,
    ) -> Self {
        let graph: Vec<_> = graph.into_iter().collect();
        let names = graph.iter().map(|(host, _port)| host);
        let names: Vec<_> = names
            .chain(far.iter().map(|far| &far.host))
            .cloned()
            .collect();
        Self {
            graph,
            far,
            within,
            names: names.join(", ").into(),
        }
    }
}

/// Whether a request asks for a tunnel that there may be: HTTP/2 has another kind.
pub(crate) fn is_asked(head: &Parts) -> bool {
    head.method == Method::CONNECT && head.version < Version::HTTP_2
}

/// Opens the tunnel that a request asks for; it is open when the answer, a 200, is out.
///
/// # Errors
///
/// The [`Refusal`] that says why not.
pub(crate) async fn open(
    mut head: Parts,
    hosts: &TunnelHosts,
    tunnels: &Tunnels,
) -> Result<(), Refusal> {
    bodiless(&head.headers)?;
    let upgrade = head.extensions.remove::<OnUpgrade>();
    let (host, port) = target(&head)?;
    let Some(upgrade) = upgrade else {
        return Err(Refusal::Method("CONNECT on this connection"));
    };
    let is_graphs = |(name, its): &(String, u16)| {
        name.eq_ignore_ascii_case(host) && (port == HTTPS || port == *its)
    };
    if hosts.graph.iter().any(is_graphs) {
        tunnels.serve(upgrade);
        return Ok(());
    }
    let is_meant = |far: &&Far| far.host.eq_ignore_ascii_case(host) && port == HTTPS;
    let Some(far) = hosts.far.iter().find(is_meant) else {
        return Err(Refusal::Tunnel(Arc::clone(&hosts.names)));
    };
    match dial(&far.address, hosts.within).await {
        Ok(stream) => tunnels.pass(upgrade, stream),
        Err(ConnectError::Late { .. }) => return Err(Refusal::ConnectTimeout(far.host.clone())),
        Err(
            ConnectError::Unreachable { .. } | ConnectError::NotHttps | ConnectError::Tls { .. },
        ) => return Err(Refusal::Connect(far.host.clone())),
    }
    Ok(())
}

/// What comes behind the head is the tunnel's, so there cannot be a body.
fn bodiless(headers: &HeaderMap) -> Result<(), Refusal> {
    let none = |length: &http::HeaderValue| length == "0";
    if headers.contains_key(TRANSFER_ENCODING) || !headers.get_all(CONTENT_LENGTH).iter().all(none)
    {
        return Err(Refusal::Malformed("it is a CONNECT with a body"));
    }
    Ok(())
}

/// `host:port`, both there (RFC 9110, section 9.3.6). What `Host` says besides does not count, but there is one.
fn target(head: &Parts) -> Result<(&str, u16), Refusal> {
    const FORM: Refusal = Refusal::Malformed("its target is not host:port");
    let hosts = head.headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && head.version == Version::HTTP_11) {
        return Err(Refusal::Malformed("it does not have one Host"));
    }
    let authority = head.uri.authority().ok_or(FORM)?;
    if head.uri.scheme().is_some() || authority.as_str().contains('@') {
        return Err(FORM);
    }
    Ok((authority.host(), authority.port_u16().ok_or(FORM)?))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn asked(target: &str, version: Version, fields: &[(&str, &str)]) -> Parts {
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
            (
                "graph.facebook.com:443",
                Version::HTTP_11,
                &[host][..],
                true,
            ),
            ("[::1]:8443", Version::HTTP_11, &[host], true),
            ("graph.facebook.com:443", Version::HTTP_10, &[], true),
            ("graph.facebook.com:443", Version::HTTP_11, &[], false),
            (
                "graph.facebook.com:443",
                Version::HTTP_11,
                &[host, host],
                false,
            ),
            ("graph.facebook.com", Version::HTTP_11, &[host], false),
            (
                "me@graph.facebook.com:443",
                Version::HTTP_11,
                &[host],
                false,
            ),
            (
                "https://graph.facebook.com:443/",
                Version::HTTP_11,
                &[host],
                false,
            ),
            ("/", Version::HTTP_11, &[host], false),
        ] {
            let head = asked(target_, version, fields);
            assert_eq!(
                target(&head).is_ok(),
                fits,
                "{target_} {version:?} {fields:?}"
            );
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
            let head = asked("a:443", Version::HTTP_11, fields);
            assert_eq!(bodiless(&head.headers).is_ok(), bare, "{fields:?}");
        }
    }
}
