//! What is refused before anything is done.
//!
//! # Why
//!
//! hyper parses, but takes much that a proxy with a credential must not: no `Host` or two of them, one with
//! userinfo, `chunked, chunked`, an authority where a path should be. Being "only a sidecar on loopback" excuses
//! nothing: the caller may be a web page that resolved its own name to 127.0.0.1.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::header::{HOST, ORIGIN, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Method, Version};

use super::refusal::Refusal;

/// Host names that a request may carry.
#[derive(Clone, Debug)]
pub struct AllowedHosts {
    names: Vec<String>,
    listen_addresses: Vec<IpAddr>,
    listens_on_all: bool,
}

/// The largest head that is taken, in bytes of its fields; a `Proxy-Status` of Graph's has a tenth of that.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Checks what can be said of a head alone.
///
/// # Errors
///
/// The [`Refusal`] that says what is wrong; nothing of the request goes anywhere then.
pub(crate) fn validate(head: &Parts, hosts: &AllowedHosts) -> Result<(), Refusal> {
    if head.method == Method::CONNECT {
        return Err(Refusal::MethodNotAllowed(
            "CONNECT here: tunnels need listen.tls and HTTP/1.1, and none leads through another",
        ));
    }
    if head.method == Method::TRACE {
        return Err(Refusal::MethodNotAllowed("TRACE, which would echo credentials"));
    }
    let size = |(name, value): (&http::HeaderName, &http::HeaderValue)| name.as_str().len() + value.len();
    if head.headers.iter().map(size).sum::<usize>() > MAX_HEAD_BYTES {
        return Err(Refusal::HeadTooLarge);
    }
    check_framing(&head.headers)?;
    check_target(head)?;
    check_host(head, hosts)?;
    check_origin(&head.headers, hosts)
}

/// A chunked body is framed by `chunked`, once; hyper would take it twice.
fn check_framing(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        (Some(_), _) => Err(Refusal::MalformedRequest("its Transfer-Encoding is not `chunked`")),
    }
}

/// Origin-form or absolute-form, http or https; nothing else has a path that Graph could serve.
fn check_target(head: &Parts) -> Result<(), Refusal> {
    if !matches!(head.uri.scheme_str(), None | Some("http" | "https")) {
        return Err(Refusal::MalformedRequest(
            "the scheme of its target is neither http nor https",
        ));
    }
    match head.uri.path_and_query().map(|target| target.path().as_bytes().first()) {
        Some(Some(b'/')) => Ok(()),
        Some(_) if is_asterisk_form(head) => Ok(()),
        Some(_) | None => Err(Refusal::MalformedRequest("its target is not a path")),
    }
}

/// `OPTIONS *` asks about the server as a whole (RFC 9112, section 3.2.4): about us, not about Graph.
pub(crate) fn is_asterisk_form(head: &Parts) -> bool {
    head.method == Method::OPTIONS && head.uri.path() == "*" && head.uri.query().is_none()
}

/// One host, well-formed, of ours; and where a request names two, the same.
fn check_host(head: &Parts, hosts: &AllowedHosts) -> Result<(), Refusal> {
    let mut fields = head.headers.get_all(HOST).iter();
    let (host_header, None) = (fields.next(), fields.next()) else {
        return Err(Refusal::MalformedRequest("it has more than one Host"));
    };
    let host_header = match host_header.map(|value| value.to_str().ok().and_then(parse_host_port)) {
        Some(None) => {
            return Err(Refusal::MalformedRequest(
                "its Host is not a host name with an optional port",
            ));
        }
        Some(Some(named)) => Some(named),
        None => None,
    };
    let target = match head
        .uri
        .authority()
        .map(|authority| parse_host_port(authority.as_str()))
    {
        Some(None) => {
            return Err(Refusal::MalformedRequest("its target's authority is not a host name"));
        }
        Some(Some(named)) => Some(named),
        None => None,
    };
    match (target, host_header) {
        (None, None) if head.version == Version::HTTP_10 => Ok(()),
        (None, None) => Err(Refusal::MalformedRequest("it has no Host")),
        (Some((target, port)), Some((field, host_port)))
            if head.version == Version::HTTP_2 && !(target.eq_ignore_ascii_case(field) && port == host_port) =>
        {
            Err(Refusal::MalformedRequest("its Host and its :authority differ"))
        }
        (target, field) => {
            let is_allowed = target.into_iter().chain(field).all(|(host, _port)| hosts.allows(host));
            if is_allowed {
                Ok(())
            } else {
                Err(Refusal::HostNotAllowed)
            }
        }
    }
}

/// What a checked request calls its host: with the port as it was written, and without.
pub(crate) fn request_host(head: &Parts) -> Option<(&str, &str)> {
    let authority = match head.uri.authority() {
        Some(authority) => authority.as_str(),
        None => head.headers.get(HOST)?.to_str().ok()?,
    };
    parse_host_port(authority).map(|(host, _port)| (authority, host))
}

/// Host and port of `host[:port]` (RFC 9110, section 7.2); nothing else, above all no user information.
fn parse_host_port(authority: &str) -> Option<(&str, &str)> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            address.parse::<Ipv6Addr>().ok()?;
            (address, if rest.is_empty() { "" } else { rest.strip_prefix(':')? })
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':');
    let digits = port.bytes().all(|digit| digit.is_ascii_digit());
    let is_valid = !host.is_empty()
        && host.bytes().all(is_host_byte)
        && (port.is_empty() || digits && port.parse::<u16>().is_ok());
    is_valid.then_some((host, port))
}

/// A browser says where a request comes from; a page of another site may not make one.
pub(crate) fn check_origin(headers: &HeaderMap, hosts: &AllowedHosts) -> Result<(), Refusal> {
    let is_cross_site = headers.get_all("sec-fetch-site").iter().any(|site| {
        !site.as_bytes().eq_ignore_ascii_case(b"same-origin") && !site.as_bytes().eq_ignore_ascii_case(b"none")
    });
    let is_allowed = |origin: &http::HeaderValue| {
        let origin = origin.to_str().ok().and_then(|origin| origin.parse::<http::Uri>().ok());
        origin
            .and_then(|origin| origin.host().map(|host| hosts.allows(host)))
            .unwrap_or(false)
    };
    if is_cross_site || !headers.get_all(ORIGIN).iter().all(is_allowed) {
        Err(Refusal::CrossSite)
    } else {
        Ok(())
    }
}

// === impl AllowedHosts ===

impl AllowedHosts {
    /// Loopback names, `host_list`, and the addresses that are listened on. Who listens on all addresses is reached
    /// by any; a name that resolves there still has to be among `host_list`.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = String>, listen_addresses: &[SocketAddr]) -> Self {
        let names = names.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        let listen_addresses: Vec<IpAddr> = listen_addresses.iter().map(SocketAddr::ip).collect();
        let listens_on_all = listen_addresses.iter().any(IpAddr::is_unspecified);
        Self {
            names,
            listen_addresses,
            listens_on_all,
        }
    }

    fn allows(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse::<IpAddr>() {
            return address.is_loopback() || self.listens_on_all || self.listen_addresses.contains(&address);
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        host.eq_ignore_ascii_case("localhost") || self.names.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}
