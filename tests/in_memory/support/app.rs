//! An app: a client on the other side.

use std::sync::Arc;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::Mutex;

use super::{Protocol, TestBody, TestResponse, TestTasks, sized};
use graphward::app::ProxyListener;
use graphward::net::{InMemoryConnector, Listener};
use graphward::types::TenantId;

/// An app. Over HTTP/1.1 each request has a connection of its own, over HTTP/2 all share one.
#[derive(Clone)]
pub(crate) struct App {
    dialer: InMemoryConnector,
    tasks: TestTasks,
    http: Protocol,
    shared: Arc<Mutex<Option<http2::SendRequest<TestBody>>>>,
}

impl App {
    pub(crate) fn new(dialer: InMemoryConnector, tasks: TestTasks, http: Protocol) -> Self {
        Self {
            dialer,
            tasks,
            http,
            shared: Arc::default(),
        }
    }

    /// Sends a request and reads its answer to the end.
    pub(crate) async fn fetch(&self, request: Request<TestBody>) -> TestResponse {
        TestResponse::read(self.send(request).await.unwrap()).await
    }

    pub(crate) async fn get(&self, target: &str) -> TestResponse {
        self.fetch(get(target)).await
    }

    pub(crate) async fn post(&self, body: impl Into<bytes::Bytes>) -> TestResponse {
        self.fetch(post(sized(body))).await
    }

    /// Sends a request and waits for its answer's head.
    pub(crate) async fn send(&self, mut request: Request<TestBody>) -> Result<Response<Incoming>, hyper::Error> {
        match self.http {
            Protocol::Http1 => {
                let mut sender = self.connect().await;
                if !request.headers().contains_key(HOST) {
                    let host_name = request.uri().authority();
                    let host_name = host_name.map_or("localhost:8080", Authority::as_str);
                    let host = HeaderValue::from_str(host_name).unwrap();
                    request.headers_mut().insert(HOST, host);
                }
                sender.send_request(request).await
            }
            Protocol::Two => {
                let mut parts = request.uri().clone().into_parts();
                parts.scheme = Some(http::uri::Scheme::HTTP);
                let authority = request.headers_mut().remove(HOST);
                let authority = authority.map(|host| host.to_str().unwrap().parse().unwrap());
                let authority = authority.or(parts.authority);
                parts.authority = authority.or(Some(Authority::from_static("localhost:8080")));
                *request.uri_mut() = Uri::from_parts(parts).unwrap();
                let mut sender = self.shared().await;
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    /// A connection that speaks HTTP/1.1.
    pub(crate) async fn connect(&self) -> http1::SendRequest<TestBody> {
        let io = TokioIo::new(self.dialer.connect().await);
        let (sender, connection) = http1::handshake(io).await.unwrap();
        self.tasks.spawn(async move { drop(connection.await) });
        sender
    }

    async fn shared(&self) -> http2::SendRequest<TestBody> {
        let mut shared = self.shared.lock().await;
        if let Some(sender) = &*shared
            && !sender.is_closed()
        {
            return sender.clone();
        }
        let io = TokioIo::new(self.dialer.connect().await);
        let (sender, connection) = http2::handshake(self.tasks.clone(), io).await.unwrap();
        self.tasks.spawn(async move { drop(connection.await) });
        shared.insert(sender).clone()
    }

    /// A connection that speaks whatever the test writes.
    pub(crate) async fn raw(&self) -> DuplexStream {
        self.dialer.connect().await
    }

    /// Sends these bytes and reads until the connection is closed.
    pub(crate) async fn send_raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.raw().await;
        stream.write_all(bytes).await.unwrap();
        let mut response = Vec::new();
        drop(stream.read_to_end(&mut response).await);
        String::from_utf8(response).unwrap()
    }
}

/// A listener, which may be a tenant's own, and what connects to it.
pub(crate) fn listen(tenant: Option<&str>) -> (ProxyListener, InMemoryConnector) {
    let (listener, dialer) = Listener::in_memory();
    let tenant = tenant.map(|name| TenantId::new(name).unwrap());
    (ProxyListener { listener, tenant }, dialer)
}

pub(crate) fn request(method: &str, target: &str, body: TestBody) -> Request<TestBody> {
    let request = Request::builder().method(method).uri(target);
    request.body(body).unwrap()
}

/// The same with these fields besides.
pub(crate) fn with(mut request: Request<TestBody>, headers: &[(&str, &str)]) -> Request<TestBody> {
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

pub(crate) fn get(target: &str) -> Request<TestBody> {
    request("GET", target, sized(""))
}

/// A file: a body that graphward does not search for credentials, and so need not read whole.
pub(crate) fn post_file(body: TestBody) -> Request<TestBody> {
    with(post(body), &[("content-type", "application/octet-stream")])
}

/// A request to the path of WhatsApp messages.
pub(crate) fn post(body: TestBody) -> Request<TestBody> {
    request("POST", "/v21.0/106540352242922/messages", body)
}
