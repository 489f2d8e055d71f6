//! Who may look, and who may change something, through the admin listener.
//!
//! # Why
//!
//! With a key, a request proves itself. Without one, changes are accepted only from what proves to come from this machine: every
//! address of the listener is loopback or a Unix socket. A web page in a browser on this machine is no exception to distrust: it
//! can send a request anywhere, but not with a header of its own, unless the answer to a preflight request allows it, and no answer
//! here does. A page that made its own name resolve to the listener could, but then names itself in `Host`; it could also read, so
//! that counts for reads as well, at an address that other machines reach too. Browsers say besides which page a request is from, in `Origin` and `Sec-Fetch-Site`.

use std::net::{IpAddr, SocketAddr};

use http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use schemars::JsonSchema;
use serde::Deserialize;

use super::response::{AdminResponse, error_response};
use super::routes::{Access, Route};
use crate::net::without_brackets;
use crate::types::{Secret, SecretRef, has_token, shell_word};

/// The settings of `[admin]`: who may use the admin listener, and for what.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct AdminConfig {
    /// Where the key is that requests to `/admin/` need, as `Authorization: Bearer KEY`.
    pub key: Option<SecretRef>,
    /// Whether requests may change anything.
    pub writes: bool,
}

/// The rules by which the admin listener accepts requests: [`AdminConfig`] with the key that was read.
#[derive(Debug)]
pub struct AccessPolicy {
    /// The key that a request to `/admin/` needs, if one is configured.
    pub key: Option<Secret>,
    /// Whether requests may change anything.
    pub writes: bool,
}

/// The listener, as its clients reach it.
#[derive(Clone, Debug)]
pub struct AdminAddress {
    /// Its URL on this machine, or `unix:/path`.
    pub url: String,
    /// Its address, if other machines can reach it: then it changes nothing without a key.
    pub exposed: Option<SocketAddr>,
    /// The names that a request may have in `Host` there, besides addresses and `localhost`.
    pub hosts: Vec<String>,
}

/// Checks requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard<'a> {
    pub(super) policy: &'a AccessPolicy,
    pub(super) address: &'a AdminAddress,
}

/// The reason why a request is not accepted. No message repeats anything of the request, and the command line nothing but its target.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum AccessError {
    #[error(
        "other machines can reach the admin listener, on {0}, so it changes no token; set listen.admin to a loopback \
         address or to unix:/PATH, or set admin.key, or replace the token in its source"
    )]
    Exposed(SocketAddr),
    #[error(
        "admin.writes is false in the configuration, so requests change nothing here; set it to true, or replace the token \
         in its source"
    )]
    ReadOnly,
    #[error("the request needs the key of admin.key, as `Authorization: Bearer KEY`")]
    NoKey,
    #[error("the key of the request is wrong: it has to be that of admin.key, as `Authorization: Bearer KEY`")]
    WrongKey,
    #[error("a change needs the header `Graphward-Admin: yes`, which no web page can send")]
    NoHeader,
    #[error("the request needs the Host localhost, 127.0.0.1 or [::1]")]
    ForeignHost,
    #[error(
        "the request needs an IP address, localhost or a name of listen.allowed_hosts as its Host, or the key of admin.key"
    )]
    UnknownHost,
    #[error("the request is from a web page of another origin")]
    ForeignOrigin,
    #[error("the request has the header {0} twice")]
    Repeated(&'static str),
}

/// The challenge in an answer to a request without the key, by which a command knows a graphward.
pub const CHALLENGE: &str = "Bearer realm=\"graphward\"";
/// The header that a change needs, with the value `yes`.
const ADMIN_HEADER: &str = "graphward-admin";
/// What a target may contain and curl takes for a pattern, and the quotation mark of shells.
const FOR_CURL: &AsciiSet = &CONTROLS.add(b'[').add(b']').add(b'{').add(b'}').add(b'\'');
/// The header in which a browser says how the page that sent a request is related to this origin.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The headers that are looked at: with two of one, what counts here and what counts for another reader may differ.
const GUARDS: [&str; 5] = ["Authorization", "Host", "Origin", "Sec-Fetch-Site", "Graphward-Admin"];

// === impl Guard ===

