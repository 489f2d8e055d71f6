//! Who may change something through the admin listener.
//!
//! # Why
//!
//! There is no key, so only what proves to come from this machine is accepted: every address of the listener is loopback or
//! a Unix socket. A web page in a browser on this machine is no exception to distrust: it can send a request anywhere, but
//! not with a header of its own, unless the answer to a preflight request allows it, and no answer here does. A page that
//! made its own name resolve to loopback could, but then names itself in `Host`.

use std::net::{IpAddr, SocketAddr};

use http::Request;
use http::header::HOST;
use http::uri::Authority;

/// The reason why a request is not accepted. No message repeats anything of the request.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum AccessError {
    #[error(
        "other machines can reach the admin listener, on {0}, so it changes no token; set listen.admin to a loopback \
         address or to unix:/PATH, or replace the token in its source"
    )]
    Exposed(SocketAddr),
    #[error("a change of the token needs the header `Graphward-Admin: yes`, which no web page can send")]
    NoHeader,
    #[error("a change of the token needs the Host localhost, 127.0.0.1 or [::1]")]
    ForeignHost,
}

/// The header that a change needs, with the value `yes`.
const ADMIN_HEADER: &str = "graphward-admin";

/// Checks whether a request may change something.
pub(super) fn check_write<B>(exposed_on: Option<SocketAddr>, request: &Request<B>) -> Result<(), AccessError> {
    if let Some(address) = exposed_on {
        return Err(AccessError::Exposed(address));
    }
    if request.headers().get(ADMIN_HEADER).is_none_or(|value| value != "yes") {
        return Err(AccessError::NoHeader);
    }
    let fields = request.headers().get_all(HOST).iter();
    let fields = fields.map(|host| host.to_str().ok().and_then(|host| host.parse().ok()));
    let mut hosts = fields.chain(request.uri().authority().cloned().map(Some)).peekable();
    let has_host = hosts.peek().is_some();
    if !has_host || !hosts.all(|host| host.as_ref().is_some_and(is_loopback)) {
        return Err(AccessError::ForeignHost);
    }
    Ok(())
}

fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or_else(|_name| host.eq_ignore_ascii_case("localhost"), |it| it.is_loopback())
}
