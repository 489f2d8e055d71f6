//! HTTP/1.1 connections to Graph over pipes, whose other ends the tests read and write.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use graphward::graph::Origin;
use graphward::net::{BoxError, Connector, HttpVersion, Tasks, boxed_io};
use graphward::upstream::{Fate, Lease, RequestBody, ResponseBody, Upstream};
use http::{Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Requests to an origin whose ends of the connections are received here.
struct Pipes {
    upstream: Upstream<Pieces>,
    origin: Origin,
    peers: mpsc::UnboundedReceiver<DuplexStream>,
}

/// A request body.
enum Pieces {
    InMemory(Option<Bytes>),
    Arriving(mpsc::Receiver<Bytes>),
}

/// The bytes that a pipe holds.
const PIPE_BYTES: usize = 1024;
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

// === impl Pipes ===

impl Pipes {
    fn new() -> Self {
        let (sender, peers) = mpsc::unbounded_channel();
        let sender = Arc::new(Mutex::new(sender));
        let connector = Connector::new(move |_authority| {
            let (near, peer) = duplex(PIPE_BYTES);
            sender.lock().unwrap().send(peer).unwrap();
            async move { Ok(boxed_io(near, None)) }
        });
        Self {
            upstream: Upstream::new(connector, HttpVersion::Http1, Tasks::default()),
            origin: Origin::parse("https://graph.facebook.com").unwrap(),
            peers,
        }
    }

    async fn connect(&mut self) -> (Lease<Pieces>, DuplexStream) {
        let lease = self.upstream.wait(&self.origin).await.unwrap();
        (lease, self.peers.recv().await.unwrap())
    }

    async fn open(&self) -> Option<Lease<Pieces>> {
        self.upstream.take_open(&self.origin).await
    }

    /// Opens a connection, and serves one request on it.
    async fn connect_and_use(&mut self) -> DuplexStream {
        let (lease, mut peer) = self.connect().await;
        let (response, ()) = tokio::join!(lease.send(post("hello")), answer(&mut peer, "hello", OK));
        assert_eq!(text(response.unwrap()).await, "ok");
        peer
    }
}

// === impl Pieces ===

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let piece = match self.get_mut() {
            Self::InMemory(bytes) => Poll::Ready(bytes.take()),
            Self::Arriving(pieces) => pieces.poll_recv(cx),
        };
        piece.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::InMemory(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::InMemory(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Arriving(_) => SizeHint::default(),
        }
    }
}

impl RequestBody for Pieces {
    fn is_arriving(&self) -> bool {
        matches!(self, Self::Arriving(_))
    }
}

fn request(body: Pieces) -> Request<Pieces> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    request
}

fn post(body: &str) -> Request<Pieces> {
    request(Pieces::InMemory(Some(Bytes::copy_from_slice(body.as_bytes()))))
}

