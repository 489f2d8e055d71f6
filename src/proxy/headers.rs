//! Removes the headers that must not be forwarded, in both directions.
//!
//! # Why
//!
//! The common idiom for `Connection`, `headers.remove(CONNECTION)`, returns the first of several lines; names listed on
//! a second one survive it, although RFC 9110, section 7.6.1, covers all of them. So graphward collects the names from
//! all lines, then removes them. Framing headers are always removed and never copied: the body knows its own length.

use http::header::{self, CONTENT_ENCODING, ETAG, HeaderMap, HeaderName, HeaderValue};

/// Removes what must not reach Graph: hop-by-hop headers, everything that any `Connection` line lists, framing, `Host`,
/// cookies, forwarding headers, and those with these names. `Authorization` has rules of its own.
pub(crate) fn strip_request_headers(headers: &mut HeaderMap, removed: &[HeaderName]) {
    remove_connection_listed(headers);
    remove_matching(headers, |name| is_stripped_from_request(name) || removed.contains(name));
}

/// Removes what must not reach the app: hop-by-hop headers, everything that any `Connection` line lists, framing, and
/// the two headers that would make the app bypass the proxy, or a browser distrust loopback.
pub(crate) fn strip_response_headers(headers: &mut HeaderMap) {
    remove_connection_listed(headers);
    remove_matching(headers, is_stripped_from_response);
}

/// Removes what describes the bytes that Graph sent, for a body that has been changed. The validator still tells
/// versions apart, so it is kept, as a weak one (RFC 9110, section 8.8.1).
pub(crate) fn strip_representation_headers(headers: &mut HeaderMap) {
    headers.remove(CONTENT_ENCODING);
    for digest in ["content-digest", "digest", "content-md5", "repr-digest"] {
        headers.remove(digest);
    }
    if let Some(strong) = headers.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""))
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", strong.as_bytes()].concat())
    {
        headers.insert(ETAG, weak);
    }
}

/// Removes each header whose name matches.
fn remove_matching(headers: &mut HeaderMap, should_remove: impl Fn(&HeaderName) -> bool) {
    // Clients send at most five such names; only an unusual request needs a second round.
    let mut matching: [Option<HeaderName>; 8] = [const { None }; 8];
    loop {
        let mut slots = matching.iter_mut();
        for name in headers.keys().filter(|name| should_remove(name)) {
            let Some(slot) = slots.next() else { break };
            *slot = Some(name.clone());
        }
        let full = slots.next().is_none();
        for name in matching.iter_mut().filter_map(Option::take) {
            headers.remove(name);
        }
        if !full {
            return;
        }
    }
}

fn remove_connection_listed(headers: &mut HeaderMap) {
    // The value of nearly every client names no header.
    let names_header = |line: &HeaderValue| !(line == "keep-alive" || line == "close");
    if !headers.get_all(header::CONNECTION).iter().any(names_header) {
        return;
    }
    let listed: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| *name != header::CONNECTION)
        .collect();
    for name in listed {
        headers.remove(name);
    }
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONNECTION
            | header::CONTENT_LENGTH
            | header::PROXY_AUTHENTICATE
            | header::PROXY_AUTHORIZATION
            | header::TE
            | header::TRAILER
            | header::TRANSFER_ENCODING
            | header::UPGRADE
    ) || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings")
}

fn is_stripped_from_request(name: &HeaderName) -> bool {
    is_hop_by_hop(name)
        || matches!(
            *name,
            header::HOST | header::EXPECT | header::COOKIE | header::FORWARDED
        )
        || is_forwarding(name.as_str())
}

/// Matches `X-Forwarded-*` and `X-Real-IP`, with underscores too: some servers treat both the same.
fn is_forwarding(name: &str) -> bool {
    let rest = name.strip_prefix("x-").or_else(|| name.strip_prefix("x_"));
    rest.is_some_and(|rest| {
        rest == "real-ip" || rest == "real_ip" || rest.starts_with("forwarded-") || rest.starts_with("forwarded_")
    })
}

fn is_stripped_from_response(name: &HeaderName) -> bool {
    is_hop_by_hop(name) || matches!(*name, header::ALT_SVC | header::STRICT_TRANSPORT_SECURITY)
}

/// Exposes both directions to the fuzz target.
#[cfg(fuzzing)]
pub mod fuzzing {
    use http::HeaderMap;

    /// Removes what must not reach Graph.
    pub fn strip_request_headers(headers: &mut HeaderMap) {
        super::strip_request_headers(headers, &[]);
    }

    /// Removes what must not reach the app.
    pub fn strip_response_headers(headers: &mut HeaderMap) {
        super::strip_response_headers(headers);
    }
}

#[cfg(test)]
mod tests;
