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

use super::{Answer, Crew, Http, Sent, sized};
use graphward::net::Door;

/// An app. Over HTTP/1.1 each request has a connection of its own, over HTTP/2 all share one.
#[derive(Clone)]
pub(crate) struct App {
    door: Door,
    crew: Crew,
    http: Http,
    shared: Arc<Mutex<Option<http2::SendRequest<Sent>>>>,
}

impl App {
    pub(crate) fn new(door: Door, crew: Crew, http: Http) -> Self {
        Self {
            door,
            crew,
            http,
            shared: Arc::default(),
        }
    }

    /// Sends a request and reads its answer to the end.
    pub(crate) async fn ask(&self, request: Request<Sent>) -> Answer {
        Answer::of(self.send(request).await.unwrap()).await
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.ask(get(target)).await
    }

    pub(crate) async fn post(&self, body: impl Into<bytes::Bytes>) -> Answer {
        self.ask(post(sized(body))).await
    }

    /// Sends a request and waits for its answer's head.
    pub(crate) async fn send(
        &self,
        mut request: Request<Sent>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        match self.http {
            Http::One => {
                let mut line = self.connect().await;
                if !request.headers().contains_key(HOST) {
                    let named = request.uri().authority();
                    let named = named.map_or("localhost:8080", Authority::as_str);
                    let host = HeaderValue::from_str(named).unwrap();
                    request.headers_mut().insert(HOST, host);
                }
                line.send_request(request).await
            }
            Http::Two => {
                let mut parts = request.uri().clone().into_parts();
                parts.scheme = Some(http::uri::Scheme::HTTP);
                let named = request.headers_mut().remove(HOST);
                let named = named.map(|host| host.to_str().unwrap().parse().unwrap());
                let named = named.or(parts.authority);
                parts.authority = named.or(Some(Authority::from_static("localhost:8080")));
                *request.uri_mut() = Uri::from_parts(parts).unwrap();
                let mut line = self.shared().await;
                line.ready().await?;
                line.send_request(request).await
            }
        }
    }

    /// A connection that speaks HTTP/1.1.
    pub(crate) async fn connect(&self) -> http1::SendRequest<Sent> {
        let io = TokioIo::new(self.door.connect().await);
        let (line, connection) = http1::handshake(io).await.unwrap();
        self.crew.spawn(async move { drop(connection.await) });
        line
    }

    async fn shared(&self) -> http2::SendRequest<Sent> {
        let mut shared = self.shared.lock().await;
        if let Some(line) = &*shared
            && !line.is_closed()
        {
            return line.clone();
        }
        let io = TokioIo::new(self.door.connect().await);
        let (line, connection) = http2::handshake(self.crew.clone(), io).await.unwrap();
        self.crew.spawn(async move { drop(connection.await) });
        shared.insert(line).clone()
    }

    /// A connection that speaks whatever the test writes.
    pub(crate) async fn raw(&self) -> DuplexStream {
        self.door.connect().await
    }

    /// Sends these bytes and reads until the connection is closed.
    pub(crate) async fn exchange(&self, bytes: &[u8]) -> String {
        let mut line = self.raw().await;
        line.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        drop(line.read_to_end(&mut answer).await);
        String::from_utf8(answer).unwrap()
    }
}

pub(crate) fn request(method: &str, target: &str, body: Sent) -> Request<Sent> {
    let request = Request::builder().method(method).uri(target);
    request.body(body).unwrap()
}

/// The same with these fields besides.
pub(crate) fn with(mut request: Request<Sent>, fields: &[(&str, &str)]) -> Request<Sent> {
    for (name, value) in fields {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

pub(crate) fn get(target: &str) -> Request<Sent> {
    request("GET", target, sized(""))
}

/// A WhatsApp message, as far as its target goes.
pub(crate) fn post(body: Sent) -> Request<Sent> {
    request("POST", "/v21.0/106540352242922/messages", body)
}
