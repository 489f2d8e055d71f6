//! The URL of a database, as teams have it in their environment: for libpq, SQLAlchemy, Prisma, JDBC, Rails or pgx.
//!
//! # Why
//!
//! One URL serves all programs of a team, so it has parameters that only another driver understands. Each parameter is
//! given to the driver, passed over and named in the log (it says how the app uses its connections), or refused with a
//! remedy (graphward would do less than it promises). Values never appear: one of them may be the password.

use std::net::IpAddr;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokio_postgres::Config;
use tokio_postgres::config::Host;
use zeroize::Zeroizing;

use crate::net::host_name;
use crate::types::might_be_secret;

/// A parsed URL.
#[derive(Debug)]
pub(super) struct DatabaseUrl {
    /// Includes the password, which its `Debug` hides.
    pub(super) config: Config,
    /// The schemas that `search_path` is set to; empty for the server's default.
    pub(super) search_path: Vec<String>,
    /// The limit for TCP acknowledgments, if there is one.
    pub(super) tcp_user_timeout: Option<Duration>,
    /// The names of the parameters that were passed over.
    pub(super) ignored: Vec<String>,
}

/// The reason why a text is not the URL of a database. The messages repeat nothing of it but the names of its parameters.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseUrlError {
    /// Not a URL of a database.
    #[error(
        "invalid database URL; expected postgres://user:password@host/dbname?sslmode=verify-full, with %40 for an @, %2F for \
         a / and %3F for a ? in the password, or `host=… user=… password=… dbname=…`; set `key` if it is a line of a .env file"
    )]
    Invalid,
    /// The form of .NET, with semicolons.
    #[error(
        "the database URL has the form of Npgsql (`Host=…;Username=…`), which graphward does not read; write \
         postgres://user:password@host/dbname, or `host=… user=… password=… dbname=…` with spaces"
    )]
    DotNet,
    /// A parameter that is unknown, or whose value is invalid.
    #[error("unsupported or invalid parameter `{0}` in the database URL: {1}")]
    Parameter(String, &'static str),
}

/// The meaning of a parameter.
enum Meaning<'a> {
    /// The driver's own, perhaps by another name and with another value.
    Driver(&'a str, &'a str),
    /// The schema that unqualified names of tables are looked up in.
    SearchPath,
    /// In milliseconds, as libpq has it; the driver reads seconds.
    TcpUserTimeout,
    Ignored,
}

/// The defaults, which the URL overrides. TCP keepalive starts after half a minute of silence.
const DEFAULT_PARAMETERS: &str =
    "application_name=graphward&keepalives_idle=30&keepalives_interval=5&keepalives_retries=3";

/// The schemes by which libpq, Django, Laravel and others know PostgreSQL.
const SCHEMES: [&str; 5] = ["postgres", "postgresql", "pgsql", "psql", "postgis"];

/// Parameters that tell another driver how to use its connections, besides all that begin with `pool`. graphward has one
/// connection, uses no named statements, and speaks UTF-8.
const IGNORED: &str = "ApplicationName TimeZone advisory_locks async_fallback binary_parameters checkout_timeout client_encoding \
    command_timeout connection_limit default_query_exec_mode encoding fallback_application_name gssdelegation \
    gsslib idle_in_transaction_session_timeout idle_timeout krbsrvname lock_timeout loginTimeout \
    max_connections max_overflow pgbouncer preferQueryMode prepareThreshold prepared_statement_cache_size \
    prepared_statements reaping_frequency single_use_connections socketTimeout socket_timeout sslcompression \
    sslsni statement_cache_capacity statement_cache_size statement_timeout supa timezone uselibpqcompat workaround";

