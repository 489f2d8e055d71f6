//! A fake Graph on loopback, and a client that calls it by Graph's names.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use graphward::net::{Connector, ConnectorConfig, HttpVersion, Listener, tls};
use graphward::sim::tls::{CertAuthority, CertSpec};
use graphward::sim::{Sim, SimConfig, SimServer};
use graphward::types::Clock;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

pub(crate) const GRAPH_ORIGIN: &str = "https://graph.facebook.com";

pub(crate) type TestClient = Client<Connector, Full<Bytes>>;

/// The fake, and its client.
pub(crate) struct TestGraph {
    pub(crate) sim: Sim,
    pub(crate) client: TestClient,
    _running: SimServer,
}

/// An answer, read.
#[derive(Debug)]
pub(crate) struct TestResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl TestGraph {
    pub(crate) async fn start() -> Self {
        Self::with(SimConfig::new(Clock::system()), HttpVersion::Auto).await
    }

    pub(crate) async fn with(settings: SimConfig, http: HttpVersion) -> Self {
        let clock = settings.clock;
        let sim = Sim::new(settings);
        let authority = CertAuthority::new(&clock).unwrap();
        let acceptor = authority.acceptor(&CertSpec::for_graph(&clock), HttpVersion::Auto.alpn());
        let running = sim.start(loopback().await, Some(acceptor.unwrap()));
        let client = client(authority.pem(), http, running.address);
        Self {
            sim,
            client,
            _running: running,
        }
    }

    /// A GET with a token in the header, or none.
    pub(crate) async fn get(&self, path: &str, token: &str) -> TestResponse {
        let agent = [("user-agent", "node")];
        self.send(request("GET", path, token, &agent, "")).await
    }

    pub(crate) async fn post_json(&self, path: &str, token: &str, body: &Value) -> TestResponse {
        let json = [("content-type", "application/json")];
        self.send(request("POST", path, token, &json, &body.to_string())).await
    }

    pub(crate) async fn post_form(&self, path: &str, token: &str, body: &str) -> TestResponse {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        self.send(request("POST", path, token, &form, body)).await
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> TestResponse {
        self.try_send(request).await.unwrap()
    }

    pub(crate) async fn try_send(&self, request: Request<Full<Bytes>>) -> Result<TestResponse, Error> {
        let response = self.client.request(request).await?;
        let (head, body) = response.into_parts();
        Ok(TestResponse {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        })
    }
}

impl TestResponse {
    /// The body as JSON, unpacked if need be.
    pub(crate) fn json(&self) -> Value {
        if self.header("content-encoding") == "gzip" {
            let mut text = String::new();
            let mut decoder = flate2::read::GzDecoder::new(&*self.body);
            decoder.read_to_string(&mut text).unwrap();
            return serde_json::from_str(&text).unwrap();
        }
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// Status, code, subcode.
    pub(crate) fn error_codes(&self) -> (u16, i64, Option<i64>) {
        let error = &self.json()["error"];
        let number = |name: &str| error[name].as_i64();
        (self.status.as_u16(), number("code").unwrap(), number("error_subcode"))
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap().to_owned()
    }
}

pub(crate) fn request(
    method: &str,
    path: &str,
    token: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Full<Bytes>> {
    bytes_request(method, path, token, headers, Bytes::from(body.to_owned()))
}

pub(crate) fn bytes_request(
    method: &str,
    path: &str,
    token: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Request<Full<Bytes>> {
    let uri = if path.starts_with("http") {
        path.to_owned()
    } else {
        format!("{GRAPH_ORIGIN}{path}")
    };
    let mut request = Request::builder().method(method).uri(uri);
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body)).unwrap()
}

pub(crate) async fn loopback() -> Listener {
    Listener::tcp(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap()
}

/// A client that trusts one CA and finds Graph's hosts at one address.
pub(crate) fn client(ca: &str, http: HttpVersion, address: SocketAddr) -> TestClient {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(ca.as_bytes()).unwrap();
    let hosts = [
        "graph.facebook.com",
        "graph.beta.facebook.com",
        "graph-video.facebook.com",
        "rupload.facebook.com",
        "lookaside.fbsbx.com",
        "graph.instagram.com",
        "api.instagram.com",
        "graph.threads.net",
        "graph.threads.com",
    ];
    let connector_config = ConnectorConfig {
        connect_to: hosts.map(|host| (host.to_owned(), address.to_string())).into(),
        tls: tls::client(Some(file.path()), http.alpn()).unwrap(),
        timeout: Duration::from_secs(10),
        allow_http: false,
    };
    Client::builder(TokioExecutor::new()).build(Connector::from_config(connector_config))
}

/// A text message.
pub(crate) fn text(body: &str) -> Value {
    serde_json::json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": "+1 555 010 0199",
        "type": "text",
        "text": {"body": body},
    })
}

/// An `appsecret_proof`, for the secret that the fake has unless told otherwise.
pub(crate) fn appsecret_proof(message: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let mut key = b"0123456789abcdef0123456789abcdef".to_vec();
    key.resize(64, 0);
    let padded = |pad: u8| key.iter().map(|byte| byte ^ pad).collect::<Vec<_>>();
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message);
    let outer = Sha256::new().chain_update(padded(0x5c)).chain_update(inner.finalize());
    outer.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
