//! What a text of each format must be, and what it must not contain.
//!
//! # Why
//!
//! The most common mistake is to write a secret where a reference to it belongs, so no message about such a place repeats
//! the text.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Uri};

use crate::graph::Origin;
use crate::net::{HostNameError, ListenAddr, dialed_host_name, host_and_port, host_name};
use crate::types::{is_token, names_secret};

/// Whether a text of this format, which stands at this key, contains a secret. A Slack webhook's URL is a secret by
/// itself; whether one is, is for the operator to decide.
pub(super) fn has_secret(format: &str, key: &str, text: &str) -> bool {
    let named = ["auth", "cookie", "key", "secret", "token"];
    if is_token(text) || format == "header-value" {
        return is_token(text) || named.iter().any(|word| key.to_ascii_lowercase().contains(word));
    }
    let Some((_, url)) = text.split_once("://").filter(|_| format.ends_with("-url")) else {
        return false;
    };
    let (url, query) = url.split_once('?').unwrap_or((url, ""));
    let (authority, path) = url.split_once('/').unwrap_or((url, ""));
    // A database's URL may name its user.
    let is_password = |(user, _): (&str, &str)| format == "service-url" || user.contains(':');
    let is_secret = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        is_token(value) || (!value.is_empty() && names_secret(name))
    };
    let has_password = authority.rsplit_once('@').is_some_and(is_password);
    has_password || path.split('/').any(is_token) || query.split('&').any(is_secret)
}

/// Returns the normal form of a text of this format, or says what it must be.
pub(super) fn check(format: &str, text: &str) -> Result<String, String> {
    let is_word = |bytes: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || bytes.as_bytes().contains(&byte);
        (1..=100).contains(&text.len()) && text.bytes().all(is_allowed)
    };
    let by_host_name = |error: HostNameError| error.to_string();
    let (is_valid, expected) = match format {
        "listen-address" => {
            let address = text.parse::<ListenAddr>();
            return address.map_or_else(|error| Err(error.to_string()), |address| Ok(address.to_string()));
        }
        "origin" => return origin(text),
        "host" => return host_name(text).map_err(by_host_name),
        "dialed-host" => return dialed_host_name(text).map_err(by_host_name),
        "host-port" => return host_and_port(text).map_err(by_host_name),
        "header-name" => return header_name(text),
        "header-value" => (
            HeaderValue::from_str(text).is_ok(),
            "must be a valid header value: printable text on one line",
        ),
        "service-url" if text.contains('{') => (
            false,
            "contains {: templates are not supported; write the tenant's name",
        ),
        "service-url" => (
            is_service_url(text),
            "must be an http:// or https:// URL, such as \"http://tenant-service:3007/token\"",
        ),
        "postgres-url" => (
            ["postgres://", "postgresql://"]
                .iter()
                .any(|scheme| text.starts_with(scheme))
                && text.bytes().all(|byte| byte.is_ascii_graphic()),
            "must be a URL such as \"postgres://graphward@db:5432/app\", or { file = … } or { env = … }",
        ),
        "optional-path" if text.is_empty() => (true, ""),
        // A webhook's address, say, or a database's with its password, or a private key.
        "path" | "optional-path" => (
            !text.is_empty() && !["://", "\0", "-----BEGIN"].iter().any(|content| text.contains(content)),
            "must be a file path, not the file's content",
        ),
        "spool-dir" => (
            matches!(text, "" | "off") || text.starts_with('/'),
            "must be \"off\", the absolute path of a directory, or \"\" for the system's temporary directory",
        ),
        "id" => (
            (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()),
            "must be a numeric id in quotes",
        ),
        // The variables of graphward may hold the token or the app's secret.
        "passed-env" if text.starts_with("GRAPHWARD_") => (
            false,
            "cannot be passed to a command (GRAPHWARD_* is reserved); rename the variable",
        ),
        "env-name" | "passed-env" => (
            is_word("_") && !text.starts_with(|letter: char| letter.is_ascii_digit()),
            "must be the name of an environment variable (letters, digits and _), not its value",
        ),
        "argument" => (!text.contains('\0'), "must not contain a NUL"),
        "line-key" => (
            is_word("_-."),
            "must be the key before the = sign in the file, such as \"WHATSAPP_ACCESS_TOKEN\"",
        ),
        // RFC 6901 without the empty pointer: no token file is one JSON string.
        "json-pointer" => (
            text.starts_with('/') && text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1'])),
            "must be a JSON pointer, such as \"/access_token\" or \"/data/token\"",
        ),
        "sql-update" if !text.contains("$1") => (
            false,
            "must use $1, the new token; the parameters of query are $2 onward",
        ),
        "sql" | "sql-update" => (
            !text.trim().is_empty() && !text.contains('\0'),
            "must be an SQL statement with parameters $1, $2, …",
        ),
        // As `pg_notify` takes it; a longer one would be cut.
        "channel" => (
            (1..=63).contains(&text.len()) && !text.contains(char::is_control),
            "must be a PostgreSQL channel name of 1 to 63 bytes",
        ),
        "scope" => (
            is_word("_") && !text.contains(|letter: char| letter.is_ascii_uppercase()),
            "must be a permission name, such as \"whatsapp_business_messaging\"",
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
    use super::*;

    #[test]
    fn an_origin_is_https_and_a_host_and_nothing_else() {
        for (text, normal) in [
            ("https://graph.facebook.com", "https://graph.facebook.com"),
            ("HTTPS://Graph.Facebook.com:443/", "https://graph.facebook.com"),
            ("https://127.0.0.1:18443", "https://127.0.0.1:18443"),
            ("https://[::1]:18443", "https://[::1]:18443"),
        ] {
            assert_eq!(check("origin", text).as_deref(), Ok(normal));
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
            let error = check("origin", text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
            assert!(!error.contains("hunter2"));
        }
    }
}
