//! Rejects invalid requests before anything is done with them.
//!
//! # Why
//!
//! hyper accepts much that a proxy with a credential must not: no `Host` or two of them, one with user info,
//! `chunked, chunked`, two types of a body, which two parsers read in two ways, an authority instead of a path. A sidecar on
//! loopback is no exception: the client may be a web page whose own name resolves to 127.0.0.1.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::header::{ACCEPT, CONTENT_TYPE, HOST, ORIGIN, REFERER, TRANSFER_ENCODING, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};

use super::refusal::Refusal;
use crate::graph::parameter::overrides_method;
use crate::net::without_brackets;
use crate::types::{TOKEN_PREFIXES, TokenFamily};

/// The hosts that a request may name.
#[derive(Clone, Debug)]
pub struct AllowedHosts {
    names: Vec<String>,
    /// What to do about a host of Meta that is not among them.
    meta_host_advice: &'static str,
    listen_addresses: Vec<IpAddr>,
    listens_on_all: bool,
}

/// The largest head that is accepted, in bytes of its headers; a `Proxy-Status` of Graph has a tenth of that.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Checks the head of a request.
///
/// # Errors
///
/// The [`Refusal`] that says what is wrong.
pub(crate) fn validate(head: &Parts, hosts: &AllowedHosts) -> Result<(), Refusal> {
    if head.method == Method::TRACE {
        return Err(Refusal::Trace);
    }
    let headers = CheckedHeaders::of(&head.headers);
    if headers.size > MAX_HEAD_BYTES {
        return Err(Refusal::HeadTooLarge);
    }
    check_framing(&headers)?;
    if let Field::Repeated = headers.content_type {
        return Err(Refusal::MalformedRequest(
            "the request has more than one Content-Type header",
        ));
    }
    check_target(head)?;
    check_host(head, &headers, hosts)?;
    if headers.has_browser_headers || head.uri.query().is_some() {
        check_origin(head)?;
    }
    Ok(())
}

/// What the checks need of the headers, from one walk: every look-up by name computes a hash.
#[derive(Default)]
struct CheckedHeaders<'head> {
    /// The bytes of all names and values.
    size: usize,
    host: Field<'head>,
    transfer_encoding: Field<'head>,
    content_type: Field<'head>,
    /// Whether there is one that browsers send and [`check_origin`] reads.
    has_browser_headers: bool,
}

/// The value of a header that may stand only once.
#[derive(Clone, Copy, Default)]
enum Field<'head> {
    #[default]
    Absent,
    Once(&'head HeaderValue),
    Repeated,
}

impl<'head> CheckedHeaders<'head> {
    fn of(headers: &'head HeaderMap) -> Self {
        let mut checked = Self::default();
        for (name, value) in headers {
            let text = name.as_str();
            checked.size += text.len() + value.len();
            match *name {
                HOST => checked.host.add(value),
                TRANSFER_ENCODING => checked.transfer_encoding.add(value),
                CONTENT_TYPE => checked.content_type.add(value),
                ORIGIN | REFERER => checked.has_browser_headers = true,
                _ => checked.has_browser_headers |= text.starts_with("sec-fetch-"),
            }
        }
        checked
    }
}

impl<'head> Field<'head> {
    fn add(&mut self, value: &'head HeaderValue) {
        *self = match self {
            Self::Absent => Self::Once(value),
            Self::Once(_) | Self::Repeated => Self::Repeated,
        };
    }
}

/// Requires that `chunked` is the only transfer coding; hyper would accept it twice.
fn check_framing(headers: &CheckedHeaders<'_>) -> Result<(), Refusal> {
    match headers.transfer_encoding {
        Field::Absent => Ok(()),
        Field::Once(only) if only.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        Field::Once(_) | Field::Repeated => Err(Refusal::MalformedRequest(
            "the only supported Transfer-Encoding is `chunked`",
        )),
    }
}

/// Requires origin-form or absolute-form, http or https: no other form has a path that Graph could serve.
fn check_target(head: &Parts) -> Result<(), Refusal> {
    if !matches!(head.uri.scheme_str(), None | Some("http" | "https")) {
        return Err(Refusal::MalformedRequest(
            "the scheme of the request target must be http or https",
        ));
    }
    match head.uri.path_and_query().map(|target| target.path().as_bytes().first()) {
        Some(Some(b'/')) => Ok(()),
        Some(_) if is_asterisk_form(head) => Ok(()),
        Some(_) | None => Err(Refusal::MalformedRequest("the request target must be a path")),
    }
}

/// `OPTIONS *` is about the server as a whole (RFC 9112, section 3.2.4): about graphward, not about Graph.
pub(crate) fn is_asterisk_form(head: &Parts) -> bool {
    head.method == Method::OPTIONS && head.uri.path() == "*" && head.uri.query().is_none()
}

