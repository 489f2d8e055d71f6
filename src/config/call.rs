//! Calls of services and of commands: what sources, renewers and alerts share.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Uri};

use super::fault::{Fault, is_token};
use super::file::{Said, Value};
use super::layers::{holds_secret, shown};
use super::read::{duration, text};
use super::secret::{elsewhere, variable, wording};
use super::settings::{ExecCommand, HttpCall, MaybeSecret};
use super::table::Table;
use crate::source::decode::Format;

/// The supply waits for 20 s at most; who renews under a claim has it for 25 s.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(15);
/// More often would be a loop, and more seldom is what `changed` and a restart are for.
pub(super) const EVERY: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(24 * 60 * 60);

/// Reads the call of a service, whose address is at `http`.
pub(super) fn web_call(table: &mut Table<'_>) -> Option<HttpCall> {
    let url = table.ask("http", |value| url(text(value)?));
    let format = pointed(table);
    let headers = list(table, "headers", headers);
    let timeout = timeout(table, Duration::from_secs(5));
    Some(HttpCall {
        url: url?,
        format: format?,
        headers: headers?,
        timeout: timeout?,
    })
}

/// Reads a command, whose words are at `exec`.
pub(super) fn command(table: &mut Table<'_>) -> Option<ExecCommand> {
    let argv = table.ask_whole("exec", argv);
    let format = format(table);
    let timeout = timeout(table, Duration::from_secs(10));
    let keep_env = list(table, "keep_env", |said, key, faults| texts(key, said, faults, kept));
    Some(ExecCommand {
        argv: argv?,
        format: format?,
        timeout: timeout?,
        keep_env: keep_env?,
    })
}

/// `key` or `pointer`, or neither.
pub(super) fn format(table: &mut Table<'_>) -> Option<Format> {
    let key = optional(table, "key", |value| line_key(text(value)?));
    let pointer = optional(table, "pointer", |value| pointer(text(value)?));
    match (key?, pointer?) {
        (Some(_), Some(_)) => {
            table.wrong("has both `key`, for KEY=value lines, and `pointer`, for JSON: keep the one that fits");
            None
        }
        (Some(key), None) => Some(Format::Key(key)),
        (None, Some(pointer)) => Some(Format::Pointer(pointer)),
        (None, None) => Some(Format::Raw),
    }
}

fn pointed(table: &mut Table<'_>) -> Option<Format> {
    let pointer = optional(table, "pointer", |value| pointer(text(value)?))?;
    Some(pointer.map_or(Format::Raw, Format::Pointer))
}

fn timeout(table: &mut Table<'_>, default: Duration) -> Option<Duration> {
    let timeout = optional(table, "timeout", |value| duration(value, &TIMEOUT))?;
    Some(timeout.unwrap_or(default))
}

/// `Some(None)` for a key that is not there, `None` for one not understood.
pub(super) fn optional<T>(
    table: &mut Table<'_>,
    key: &'static str,
    read: impl FnOnce(&Value) -> Result<T, String>,
) -> Option<Option<T>> {
    let there = table.keys().any(|said| said == key);
    match table.ask(key, read) {
        Some(value) => Some(Some(value)),
        None => (!there).then_some(None),
    }
}

/// Empty for a key that is not there, `None` for one not understood.
pub(super) fn list<T>(
    table: &mut Table<'_>,
    key: &'static str,
    read: impl FnOnce(&Said, &str, &mut Vec<Fault>) -> Option<Vec<T>>,
) -> Option<Vec<T>> {
    let there = table.keys().any(|said| said == key);
    match table.ask_whole(key, read) {
        None if !there => Some(Vec::new()),
        values => values,
    }
}

/// The address of a service: `http` or `https`, a host, and nothing that is a secret.
pub(super) fn url(text: &str) -> Result<Uri, String> {
    const WRITE: &str = "must be an address with http:// or https://, such as \"http://tenant-service:3007/token\"";
    if text.contains('{') {
        return Err("has a { in it: write the name itself where a template has {tenant}".to_owned());
    }
    let url: Uri = text.parse().map_err(|_invalid| WRITE.to_owned())?;
    let known = matches!(url.scheme_str(), Some("http" | "https"));
    let (true, Some(authority)) = (known, url.authority()) else {
        return Err(WRITE.to_owned());
    };
    if authority.as_str().contains('@') {
        return Err(elsewhere("it has a user or a password in it"));
    }
    if authority.host().is_empty() || authority.as_str().ends_with(':') {
        return Err(WRITE.to_owned());
    }
    if url.path().split('/').any(is_token) {
        return Err(elsewhere("it has a token in its path"));
    }
    if url.query().is_some_and(|query| query.split('&').any(tells)) {
        return Err(
            "has a secret in its query: send it as a header, whose value may be { file = … } or \
             { env = … }"
                .to_owned(),
        );
    }
    Ok(url)
}

