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
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use schemars::JsonSchema;
use serde::Deserialize;

use super::response::{AdminResponse, error_response};
use super::routes::{Access, Route};
use crate::types::{Secret, SecretRef, has_token};

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
}

/// The challenge in an answer to a request without the key, by which a command knows a graphward.
pub const CHALLENGE: &str = "Bearer realm=\"graphward\"";
/// The header that a change needs, with the value `yes`.
const ADMIN_HEADER: &str = "graphward-admin";
/// What a target may contain and curl takes for a pattern, and the quotation mark of shells.
const FOR_CURL: &AsciiSet = &CONTROLS.add(b'[').add(b']').add(b'{').add(b'}').add(b'\'');
/// The header in which a browser says how the page that sent a request is related to this origin.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

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
        if is_of_other_page(headers) {
            return Err(AccessError::ForeignOrigin);
        }
        Ok(())
    }

    /// Answers why a request to a target is not accepted, with the command line of one that is.
    pub(super) fn refuse(&self, error: AccessError, route: &Route, target: &Uri) -> AdminResponse {
        use AccessError::{Exposed, ForeignHost, ForeignOrigin, NoHeader, NoKey, ReadOnly, UnknownHost, WrongKey};
        let message = match error {
            Exposed(_) | ReadOnly => error.to_string(),
            NoKey | WrongKey | NoHeader | ForeignHost | UnknownHost | ForeignOrigin => {
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
        let target = target.path_and_query().map_or(route.path, PathAndQuery::as_str);
        // What might be a secret in the wrong place is not repeated.
        let target = utf8_percent_encode(if has_token(target) { route.path } else { target }, FOR_CURL);
        let url = match self.address.url.strip_prefix("unix:") {
            Some(socket) => format!(
                "--unix-socket {} {}",
                quote(socket),
                quote(&format!("http://localhost{target}"))
            ),
            None => quote(&format!("{}{target}", self.address.url)),
        };
        format!("curl{method}{proof}{body} {url}")
    }
}

/// Quotes a word for a shell.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
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
    hosts.peek().is_some() && hosts.all(|host| host.as_ref().is_some_and(&is_accepted))
}

fn is_loopback(authority: &Authority) -> bool {
    let is_name = authority.host().eq_ignore_ascii_case("localhost");
    is_name || address_in(authority).is_some_and(|address| address.is_loopback())
}

fn is_address(authority: &Authority) -> bool {
    address_in(authority).is_some()
}

fn address_in(authority: &Authority) -> Option<IpAddr> {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host.parse().ok()
}

/// Returns whether a browser says that another page than one of this listener sent the request.
fn is_of_other_page(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|field| field.to_str().ok());
    let host = text(HOST).unwrap_or_default();
    let is_own = |origin: &str| {
        let authority = origin.split_once("://").map(|(_scheme, authority)| authority);
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    };
    headers.contains_key(ORIGIN) && !text(ORIGIN).is_some_and(is_own)
        || text(FETCH_SITE).is_some_and(|site| !matches!(site, "same-origin" | "none"))
}

#[cfg(test)]
mod tests {
    use super::super::routes::{Found, find};
    use super::*;

    const KEY: &str = "a-key-of-the-operators";

    fn guarded(policy: &AccessPolicy, exposed: Option<SocketAddr>, request: &[(&str, &str)]) -> [&'static str; 2] {
        let address = AdminAddress {
            url: "http://127.0.0.1:9080".to_owned(),
            exposed,
            hosts: vec!["graphward".to_owned()],
        };
        let guard = Guard {
            policy,
            address: &address,
        };
        [(Method::GET, "/admin/events"), (Method::PUT, "/admin/token")].map(|(method, path)| {
            let Found::Route(route) = find(&method, path) else {
                panic!("{path}");
            };
            let mut builder = Request::builder().method(method).uri(path);
            for (name, value) in request {
                builder = builder.header(*name, *value);
            }
            match guard.check(route, &builder.body(()).unwrap()) {
                Ok(()) => "yes",
                Err(AccessError::Exposed(_)) => "exposed",
                Err(AccessError::ReadOnly) => "read-only",
                Err(AccessError::NoKey) => "key",
                Err(AccessError::WrongKey) => "wrong key",
                Err(AccessError::NoHeader) => "header",
                Err(AccessError::ForeignHost | AccessError::UnknownHost) => "host",
                Err(AccessError::ForeignOrigin) => "origin",
            }
        })
    }

    const LOCAL: (&str, &str) = ("host", "localhost:9080");
    const YES: (&str, &str) = ("graphward-admin", "yes");

