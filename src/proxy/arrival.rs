//! What is refused before anything is done.
//!
//! # Why
//!
//! hyper parses, but takes much that a proxy with a credential must not: no `Host` or two of them, one with
//! userinfo, `chunked, chunked`, an authority where a path should be. Being "only a sidecar on loopback" excuses
//! nothing: the caller may be a web page that resolved its own name to 127.0.0.1.

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, ORIGIN, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method, Version};

use super::refusal::Refusal;

/// Host names that a request may carry.
#[derive(Clone, Debug)]
pub struct Hosts {
    names: Vec<String>,
    addresses: Vec<IpAddr>,
    any_address: bool,
}

/// The largest head that is taken, in bytes of its fields; a `Proxy-Status` of Graph's has a tenth of that.
const LARGEST_HEAD: usize = 64 * 1024;

/// Checks what can be said of a head alone.
///
/// # Errors
///
/// The [`Refusal`] that says what is wrong; nothing of the request goes anywhere then.
pub(crate) fn check(head: &Parts, hosts: &Hosts) -> Result<(), Refusal> {
    if head.method == Method::CONNECT {
        return Err(Refusal::Method("CONNECT: it is no tunnel"));
    }
    if head.method == Method::TRACE {
        return Err(Refusal::Method("TRACE, which would echo credentials"));
    }
    let size =
        |(name, value): (&http::HeaderName, &http::HeaderValue)| name.as_str().len() + value.len();
    if head.headers.iter().map(size).sum::<usize>() > LARGEST_HEAD {
        return Err(Refusal::HeadTooLarge);
    }
    framing(&head.headers)?;
    target(head)?;
    host(head, hosts)?;
    site(&head.headers, hosts)
}

/// A chunked body is framed by `chunked`, once; hyper would take it twice.
fn framing(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        (Some(_), _) => Err(Refusal::Malformed("its Transfer-Encoding is not `chunked`")),
    }
}

/// Origin-form or absolute-form, http or https; nothing else has a path that Graph could serve.
fn target(head: &Parts) -> Result<(), Refusal> {
    if !matches!(head.uri.scheme_str(), None | Some("http" | "https")) {
        return Err(Refusal::Malformed(
            "the scheme of its target is neither http nor https",
        ));
    }
    match head
        .uri
        .path_and_query()
        .map(|target| target.path().as_bytes().first())
    {
        Some(Some(b'/')) => Ok(()),
        Some(_) if is_star(head) => Ok(()),
        Some(_) | None => Err(Refusal::Malformed("its target is not a path")),
    }
}

/// `OPTIONS *` asks about the server as a whole (RFC 9112, section 3.2.4): about us, not about Graph.
pub(crate) fn is_star(head: &Parts) -> bool {
    head.method == Method::OPTIONS && head.uri.path() == "*" && head.uri.query().is_none()
}

/// One host, well-formed, of ours; and where a request names two, the same.
fn host(head: &Parts, hosts: &Hosts) -> Result<(), Refusal> {
    const MALFORMED: Refusal =
        Refusal::Malformed("its Host is not a host name with an optional port");
    let mut fields = head.headers.get_all(HOST).iter();
    let (field, None) = (fields.next(), fields.next()) else {
        return Err(Refusal::Malformed("it has more than one Host"));
    };
    let field = match field {
        None => None,
        Some(value) => {
            let text = value.to_str().map_err(|_not_text| MALFORMED)?;
            let authority: Authority = text.parse().map_err(|_not_an_authority| MALFORMED)?;
            if text.contains('@') || !has_proper_port(&authority) {
                return Err(MALFORMED);
            }
            Some(authority)
        }
    };
    let named = head.uri.authority();
    if named.is_some_and(|named| named.as_str().contains('@') || !has_proper_port(named)) {
        return Err(Refusal::Malformed(
            "its target's authority is not a host name with an optional port",
        ));
    }
    let http2 = head.version == Version::HTTP_2;
    match (named, &field) {
        (None, None) if head.version == Version::HTTP_10 => Ok(()),
        (None, None) => Err(Refusal::Malformed("it has no Host")),
        (Some(named), Some(field)) if http2 && named != field => {
            Err(Refusal::Malformed("its Host and its :authority differ"))
        }
        (named, field) => {
            let both = named.into_iter().chain(field);
            if both.into_iter().all(|name| hosts.have(name.host())) {
                Ok(())
            } else {
                Err(Refusal::WrongHost)
            }
        }
    }
}

/// `http` takes any text behind the colon.
fn has_proper_port(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host());
    matches!(port, Some("" | ":")) || authority.port_u16().is_some()
}

/// A browser says where a request comes from; a page of another site may not make one.
fn site(headers: &HeaderMap, hosts: &Hosts) -> Result<(), Refusal> {
    let across = headers.get_all("sec-fetch-site").iter().any(|site| {
        !site.as_bytes().eq_ignore_ascii_case(b"same-origin")
            && !site.as_bytes().eq_ignore_ascii_case(b"none")
    });
    let ours = |origin: &http::HeaderValue| {
        let origin = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.parse::<http::Uri>().ok());
        origin
            .and_then(|origin| origin.host().map(|host| hosts.have(host)))
            .unwrap_or(false)
    };
    if across || !headers.get_all(ORIGIN).iter().all(ours) {
        Err(Refusal::CrossSite)
    } else {
        Ok(())
    }
}

// === impl Hosts ===

impl Hosts {
    /// Loopback names, `names`, and the addresses that are listened on. Who listens on all addresses is reached
    /// by any; a name that resolves there still has to be among `names`.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = String>, listened: &[SocketAddr]) -> Self {
        let names = names
            .into_iter()
            .map(|name| name.to_ascii_lowercase())
            .collect();
        let addresses: Vec<IpAddr> = listened.iter().map(SocketAddr::ip).collect();
        let any_address = addresses.iter().any(IpAddr::is_unspecified);
        Self {
            names,
            addresses,
            any_address,
        }
    }

    fn have(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse::<IpAddr>() {
            return address.is_loopback() || self.any_address || self.addresses.contains(&address);
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        host.eq_ignore_ascii_case("localhost")
            || self
                .names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(host))
    }
}
