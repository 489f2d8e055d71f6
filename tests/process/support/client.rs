//! The app: HTTP/1.1 on a kept-alive connection.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use graphward::net::Tasks;
use http::{HeaderMap, Request, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::TIMEOUT;

pub(crate) type Body = BoxBody<Bytes, Infallible>;

pub(crate) struct Client {
    address: SocketAddr,
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
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        drop(Tasks::default().spawn(connection));
        Self { address, sender }
    }

    /// Returns whether the connection has been closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request and reads its response, or returns the connection's error.
    pub(crate) async fn try_send(&mut self, mut request: Request<Body>) -> hyper::Result<TestResponse> {
        let host = self.address.to_string().parse().unwrap();
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
