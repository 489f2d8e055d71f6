//! An origin that speaks valid HTTP/2 over TLS, and resets streams and connections by the path of a request.

use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::Duration;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::accept::AcceptThread;
use super::h2c::frame;
use super::{CA, valid_leaf};

/// A listening origin.
pub(crate) struct H2Origin {
    pub(crate) port: u16,
    seen: Requests,
    accept_thread: AcceptThread,
}

type Requests = Arc<Mutex<Vec<H2Request>>>;

/// A received request.
#[derive(Debug)]
pub(crate) struct H2Request {
    /// The number of its connection, from 0.
    pub(crate) connection: usize,
    pub(crate) head: Request<()>,
    pub(crate) body: Vec<u8>,
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub(crate) enum H2Action {
    /// 200, `over h2`.
    Answer,
    /// The same, when so many requests are in flight, on all connections.
    AnswerTogether(usize),
    /// 200 with so many bytes, the stream ended by an empty DATA frame.
    Body(usize),
    /// RST_STREAM.
    Reset(Reason),
    /// 200, and GOAWAY after the streams that are open.
    LastOne,
}

/// What an origin does: the first argument is the number of the connection, the second the path.
type Script = Arc<dyn Fn(usize, &str) -> H2Action + Send + Sync>;

#[derive(Clone)]
struct Server {
    acceptor: TlsAcceptor,
    max_streams: Option<u32>,
    script: Script,
    seen: Requests,
    in_flight: Arc<AtomicUsize>,
}

impl H2Origin {
    /// Answers by the path: `/goaway` also ends the connection, `/reset` gets RST_STREAM, the others 200.
    pub(crate) fn start() -> Self {
        Self::scripted(None, |_connection, path| match path {
            "/goaway" => H2Action::LastOne,
            "/reset" => H2Action::Reset(Reason::INTERNAL_ERROR),
            _ => H2Action::Answer,
        })
    }

    /// Takes so many streams at a time on each connection, and follows a script.
    pub(crate) fn scripted(
        max_streams: Option<u32>,
        script: impl Fn(usize, &str) -> H2Action + Send + Sync + 'static,
    ) -> Self {
        let server = Server {
            acceptor: CA.acceptor(&valid_leaf(), &[b"h2"]).unwrap(),
            max_streams,
            script: Arc::new(script),
            seen: Requests::default(),
            in_flight: Arc::default(),
        };
        let seen = Arc::clone(&server.seen);
        let accept_thread = AcceptThread::start(move |tcp, connection| {
            run(|| async { serve(accept(tcp, &server.acceptor).await, connection, server.clone()).await });
        });
        Self {
            port: accept_thread.port,
            seen,
            accept_thread,
        }
    }

    /// Its first connection ends with a GOAWAY that says that no stream was processed.
    pub(crate) fn that_goes_away_first() -> Self {
        let server = Server {
            acceptor: CA.acceptor(&valid_leaf(), &[b"h2"]).unwrap(),
            max_streams: None,
            script: Arc::new(|_connection, _path| H2Action::Answer),
            seen: Requests::default(),
            in_flight: Arc::default(),
        };
        let seen = Arc::clone(&server.seen);
        let accept_thread = AcceptThread::start(move |tcp, connection| {
            run(|| async {
                let tls = accept(tcp, &server.acceptor).await;
                match connection {
                    0 => go_away(tls).await,
                    _ => serve(tls, connection, server.clone()).await,
                }
            });
        });
        Self {
            port: accept_thread.port,
            seen,
            accept_thread,
        }
    }

    /// Returns the requests received since the last call.
    pub(crate) fn take(&self) -> Vec<H2Request> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    /// The number of requests received since [`take`](Self::take).
    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The number of accepted connections.
    pub(crate) fn connections(&self) -> usize {
        self.accept_thread.connections()
    }
}

fn run<F: Future>(serve: impl FnOnce() -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(serve());
}

async fn accept(tcp: TcpStream, acceptor: &TlsAcceptor) -> Option<TlsStream<tokio::net::TcpStream>> {
    tcp.set_nonblocking(true).unwrap();
    acceptor
        .accept(tokio::net::TcpStream::from_std(tcp).unwrap())
        .await
        .ok()
}

/// Reads a request's HEADERS, and answers with a GOAWAY whose last identifier is 0.
async fn go_away(tls: Option<TlsStream<tokio::net::TcpStream>>) {
    let mut tls = tls.unwrap();
    tls.write_all(&frame(4, 0, 0, &[])).await.unwrap();
    let mut received = Vec::new();
    let is_request = |received: &[u8]| {
        let mut rest = received.get(24..).unwrap_or_default();
        while let Some((head, after)) = rest.split_at_checked(9) {
            if head[3] == 1 {
                return true;
            }
            let length = usize::from(head[1]) << 8 | usize::from(head[2]);
            rest = after.get(length..).unwrap_or_default();
        }
        false
    };
    while !is_request(&received) {
        assert_ne!(tls.read_buf(&mut received).await.unwrap(), 0);
    }
    tls.write_all(&frame(7, 0, 0, &[0; 8])).await.unwrap();
    tls.shutdown().await.unwrap();
    // Until the peer has closed, so that nothing of it is lost in a reset.
    while matches!(tls.read_buf(&mut received).await, Ok(count) if count > 0) {}
}

async fn serve(tls: Option<TlsStream<tokio::net::TcpStream>>, connection: usize, server: Server) {
    let Some(tls) = tls else {
        return;
    };
    let mut builder = h2::server::Builder::new();
    if let Some(limit) = server.max_streams {
        builder.max_concurrent_streams(limit);
    }
    let Ok(mut h2) = builder.handshake::<_, Bytes>(tls).await else {
        return;
    };
    let mut streams = JoinSet::new();
    while let Some(Ok((request, respond))) = h2.accept().await {
        let action = (server.script)(connection, request.uri().path());
        if matches!(action, H2Action::LastOne) {
            h2.graceful_shutdown();
        }
        streams.spawn(handle(connection, request, respond, action, server.clone()));
    }
}

async fn handle(
    connection: usize,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    action: H2Action,
    server: Server,
) {
    if let H2Action::Reset(Reason::REFUSED_STREAM) = action {
        respond.send_reset(Reason::REFUSED_STREAM);
        return;
    }
    let (head, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(Ok(data)) = stream.data().await {
        drop(stream.flow_control().release_capacity(data.len()));
        body.extend_from_slice(&data);
    }
    server.seen.lock().unwrap().push(H2Request {
        connection,
        head: Request::from_parts(head, ()),
        body,
    });
    server.in_flight.fetch_add(1, Ordering::SeqCst);
    let mut answer = Bytes::from_static(b"over h2");
    match action {
        H2Action::Reset(reason) => return respond.send_reset(reason),
        H2Action::AnswerTogether(count) => {
            while server.in_flight.load(Ordering::SeqCst) < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        H2Action::Body(length) => answer = Bytes::from(vec![b'x'; length]),
        H2Action::Answer | H2Action::LastOne => {}
    }
    let response = Response::builder().header("content-length", answer.len());
    let mut sending = respond.send_response(response.body(()).unwrap(), false).unwrap();
    sending.send_data(answer, false).unwrap();
    // As proxygen, Go and Envoy end a stream.
    drop(sending.send_data(Bytes::new(), true));
}
