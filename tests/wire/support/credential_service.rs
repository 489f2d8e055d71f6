//! An internal credential service that follows a script, with or without TLS; each call has a connection of its own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use graphward::net::ca::{CertAuthority, CertSpec};
use graphward::net::{AllowedSchemes, HttpClient, HttpClientConfig};
use graphward::types::Clock;
use http::Uri;
use tokio::time::Duration;

use super::message::{self, Framing, Reader};

/// A secret in every query and every header; never in an error.
pub(crate) const QUERY_SECRET: &str = "s3cret-of-the-query";

/// A listening service.
pub(crate) struct CredentialService {
    pub(crate) port: u16,
    state: Arc<ServiceState>,
}

struct ServiceState {
    response: Mutex<Vec<u8>>,
    mode: Mutex<ResponseMode>,
    requests: Mutex<Vec<ServiceRequest>>,
    stopped: AtomicBool,
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

/// A received request.
#[derive(Clone, Debug)]
pub(crate) struct ServiceRequest {
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

// === impl CredentialService ===

impl CredentialService {
    /// Without TLS.
    pub(crate) fn http() -> Self {
        Self::start(|tcp| Some(Box::new(tcp)))
    }

    /// With TLS, with a certificate of this authority.
    pub(crate) fn https(by: &CertAuthority, leaf: &CertSpec) -> Self {
        let config = Arc::clone(by.acceptor(leaf, &[b"http/1.1"]).unwrap().config());
        Self::start(move |tcp| {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).ok()?;
            Some(Box::new(rustls::StreamOwned::new(connection, tcp)))
        })
    }

    fn start(wrap: impl Fn(TcpStream) -> Option<Box<dyn Stream>> + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(ServiceState {
            response: Mutex::default(),
            mode: Mutex::new(ResponseMode::Immediate),
            requests: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            while let Ok((tcp, _peer)) = listener.accept() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (state, wrap) = (Arc::clone(&shared), wrap.clone());
                thread::spawn(move || serve(tcp, &wrap, &state));
            }
        });
        Self { port, state }
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
        *self.state.response.lock().unwrap() = response.as_bytes().to_vec();
        self.set_mode(ResponseMode::Immediate)
    }

    /// Responds in this way from now on.
    pub(crate) fn set_mode(&self, mode: ResponseMode) -> &Self {
        *self.state.mode.lock().unwrap() = mode;
        self
    }

    /// The only request since the last call of this function.
    pub(crate) fn only(&self) -> ServiceRequest {
        let mut seen = std::mem::take(&mut *self.state.requests.lock().unwrap());
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }
}

impl Drop for CredentialService {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn serve(tcp: TcpStream, wrap: &impl Fn(TcpStream) -> Option<Box<dyn Stream>>, state: &ServiceState) -> Option<()> {
    tcp.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let raw = tcp.try_clone().ok()?;
    let mut reader = Reader::new(wrap(tcp)?);
    let head = reader.head()?;
    let framing = message::framing(&head).unwrap_or(Framing::Length(0));
    let (body, _whole) = reader.body(framing);
    state.requests.lock().unwrap().push(ServiceRequest { head, body });
    let response = state.response.lock().unwrap().clone();
    let mode = *state.mode.lock().unwrap();
    let mut send = |bytes: &[u8]| {
        reader.stream.write_all(bytes).ok()?;
        reader.stream.flush().ok()
    };
    match mode {
        ResponseMode::Immediate => send(&response)?,
        ResponseMode::Endless => {
            send(&response)?;
            while send(&[b'x'; 4096]).is_some() {}
        }
        ResponseMode::Slow(pause) => {
            for byte in response {
                send(&[byte])?;
                thread::sleep(Duration::from_millis(pause));
            }
        }
        ResponseMode::Hang => drop(reader.read()),
        ResponseMode::Reset => {
            let linger = Some(Duration::ZERO);
            socket2::SockRef::from(&raw).set_linger(linger).ok()?;
        }
    }
    Some(())
}

// === impl ServiceRequest ===

impl ServiceRequest {
    pub(crate) fn request_line(&self) -> String {
        message::first_line(&self.head)
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        message::value(&self.head, name)
    }
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
        connect_timeout: Duration::from_secs(2),
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
