//! What a text of each format must be, and what it must not contain.
//!
//! # Why
//!
//! The most common mistake is to write a secret where a reference to it belongs, so no message about such a place repeats
//! the text.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, Uri};
use regex_lite::Regex;
use serde_json::Value;

use super::schema::rule;
use crate::graph::Origin;
use crate::net::{HostNameError, ListenAddr, dialed_host_name, host_and_port, host_name};

/// Returns the normal form of a text that a schema describes, or says what it must be.
pub(super) fn check(schema: &Value, text: &str) -> Result<String, String> {
    let is_match = |pattern: &str| Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text));
    let rules = (rule(schema, "pattern"), rule(schema, "patternErrorMessage"));
    let by_host_name = |error: HostNameError| error.to_string();
    let (is_valid, expected) = match (rule(schema, "format").unwrap_or_default(), rules) {
        // The variables of graphward may hold the token or the app's secret.
        ("passed-env", _) if text.starts_with("GRAPHWARD_") => (
            false,
            "cannot be passed to a command (GRAPHWARD_* is reserved); rename the variable",
        ),
        (_, (Some(pattern), Some(expected))) => (is_match(pattern), expected),
        ("listen-address", _) => {
            let address = text.parse::<ListenAddr>();
            return address.map_or_else(|error| Err(error.to_string()), |address| Ok(address.to_string()));
        }
        ("origin", _) => return origin(text),
        ("host", _) => return host_name(text).map_err(by_host_name),
        ("dialed-host", _) => return dialed_host_name(text).map_err(by_host_name),
        ("host-port", _) => return host_and_port(text).map_err(by_host_name),
        ("header-name", _) => return header_name(text),
        ("service-url", _) if text.contains('{') => (
            false,
            "contains {: templates are not supported; write the tenant's name",
        ),
        ("service-url", _) => (
            is_service_url(text),
            "must be an http:// or https:// URL, such as \"http://tenant-service:3007/token\"",
        ),
        ("optional-path", _) if text.is_empty() => (true, ""),
        // A webhook's address, say, or a database's with its password, or a private key.
        ("path" | "optional-path", _) => (
            !text.is_empty() && !["://", "\0", "-----BEGIN"].iter().any(|content| text.contains(content)),
            "must be a file path, not the file's content",
        ),
        // As `pg_notify` takes it; a longer one would be cut.
        ("channel", _) => (
            (1..=63).contains(&text.len()) && !text.contains(char::is_control),
            "must be a PostgreSQL channel name of 1 to 63 bytes",
        ),
        _ => (true, ""),
    };
    is_valid.then(|| text.to_owned()).ok_or_else(|| expected.to_owned())
}

/// The normal form of an origin, whose host is in lower case and whose port is not the default.
fn origin(text: &str) -> Result<String, String> {
    let origin = Origin::parse(&text.to_ascii_lowercase()).map_err(|error| error.to_string())?;
    host_name(origin.host()).map_err(|error: HostNameError| error.to_string())?;
    let text = origin.to_string();
    Ok(text.strip_suffix(":443").unwrap_or(&text).to_owned())
}

/// Whether it is `http` or `https` and a host.
fn is_service_url(text: &str) -> bool {
    text.parse().is_ok_and(|url: Uri| {
        let is_host = |host: &http::uri::Authority| !host.host().is_empty() && !host.as_str().ends_with(':');
        matches!(url.scheme_str(), Some("http" | "https")) && url.authority().is_some_and(is_host)
    })
}

/// Headers of the connection are graphward's own.
fn header_name(name: &str) -> Result<String, String> {
    let ours = [CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE];
    match HeaderName::from_bytes(name.as_bytes()) {
        Ok(name) if ours.contains(&name) => Err("cannot be set: graphward sets this header".to_owned()),
        Ok(name) => Ok(name.to_string()),
        Err(_invalid) => Err("must be a header name".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_origin_is_https_and_a_host_and_nothing_else() {
        for (text, normal) in [
            ("https://graph.facebook.com", "https://graph.facebook.com"),
            ("HTTPS://Graph.Facebook.com:443/", "https://graph.facebook.com"),
            ("https://127.0.0.1:18443", "https://127.0.0.1:18443"),
            ("https://[::1]:18443", "https://[::1]:18443"),
        ] {
            assert_eq!(check(&json!({ "format": "origin" }), text).as_deref(), Ok(normal));
        }
        for (text, words) in [
            ("http://graph.facebook.com", "never sent over plain http"),
            ("graph.facebook.com", "must start with `https://`"),
            ("ftp://graph.facebook.com", "must start with `https://`"),
            ("https://graph.facebook.com/v23.0", "must not contain a path"),
            ("https://graph.facebook.com?a=b", "must not contain a path"),
            ("https://graph.facebook.com//", "must not contain a path"),
            ("https://me:hunter2@graph.facebook.com", "must not contain user info"),
            ("https://", "URI"),
            ("https://graph facebook", "URI"),
            ("https://graph.facebook.com:", "port"),
            ("https://graph.facebook.com:0", "port"),
            ("https://graph.facebook.com:99999", "port"),
        ] {
            let error = check(&json!({ "format": "origin" }), text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
            assert!(!error.contains("hunter2"));
        }
    }
}
