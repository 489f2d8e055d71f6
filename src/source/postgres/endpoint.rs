//! The address of the database, and how it is connected to.
//!
//! # Why
//!
//! [`url`] and `tokio-postgres` parse the URL. This file adds the rules that both lack: a local socket needs no
//! TLS, every connection has limits, and what is shown has neither a user nor a password.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::url::{self, DatabaseUrl, DatabaseUrlError};
use crate::net::Tasks;
use crate::net::tls::{TlsError, client};

/// A database and the user that logs in to it.
#[derive(Clone)]
pub(super) struct PgEndpoint {
    /// Includes the password, which its `Debug` hides.
    pub(super) config: Config,
    /// The TLS settings, for hosts that are not sockets.
    pub(super) tls: MakeRustlsConnect,
    /// `postgres host/dbname`: the part that may be shown.
    pub(super) display_name: String,
    /// A statement that sets the search path of a transaction, if the URL names a schema. A parameter of the connection
    /// would not work through a connection pooler.
    set_search_path: String,
    /// Starts the tasks of the connections.
    pub(super) tasks: Tasks,
}

/// The reason why the settings cannot work. The messages repeat nothing of the URL but the names of its parameters.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The URL is invalid.
    #[error(transparent)]
    Url(#[from] DatabaseUrlError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The query of a table has a parameter.
    #[error("`query` selects all tenants and takes no parameters: remove $1")]
    QueryWithParameter,
    /// The statement that stores a token would store it for all tenants.
    #[error("`update` does not use $2, the name of the tenant: add it, as in WHERE tenant_id = $2")]
    UpdateOfAll,
}

/// The socket directory of Debian and of the PostgreSQL images.
const DEFAULT_SOCKET_DIR: &str = "/var/run/postgresql";

/// The limit for connecting to one host of several.
const MULTI_HOST_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The limit for TCP acknowledgments, unless the URL has one.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

impl PgEndpoint {
    pub(super) fn new(url: &str, ca_file: Option<&Path>, tasks: Tasks) -> Result<Self, PostgresError> {
        let DatabaseUrl {
            mut config,
            search_path,
            tcp_user_timeout,
            ignored,
        } = url::parse(url)?;
        if !ignored.is_empty() {
            let parameters = ignored.join(", ");
            tracing::info!(
                parameters,
                "these parameters of the database URL have no effect on graphward"
            );
        }
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            config.host_path(DEFAULT_SOCKET_DIR);
        }
        let is_local = |host: &Host| matches!(host, Host::Unix(_));
        if config.get_hostaddrs().is_empty() && config.get_hosts().iter().all(is_local) {
            // PostgreSQL offers no TLS on local sockets, which need none.
            config.ssl_mode(SslMode::Disable);
        }
        if config.get_hosts().len().max(config.get_hostaddrs().len()) > 1 && config.get_connect_timeout().is_none() {
            config.connect_timeout(MULTI_HOST_CONNECT_TIMEOUT);
        }
        config.tcp_user_timeout(tcp_user_timeout.unwrap_or(TCP_USER_TIMEOUT));
        let schemas: Vec<_> = search_path.iter().map(|schema| quote_identifier(schema)).collect();
        let set_search_path = match schemas.as_slice() {
            [] => String::new(),
            schemas => format!("; SET LOCAL search_path = {}", schemas.join(", ")),
        };
        Ok(Self {
            set_search_path,
            display_name: display_name(&config),
            config,
            // Direct TLS negotiation requires this ALPN name; other servers ignore it.
            tls: MakeRustlsConnect::new(Arc::unwrap_or_clone(client(ca_file, &[b"postgresql"])?)),
            tasks,
        })
    }

    /// Returns the statements that begin a transaction, with the search path that the URL asks for.
    pub(super) fn begin(&self, statements: &str) -> String {
        format!("{statements}{}", self.set_search_path)
    }
}

/// Quotes a name, so that it is read as it is written.
pub(super) fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn display_name(config: &Config) -> String {
    // A single port applies to all hosts.
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
        PgEndpoint::new(url, None, Tasks::default())
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
        let overridden = endpoint("postgres://u@h/d?application_name=x&keepalives_idle=9").unwrap();
        assert_eq!(overridden.config.get_application_name(), Some("x"));
        assert_eq!(overridden.config.get_keepalives_idle(), Duration::from_secs(9));
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
            ("postgres://u:p@h/d?hunter2", "expected postgres://"),
            ("postgres://u:hunter2@h:port/d", "expected postgres://"),
            ("mysql://u:hunter2@h/d", "expected postgres://"),
            ("postgres://u:hunter2@h/d?sslrootcert=/x", "ca_file"),
            ("postgres://u:hunter2@h/d?sslmode=allow", "verify-full"),
            ("postgres://u:p@h/d?connect_timeout=hunter2", "`connect_timeout`"),
            ("postgres://u:p@h/d?sslmode=disable&sslmode=require", "`sslmode`"),
        ] {
            let Err(error) = endpoint(url) else {
                panic!("{url} was accepted");
            };
            let error = error.to_string();
            assert!(error.contains(word) && !error.contains("hunter2"), "{error}");
        }
    }
}
