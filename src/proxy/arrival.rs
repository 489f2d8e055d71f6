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
        return Err(Refusal::Method(
            "CONNECT here: tunnels need listen.tls and HTTP/1.1, and none leads through another",
        ));
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
    let mut fields = head.headers.get_all(HOST).iter();
    let (field, None) = (fields.next(), fields.next()) else {
        return Err(Refusal::Malformed("it has more than one Host"));
    };
    let field = match field.map(|value| value.to_str().ok().and_then(name)) {
        Some(None) => {
            return Err(Refusal::Malformed(
                "its Host is not a host name with an optional port",
            ));
        }
        Some(Some(named)) => Some(named),
        None => None,
    };
    let target = match head
        .uri
        .authority()
        .map(|authority| name(authority.as_str()))
    {
        Some(None) => {
            return Err(Refusal::Malformed(
                "its target's authority is not a host name",
            ));
        }
        Some(Some(named)) => Some(named),
        None => None,
    };
    match (target, field) {
        (None, None) if head.version == Version::HTTP_10 => Ok(()),
        (None, None) => Err(Refusal::Malformed("it has no Host")),
        (Some((target, port)), Some((field, its)))
            if head.version == Version::HTTP_2
                && !(target.eq_ignore_ascii_case(field) && port == its) =>
        {
            Err(Refusal::Malformed("its Host and its :authority differ"))
        }
        (target, field) => {
            let ours = target
                .into_iter()
                .chain(field)
                .all(|(host, _port)| hosts.have(host));
            if ours {
                Ok(())
            } else {
                Err(Refusal::WrongHost)
            }
        }
    }
}

/// What a checked request calls its host: with the port as it was written, and without.
pub(crate) fn named(head: &Parts) -> Option<(&str, &str)> {
    let authority = match head.uri.authority() {
        Some(authority) => authority.as_str(),
        None => head.headers.get(HOST)?.to_str().ok()?,
    };
    name(authority).map(|(host, _port)| (authority, host))
}

/// Host and port of `host[:port]` (RFC 9110, section 7.2); nothing else, above all no user information.
fn name(authority: &str) -> Option<(&str, &str)> {
    let (host, port) = match authority
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((address, rest)) => {
            address.parse::<Ipv6Addr>().ok()?;
            (
                address,
                if rest.is_empty() {
                    ""
                } else {
                    rest.strip_prefix(':')?
                },
            )
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let named =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':');
    let digits = port.bytes().all(|digit| digit.is_ascii_digit());
    let fits = !host.is_empty()
        && host.bytes().all(named)
        && (port.is_empty() || digits && port.parse::<u16>().is_ok());
    fits.then_some((host, port))
}

/// A browser says where a request comes from; a page of another site may not make one.
pub(crate) fn site(headers: &HeaderMap, hosts: &Hosts) -> Result<(), Refusal> {
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
