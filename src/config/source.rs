//! The value of `[token] source`: where the token is shown, one place or several.

use std::path::PathBuf;
use std::time::Duration;

use super::call::{EVERY, command, format, list, optional, texts, web_call};
use super::fault::{Fault, NEVER_HERE};
use super::file::{Said, Value};
use super::read::{duration, text};
use super::secret::{elsewhere, path, secrets, variable, wording};
use super::settings::{PostgresSourceConfig, SecretRef, TokenSource};
use super::table::{Table, kind};

const KEY: &str = "token.source";
const WRITE: &str = "must be a place, { file = \"/run/graphward/token\" } or { env = \"NAME\" } or one of http, exec and \
     postgres, or a list of places";
pub(super) const KINDS: [&str; 5] = ["file", "env", "http", "exec", "postgres"];

/// Reads one source, or a list of them. Its values are never part of a message: the commonest mistake is to write the
/// token here.
pub(super) fn sources(said: &Said, faults: &mut Vec<Fault>) -> Option<Vec<TokenSource>> {
    let items = match &said.value {
        Value::List(items) => items,
        Value::Text(_) => {
            faults.push(Fault::new(&said.place, KEY, NEVER_HERE));
            return None;
        }
        Value::Table(_) | Value::Number(_) | Value::Switch(_) | Value::Fraction | Value::Date => {
            return source(said, faults).map(|one| vec![one]);
        }
    };
    if items.is_empty() {
        faults.push(Fault::new(&said.place, KEY, WRITE));
        return None;
    }
    let read: Vec<_> = items.iter().map(|item| source(item, faults)).collect();
    read.into_iter().collect()
}

fn source(said: &Said, faults: &mut Vec<Fault>) -> Option<TokenSource> {
    let table = Table::open(KEY, said, WRITE, faults)?;
    let (mut table, kind) = kind(table, &KINDS, &OTHERS, WRITE, SEVERAL)?;
    let source = match kind {
        "file" => file(&mut table),
        "env" => table
            .ask("env", |value| variable(text(value)?))
            .map(|name| TokenSource::Env { name }),
        "http" => http(&mut table),
        "exec" => exec(&mut table),
        "postgres" => postgres(&mut table),
        _ => None,
    };
    table.close(&OTHERS).then_some(source).flatten()
}

const SEVERAL: &str = "but is one place: make it a list, [{ … }, { … }], which is searched in order";

/// The keys beside those that say what kind of place it is.
pub(super) const OTHERS: [&str; 12] = [
    "ca_file",
    "poll_interval",
    "fernet_key",
    "headers",
    "keep_env",
    "key",
    "listen",
    "params",
    "pointer",
    "query",
    "timeout",
    "update",
];

fn file(table: &mut Table<'_>) -> Option<TokenSource> {
    let path = table.ask("file", |value| Ok(PathBuf::from(path(text(value)?)?)));
    let format = format(table);
    let fernet_keys = fernet_keys(table);
    Some(TokenSource::File {
        path: path?,
        format: format?,
        fernet_keys: fernet_keys?,
    })
}

fn http(table: &mut Table<'_>) -> Option<TokenSource> {
    let call = web_call(table);
    let every = every(table);
    Some(TokenSource::Http {
        call: call?,
        poll_interval: every?.unwrap_or(MINUTE),
    })
}

fn exec(table: &mut Table<'_>) -> Option<TokenSource> {
    let command = command(table);
    let every = every(table);
    Some(TokenSource::Exec {
        command: command?,
        poll_interval: every?,
    })
}

fn postgres(table: &mut Table<'_>) -> Option<TokenSource> {
    let url = table.ask_whole("postgres", |said, key, faults| wording(key, said, faults, address));
    let query = table.need("query", |value| statement(text(value)?));
    let params = list(table, "params", |said, key, faults| {
        texts(key, said, faults, |param| Ok(param.to_owned()))
    });
    let update = optional(table, "update", |value| {
        let update = statement(text(value)?)?;
        if update.contains("$1") {
            return Ok(update);
        }
        Err("must put the new token, $1, where the query finds it; the query's own parameters are $2 and on".to_owned())
    });
    let listen = optional(table, "listen", |value| channel(text(value)?));
    let every = every(table);
    let fernet_keys = fernet_keys(table);
    let ca_file = optional(table, "ca_file", |value| Ok(PathBuf::from(path(text(value)?)?)));
    Some(TokenSource::Postgres(Box::new(PostgresSourceConfig {
        url: url?,
        query: query?,
        params: params?,
        update: update?,
        listen: listen?,
        poll_interval: every?.unwrap_or(MINUTE),
        fernet_keys: fernet_keys?,
        ca_file: ca_file?,
    })))
}

const MINUTE: Duration = Duration::from_secs(60);

fn every(table: &mut Table<'_>) -> Option<Option<Duration>> {
    optional(table, "poll_interval", |value| duration(value, &EVERY))
}

/// The keys of an encrypted place; none if there are none.
pub(super) fn fernet_keys(table: &mut Table<'_>) -> Option<Vec<SecretRef>> {
    list(table, "fernet_key", |said, key, faults| secrets(key, said, faults))
}

/// The address of a database, if it has no password in it.
fn address(text: &str) -> Result<(), String> {
    const WRITE: &str = "must be an address, such as \"postgres://graphward@db:5432/app\", or the place of one, \
         { file = … } or { env = … }";
    let rest = text
        .strip_prefix("postgres://")
        .or_else(|| text.strip_prefix("postgresql://"))
        .ok_or(WRITE)?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    if user.contains(':') || rest.contains("password=") {
        return Err(elsewhere("it has a password in it"));
    }
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(WRITE.to_owned())
    }
}

fn statement(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.contains('\0') {
        return Err("must be a statement of SQL, whose parameters are $1, $2, …".to_owned());
    }
    Ok(text.to_owned())
}

/// As `pg_notify` is told it; a longer one would be cut.
fn channel(text: &str) -> Result<String, String> {
    if (1..=63).contains(&text.len()) && !text.contains(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err("must be the name of a channel, of at most 63 bytes".to_owned())
    }
}
