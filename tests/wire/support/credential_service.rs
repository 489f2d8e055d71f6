//! An internal credential service that follows a script, with or without TLS; each call has a connection of its own.

use std::sync::{Arc, Mutex};

use graphward::net::ca::{CertAuthority, CertSpec};
use graphward::net::{AllowedSchemes, Dialer, HttpClient, HttpClientConfig};
use graphward::types::Clock;
use http::Uri;
use tokio::time::Duration;

use super::origin::{Exchange, ReceivedRequest};
use super::{ConnectionAction, Origin, sleep_millis};

/// A secret in every query and every header; never in an error.
pub(crate) const QUERY_SECRET: &str = "s3cret-of-the-query";

/// A listening service.
pub(crate) struct CredentialService {
    pub(crate) port: u16,
    origin: Origin,
    script: Arc<Mutex<ServiceScript>>,
}

#[derive(Clone)]
struct ServiceScript {
    response: Vec<u8>,
    mode: ResponseMode,
}

/// How a response is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ResponseMode {
    /// At once; then the connection closes.
    Immediate,
    /// At once, and after the head bytes without end.
    Endless,
    /// One byte at a time, this many milliseconds apart.
    Slow(u64),
    /// No response, on a connection that stays open for a while.
    Hang,
    /// RST instead.
    Reset,
}

// === impl CredentialService ===

impl CredentialService {
    /// Without TLS.
    pub(crate) fn http() -> Self {
        let script = Arc::new(Mutex::new(ServiceScript {
            response: Vec::new(),
            mode: ResponseMode::Immediate,
        }));
        let shared = Arc::clone(&script);
        let origin = Origin::without_tls(move |exchange| {
            exchange.read_body();
            let script = shared.lock().unwrap().clone();
            respond(exchange, script)
        });
        Self {
            port: origin.port,
            origin,
            script,
        }
    }

    /// With TLS, with a certificate of this authority.
    pub(crate) fn https(by: &CertAuthority, leaf: &CertSpec) -> Self {
        let service = Self::http();
        service.origin.set_certificate(by, leaf, &[b"http/1.1"]);
        service
    }

    /// Sends this response from now on.
    pub(crate) fn set_response(&self, status: &str, fields: &str, body: &str) -> &Self {
        let length = body.len();
        self.set_raw_response(&format!(
            "HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
        ))
    }

    /// Sends these bytes from now on.
    pub(crate) fn set_raw_response(&self, response: &str) -> &Self {
        self.script.lock().unwrap().response = response.as_bytes().to_vec();
        self.set_mode(ResponseMode::Immediate)
    }

    /// Responds in this way from now on.
    pub(crate) fn set_mode(&self, mode: ResponseMode) -> &Self {
        self.script.lock().unwrap().mode = mode;
        self
    }

    /// The only request since the last call of this function.
    pub(crate) fn only(&self) -> ReceivedRequest {
        self.origin.only()
    }
}

fn respond(exchange: &mut Exchange<'_>, script: ServiceScript) -> ConnectionAction {
    match script.mode {
        ResponseMode::Immediate => {
            exchange.write(script.response);
        }
        ResponseMode::Endless => {
            exchange.write(script.response);
            while exchange.write([b'x'; 4096]) {}
        }
        ResponseMode::Slow(pause) => {
            for byte in script.response {
                if !exchange.write([byte]) {
                    break;
                }
                sleep_millis(pause);
            }
        }
        ResponseMode::Hang => exchange.wait_for_peer(),
        ResponseMode::Reset => return ConnectionAction::Reset,
    }
    ConnectionAction::CloseWithoutNotify
}

/// A client that trusts the tests' authority.
pub(crate) fn service_client(timeout: Duration) -> HttpClient {
    client_with(|_config| {}, timeout)
}

/// The same with other settings.
pub(crate) fn client_with(change: impl FnOnce(&mut HttpClientConfig), timeout: Duration) -> HttpClient {
    let directory = tempfile::tempdir().unwrap();
    let roots = directory.path().join("ca.pem");
    std::fs::write(&roots, super::CA.pem()).unwrap();
    let mut config = HttpClientConfig {
        ca_file: Some(roots),
        dialer: Dialer {
            timeout: super::TIMEOUT,
            ..Dialer::default()
        },
        schemes: AllowedSchemes::HttpAndHttps,
        ..HttpClientConfig::default()
    };
    change(&mut config);
    HttpClient::new(config, timeout).unwrap()
}

/// A certificate for this machine's own name.
pub(crate) fn localhost_leaf() -> CertSpec {
    CertSpec {
        names: vec!["localhost".to_owned()],
        ..CertSpec::for_graph(&Clock::system())
    }
}

/// The URL at which a service of this machine returns a credential.
pub(crate) fn credential_url(scheme: &str, port: u16) -> Uri {
    let url = format!("{scheme}://localhost:{port}/tenants/a/credentials/meta?key={QUERY_SECRET}");
    url.parse().unwrap()
}

/// A response body of such a service.
pub(crate) fn token_document(token: &str) -> String {
    format!(r#"{{"accessToken":"{token}","tenant":"a"}}"#)
}
