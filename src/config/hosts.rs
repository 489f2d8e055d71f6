//! Host names: of the upstream, of the addresses dialed in its place, and of graphward.

use http::uri::Authority;
use rustls::pki_types::ServerName;

use crate::types::quote;

/// Reads an origin, `https://host` or `https://host:port`, into its normal form.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err("must begin with https://, such as \"https://graph.facebook.com\"".to_owned());
    };
    if scheme.eq_ignore_ascii_case("http") {
        return Err("must begin with https://: tokens are never sent unencrypted".to_owned());
    }
    if !scheme.eq_ignore_ascii_case("https") {
        return Err(format!(
            "must begin with https://, not {}",
            quote(&format!("{scheme}://"))
        ));
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#']) {
        return Err("must not have a path: paths and API versions come from the app".to_owned());
    }
    if rest.contains('@') {
        return Err("must not contain credentials".to_owned());
    }
    let (name, port) = split(rest).ok_or_else(|| not_a_host(rest))?;
    match port {
        None | Some(443) => Ok(format!("https://{name}")),
        Some(port) => Ok(format!("https://{name}:{port}")),
    }
}

/// Reads the name of a host, without a port.
pub(super) fn host(text: &str) -> Result<String, String> {
    match split(text) {
        Some((name, None)) => Ok(name),
        Some((name, Some(_port))) => Err(format!("must be a name without a port: write {}", quote(&name))),
        None => Err(not_a_host(text)),
    }
}

/// Reads the name of a host without the brackets of an IPv6 address, as the connector looks it up.
pub(super) fn dialed_host(text: &str) -> Result<String, String> {
    host(text).map(|host| host.trim_start_matches('[').trim_end_matches(']').to_owned())
}

/// Reads a `host:port` to dial.
pub(super) fn host_port(text: &str) -> Result<String, String> {
    match split(text) {
        Some((name, Some(port))) => Ok(format!("{name}:{port}")),
        Some((name, None)) => Err(format!("must have a port: write {}", quote(&format!("{name}:443")))),
        None => Err(format!(
            "must be \"host:port\", such as \"127.0.0.1:18443\", not {}",
            quote(text)
        )),
    }
}

/// A host in lower case, an IPv6 address in brackets, and the port behind it.
fn split(text: &str) -> Option<(String, Option<u16>)> {
    let authority: Authority = text.parse().ok()?;
    let name = authority.host();
    let port = match authority.as_str().strip_prefix(name)? {
        "" => None,
        port => Some(port.strip_prefix(':')?.parse().ok().filter(|port| *port != 0)?),
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if bare.contains(':') != name.starts_with('[') || ServerName::try_from(bare).is_err() {
        return None;
    }
    Some((name.to_ascii_lowercase(), port))
}

fn not_a_host(text: &str) -> String {
    format!(
        "must be a host name, such as \"graph.facebook.com\", not {}",
        quote(text)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_https_and_a_host_and_nothing_else() {
        for (text, normal) in [
            ("https://graph.facebook.com", "https://graph.facebook.com"),
            ("HTTPS://Graph.Facebook.com:443/", "https://graph.facebook.com"),
            ("https://127.0.0.1:18443", "https://127.0.0.1:18443"),
            ("https://[::1]:18443", "https://[::1]:18443"),
        ] {
            assert_eq!(origin(text).as_deref(), Ok(normal));
        }
        for (text, words) in [
            ("http://graph.facebook.com", "never sent unencrypted"),
            ("graph.facebook.com", "must begin with https://"),
            ("ftp://graph.facebook.com", "\"ftp://\""),
            ("https://graph.facebook.com/v23.0", "come from the app"),
            ("https://graph.facebook.com?a=b", "come from the app"),
            ("https://graph.facebook.com//", "come from the app"),
            ("https://me:hunter2@graph.facebook.com", "must not contain credentials"),
            ("https://", "a host name"),
            ("https://graph facebook", "a host name"),
            ("https://graph.facebook.com:", "a host name"),
            ("https://graph.facebook.com:0", "a host name"),
            ("https://graph.facebook.com:99999", "a host name"),
        ] {
            let error = origin(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
            assert!(!error.contains("hunter2"));
        }
    }

    #[test]
    fn hosts_have_no_port_and_dialed_addresses_have_one() {
        assert_eq!(host("Graph.Local").as_deref(), Ok("graph.local"));
        assert_eq!(host("[::1]").as_deref(), Ok("[::1]"));
        assert_eq!(dialed_host("[::1]").as_deref(), Ok("::1"));
        assert!(host("a:80").unwrap_err().contains("write \"a\""));
        assert!(host("https://a").is_err());
        assert!(host("*.a").is_err());
        assert!(host("").is_err());
        assert_eq!(host_port("127.0.0.1:18443").as_deref(), Ok("127.0.0.1:18443"));
        assert_eq!(host_port("[::1]:443").as_deref(), Ok("[::1]:443"));
        assert!(host_port("a").unwrap_err().contains("write \"a:443\""));
        assert!(host_port("::1:443").is_err());
        assert!(host_port("a:b").is_err());
        assert!(host_port("https://a:1").is_err());
    }
}
