//! What texts must be: ids, names, statements, URLs, headers.

use std::path::PathBuf;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Uri};

use super::error::{is_token, must_be_referenced, names_secret, quote, shown};
use crate::proxy::Spool;

pub(super) fn id(text: &str) -> Result<String, String> {
    let valid = (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text_if(valid, text, "must be a numeric id in quotes")
}

pub(super) fn env_name(text: &str) -> Result<String, String> {
    let starts = text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
    let valid = starts && text.len() <= 100 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let message = "must be the name of an environment variable (letters, digits and _), not its value";
    text_if(valid, text, message)
}

pub(super) fn passed_env(text: &str) -> Result<String, String> {
    if text.starts_with("GRAPHWARD_") {
        return Err("cannot be passed to a command (GRAPHWARD_* is reserved); rename the variable".to_owned());
    }
    env_name(text)
}

pub(super) fn argument(text: &str) -> Result<String, String> {
    text_if(!text.contains('\0'), text, "must not contain a NUL")
}

pub(super) fn line_key(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let valid = (1..=100).contains(&text.len()) && text.bytes().all(fits);
    let message = "must be the key before the = sign in the file, such as \"WHATSAPP_ACCESS_TOKEN\"";
    text_if(valid, text, message)
}

/// RFC 6901 without the empty pointer: no token file is one JSON string.
pub(super) fn pointer(text: &str) -> Result<String, String> {
    let escapes_well = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    let message = "must be a JSON pointer, such as \"/access_token\" or \"/data/token\"";
    text_if(text.starts_with('/') && escapes_well, text, message)
}

pub(super) fn statement(text: &str) -> Result<String, String> {
    let valid = !text.trim().is_empty() && !text.contains('\0');
    text_if(valid, text, "must be an SQL statement with parameters $1, $2, …")
}

pub(super) fn update(text: &str) -> Result<String, String> {
    let update = statement(text)?;
    let message = "must use $1, the new token; the parameters of query are $2 onward";
    text_if(update.contains("$1"), text, message)
}

/// As `pg_notify` takes it; a longer one would be cut.
pub(super) fn channel(text: &str) -> Result<String, String> {
    let valid = (1..=63).contains(&text.len()) && !text.contains(char::is_control);
    text_if(valid, text, "must be a PostgreSQL channel name of 1 to 63 bytes")
}

pub(super) fn scope(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let valid = (1..=100).contains(&text.len()) && text.bytes().all(fits);
    text_if(
        valid,
        text,
        "must be a permission name, such as \"whatsapp_business_messaging\"",
    )
}

fn text_if(valid: bool, text: &str, message: &str) -> Result<String, String> {
    if valid {
        Ok(text.to_owned())
    } else {
        Err(message.to_owned())
    }
}

pub(super) fn spool_dir(text: &str) -> Result<Spool, String> {
    match text {
        "" => Ok(Spool::Directory(std::env::temp_dir())),
        "off" => Ok(Spool::Off),
        path if path.starts_with('/') => Ok(Spool::Directory(PathBuf::from(path))),
        other => Err(format!(
            "must be \"off\", the absolute path of a directory, or \"\" for the system's temporary directory, not {}",
            quote(other)
        )),
    }
}

/// `http` or `https`, a host, and nothing that is a secret.
pub(super) fn service_url(text: &str) -> Result<Uri, String> {
    const EXPECTED: &str = "must be an http:// or https:// URL, such as \"http://tenant-service:3007/token\"";
    if text.contains('{') {
        return Err("contains {: templates are not supported; write the tenant's name".to_owned());
    }
    let url: Uri = text.parse().map_err(|_invalid| EXPECTED.to_owned())?;
    let known = matches!(url.scheme_str(), Some("http" | "https"));
    let (true, Some(authority)) = (known, url.authority()) else {
        return Err(EXPECTED.to_owned());
    };
    if authority.as_str().contains('@') {
        return Err(must_be_referenced("contains credentials"));
    }
    if authority.host().is_empty() || authority.as_str().ends_with(':') {
        return Err(EXPECTED.to_owned());
    }
    if url.path().split('/').any(is_token) {
        return Err(must_be_referenced("contains a token in its path"));
    }
    let is_secret = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        is_token(value) || (!value.is_empty() && names_secret(name))
    };
    if url.query().is_some_and(|query| query.split('&').any(is_secret)) {
        let message = "contains a secret in its query; send it in a header, as { file = … } or { env = … }";
        return Err(message.to_owned());
    }
    Ok(url)
}

pub(super) fn postgres_url(text: &str) -> Result<(), String> {
    const EXPECTED: &str = "must be a URL such as \"postgres://graphward@db:5432/app\", or { file = … } or { env = … }";
    let rest = text
        .strip_prefix("postgres://")
        .or_else(|| text.strip_prefix("postgresql://"));
    let rest = rest.ok_or(EXPECTED)?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    if user.contains(':') || rest.contains("password=") {
        return Err(must_be_referenced("contains a password"));
    }
    text_if(text.bytes().all(|byte| byte.is_ascii_graphic()), text, EXPECTED).map(drop)
}

pub(super) fn header(name: &str) -> Result<HeaderName, String> {
    let ours = [CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE];
    match HeaderName::from_bytes(name.as_bytes()) {
        Ok(name) if ours.contains(&name) => Err("cannot be set: graphward sets this header".to_owned()),
        Ok(name) => Ok(name),
        Err(_invalid) => Err("must be a header name".to_owned()),
    }
}

/// Whether a header's value may be written into the configuration.
pub(super) fn inline_header(name: &HeaderName, value: &str) -> Result<(), String> {
    let secret = ["auth", "cookie", "key", "secret", "token"];
    if is_token(value) || secret.iter().any(|word| name.as_str().contains(word)) {
        return Err(must_be_referenced(&format!(
            "{} carries a secret",
            shown(name.as_str())
        )));
    }
    match HeaderValue::from_str(value) {
        Ok(_) => Ok(()),
        Err(_invalid) => Err("must have valid header values: printable text on one line".to_owned()),
    }
}
