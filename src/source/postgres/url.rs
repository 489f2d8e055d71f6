//! The URL of a database, as teams have it in their environment: for libpq, SQLAlchemy, Prisma, JDBC, Rails or pgx.
//!
//! # Why
//!
//! One URL serves all programs of a team, so it has parameters that only another driver understands. Each parameter is
//! given to the driver, passed over and named in the log (it says how the app uses its connections), or refused with a
//! remedy (graphward would do less than it promises). Values never appear: one of them may be the password.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokio_postgres::Config;
use zeroize::Zeroizing;

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
        "port" => "write the port behind the host, host:port",
        "targetServerType" => "use target_session_attrs=read-write",
        "target_session_attrs" => "use any, primary, standby, read-write or read-only",
        _ => "remove it, or fix its value",
    };
    DatabaseUrlError::Parameter(name.to_owned(), remedy)
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

    use super::*;

    #[test]
    fn the_names_of_sqlx_are_read_and_the_form_of_npgsql_is_named() {
        let parsed = parse("postgres://app@db/shop?ssl-mode=disable&statement-cache-capacity=0").unwrap();
        assert_eq!(parsed.config.get_ssl_mode(), SslMode::Disable);
        assert_eq!(parsed.ignored, ["statement_cache_capacity"]);
        let refused = parse("postgres://app@db/shop?ssl-cert=a.pem").unwrap_err().to_string();
        assert!(refused.contains("`ssl_cert`"), "{refused}");
        for text in [
            "Host=db;Port=5432;Username=app;Password=hush;Database=shop",
            "Server=db;User Id=app;Password=hush",
            "Data Source=db;Password=hush",
        ] {
            let refused = parse(text).unwrap_err().to_string();
            assert!(refused.contains("Npgsql") && !refused.contains("hush"), "{refused}");
        }
    }

    fn config(url: &str) -> Config {
        parse(url).unwrap_or_else(|error| panic!("{url}: {error}")).config
    }

    #[test]
    fn a_url_of_any_framework_leads_to_the_same_database() {
        for url in [
            "postgres://app:p%40ss@db:6432/tenants",
            "postgresql://app:p%40ss@db:6432/tenants",
            "postgresql+asyncpg://app:p%40ss@db:6432/tenants",
            "postgresql+psycopg2://app:p%40ss@db:6432/tenants",
            "postgis://app:p%40ss@db:6432/tenants",
            "pgsql://app:p%40ss@db:6432/tenants",
            "jdbc:postgresql://db:6432/tenants?user=app&password=p%40ss",
            "postgresql:///tenants?host=db&port=6432&user=app&password=p%40ss",
            "host=db port=6432 user=app password=p@ss dbname=tenants",
            "host = db port = '6432' user=app\npassword='p@ss' dbname=tenants ",
        ] {
            let config = config(url);
            assert_eq!(config.get_hosts(), [Host::Tcp("db".to_owned())], "{url}");
            assert_eq!(config.get_ports(), [6432], "{url}");
            assert_eq!(config.get_user(), Some("app"), "{url}");
            assert_eq!(config.get_password(), Some(&b"p@ss"[..]), "{url}");
            assert_eq!(config.get_dbname(), Some("tenants"), "{url}");
        }
        let config = config(r"host=/run/pg user=o\'neil password='it\'s a \\ & % =x'");
        assert_eq!(config.get_user(), Some("o'neil"));
        assert_eq!(config.get_password(), Some(&br"it's a \ & % =x"[..]));
    }

    #[test]
    fn parameters_of_other_drivers_are_passed_over_and_named() {
        for (query, ignored) in [
            (
                "schema=public&pgbouncer=true&connection_limit=1",
                "pgbouncer connection_limit",
            ),
            (
                "pool_timeout=20&socket_timeout=5&sslaccept=strict",
                "pool_timeout socket_timeout sslaccept",
            ),
            ("gssencmode=disable&client_encoding=UTF8", "gssencmode client_encoding"),
            (
                "gssencmode=prefer&sslrootcert=system&sslsni=1",
                "gssencmode sslrootcert sslsni",
            ),
            (
                "prepareThreshold=0&ApplicationName=x",
                "prepareThreshold ApplicationName",
            ),
            (
                "pool=5&encoding=unicode&prepared_statements=false",
                "pool encoding prepared_statements",
            ),
            (
                "pool_max_conns=9&statement_cache_size=0",
                "pool_max_conns statement_cache_size",
            ),
            ("sslmode=require&channel_binding=require&supa=base-pooler.x", "supa"),
        ] {
            let parsed = parse(&format!("postgres://u@h/d?{query}")).unwrap();
            assert_eq!(parsed.ignored.join(" "), ignored, "{query}");
        }
    }

    #[test]
    fn parameters_with_another_name_or_unit_are_taken() {
        let parsed = parse("postgres://u@h/d?tcp_user_timeout=1500&schema=a%20b,public&keepalives_count=7").unwrap();
        assert_eq!(parsed.tcp_user_timeout, Some(Duration::from_millis(1500)));
        assert_eq!(parsed.search_path, ["a b", "public"]);
        assert_eq!(parsed.config.get_keepalives_retries(), Some(7));
        for (value, expected) in [
            ("primary", TargetSessionAttrs::ReadWrite),
            ("read-write", TargetSessionAttrs::ReadWrite),
            ("standby", TargetSessionAttrs::ReadOnly),
            ("prefer-standby", TargetSessionAttrs::Any),
            ("any", TargetSessionAttrs::Any),
        ] {
            let url = format!("host=h user=u target_session_attrs={value}");
            assert_eq!(config(&url).get_target_session_attrs(), expected, "{value}");
        }
        for (query, mode) in [
            ("ssl=true", SslMode::Require),
            ("ssl=require", SslMode::Require),
            ("ssl=false", SslMode::Disable),
            ("sslmode=verify-full", SslMode::Require),
        ] {
            assert_eq!(config(&format!("postgres://u@h/d?{query}")).get_ssl_mode(), mode);
        }
        assert_eq!(config("host=h sslmode=verify-full").get_ssl_mode(), SslMode::Require);
    }

    #[test]
    fn what_cannot_be_honored_is_refused_with_its_name_and_a_remedy() {
        for (query, name, remedy) in [
            ("gssencmode=require", "gssencmode", "sslmode=verify-full"),
            ("sslcert=hunter2", "sslcert", "use a password"),
            ("sslrootcert=hunter2", "sslrootcert", "ca_file"),
            ("sslaccept=accept_invalid_certs", "sslaccept", "ca_file"),
            ("sslmode=no-verify", "sslmode", "verify-full"),
            ("sslmode=require&ssl=true", "ssl", "once"),
            ("service=hunter2", "service", "read the URL from a file"),
            ("targetServerType=primary", "targetServerType", "target_session_attrs"),
            ("target_session_attrs=hunter2", "target_session_attrs", "primary"),
            ("tcp_user_timeout=hunter2", "tcp_user_timeout", "fix its value"),
            ("port=6432", "port", "host:port"),
            ("requirepeer=hunter2", "requirepeer", "remove it"),
        ] {
            let error = parse(&format!("postgres://u:hunter2@h/d?{query}"))
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(&format!("`{name}`")) && error.contains(remedy),
                "{error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
        for text in [
            "DATABASE_URL=postgres://u:hunter2@h/d",
            "host=h password='hunter2",
            "host=h hunter2",
            "mysql://u:hunter2@h/d",
            "postgres://u:hunter2@h/d?EAAGhunter2=x",
            "hunter2",
            "",
        ] {
            let error = parse(text).unwrap_err();
            assert!(matches!(error, DatabaseUrlError::Invalid), "{error}");
        }
    }
}
