//! A scripted server of HTTP/1, with or without TLS: a closure per request.

use std::io::{Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use graphward::net::ca::{CertAuthority, CertSpec};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::time::Duration;

use super::accept::AcceptThread;
use super::message::{self, Framing, Reader};
use super::{CA, valid_leaf};

/// A listening origin.
pub(crate) struct Origin {
    pub(crate) port: u16,
    state: Arc<OriginState>,
    accept_thread: AcceptThread,
}

struct OriginState {
    script: Box<dyn Fn(&mut Exchange<'_>) -> ConnectionAction + Send + Sync>,
    tls: Mutex<Option<Arc<ServerConfig>>>,
    seen: Mutex<Vec<ReceivedRequest>>,
    sni_names: Mutex<Vec<String>>,
    closed: AtomicUsize,
}

/// A received request.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedRequest {
    /// The number of its connection, from 0.
    pub(crate) connection: usize,
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
    /// Whether the body was read completely.
    pub(crate) complete: bool,
}

/// A request that a script answers.
pub(crate) struct Exchange<'a> {
    pub(crate) seen: ReceivedRequest,
    reader: &'a mut Reader<Stream>,
    state: &'a OriginState,
    index: usize,
}

/// What happens to the connection next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ConnectionAction {
    /// It stays open.
    KeepAlive,
    /// close_notify and FIN.
    Close,
    /// FIN, without close_notify.
    CloseWithoutNotify,
    /// RST.
    Reset,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

// === impl Origin ===