async fn text(response: Response<ResponseBody<Pieces>>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Reads until this has come.
async fn read_until(peer: &mut DuplexStream, end: &str) {
    let mut read = Vec::new();
    while !read.windows(end.len()).any(|window| window == end.as_bytes()) {
        read.push(peer.read_u8().await.unwrap());
    }
}

async fn answer(peer: &mut DuplexStream, end_of_request: &str, response: &[u8]) {
    read_until(peer, end_of_request).await;
    peer.write_all(response).await.unwrap();
}

/// Waits until the connection has been closed, and returns how long that took.
async fn until_closed(peer: &mut DuplexStream) -> Duration {
    let start = tokio::time::Instant::now();
    let mut rest = Vec::new();
    let read = timeout(Duration::from_secs(3600), peer.read_to_end(&mut rest)).await;
    read.expect("the connection is open after an hour").unwrap();
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_connection_serves_one_request_after_another() {
    let mut pipes = Pipes::new();
    let mut peer = pipes.connect_and_use().await;
    for _ in 0..3 {
        let lease = pipes.open().await.unwrap();
        let (response, ()) = tokio::join!(lease.send(post("again")), answer(&mut peer, "again", OK));
        assert_eq!(text(response.unwrap()).await, "ok");
    }
    assert!(pipes.peers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_that_the_peer_has_closed_serves_no_request() {
    let mut pipes = Pipes::new();
    drop(pipes.connect_and_use().await);
    assert!(pipes.open().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_with_bytes_that_belong_to_no_request_serves_no_request() {
    let mut pipes = Pipes::new();
    let mut peer = pipes.connect_and_use().await;
    peer.write_all(OK).await.unwrap();
    assert!(pipes.open().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_that_the_peer_has_ended_is_closed_within_seconds_and_another_one_within_a_minute() {
    let mut pipes = Pipes::new();
    let mut peer = pipes.connect_and_use().await;
    peer.shutdown().await.unwrap();
    assert!(until_closed(&mut peer).await <= Duration::from_secs(10));
    let mut peer = pipes.connect_and_use().await;
    let age = until_closed(&mut peer).await;
    assert!(
        (Duration::from_secs(50)..=Duration::from_secs(60)).contains(&age),
        "{age:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_goes_away_closes_its_connection() {
    let mut pipes = Pipes::new();
    // Before the head of the response, and within its body.
    let (lease, mut peer) = pipes.connect().await;
    let sending = timeout(Duration::from_millis(1), lease.send(post("hello")));
    assert!(sending.await.is_err());
    assert_eq!(until_closed(&mut peer).await, Duration::ZERO);

    let (lease, mut peer) = pipes.connect().await;
    let partial = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart";
    let (response, ()) = tokio::join!(lease.send(post("hello")), answer(&mut peer, "hello", partial));
    drop(response.unwrap());
    assert_eq!(until_closed(&mut peer).await, Duration::ZERO);
    assert!(pipes.open().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_peer_answered_before_it_took_the_whole_request_serves_no_other_one() {
    let mut pipes = Pipes::new();
    let (lease, mut peer) = pipes.connect().await;
    let large = format!("{}end", "a".repeat(20 * PIPE_BYTES));
    let (response, ()) = tokio::join!(lease.send(post(&large)), answer(&mut peer, "\r\n\r\n", OK));
    assert_eq!(text(response.unwrap()).await, "ok");
    assert!(pipes.open().await.is_none());
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).await.unwrap();
    assert!(!rest.ends_with(b"end"));
}

#[tokio::test(start_paused = true)]
async fn an_upload_goes_on_while_an_early_response_is_not_read() {
    let mut pipes = Pipes::new();
    let (lease, mut peer) = pipes.connect().await;
    let (pieces, arriving) = mpsc::channel(1);
    let early = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n";
    let upload = request(Pieces::Arriving(arriving));
    let (response, ()) = tokio::join!(lease.send(upload), answer(&mut peer, "\r\n\r\n", early));
    let _unread = response.unwrap();
    for piece in ["first", "second", "third"] {
        pieces.send(Bytes::from_static(piece.as_bytes())).await.unwrap();
        let arrival = timeout(Duration::from_secs(60), read_until(&mut peer, piece));
        assert!(arrival.await.is_ok(), "{piece}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_became_of_a_request_is_told_by_what_was_written_and_read() {
    let mut pipes = Pipes::new();
    let fate = async |lease: Lease<Pieces>, peer: DuplexStream, bytes: &'static [u8]| {
        let mut peer = peer;
        let ended = async {
            read_until(&mut peer, "hello").await;
            peer.write_all(bytes).await.unwrap();
            drop(peer);
        };
        tokio::join!(lease.send(post("hello")), ended).0.unwrap_err().fate()
    };
    let (lease, peer) = pipes.connect().await;
    assert_eq!(fate(lease, peer, b"").await, Fate::Unknown, "a new connection");
    let peer = pipes.connect_and_use().await;
    let lease = pipes.open().await.unwrap();
    assert_eq!(fate(lease, peer, b"").await, Fate::Unanswered, "a used one");
    let peer = pipes.connect_and_use().await;
    let lease = pipes.open().await.unwrap();
    assert_eq!(fate(lease, peer, b"HTTP/1.1 2").await, Fate::Unknown, "an answer began");
    let peer = pipes.connect_and_use().await;
    let lease = pipes.open().await.unwrap();
    drop(peer);
    let error = lease.send(post("hello")).await.unwrap_err();
    assert_eq!(error.fate(), Fate::NotSent, "closed in the last moment");
}