/// Whether a parameter of a query is a secret.
fn tells(parameter: &str) -> bool {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    !value.is_empty() && holds_secret(name, &Value::Text(value.to_owned()))
}

fn headers(said: &Said, key: &str, faults: &mut Vec<Fault>) -> Option<Vec<(HeaderName, MaybeSecret)>> {
    let Value::Table(entries) = &said.value else {
        let what = format!(
            "must be a table, {{ Authorization = {{ file = \"/run/graphward/key\" }} }}, not {}",
            said.value.kind()
        );
        faults.push(Fault::new(&said.place, key, what));
        return None;
    };
    let before = faults.len();
    let mut headers: Vec<(HeaderName, MaybeSecret)> = Vec::new();
    for entry in entries {
        let key = format!("{key}.{}", shown(&entry.key));
        let name = match header(&entry.key) {
            Ok(name) if headers.iter().any(|(other, _)| *other == name) => {
                Err("is there twice, as case does not matter in names".to_owned())
            }
            name => name,
        };
        match name {
            Ok(name) => {
                let value = wording(&key, &entry.said, faults, |text| open(&name, text));
                headers.extend(value.map(|value| (name, value)));
            }
            Err(what) => faults.push(Fault::new(&entry.said.place, &key, what)),
        }
    }
    (faults.len() == before).then_some(headers)
}

fn header(name: &str) -> Result<HeaderName, String> {
    let ours = [CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE];
    match HeaderName::from_bytes(name.as_bytes()) {
        Ok(name) if ours.contains(&name) => Err("is not for a configuration to set".to_owned()),
        Ok(name) => Ok(name),
        Err(_invalid) => Err("its key must be the name of a header".to_owned()),
    }
}

/// Whether a header's value may stand in the configuration.
fn open(name: &HeaderName, value: &str) -> Result<(), String> {
    let secret = ["auth", "cookie", "key", "secret", "token"];
    if is_token(value) || secret.iter().any(|word| name.as_str().contains(word)) {
        return Err(elsewhere("this header is a secret's"));
    }
    match HeaderValue::from_str(value) {
        Ok(_) => Ok(()),
        Err(_invalid) => Err("must be the value of a header: visible text on one line".to_owned()),
    }
}

/// A variable that a command may get: ours, which may hold the token or the app's secret, are none of its business.
fn kept(name: &str) -> Result<String, String> {
    if name.starts_with("GRAPHWARD_") {
        return Err("is never handed to a command: rename the variable".to_owned());
    }
    variable(name)
}

fn argv(said: &Said, key: &str, faults: &mut Vec<Fault>) -> Option<Vec<String>> {
    let argv = texts(key, said, faults, |word| {
        if is_token(word) {
            return Err(elsewhere("everybody sees a command's words"));
        }
        if word.contains('\0') {
            return Err("has a NUL in it".to_owned());
        }
        Ok(word.to_owned())
    })?;
    if argv.first().is_none_or(String::is_empty) {
        let what = "must be a program and its arguments, [\"vault\", \"read\", \"…\"]; there is no shell";
        faults.push(Fault::new(&said.place, key, what));
        return None;
    }
    Some(argv)
}

/// Reads a list of texts.
pub(super) fn texts<T>(
    key: &str,
    said: &Said,
    faults: &mut Vec<Fault>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<Vec<T>> {
    let Value::List(items) = &said.value else {
        let what = format!("must be a list, [\"…\", \"…\"], not {}", said.value.kind());
        faults.push(Fault::new(&said.place, key, what));
        return None;
    };
    let before = faults.len();
    let mut values = Vec::new();
    for item in items {
        match text(&item.value).and_then(&read) {
            Ok(value) => values.push(value),
            Err(what) => faults.push(Fault::new(&item.place, key, what)),
        }
    }
    (faults.len() == before).then_some(values)
}

fn line_key(text: &str) -> Result<String, String> {
    let fits = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    if fits && (1..=100).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err("must be what stands before the = in the file, such as \"WHATSAPP_ACCESS_TOKEN\"".to_owned())
    }
}

/// RFC 6901, less the empty pointer: a whole document that is one JSON string is nobody's token file.
fn pointer(text: &str) -> Result<String, String> {
    let escapes_well = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if text.starts_with('/') && escapes_well {
        Ok(text.to_owned())
    } else {
        Err("must be a JSON pointer, such as \"/access_token\" or \"/data/token\"".to_owned())
    }
}