/// Requires one well-formed, allowed host; if the request names two, they must be equal.
fn check_host(head: &Parts, headers: &CheckedHeaders<'_>, hosts: &AllowedHosts) -> Result<(), Refusal> {
    const NOT_HOST_PORT: Refusal = Refusal::MalformedRequest("the Host header is not host[:port]");
    const NO_AUTHORITY: Refusal = Refusal::MalformedRequest("the authority of the request target is not host[:port]");
    let host_header = match headers.host {
        Field::Absent => None,
        Field::Once(value) => Some(value.to_str().ok().and_then(parse_host_port).ok_or(NOT_HOST_PORT)?),
        Field::Repeated => return Err(Refusal::MalformedRequest("the request has more than one Host header")),
    };
    let target = head.uri.authority();
    let target = target
        .map(|authority| parse_host_port(authority.as_str()).ok_or(NO_AUTHORITY))
        .transpose()?;
    match (target, host_header) {
        (None, None) if head.version != Version::HTTP_10 => {
            return Err(Refusal::MalformedRequest("the request has no Host header"));
        }
        (Some((target, port)), Some((host, host_port)))
            if head.version == Version::HTTP_2 && !(target.eq_ignore_ascii_case(host) && port == host_port) =>
        {
            return Err(Refusal::MalformedRequest("the Host header and :authority differ"));
        }
        (_, _) => {}
    }
    let mut named = target.into_iter().chain(host_header);
    match named.find(|(host, _port)| !hosts.allows(host)) {
        None => Ok(()),
        Some((host, _port)) => Err(Refusal::HostNotAllowed {
            host: shown_host(host).to_owned(),
            advice: hosts.advice_for(host, head),
        }),
    }
}

/// What to do about a host of Meta that is not configured. Where `upstream.origin` is another one, such as a fake Graph, the app
/// that keeps Graph's address is not meant to reach Graph itself.
pub(crate) fn advice_for_meta_host(origin: &str) -> &'static str {
    match TokenFamily::from_host(origin) {
        Some(_) => "add it to upstream.hosts if its requests are to get graphward's token",
        None => {
            "upstream.origin is another host: use graphward's address as the base URL of the app, or set upstream.connect_to \
             in place of upstream.origin"
        }
    }
}

/// The host as a message shows it: a base URL may be made of a token by mistake. Parsers of URLs make a host lowercase.
pub(crate) fn shown_host(host: &str) -> &str {
    let has_prefix = |prefix: &str| {
        host.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let is_label = host.len() >= 20 && host.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_label && TOKEN_PREFIXES.iter().any(|(prefix, _family)| has_prefix(prefix)) {
        "(not shown: a token)"
    } else {
        host
    }
}

/// The host of a checked request: with the port as it was written, and without.
pub(crate) fn request_host(head: &Parts) -> Option<(&str, &str)> {
    let authority = match head.uri.authority() {
        Some(authority) => authority.as_str(),
        None => head.headers.get(HOST)?.to_str().ok()?,
    };
    let host = match authority.strip_prefix('[') {
        Some(address) => split_at_byte(address, b']').0,
        None => split_at_byte(authority, b':').0,
    };
    Some((authority, host))
}

/// Parses `host[:port]` (RFC 9110, section 7.2) and nothing else, in particular no user info.
fn parse_host_port(authority: &str) -> Option<(&str, &str)> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            address.parse::<Ipv6Addr>().ok()?;
            (address, if rest.is_empty() { "" } else { rest.strip_prefix(':')? })
        }
        None => split_at_byte(authority, b':'),
    };
    let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':');
    let digits = port.bytes().all(|digit| digit.is_ascii_digit());
    let is_valid = !host.is_empty()
        && host.bytes().all(is_host_byte)
        && (port.is_empty() || digits && port.parse::<u16>().is_ok());
    is_valid.then_some((host, port))
}

/// The text before an ASCII byte, and the text after it. `str::split_once` costs more for texts this short.
fn split_at_byte(text: &str, separator: u8) -> (&str, &str) {
    let at = text.bytes().position(|byte| byte == separator);
    at.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?)))
        .unwrap_or((text, ""))
}

/// Rejects requests that a browser sends for a page of another site.
///
/// A request whose query overrides its method changes something although it looks like a link, which browsers follow without
/// an `Origin`; and old browsers send none with a form. Both are rejected on weaker signs of a browser, too.
pub(crate) fn check_origin(head: &Parts) -> Result<(), Refusal> {
    let is_cross_site = |site: &HeaderValue| !is_word(site, "same-origin") && !is_word(site, "none");
    let is_foreign = |origin| !is_same_origin(origin, head);
    if head.headers.get_all("sec-fetch-site").iter().any(is_cross_site)
        || head.headers.get_all(ORIGIN).iter().any(is_foreign)
        || (head.uri.query().is_some_and(overrides_method) && may_be_browser(head))
        || is_form_of_old_browser(head)
    {
        Err(Refusal::CrossSite)
    } else {
        Ok(())
    }
}

