//! An origin that speaks valid HTTP/2 over TLS, and resets streams and connections by the path of a request.

use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::accept::AcceptThread;
use super::{CA, valid_leaf};

/// A listening origin.
pub(crate) struct H2Origin {
    pub(crate) port: u16,
    seen: Requests,
    _accept_thread: AcceptThread,
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

impl H2Origin {
    /// Answers by the path: `/goaway` also ends the connection, `/reset` gets RST_STREAM, the others 200.
    pub(crate) fn start() -> Self {
        let acceptor = CA.acceptor(&valid_leaf(), &[b"h2"]).unwrap();
        let seen = Requests::default();
        let shared = Arc::clone(&seen);
        let accept_thread = AcceptThread::start(move |tcp, connection| serve(tcp, connection, &acceptor, &shared));
        Self {
            port: accept_thread.port,
            seen,
            _accept_thread: accept_thread,
        }
    }

    /// Returns the requests received since the last call.
    pub(crate) fn take(&self) -> Vec<H2Request> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

fn serve(tcp: TcpStream, connection: usize, acceptor: &TlsAcceptor, seen: &Requests) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tcp.set_nonblocking(true).unwrap();
        let tcp = tokio::net::TcpStream::from_std(tcp).unwrap();
        let Ok(tls) = acceptor.accept(tcp).await else {
            return;
        };
        let Ok(mut h2) = h2::server::handshake(tls).await else {
            return;
        };
        let mut streams = JoinSet::new();
        while let Some(Ok((request, respond))) = h2.accept().await {
            if request.uri().path() == "/goaway" {
                h2.graceful_shutdown();
            }
            streams.spawn(handle(connection, request, respond, Arc::clone(seen)));
        }
    });
}

async fn handle(connection: usize, request: Request<RecvStream>, mut respond: SendResponse<Bytes>, seen: Requests) {
    let (head, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(Ok(data)) = stream.data().await {
        drop(stream.flow_control().release_capacity(data.len()));
        body.extend_from_slice(&data);
    }
    let path = head.uri.path().to_owned();
    seen.lock().unwrap().push(H2Request {
        connection,
        head: Request::from_parts(head, ()),
        body,
    });
    match path.as_str() {
        "/reset" => respond.send_reset(Reason::INTERNAL_ERROR),
        _ => {
            let mut sending = respond.send_response(Response::new(()), false).unwrap();
            drop(sending.send_data(Bytes::from_static(b"over h2"), true));
        }
    }
}