impl Guard<'_> {
    /// Returns why the listener accepts no change at all; `None` if it accepts changes.
    pub(super) const fn change_refusal(&self) -> Option<AccessError> {
        match (&self.policy.key, self.address.exposed) {
            _ if !self.policy.writes => Some(AccessError::ReadOnly),
            (None, Some(address)) => Some(AccessError::Exposed(address)),
            (Some(_), _) | (None, None) => None,
        }
    }

    /// Checks whether a request may do what its route does.
    pub(super) fn check<B>(&self, route: &Route, request: &Request<B>) -> Result<(), AccessError> {
        let headers = request.headers();
        let is_write = match route.access {
            Access::Open => return Ok(()),
            Access::Read => false,
            Access::Write => true,
        };
        let repeated = GUARDS
            .iter()
            .find(|name| headers.get_all(**name).iter().nth(1).is_some());
        if let Some(name) = repeated {
            return Err(AccessError::Repeated(name));
        }
        let refusal = self.change_refusal().filter(|_| is_write);
        match (&self.policy.key, self.address.exposed) {
            (Some(key), _) if has_key(key, headers) => {}
            (Some(_), _) if headers.contains_key(AUTHORIZATION) => return Err(AccessError::WrongKey),
            (Some(_), _) => return Err(AccessError::NoKey),
            (None, _) if refusal.is_some() => {}
            (None, Some(_))
                if has_host(request, |host| {
                    is_address(host) || is_loopback(host) || self.has_name(host)
                }) => {}
            (None, Some(_)) => return Err(AccessError::UnknownHost),
            (None, None) if is_write && headers.get(ADMIN_HEADER).is_none_or(|value| value != "yes") => {
                return Err(AccessError::NoHeader);
            }
            (None, None) if has_host(request, is_loopback) => {}
            (None, None) => return Err(AccessError::ForeignHost),
        }
        // What is switched off is said only to a client that has the key.
        if let Some(error) = refusal {
            return Err(error);
        }
        if is_of_other_page(request) {
            return Err(AccessError::ForeignOrigin);
        }
        Ok(())
    }

    /// Answers why a request to a target is not accepted, with the command line of one that is.
    pub(super) fn refuse(&self, error: AccessError, route: &Route, target: &Uri) -> AdminResponse {
        use AccessError::{
            Exposed, ForeignHost, ForeignOrigin, NoHeader, NoKey, ReadOnly, Repeated, UnknownHost, WrongKey,
        };
        let message = match error {
            Exposed(_) | ReadOnly => error.to_string(),
            NoKey | WrongKey | NoHeader | ForeignHost | UnknownHost | ForeignOrigin | Repeated(_) => {
                format!("{error}; this works: {}", self.command_line(route, target))
            }
        };
        let mut response = error_response(StatusCode::FORBIDDEN, &message);
        if matches!(error, NoKey | WrongKey) {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            let scheme = HeaderValue::from_static(CHALLENGE);
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        response
    }

    fn has_name(&self, authority: &Authority) -> bool {
        let mut names = self.address.hosts.iter();
        names.any(|name| name.eq_ignore_ascii_case(authority.host()))
    }

    /// The command line that sends a request to the same target which is accepted. It is safe in a shell, whatever the target.
    fn command_line(&self, route: &Route, target: &Uri) -> String {
        let method = match route.method {
            Method::GET => String::new(),
            ref other => format!(" -X {other}"),
        };
        let proof = match (&self.policy.key, route.access) {
            (Some(_), _) => " -H \"Authorization: Bearer $ADMIN_KEY\"",
            (None, Access::Write) => " -H 'Graphward-Admin: yes'",
            (None, Access::Open | Access::Read) => "",
        };
        let body = if route.has_body() { " -d @-" } else { "" };
        let target = shown_target(route, target);
        let target = utf8_percent_encode(&target, FOR_CURL);
        let (socket, base) = match self.address.url.strip_prefix("unix:") {
            Some(socket) => (format!("--unix-socket {} ", shell_word(socket)), "http://localhost"),
            None => (String::new(), &*self.address.url),
        };
        format!(
            "curl{method}{proof}{body} {socket}{}",
            shell_word(format_args!("{base}{target}"))
        )
    }
}

/// The target of a request without what might be a secret in the wrong place: a token, and each parameter that the route does not
/// know, such as the key.
fn shown_target(route: &Route, target: &Uri) -> String {
    let path = if has_token(target.path()) {
        route.path.replace("{tenant}", "NAME")
    } else {
        target.path().to_owned()
    };
    let is_known = |parameter: &&str| {
        let known = parameter.split('=').next();
        known.is_some_and(|name| route.parameters.contains(&name)) && !has_token(parameter)
    };
    let parameters = target.query().into_iter().flat_map(|query| query.split('&'));
    let query: Vec<_> = parameters.filter(is_known).collect();
    match query.join("&") {
        query if query.is_empty() => path,
        query => format!("{path}?{query}"),
    }
}

fn has_key(key: &Secret, headers: &HeaderMap) -> bool {
    const SCHEME: &[u8] = b"Bearer ";
    let field = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let parts = field.and_then(|field| field.split_at_checked(SCHEME.len()));
    parts.is_some_and(|(scheme, presented)| {
        scheme.eq_ignore_ascii_case(SCHEME) && key.is_presented_as(presented.trim_ascii())
    })
}

/// Returns whether a request names a host, and only accepted ones.
fn has_host<B>(request: &Request<B>, is_accepted: impl Fn(&Authority) -> bool) -> bool {
    let fields = request.headers().get_all(HOST).iter();
    let fields = fields.map(|host| host.to_str().ok().and_then(|host| host.parse().ok()));
    let mut hosts = fields.chain(request.uri().authority().cloned().map(Some)).peekable();
    hosts.peek().is_some() && hosts.all(|host| host.as_ref().is_some_and(|host| is_bare(host) && is_accepted(host)))
}

/// Returns whether an authority is a host, with a port or without, and nothing besides.
fn is_bare(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host());
    port.is_some_and(|port| port.is_empty() || authority.port_u16().is_some())
}

fn is_loopback(authority: &Authority) -> bool {
    let is_name = authority.host().eq_ignore_ascii_case("localhost");
    is_name || address_in(authority).is_some_and(|address| address.is_loopback())
}

fn is_address(authority: &Authority) -> bool {
    address_in(authority).is_some()
}

fn address_in(authority: &Authority) -> Option<IpAddr> {
    without_brackets(authority.host()).parse().ok()
}

/// Returns whether a browser says that another page than one of this listener sent the request.
fn is_of_other_page<B>(request: &Request<B>) -> bool {
    let is_own = |origin: &HeaderValue| {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        origin.is_some_and(|(scheme, authority)| {
            let is_same = |host: &Authority| host.as_str().eq_ignore_ascii_case(authority);
            matches!(scheme, "http" | "https") && has_host(request, is_same)
        })
    };
    let headers = request.headers();
    !headers.get(ORIGIN).is_none_or(is_own)
        || !headers
            .get(FETCH_SITE)
            .is_none_or(|site| site == "same-origin" || site == "none")
}

#[cfg(test)]
mod tests;