/// Whether a browser that sends neither `Origin` nor `Sec-Fetch-Site` posts a form of another site.
fn is_form_of_old_browser(head: &Parts) -> bool {
    let headers = &head.headers;
    !is_safe(&head.method)
        && !headers.contains_key(ORIGIN)
        && !headers.contains_key("sec-fetch-site")
        && headers.get(USER_AGENT).is_some_and(is_browser_agent)
        && is_from_elsewhere(head)
}

/// Whether a browser may have sent this request: to open a page, from a page of another site, or without saying either, as
/// old browsers do, and new ones where they do not trust the connection.
fn may_be_browser(head: &Parts) -> bool {
    let headers = &head.headers;
    let is_navigation = |mode| is_word(mode, "navigate");
    let navigates = headers.get_all("sec-fetch-mode").iter().any(is_navigation);
    let accepts_pages = |types: &HeaderValue| types.to_str().is_ok_and(|types| types.contains("text/html"));
    // Browsers send an `Origin` with a POST, and libraries that send `Mozilla/` use POST for this.
    let is_unmarked_link = is_safe(&head.method)
        && !headers.contains_key("sec-fetch-site")
        && (headers.get(USER_AGENT).is_some_and(is_browser_agent) || headers.get(ACCEPT).is_some_and(accepts_pages));
    navigates || is_from_elsewhere(head) || is_unmarked_link
}

fn is_safe(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

fn is_browser_agent(agent: &HeaderValue) -> bool {
    agent.as_bytes().starts_with(b"Mozilla/")
}

/// Whether a page of another site led to this request.
fn is_from_elsewhere(head: &Parts) -> bool {
    let mut pages = head.headers.get_all(REFERER).iter();
    pages.any(|page| !is_same_origin(page, head))
}

/// Whether a URL has the host and the port that a checked request names. Another port of the same machine is another site:
/// a development server, for example.
fn is_same_origin(url: &HeaderValue, head: &Parts) -> bool {
    let url = url.to_str().ok().and_then(|url| url.parse::<Uri>().ok());
    let Some((url, (authority, _host))) = url.zip(request_host(head)) else {
        return false;
    };
    let default_port = match url.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        Some(_) | None => return false,
    };
    let site = |authority: &str| {
        let (host, port) = parse_host_port(authority)?;
        Some((host.to_ascii_lowercase(), port.parse().unwrap_or(default_port)))
    };
    url.authority()
        .is_some_and(|theirs| site(theirs.as_str()) == site(authority))
}

fn is_word(value: &HeaderValue, word: &str) -> bool {
    value.as_bytes().eq_ignore_ascii_case(word.as_bytes())
}

// === impl AllowedHosts ===

impl AllowedHosts {
    /// Allows loopback names, `names`, and the addresses that graphward listens on. If it listens on all addresses, every
    /// address is allowed; a name that resolves to one still has to be among `names`. `origin` is the host that requests go to.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = String>, listen_addresses: &[SocketAddr], origin: &str) -> Self {
        let names = names.into_iter().map(|name| without_brackets(&name).to_owned());
        let listen_addresses: Vec<IpAddr> = listen_addresses.iter().map(SocketAddr::ip).collect();
        let listens_on_all = listen_addresses.iter().any(IpAddr::is_unspecified);
        Self {
            names: names.collect(),
            meta_host_advice: advice_for_meta_host(origin),
            listen_addresses,
            listens_on_all,
        }
    }

    fn allows(&self, host: &str) -> bool {
        let host = without_brackets(host);
        let host = host.strip_suffix('.').unwrap_or(host);
        let is_own = |it: IpAddr| it.is_loopback() || self.listens_on_all || self.listen_addresses.contains(&it);
        host.parse().is_ok_and(is_own)
            || host.eq_ignore_ascii_case("localhost")
            || self.names.iter().any(|name| name.eq_ignore_ascii_case(host))
    }

    /// What to do about a request that names this host, which is not allowed.
    fn advice_for(&self, host: &str, head: &Parts) -> &'static str {
        if shown_host(host) != host {
            "it stands where the base URL of the app has its host: use graphward's address there"
        } else if TokenFamily::from_host(host.strip_suffix('.').unwrap_or(host)).is_some() {
            self.meta_host_advice
        } else if head.version < Version::HTTP_2 && head.uri.authority().is_some() {
            "the app uses graphward as a proxy for it: add it to NO_PROXY, or unset HTTP_PROXY"
        } else {
            "add it to listen.allowed_hosts if it is a name or an address of graphward"
        }
    }
}
