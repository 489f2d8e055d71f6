//! What a text of each format must be, and what it must not contain.
//!
//! # Why
//!
//! The most common mistake is to write a secret where a reference to it belongs, so no message about such a place repeats
//! the text.

use regex_lite::Regex;
use serde_json::Value;

use super::schema::rule;
use crate::graph::Origin;
use crate::net::{ListenAddr, NO_EGRESS_PROXY, dialed_host_name, host_and_port, host_name, is_proxy_url};
use crate::source::{ServiceUrl, TenantPath, TenantUrl, service_header};
use crate::tenants::AllowRule;
use crate::types::TenantId;

/// Headers with a meaning in HTTP that Graph or graphward uses.
const HEADERS_OF_HTTP: &str = "accept accept-encoding authorization content-encoding content-range content-type cookie expect \
                               forwarded proxy-authorization range user-agent";

/// Returns the normal form of a text that a schema describes, or says what it must be.
pub(super) fn check(schema: &Value, text: &str) -> Result<String, String> {
    let must = |is_valid: bool, expected: &str| is_valid.then(|| text.to_owned()).ok_or_else(|| expected.to_owned());
    let is_match = |pattern: &str| Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text));
    let rules = (rule(schema, "pattern"), rule(schema, "patternErrorMessage"));
    match (rule(schema, "format").unwrap_or_default(), rules) {
        // The variables of graphward may hold the token or the app's secret.
        ("passed-env", _) if text.starts_with("GRAPHWARD_") => {
            Err("cannot be passed to a command (GRAPHWARD_* is reserved); rename the variable".to_owned())
        }
        (_, (Some(pattern), Some(expected))) => must(is_match(pattern), expected),
        ("listen-address", _) => shown(text.parse::<ListenAddr>()),
        ("allow-rule", _) => shown(text.parse::<AllowRule>()),
        ("origin", _) => origin(text),
        ("host", _) => shown(host_name(text)),
        ("dialed-host", _) => shown(dialed_host_name(text)),
        ("host-port", _) => shown(host_and_port(text)),
        ("tenant", _) => shown(TenantId::new(text)),
        ("header-name", _) => shown(service_header(text)),
        ("tenant-header", _) => service_header(text)
            .ok()
            .filter(|name| !HEADERS_OF_HTTP.split(' ').any(|of_http| name == of_http))
            .map(|name| name.to_string())
            .ok_or_else(|| "must be a header of your own, such as `X-Tenant-Id`: it is not forwarded".to_owned()),
        ("service-url", _) => shown(text.parse::<ServiceUrl>()),
        ("tenant-url", _) => shown(text.parse::<TenantUrl>()),
        ("tenant-path", _) => shown(text.parse::<TenantPath>()),
        ("proxy-url", _) => must(
            text == NO_EGRESS_PROXY || (text.contains("://") && is_proxy_url(text)),
            "must be `http://host:port` or `https://host:port` of a proxy for CONNECT, or \"none\"",
        ),
        ("optional-path", _) if text.is_empty() => Ok(String::new()),
        ("path" | "optional-path", _) if text.contains("{tenant}") => Err(
            "names one file, so `{tenant}` must be a name; for a file for each tenant, use [tenants_from]".to_owned(),
        ),
        // A webhook's address, say, or a database's with its password, or a private key.
        ("path" | "optional-path", _) => must(
            !text.is_empty() && !["://", "\0", "-----BEGIN"].iter().any(|content| text.contains(content)),
            "must be a file path, not the file's content",
        ),
        // As `pg_notify` takes it; a longer one would be cut.
        ("channel", _) => must(
            (1..=63).contains(&text.len()) && !text.contains(char::is_control),
            "must be a PostgreSQL channel name of 1 to 63 bytes",
        ),
        _ => Ok(text.to_owned()),
    }
}

/// The normal form of what has been read, or the reason why it cannot be.
fn shown<T: ToString, E: ToString>(read: Result<T, E>) -> Result<String, String> {
    read.map(|value| value.to_string()).map_err(|error| error.to_string())
}

/// The normal form of an origin, whose host is in lower case and whose port is not the default.
fn origin(text: &str) -> Result<String, String> {
    let origin = Origin::parse(&text.to_ascii_lowercase()).map_err(|error| error.to_string())?;
    shown(host_name(origin.host()))?;
    let text = origin.to_string();
    Ok(text.strip_suffix(":443").unwrap_or(&text).to_owned())
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

    #[test]
    fn the_header_of_the_tenant_is_none_that_graph_reads() {
        let checked = |text: &str| check(&json!({ "format": "tenant-header" }), text);
        for text in ["X-Tenant-Id", "tenant", "X-Request-Id"] {
            assert_eq!(checked(text), Ok(text.to_ascii_lowercase()));
        }
        for text in [
            "Authorization",
            "content-type",
            "Content-Length",
            "Cookie",
            "Expect",
            "Host",
            "Proxy-Authorization",
            "Range",
            "",
            "X Tenant",
        ] {
            assert!(checked(text).unwrap_err().contains("such as `X-Tenant-Id`"), "{text}");
        }
    }

    #[test]
    fn a_template_has_a_place_for_the_name_of_a_tenant() {
        for (format, text, words) in [
            ("tenant-path", "/run/tokens/{tenant}", None),
            ("tenant-path", "/run/tokens", Some("{tenant} once, in its last part")),
            (
                "tenant-path",
                "/run/{tenant}/token",
                Some("{tenant} once, in its last part"),
            ),
            (
                "tenant-url",
                "http://tenants:3007/tenants/{tenant}/credentials/meta",
                None,
            ),
            ("tenant-url", "http://{tenant}/token", Some("outside of the path")),
            (
                "tenant-url",
                "tenants:3007/{tenant}",
                Some("an http:// or https:// URL"),
            ),
        ] {
            let checked = check(&json!({ "format": format }), text);
            match words {
                None => assert_eq!(checked.as_deref(), Ok(text)),
                Some(words) => assert!(
                    checked.as_ref().is_err_and(|error| error.contains(words)),
                    "{checked:?}"
                ),
            }
        }
    }
}
