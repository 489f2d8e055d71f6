//! The app: HTTP/1.1 on a kept-alive connection.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use graphward::net::{Tasks, tls};
use http::{HeaderMap, HeaderValue, Request, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::TIMEOUT;

pub(crate) type Body = BoxBody<Bytes, Infallible>;

pub(crate) struct Client {
    /// The value of `Host`.
    host: HeaderValue,
    sender: SendRequest<Body>,
}

#[derive(Debug)]
pub(crate) struct TestResponse {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream, &address.to_string()).await
    }

    /// Connects to a Unix socket.
    pub(crate) async fn connect_to_socket(path: &Path) -> Self {
        Self::over(UnixStream::connect(path).await.unwrap(), "localhost").await
    }

    /// Connects to Graph through CONNECT, with TLS in the tunnel; the certificate has to be of this CA.
    pub(crate) async fn connect_through(proxy: SocketAddr, ca: &Path) -> io::Result<Self> {
        let stream = TcpStream::connect(proxy).await?;
        stream.set_nodelay(true)?;
        Self::tunnel_over(stream, ca).await
    }

    /// The same through a Unix socket.
    pub(crate) async fn connect_through_socket(path: &Path, ca: &Path) -> io::Result<Self> {
        Self::tunnel_over(UnixStream::connect(path).await?, ca).await
    }

    async fn tunnel_over(
        mut stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        ca: &Path,
    ) -> io::Result<Self> {
        const HOST: &str = "graph.facebook.com";
        let head = format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await?);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", answer.escape_ascii());
        let connector = TlsConnector::from(tls::client(Some(ca), &[]).unwrap());
        let stream = connector.connect(ServerName::try_from(HOST).unwrap(), stream).await?;
        Ok(Self::over(stream, HOST).await)
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, host: &str) -> Self {
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        drop(Tasks::default().spawn(connection));
        let host = host.parse().unwrap();
        Self { host, sender }
    }

    /// Returns whether the connection has been closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request and reads its response, or returns the connection's error.
    pub(crate) async fn try_send(&mut self, mut request: Request<Body>) -> hyper::Result<TestResponse> {
        let host = self.host.clone();
        request.headers_mut().entry(header::HOST).or_insert(host);
        let sending = async {
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            Ok(TestResponse {
                status: head.status.as_u16(),
                headers: head.headers,
                body: body.collect().await?.to_bytes(),
            })
        };
        timeout(TIMEOUT, sending).await.expect("no response")
    }

    pub(crate) async fn send(&mut self, request: Request<Body>) -> TestResponse {
        self.try_send(request).await.unwrap()
    }

    pub(crate) async fn get(&mut self, path: &str) -> TestResponse {
        self.send(Request::get(path).body(Body::default()).unwrap()).await
    }

    /// Sends a text message.
    pub(crate) async fn text(&mut self, text: &str) -> TestResponse {
        self.send(text_message(text)).await
    }
}

impl TestResponse {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A WhatsApp text message.
pub(crate) fn text_message(text: &str) -> Request<Body> {
    let message = json!({
        "messaging_product": "whatsapp",
        "to": "15550100200",
        "type": "text",
        "text": {"body": text},
    });
    Request::post("/v26.0/106540352242922/messages")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(message.to_string()).boxed())
        .unwrap()
}

/// Sends one request on a connection of its own.
pub(crate) async fn get(address: SocketAddr, path: &str) -> TestResponse {
    Client::connect(address).await.get(path).await
}
