//! Where the database is: libpq's URL, less what would not be safe.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use zeroize::Zeroizing;

use super::tls::PgTls;
use crate::net::tls::{TlsError, client};
use crate::types::Secret;

/// A database and who logs in there.
pub(super) struct PgEndpoint {
    /// With the password, which its `Debug` hides.
    pub(super) config: Config,
    /// How TLS is spoken, where it is.
    pub(super) tls: PgTls,
    /// `postgres host/dbname`: all of it that may be shown.
    pub(super) display_name: String,
}

/// Why there can be no such source. Nothing of the URL but the names of its parameters is repeated.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// Not a URL of a database.
    #[error(
        "the URL of the database is not understood; it should look like \
         postgres://user:password@host/dbname?sslmode=verify-full, with %40 for an @ in the password"
    )]
    Url,
    /// A parameter that means nothing here.
    #[error("the URL of the database has `{0}`, which is not supported{1}")]
    Parameter(String, &'static str),
    /// No statement that reads a token.
    #[error("`query` is empty; it should look like SELECT access_token FROM … WHERE … = $1")]
    Query,
    /// The statement would not write the token.
    #[error(
        "`update` does not use $1, which is the new token; it should look like UPDATE … SET access_token = $1 WHERE … = $2"
    )]
    Update,
    /// No channel has such a name.
    #[error("`listen` must be the name of a channel, of 1 to 63 bytes")]
    Listen,
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Where Debian and the images of PostgreSQL have their sockets.
const DEFAULT_SOCKET_DIR: &str = "/var/run/postgresql";

/// How long one host may take to answer, where there are several.
const MULTI_HOST_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What is said unless the URL says otherwise. A connection is asked for a sign of life after half a minute of silence.
const DEFAULT_PARAMETERS: &str =
    "application_name=graphward&keepalives_idle=30&keepalives_interval=5&keepalives_retries=3";

/// How long what was sent may go unacknowledged.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

const SUPPORTED_PARAMETERS: [&str; 18] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslmode",
    "sslnegotiation",
    "target_session_attrs",
    "user",
];

impl PgEndpoint {
    pub(super) fn new(url: &Secret, ca_file: Option<&Path>) -> Result<Self, PostgresError> {
        let mut config = parse_url(url.expose())?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            config.host_path(DEFAULT_SOCKET_DIR);
        }
        let is_local = |host: &Host| matches!(host, Host::Unix(_));
        if config.get_hostaddrs().is_empty() && config.get_hosts().iter().all(is_local) {
            // What does not leave the machine needs no TLS, and PostgreSQL speaks none there.
            config.ssl_mode(SslMode::Disable);
        }
        if config.get_hosts().len().max(config.get_hostaddrs().len()) > 1 && config.get_connect_timeout().is_none() {
            config.connect_timeout(MULTI_HOST_CONNECT_TIMEOUT);
        }
        config.tcp_user_timeout(TCP_USER_TIMEOUT);
        Ok(Self {
            display_name: display_name(&config),
            config,
            // Direct negotiation asks for this name; other servers pass it by.
            tls: PgTls(client(ca_file, &[b"postgresql"])?),
        })
    }
}

fn parse_url(url: &str) -> Result<Config, PostgresError> {
    let (authority, parameters) = url.split_once('?').unwrap_or((url, ""));
    if !authority.starts_with("postgres://") && !authority.starts_with("postgresql://") {
        return Err(PostgresError::Url);
    }
    // What is behind a second @ would be taken for the host, and shown.
    if authority.matches('@').count() > 1 || parameters.contains('@') {
        return Err(PostgresError::Url);
    }
    let mut normalized = Zeroizing::new(format!("{authority}?{DEFAULT_PARAMETERS}"));
    let mut seen = BTreeSet::new();
    for parameter in parameters.split('&').filter(|said| !said.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or(PostgresError::Url)?;
        if !SUPPORTED_PARAMETERS.contains(&name) {
            return Err(unsupported_parameter(name));
        }
        if !seen.insert(name) && name == "sslmode" {
            return Err(PostgresError::Url);
        }
        let value = match (name, value) {
            // Whenever TLS is spoken, chain and name are verified: these are all the same.
            ("sslmode", "require" | "verify-ca" | "verify-full") => "require",
            ("sslmode", "disable" | "prefer") => value,
            ("sslmode", _) => {
                return Err(PostgresError::Parameter(
                    "sslmode".to_owned(),
                    " with this value: write disable, prefer or verify-full",
                ));
            }
            _ => value,
        };
        normalized.push_str(&format!("&{name}={value}"));
    }
    // What the parser says may repeat a piece of the URL.
    normalized
        .parse()
        .map_err(|_unsaid: tokio_postgres::Error| PostgresError::Url)
}