/// Parses a URL, or libpq's form of `key=value` pairs.
pub(super) fn parse(text: &str) -> Result<DatabaseUrl, DatabaseUrlError> {
    let (authority, parameters) = match after_scheme(text) {
        Some(rest) => {
            let (authority, parameters) = rest.split_once('?').unwrap_or((rest, ""));
            // The text after a second @ would be taken for the host, and shown.
            if authority.matches('@').count() > 1 || parameters.contains('@') {
                return Err(DatabaseUrlError::Invalid);
            }
            (authority, url_parameters(parameters)?)
        }
        None if is_dot_net(text) => return Err(DatabaseUrlError::DotNet),
        None => ("", pairs(text).ok_or(DatabaseUrlError::Invalid)?),
    };
    let mut url = Zeroizing::new(format!("postgres://{authority}?{DEFAULT_PARAMETERS}"));
    let (mut search_path, mut tcp_user_timeout, mut ignored) = (Vec::new(), None, Vec::new());
    let mut has_ssl_mode = false;
    for (name, value) in &parameters {
        let invalid = || invalid_parameter(name);
        match meaning(name, value).ok_or_else(invalid)? {
            Meaning::Driver("sslmode", _) if std::mem::replace(&mut has_ssl_mode, true) => return Err(invalid()),
            Meaning::Driver(name, value) => {
                let parameter = Zeroizing::new(format!("{name}={value}"));
                let only_this = Zeroizing::new(format!("postgres://?{}", *parameter));
                if only_this.parse::<Config>().is_err() {
                    return Err(invalid());
                }
                url.push('&');
                url.push_str(&parameter);
            }
            Meaning::SearchPath => {
                let schemas = percent_decode_str(value).decode_utf8().map_err(|_not_utf8| invalid())?;
                search_path = schemas.split(',').map(|schema| schema.trim().to_owned()).collect();
            }
            Meaning::TcpUserTimeout => {
                let millis = value.parse().map_err(|_not_a_number| invalid())?;
                tcp_user_timeout = Some(Duration::from_millis(millis));
            }
            Meaning::Ignored => ignored.push(name.clone()),
        }
    }
    // The parser's error may repeat a piece of the URL.
    let config: Config = url
        .parse()
        .map_err(|_secret: tokio_postgres::Error| DatabaseUrlError::Invalid)?;
    if !config.get_hosts().iter().all(is_host) {
        return Err(DatabaseUrlError::Invalid);
    }
    let hosts = config.get_hosts().len().max(config.get_hostaddrs().len());
    if config.get_ports().len() > hosts.max(1) {
        return Err(invalid_parameter("port"));
    }
    Ok(DatabaseUrl {
        config,
        search_path,
        tcp_user_timeout,
        ignored,
    })
}

/// Returns whether a host is a socket, an address or a name: `$NAME` would be looked up.
fn is_host(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name.parse::<IpAddr>().is_ok() || host_name(name).is_ok(),
        Host::Unix(_) => true,
    }
}

/// Returns what follows the scheme, which may name a driver: `postgresql+asyncpg`.
fn after_scheme(text: &str) -> Option<&str> {
    let text = text.trim();
    let (scheme, rest) = text.strip_prefix("jdbc:").unwrap_or(text).split_once("://")?;
    let base = scheme.split('+').next().unwrap_or_default().to_lowercase();
    SCHEMES.contains(&base.as_str()).then_some(rest)
}

/// A parameter and its percent-encoded value.
type Parameter = (String, Zeroizing<String>);

fn url_parameters(query: &str) -> Result<Vec<Parameter>, DatabaseUrlError> {
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    let parameters = parameters.map(|parameter| {
        let (name, value) = parameter.split_once('=').ok_or(DatabaseUrlError::Invalid)?;
        // sqlx writes `ssl-mode`.
        Ok((name.replace('-', "_"), Zeroizing::new(value.to_owned())))
    });
    parameters.collect()
}

/// Returns whether a text has the form `Host=db;Username=app;…`.
fn is_dot_net(text: &str) -> bool {
    let text = text.to_lowercase();
    text.contains(';')
        && ["host=", "server=", "data source="]
            .iter()
            .any(|start| text.starts_with(start))
}

/// Parses `host=db user=app password='a b'`: a quote or a backslash in a value has a backslash before it.
fn pairs(mut text: &str) -> Option<Vec<Parameter>> {
    let mut pairs = Vec::new();
    while !text.trim_start().is_empty() {
        let (name, rest) = text.split_once('=')?;
        let (value, rest) = pair_value(rest.trim_start())?;
        let encoded = utf8_percent_encode(&value, NON_ALPHANUMERIC).to_string();
        pairs.push((name.trim().to_owned(), Zeroizing::new(encoded)));
        text = rest;
    }
    (!pairs.is_empty()).then_some(pairs)
}

