//! An origin that speaks HTTP/2 over TLS frame by frame, valid or not: a closure per connection.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::{ServerConnection, StreamOwned};

use super::accept::AcceptThread;
use super::h2c::{self, DATA, END_HEADERS, END_STREAM, Frame, HEADERS, SETTINGS, WINDOW_UPDATE};
use super::{CA, H2c, TIMEOUT, valid_leaf};

/// A listening origin.
pub(crate) struct RawH2Origin {
    pub(crate) port: u16,
    requests: Arc<AtomicUsize>,
    accept_thread: AcceptThread,
}

/// One connection of graphward to the origin.
pub(crate) struct RawH2Peer {
    /// The number of the connection, from 0.
    pub(crate) connection: usize,
    frames: H2c<StreamOwned<ServerConnection, TcpStream>>,
    /// The requests that have come to their end, on all connections.
    requests: Arc<AtomicUsize>,
    /// The bytes of the body of the last request.
    received: usize,
}

// === impl RawH2Origin ===

impl RawH2Origin {
    /// Serves each connection with `script`, and reads it to its end afterwards. The script ends at `None`.
    pub(crate) fn start(script: impl Fn(&mut RawH2Peer) -> Option<()> + Send + Sync + 'static) -> Self {
        let config = Arc::clone(CA.acceptor(&valid_leaf(), &[b"h2"]).unwrap().config());
        let requests = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&requests);
        let accept_thread = AcceptThread::start(move |tcp, connection| {
            tcp.set_nodelay(true).unwrap();
            tcp.set_read_timeout(Some(TIMEOUT)).unwrap();
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut peer = RawH2Peer {
                connection,
                frames: H2c::over(StreamOwned::new(tls, tcp)),
                requests: Arc::clone(&counter),
                received: 0,
            };
            if peer.frames.skip_preface() && script(&mut peer).is_some() {
                while peer.next().is_some() {}
            }
        });
        Self {
            port: accept_thread.port,
            requests,
            accept_thread,
        }
    }

    /// The number of requests that have come to their end.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// The number of accepted connections.
    pub(crate) fn connections(&self) -> usize {
        self.accept_thread.connections()
    }
}

// === impl RawH2Peer ===

impl RawH2Peer {
    /// Sends a frame.
    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.frames.send(h2c::frame(kind, flags, stream, payload));
    }

    /// Sends SETTINGS with so many streams, or empty ones.
    pub(crate) fn settings(&mut self, max_streams: Option<u8>) {
        let limit = max_streams.map(|limit| [0, 3, 0, 0, 0, limit]);
        self.send(SETTINGS, 0, 0, limit.as_ref().map_or(&[], |limit| limit));
    }

    /// Reads the next frame, and opens the windows again.
    fn next(&mut self) -> Option<Frame> {
        let frame = self.frames.next()?;
        match frame.kind {
            HEADERS => self.received = 0,
            DATA if !frame.payload.is_empty() => {
                self.received += frame.payload.len();
                let length = u32::try_from(frame.payload.len()).unwrap().to_be_bytes();
                for stream in [0, frame.stream] {
                    self.send(WINDOW_UPDATE, 0, stream, &length);
                }
            }
            _ => {}
        }
        if matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0 {
            self.requests.fetch_add(1, Ordering::SeqCst);
        }
        Some(frame)
    }

    /// Reads up to the head of a request; returns its stream.
    pub(crate) fn head(&mut self) -> Option<u32> {
        self.until(|frame| frame.kind == HEADERS)
    }

    /// Reads up to the next part of a request's body; returns its stream.
    pub(crate) fn part(&mut self) -> Option<u32> {
        self.until(|frame| frame.kind == DATA)
    }

    /// Reads up to the end of a request; returns its stream.
    pub(crate) fn request(&mut self) -> Option<u32> {
        self.until(|frame| matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0)
    }

    fn until(&mut self, is_last: impl Fn(&Frame) -> bool) -> Option<u32> {
        loop {
            let frame = self.next()?;
            if is_last(&frame) {
                return Some(frame.stream);
            }
        }
    }

    /// Sends the head of a response.
    pub(crate) fn respond(&mut self, stream: u32, status: &str, fields: &[(&str, &str)]) {
        let fields = [(":status", status)]
            .iter()
            .chain(fields)
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect::<Vec<_>>();
        self.send(HEADERS, END_HEADERS, stream, &h2c::block(&fields));
    }

    /// Answers 200 with the length of the request's body.
    pub(crate) fn answer(&mut self, stream: u32) {
        self.respond(stream, "200", &[]);
        let body = self.received.to_string();
        self.send(DATA, END_STREAM, stream, body.as_bytes());
    }
}