fn unsupported_parameter(name: &str) -> PostgresError {
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    if name.is_empty() || name.len() > 40 || !name.bytes().all(is_name) {
        return PostgresError::Url;
    }
    let instead = match name {
        "sslrootcert" => ": the roots are Mozilla's and those of `ca_file`",
        "sslcert" | "sslkey" => ": log in by password",
        "passfile" | "service" => ": write the whole URL, or keep it in a file",
        _ => "",
    };
    PostgresError::Parameter(name.to_owned(), instead)
}

fn display_name(config: &Config) -> String {
    // One port is everybody's.
    let ports = config.get_ports();
    let port = |index| ports.get(index).or_else(|| ports.first()).copied();
    let hosts = config.get_hosts().iter().enumerate();
    let hosts = hosts.map(|(index, host)| match (host, port(index)) {
        (Host::Tcp(name), Some(port)) if port != 5432 => format!("{name}:{port}"),
        (Host::Tcp(name), _) => name.clone(),
        (Host::Unix(path), _) => path.display().to_string(),
    });
    let mut hosts: Vec<_> = hosts.collect();
    if hosts.is_empty() {
        hosts.extend(config.get_hostaddrs().iter().map(ToString::to_string));
    }
    let user = || config.get_user().unwrap_or("");
    let name = config.get_dbname().unwrap_or_else(user);
    format!("postgres {}/{name}", hosts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Result<PgEndpoint, PostgresError> {
        PgEndpoint::new(&Secret::new(url).unwrap(), None)
    }

    #[test]
    fn the_display_name_has_host_and_database_and_no_credentials() {
        let display_name = |url: &str| endpoint(url).unwrap().display_name;
        let url = "postgres://app:hunter2%40home@db.internal:6432/tenants?sslmode=verify-full";
        assert_eq!(display_name(url), "postgres db.internal:6432/tenants");
        assert_eq!(display_name("postgresql://u:p@a,b:5433/x"), "postgres a,b:5433/x");
        assert_eq!(display_name("postgres:///x?host=/run/pg&user=u"), "postgres /run/pg/x");
        assert_eq!(display_name("postgres://u@%2Frun%2Fpg/x"), "postgres /run/pg/x");
        assert_eq!(display_name("postgres:///x?user=u"), "postgres /var/run/postgresql/x");
        let config = endpoint(url).unwrap().config;
        let debug = format!("{config:?}");
        assert!(!debug.contains("hunter2"), "{debug}");
        assert_eq!(config.get_application_name(), Some("graphward"));
        let said = endpoint("postgres://u@h/d?application_name=x&keepalives_idle=9").unwrap();
        assert_eq!(said.config.get_application_name(), Some("x"));
        assert_eq!(said.config.get_keepalives_idle(), Duration::from_secs(9));
    }

    #[test]
    fn each_mode_above_prefer_verifies_and_a_socket_needs_no_tls() {
        let mode = |url: &str| endpoint(url).unwrap().config.get_ssl_mode();
        assert_eq!(mode("postgres://u@h/d"), SslMode::Prefer);
        assert_eq!(mode("postgres://u@h/d?sslmode=disable"), SslMode::Disable);
        for name in ["require", "verify-ca", "verify-full"] {
            let url = format!("postgres://u@h/d?sslmode={name}&application_name=x");
            assert_eq!(mode(&url), SslMode::Require);
        }
        assert_eq!(mode("postgres://u@%2Frun/d?sslmode=require"), SslMode::Disable);
    }

    #[test]
    fn an_invalid_url_is_not_repeated_in_the_error() {
        for (url, word) in [
            ("postgres://u:hunter2@home@h/d", "%40"),
            ("postgres://u:p@h/d?x=hunter2", "`x`"),
            ("postgres://u:p@h/d?hunter2", "should look like"),
            ("postgres://u:hunter2@h:port/d", "should look like"),
            ("mysql://u:hunter2@h/d", "should look like"),
            ("postgres://u:hunter2@h/d?sslrootcert=/x", "ca_file"),
            ("postgres://u:hunter2@h/d?sslmode=allow", "verify-full"),
        ] {
            let Err(error) = endpoint(url) else {
                panic!("{url} is taken");
            };
            let error = error.to_string();
            assert!(error.contains(word) && !error.contains("hunter2"), "{error}");
        }
    }
}