    #[test]
    fn without_a_key_looks_and_changes_are_of_this_machine_and_of_no_other_page() {
        let policy = AccessPolicy {
            key: None,
            writes: true,
        };
        for (headers, expected) in [
            (vec![LOCAL, YES], ["yes", "yes"]),
            (vec![LOCAL], ["yes", "header"]),
            (vec![YES], ["host", "host"]),
            (vec![("host", "[::1]:9080"), YES], ["yes", "yes"]),
            (vec![("host", "rebound.example"), YES], ["host", "host"]),
            (vec![("host", "127.0.0.1.nip.io"), YES], ["host", "host"]),
            (vec![LOCAL, ("host", "evil.example"), YES], ["host", "host"]),
            (vec![LOCAL, YES, ("origin", "http://localhost:9080")], ["yes", "yes"]),
            (
                vec![LOCAL, YES, ("origin", "http://localhost:3000")],
                ["origin", "origin"],
            ),
            (
                vec![LOCAL, YES, ("origin", "https://evil.example")],
                ["origin", "origin"],
            ),
            (vec![LOCAL, YES, ("origin", "null")], ["origin", "origin"]),
            (vec![LOCAL, YES, ("sec-fetch-site", "cross-site")], ["origin", "origin"]),
            (vec![LOCAL, YES, ("sec-fetch-site", "same-site")], ["origin", "origin"]),
            (vec![LOCAL, YES, ("sec-fetch-site", "same-origin")], ["yes", "yes"]),
            (vec![LOCAL, YES, ("sec-fetch-site", "none")], ["yes", "yes"]),
        ] {
            assert_eq!(guarded(&policy, None, &headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn a_listener_that_others_reach_changes_nothing_without_its_key_and_shows_nothing_to_a_rebound_name() {
        let open = AccessPolicy {
            key: None,
            writes: true,
        };
        let exposed = Some(SocketAddr::from(([0, 0, 0, 0], 9080)));
        assert_eq!(guarded(&open, exposed, &[LOCAL, YES]), ["yes", "exposed"]);
        assert_eq!(
            guarded(&open, exposed, &[("host", "graphward:9080"), YES]),
            ["yes", "exposed"]
        );
        for address in ["10.0.0.7:9080", "[2001:db8::7]:9080"] {
            assert_eq!(guarded(&open, exposed, &[("host", address)]), ["yes", "exposed"]);
        }
        for name in ["rebound.example", "10.0.0.7.nip.io", "graphward.evil.example", ""] {
            assert_eq!(
                guarded(&open, exposed, &[("host", name)]),
                ["host", "exposed"],
                "{name}"
            );
        }
        let locked = AccessPolicy {
            key: Some(Secret::new(KEY).unwrap()),
            writes: true,
        };
        let right = format!("Bearer {KEY}");
        for exposed in [exposed, None] {
            for wrong in [
                "",
                "Bearer",
                "Bearer ",
                "Bearer a-key-of-the-operator",
                "Basic YTpi",
                KEY,
            ] {
                let headers = [LOCAL, YES, ("authorization", wrong)];
                assert_eq!(
                    guarded(&locked, exposed, &headers),
                    ["wrong key", "wrong key"],
                    "{wrong}"
                );
            }
            assert_eq!(guarded(&locked, exposed, &[LOCAL, YES]), ["key", "key"]);
            for scheme in ["Bearer", "bearer"] {
                let headers = [
                    ("host", "graphward:9080"),
                    ("authorization", &format!("{scheme} {KEY}")),
                ];
                assert_eq!(guarded(&locked, exposed, &headers), ["yes", "yes"], "{scheme}");
            }
            let page = [LOCAL, ("authorization", &right), ("origin", "https://evil.example")];
            assert_eq!(guarded(&locked, exposed, &page), ["origin", "origin"]);
        }
    }

    #[test]
    fn changes_can_be_switched_off() {
        for key in [None, Some(Secret::new(KEY).unwrap())] {
            let policy = AccessPolicy { key, writes: false };
            let key = format!("Bearer {KEY}");
            let headers = [LOCAL, YES, ("authorization", key.as_str())];
            assert_eq!(guarded(&policy, None, &headers), ["yes", "read-only"]);
            // Without the key, a request is not told what is switched off.
            let refused = ["key", "wrong key"].map(|word| {
                if policy.key.is_some() {
                    [word; 2]
                } else {
                    ["yes", "read-only"]
                }
            });
            let wrong = [LOCAL, YES, ("authorization", "Bearer wrong")];
            assert_eq!(guarded(&policy, None, &[LOCAL, YES]), refused[0]);
            assert_eq!(guarded(&policy, None, &wrong), refused[1]);
        }
    }
}
