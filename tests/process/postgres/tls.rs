//! TCP connections: TLS, always verified.

use std::path::PathBuf;

use graphward::net::ca::{CertAuthority, CertSpec};
use graphward::source::PostgresSettings;
use graphward::token::{ObtainError, Source as _, Token};
use graphward::types::Clock;

use super::server::Server;
use super::support::{error_chain, open, settings};
use crate::support::free_ports;

async fn load(url: &str, ca_file: Option<PathBuf>) -> Result<Token, ObtainError> {
    let settings = PostgresSettings {
        ca_file,
        ..settings("SELECT 'EAAGtls'", &[])
    };
    open(url, settings).load().await
}

#[tokio::test]
async fn the_certificate_of_the_server_is_always_verified() {
    let clock = Clock::system();
    let (authority, other_authority) = (CertAuthority::new(&clock), CertAuthority::new(&clock));
    let (authority, other_authority) = (authority.unwrap(), other_authority.unwrap());
    let leaf = CertSpec {
        names: vec!["localhost".to_owned()],
        ..CertSpec::for_graph(&clock)
    };
    let signed = authority.sign(&leaf).unwrap();
    let [port] = free_ports();
    let folder = tempfile::tempdir().unwrap();
    let [trusted, untrusted] = [("trusted", &authority), ("untrusted", &other_authority)].map(|(name, authority)| {
        let path = folder.path().join(name);
        std::fs::write(&path, authority.pem()).unwrap();
        path
    });

    let server = Server::with(port, &["listen_addresses=127.0.0.1"]);
    server.psql("postgres", "CREATE ROLE app LOGIN PASSWORD 'hunter2'");
    let url = |host: &str, mode: &str| format!("postgres://app:hunter2@{host}:{port}/postgres?sslmode={mode}");
    // It has no TLS yet, and rejects connections without it.
    let error = load(&url("localhost", "verify-full"), Some(trusted.clone())).await;
    let message = error_chain(&error.unwrap_err());
    assert!(message.contains("does not support TLS"), "{message}");
    let error = load(&url("localhost", "disable"), None).await.unwrap_err();
    assert_eq!(error.reason(), "login", "{}", error_chain(&error));

    server.write("data/server.crt", &signed.cert.pem());
    server.write("data/server.key", &signed.signing_key.serialize_pem());
    server.psql("postgres", "ALTER SYSTEM SET ssl = on");
    server.psql("postgres", "SELECT pg_reload_conf()");
    for mode in ["require", "verify-ca", "verify-full", "prefer"] {
        let token = load(&url("localhost", mode), Some(trusted.clone())).await;
        let token = token.unwrap_or_else(|error| panic!("{mode}: {}", error_chain(&error)));
        assert_eq!(token.secret.expose(), "EAAGtls");
        for (host, roots) in [
            ("localhost", None),
            ("localhost", Some(untrusted.clone())),
            ("127.0.0.1", Some(trusted.clone())),
        ] {
            let error = load(&url(host, mode), roots).await.unwrap_err();
            let message = error_chain(&error);
            assert_eq!(error.reason(), "tls_untrusted", "{mode}: {message}");
            assert!(
                message.contains("`ca_file`") && !message.contains("hunter2"),
                "{message}"
            );
        }
    }
    let bound = url("localhost", "verify-full&channel_binding=require");
    let token = load(&bound, Some(trusted.clone())).await.unwrap();
    assert_eq!(token.secret.expose(), "EAAGtls");
    let wrong = url("localhost", "verify-full").replace("hunter2", "hunter3");
    let error = load(&wrong, Some(trusted)).await.unwrap_err();
    assert_eq!(error.reason(), "login", "{}", error_chain(&error));
}