impl Origin {
    /// Answers every request with `script`, which is called after its head.
    pub(crate) fn scripted(script: impl Fn(&mut Exchange<'_>) -> ConnectionAction + Send + Sync + 'static) -> Self {
        let origin = Self::without_tls(script);
        origin.set_certificate(&CA, &valid_leaf(), &[b"http/1.1"]);
        origin
    }

    /// The same without TLS.
    pub(crate) fn without_tls(script: impl Fn(&mut Exchange<'_>) -> ConnectionAction + Send + Sync + 'static) -> Self {
        let state = Arc::new(OriginState {
            script: Box::new(script),
            tls: Mutex::default(),
            seen: Mutex::default(),
            sni_names: Mutex::default(),
            closed: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&state);
        let accept_thread = AcceptThread::start(move |tcp, connection| {
            serve(tcp, connection, &shared);
            shared.closed.fetch_add(1, Ordering::SeqCst);
        });
        Self {
            port: accept_thread.port,
            state,
            accept_thread,
        }
    }

    /// Answers 200 and its `body` to every request.
    pub(crate) fn plain(body: &'static str) -> Self {
        Self::scripted(move |exchange| exchange.ok(body))
    }

    /// Requires TLS, and presents this certificate, from now on.
    pub(crate) fn set_certificate(&self, by: &CertAuthority, leaf: &CertSpec, alpn: &[&[u8]]) {
        let acceptor = by.acceptor(leaf, alpn).unwrap();
        *self.state.tls.lock().unwrap() = Some(Arc::clone(acceptor.config()));
    }

    /// Returns the requests received since the last call.
    pub(crate) fn take(&self) -> Vec<ReceivedRequest> {
        std::mem::take(&mut *self.state.seen.lock().unwrap())
    }

    /// The only request received since the last call.
    pub(crate) fn only(&self) -> ReceivedRequest {
        let mut seen = self.take();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }

    /// The number of requests received since [`take`](Self::take).
    pub(crate) fn count(&self) -> usize {
        self.state.seen.lock().unwrap().len()
    }

    /// The number of accepted connections.
    pub(crate) fn connections(&self) -> usize {
        self.accept_thread.connections()
    }

    /// The number of connections that were closed.
    pub(crate) fn closed_connections(&self) -> usize {
        self.state.closed.load(Ordering::SeqCst)
    }

    /// The SNI names of the clients.
    pub(crate) fn sni_names(&self) -> Vec<String> {
        self.state.sni_names.lock().unwrap().clone()
    }
}

fn serve(tcp: TcpStream, connection: usize, state: &OriginState) {
    let tls = state.tls.lock().unwrap().clone();
    tcp.set_nodelay(true).unwrap();
    tcp.set_read_timeout(Some(super::TIMEOUT)).unwrap();
    let mut reader = Reader::new(match tls {
        None => Stream::Plain(tcp),
        Some(config) => {
            let connection = ServerConnection::new(config).unwrap();
            Stream::Tls(Box::new(StreamOwned::new(connection, tcp)))
        }
    });
    let mut recorded_sni = false;
    while let Some(head) = reader.head() {
        if !recorded_sni && let Stream::Tls(tls) = &reader.stream {
            let name = tls.conn.server_name().unwrap_or_default();
            state.sni_names.lock().unwrap().push(name.to_owned());
            recorded_sni = true;
        }
        let seen = ReceivedRequest {
            connection,
            head,
            body: Vec::new(),
            complete: false,
        };
        let index = {
            let mut all = state.seen.lock().unwrap();
            all.push(seen.clone());
            all.len() - 1
        };
        let mut exchange = Exchange {
            seen,
            reader: &mut reader,
            state,
            index,
        };
        match (state.script)(&mut exchange) {
            ConnectionAction::KeepAlive => {}
            ConnectionAction::Close => {
                if let Stream::Tls(tls) = &mut reader.stream {
                    tls.conn.send_close_notify();
                    drop(tls.flush());
                }
                return;
            }
            ConnectionAction::CloseWithoutNotify => return,
            ConnectionAction::Reset => {
                let tcp = match &reader.stream {
                    Stream::Plain(tcp) => tcp,
                    Stream::Tls(tls) => &tls.sock,
                };
                drop(socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO)));
                return;
            }
        }
    }
}

// === impl Stream ===

impl Read for Stream {
    fn read(&mut self, space: &mut [u8]) -> Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(space),
            Self::Tls(tls) => tls.read(space),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

// === impl Exchange ===

impl Exchange<'_> {
    /// Reads the body, once.
    pub(crate) fn read_body(&mut self) -> &ReceivedRequest {
        if self.seen.complete {
            return &self.seen;
        }
        let framing = message::framing(&self.seen.head).unwrap_or(Framing::Length(0));
        (self.seen.body, self.seen.complete) = self.reader.body(framing);
        if let Some(entry) = self.state.seen.lock().unwrap().get_mut(self.index) {
            *entry = self.seen.clone();
        }
        &self.seen
    }

    /// Sends these bytes unchanged; returns whether the peer still accepted them.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let stream = &mut self.reader.stream;
        stream.write_all(bytes.as_ref()).is_ok() && stream.flush().is_ok()
    }

    /// Waits for more bytes, or for the end of the connection.
    pub(crate) fn wait_for_peer(&mut self) {
        drop(self.reader.read());
    }

    /// Reads the body, then answers 200.
    pub(crate) fn ok(&mut self, body: &str) -> ConnectionAction {
        self.read_body();
        let length = body.len();
        self.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"));
        ConnectionAction::KeepAlive
    }

    /// The path of the request.
    pub(crate) fn path(&self) -> String {
        let line = message::first_line(&self.seen.head);
        line.split(' ').nth(1).unwrap_or_default().to_owned()
    }
}

// === impl ReceivedRequest ===

impl ReceivedRequest {
    pub(crate) fn request_line(&self) -> String {
        message::first_line(&self.head)
    }

    /// The only value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        message::value(&self.head, name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        !message::values(&self.head, name).is_empty()
    }
}

/// A listener that must not get a connection.
pub(crate) struct Decoy {
    pub(crate) port: u16,
    listener: TcpListener,
}

impl Decoy {
    pub(crate) fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { port, listener }
    }

    pub(crate) fn had_no_connection(&self) -> bool {
        self.listener.accept().is_err()
    }
}
