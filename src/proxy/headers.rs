//! Fields that end here, in both directions.
//!
//! # Why
//!
//! The common idiom for `Connection`, `headers.remove(CONNECTION)`, returns the first of several lines; names
//! listed on a second one survive it (RFC 9110, section 7.6.1 has them all listed names). So: collect from all
//! lines, then remove. Framing fields are always dropped and never copied: the body itself says how long it is.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Drops what must not leave towards Graph: hop-by-hop fields, everything any `Connection` line lists, framing,
/// `Host`, cookies and forwarding fields. `Authorization` is another rule's business.
pub(crate) fn strip_request_headers(headers: &mut HeaderMap) {
    remove_connection_listed(headers);
    remove_matching(headers, is_stripped_from_request);
}

/// Drops what must not reach the app: hop-by-hop fields, everything any `Connection` line lists, framing, and
/// the two fields that would teach the app to go round the proxy, or its browser to distrust loopback.
pub(crate) fn strip_response_headers(headers: &mut HeaderMap) {
    remove_connection_listed(headers);
    remove_matching(headers, is_stripped_from_response);
}

/// Calls `store` on each name once and removes those that it marks.
fn remove_matching(headers: &mut HeaderMap, should_remove: fn(&HeaderName) -> bool) {
    // Five names cover what clients send; only a strange request pays for a longer list.
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
    // What nearly every client sends lists nothing.
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

/// `X-Forwarded-*` and `X-Real-IP`, with underscores too: some servers read the one as the other.
fn is_forwarding(name: &str) -> bool {
    let rest = name.strip_prefix("x-").or_else(|| name.strip_prefix("x_"));
    rest.is_some_and(|rest| {
        rest == "real-ip" || rest == "real_ip" || rest.starts_with("forwarded-") || rest.starts_with("forwarded_")
    })
}

fn is_stripped_from_response(name: &HeaderName) -> bool {
    is_hop_by_hop(name) || matches!(*name, header::ALT_SVC | header::STRICT_TRANSPORT_SECURITY)
}

/// The fuzzer's door: both directions, and nothing else.
#[cfg(fuzzing)]
pub mod fuzzed {
    use http::HeaderMap;

    /// What a request's fields become.
    pub fn clean_request(headers: &mut HeaderMap) {
        super::clean_request(headers);
    }

    /// What an answer's fields become.
    pub fn clean_response(headers: &mut HeaderMap) {
        super::clean_response(headers);
    }
}

#[cfg(test)]
mod tests;
