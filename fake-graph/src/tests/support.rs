//! A fake Graph on loopback, and a client that calls it by Graph's names.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tower_service::Service;

use crate::{Clock, FakeGraph, FakeGraphConfig, RunningServer};

pub(crate) const GRAPH_ORIGIN: &str = "https://graph.facebook.com";

const META_HOSTS: [&str; 9] = [
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

/// The HTTP versions that a client speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HttpVersion {
    Auto,
    Http1,
    Http2,
}

pub(crate) type TestClient = Client<HttpsConnector<HttpConnector<OneAddress>>, Full<Bytes>>;

/// The fake, and its client.
pub(crate) struct TestGraph {
    pub(crate) graph: FakeGraph,
    pub(crate) client: TestClient,
    pub(crate) running: RunningServer,
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
        Self::with(FakeGraphConfig::new(Clock::system()), HttpVersion::Auto).await
    }

    pub(crate) async fn with(config: FakeGraphConfig, http: HttpVersion) -> Self {
        let graph = FakeGraph::new(config);
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(META_HOSTS.map(str::to_owned)).unwrap();
        let mut tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![cert.der().clone()],
                PrivatePkcs8KeyDer::from(signing_key.serialize_der()).into(),
            )
            .unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let running = graph.start(loopback().await, Some(Arc::new(tls).into())).unwrap();
        let client = client(cert.der().clone(), http, running.address);
        Self { graph, client, running }
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

pub(crate) async fn loopback() -> TcpListener {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap()
}

/// A client that trusts one certificate and finds all hosts at one address.
fn client(certificate: CertificateDer<'static>, http: HttpVersion, address: SocketAddr) -> TestClient {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new_with_resolver(OneAddress(address));
    tcp.enforce_http(false);
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_only();
    let connector = match http {
        HttpVersion::Auto => https.enable_http1().enable_http2().wrap_connector(tcp),
        HttpVersion::Http1 => https.enable_http1().wrap_connector(tcp),
        HttpVersion::Http2 => https.enable_http2().wrap_connector(tcp),
    };
    Client::builder(TokioExecutor::new()).build(connector)
}

/// Resolves every name to one address and port.
#[derive(Clone, Debug)]
pub(crate) struct OneAddress(SocketAddr);

impl Service<Name> for OneAddress {
    type Response = std::iter::Once<SocketAddr>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _name: Name) -> Self::Future {
        ready(Ok(std::iter::once(self.0)))
    }
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