fn pair_value(text: &str) -> Option<(Zeroizing<String>, &str)> {
    let quoted = text.strip_prefix('\'');
    let mut value = Zeroizing::new(String::with_capacity(text.len()));
    let mut chars = quoted.unwrap_or(text).chars();
    loop {
        match (chars.next(), quoted) {
            (Some('\\'), _) => value.push(chars.next()?),
            (Some('\''), Some(_)) => return Some((value, chars.as_str())),
            (None, None) => return Some((value, "")),
            (Some(letter), None) if letter.is_whitespace() => return Some((value, chars.as_str())),
            (Some(letter), _) => value.push(letter),
            (None, Some(_)) => return None,
        }
    }
}

/// Returns the meaning of a parameter; `None` if it is unknown, or its value cannot be honored.
fn meaning<'a>(name: &'a str, value: &'a str) -> Option<Meaning<'a>> {
    let name = match name {
        "ssl_mode" => "sslmode",
        "ssl_root_cert" => "sslrootcert",
        name => name,
    };
    Some(match (name, value) {
        // TLS always verifies chain and name, so these are the same.
        ("sslmode" | "ssl", "require" | "verify-ca" | "verify-full" | "verify%2Dca" | "verify%2Dfull")
        | ("ssl", "true") => Meaning::Driver("sslmode", "require"),
        ("sslmode" | "ssl", "disable" | "prefer") => Meaning::Driver("sslmode", value),
        ("ssl", "false") => Meaning::Driver("sslmode", "disable"),
        ("target_session_attrs", "primary") => Meaning::Driver(name, "read-write"),
        ("target_session_attrs", "standby") => Meaning::Driver(name, "read-only"),
        ("target_session_attrs", "prefer-standby" | "prefer%2Dstandby") => Meaning::Driver(name, "any"),
        ("keepalives_count", _) => Meaning::Driver("keepalives_retries", value),
        ("tcp_user_timeout", _) => Meaning::TcpUserTimeout,
        ("schema" | "currentSchema" | "search_path" | "schema_search_path", _) => Meaning::SearchPath,
        ("gssencmode", "disable" | "prefer") | ("sslrootcert", "system") | ("sslaccept", "strict") => Meaning::Ignored,
        ("sslmode" | "ssl" | "gssencmode" | "sslrootcert" | "sslaccept", _) => return None,
        (name, _) if name.starts_with("pool") || IGNORED.split(' ').any(|known| known == name) => Meaning::Ignored,
        (name, value) => Meaning::Driver(name, value),
    })
}

fn invalid_parameter(name: &str) -> DatabaseUrlError {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    // `DATABASE_URL=postgres://…` is a line of a file that needs `key`.
    let is_variable = name.bytes().any(|byte| byte.is_ascii_uppercase()) && name.to_uppercase() == name;
    if name.is_empty() || name.len() > 40 || !name.bytes().all(is_name) || might_be_secret(name) || is_variable {
        return DatabaseUrlError::Invalid;
    }
    let remedy = match name {
        "sslmode" | "ssl" => "use sslmode=disable, prefer or verify-full, once",
        "sslrootcert" | "sslaccept" => "use `ca_file` to add root certificates",
        "sslcert" | "sslkey" | "sslpassword" | "sslidentity" => "client certificates are not supported; use a password",
        "passfile" | "service" | "servicefile" => "put all settings into the URL, or read the URL from a file",
        "gssencmode" => "encryption by GSSAPI is not supported; use sslmode=verify-full",
        "port" => "write the port after the host, host:port",
        "targetServerType" => "use target_session_attrs=read-write",
        "target_session_attrs" => "use any, primary, standby, read-write or read-only",
        _ => "remove it, or fix its value",
    };
    DatabaseUrlError::Parameter(name.to_owned(), remedy)
}

#[cfg(test)]
mod tests;
