//! The stream of a client's connection, of which the first bytes may have been read already.
//!
//! # Why
//!
//! The first bytes of a connection tell its protocol, so they are read before a server for that protocol is made, and are put
//! back: Unix sockets and tunnels have no peek. A connection that waits for them holds no buffer, and neither does one that
//! waits for its next request.
//!
//! A client that is still sending when it gets its response must be able to read it: closing a socket with unread bytes resets the
//! connection, and with it what the client has not read (RFC 9112, section 9.6). So what still comes of a request that was refused
//! is discarded for a while.
//!
//! One address serves http and https, so that an app's base URL may begin with either without a second port.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::activity::Activity;
use super::client_reader::ClientReader;
use super::connect::Transport;

/// A client's stream.
pub(super) struct ClientStream {
    /// Bytes that were read, and are to be read again.
    unread: Bytes,
    transport: Box<dyn Transport>,
    /// Notes what comes and goes, if it is set.
    pub(super) activity: Option<Arc<Activity>>,
    /// Whether the last write found no room.
    is_blocked: bool,
    /// Whether the last response came before the end of its request.
    pub(super) early_response: EarlyResponse,
    /// How long what the client still sends is discarded, since the shutdown.
    discarding: Option<Pin<Box<Sleep>>>,
}

/// Whether a response came before the end of its request, so that the client may still be sending. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct EarlyResponse(Arc<AtomicBool>);

/// The security of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TransportSecurity {
    /// No TLS.
    Plaintext,
    /// TLS.
    Tls,
}

impl TransportSecurity {
    /// The scheme of URLs for this connection.
    #[must_use]
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Plaintext => "http",
            Self::Tls => "https",
        }
    }
}

/// The protocol that a client speaks, by its first bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ClientProtocol {
    Tls,
    Http1,
    Http2,
}

/// The type of a TLS handshake record (RFC 8446, section 5.1), with which no request begins.
const TLS_HANDSHAKE_RECORD: u8 = 0x16;
/// The first bytes of HTTP/2 (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long what a client still sends is discarded.
const DISCARD_TIME: Duration = Duration::from_secs(2);
/// As many bytes as hyper reads first.
const FIRST_READ_BYTES: usize = 8 * 1024;

// === impl EarlyResponse ===

impl EarlyResponse {
    /// Notes that the response comes before the end of its request.
    pub fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Forgets it, for the next request.
    pub fn forget(&self) {
        if self.is_noted() {
            self.0.store(false, Ordering::Relaxed);
        }
    }

    fn is_noted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl ClientStream ===

impl ClientStream {
    pub(super) fn new(transport: Box<dyn Transport>) -> Self {
        Self {
            unread: Bytes::new(),
            transport,
            activity: None,
            is_blocked: false,
            early_response: EarlyResponse::default(),
            discarding: None,
        }
    }

    /// Puts back what was read and not used, if anything was.
    pub(super) fn put_back(self, read: Bytes) -> Self {
        // Empty bytes may hold on to a buffer.
        let unread = if read.is_empty() { self.unread } else { read };
        Self { unread, ..self }
    }

    /// Waits for bytes, enough of them to tell the protocol, and returns it.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] if the connection ends before, or the error of the system.
    pub(super) async fn protocol(&mut self) -> io::Result<ClientProtocol> {
        loop {
            if self.unread.first() == Some(&TLS_HANDSHAKE_RECORD) {
                return Ok(ClientProtocol::Tls);
            }
            if self.unread.starts_with(HTTP2_PREFACE) {
                return Ok(ClientProtocol::Http2);
            }
            if !HTTP2_PREFACE.starts_with(&self.unread) {
                return Ok(ClientProtocol::Http1);
            }
            let read = std::future::poll_fn(|cx| self.poll_first_bytes(cx)).await?;
            if read.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.unread = [std::mem::take(&mut self.unread), read].concat().into();
        }
    }

    fn poll_first_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let mut space = [MaybeUninit::uninit(); FIRST_READ_BYTES];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.transport).poll_read(cx, &mut read))?;
        Poll::Ready(Ok(Bytes::copy_from_slice(read.filled())))
    }

    /// Discards what the client still sends, until it has closed or the time is over.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut space = [MaybeUninit::uninit(); FIRST_READ_BYTES];
        loop {
            let mut read = ReadBuf::uninit(&mut space);
            match Pin::new(&mut self.transport).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {}
                Poll::Ready(Ok(()) | Err(_)) => return Poll::Ready(()),
                Poll::Pending => break,
            }
            // A client that sends without end does not keep the thread.
            ready!(tokio::task::coop::poll_proceed(cx)).made_progress();
        }
        self.discarding
            .as_mut()
            .map_or(Poll::Ready(()), |until| until.as_mut().poll(cx))
    }

    fn begin_write(&self) {
        if let Some(activity) = &self.activity {
            activity.begin_write();
        }
    }

    /// Notes whether a write found room, also for the [`ClientReader`].
    fn watch<T>(&mut self, write: Poll<T>) -> Poll<T> {
        let was_blocked = std::mem::replace(&mut self.is_blocked, write.is_pending());
        if !was_blocked && !self.is_blocked {
            return write;
        }
        if let Some(activity) = &self.activity {
            if self.is_blocked {
                activity.begin_block();
            } else {
                activity.end_block();
            }
        }
        if let Some(reader) = ClientReader::current() {
            match (was_blocked, self.is_blocked) {
                (_, false) => reader.record_room(),
                (false, true) => reader.record_piece(),
                (true, true) => reader.record_blocked(),
            }
        }
        write
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let length = self.unread.len().min(buf.remaining());
        if length > 0 {
            buf.put_slice(&self.unread.split_to(length));
        } else {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.transport).poll_read(cx, buf))?;
            if buf.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
        }
        if let Some(activity) = &self.activity {
            activity.note_input();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.begin_write();
        let write = Pin::new(&mut self.transport).poll_write(cx, buf);
        self.watch(write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.begin_write();
        let write = Pin::new(&mut self.transport).poll_write_vectored(cx, bufs);
        self.watch(write)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    /// hyper flushes when it has handed over all that it has to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = Pin::new(&mut self.transport).poll_flush(cx);
        ready!(self.watch(flush))?;
        if let Some(activity) = &self.activity {
            activity.end_write();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.discarding.is_none() {
            ready!(Pin::new(&mut self.transport).poll_shutdown(cx))?;
            if !self.early_response.is_noted() {
                return Poll::Ready(Ok(()));
            }
            self.discarding = Some(Box::pin(sleep(DISCARD_TIME)));
        }
        self.poll_discard(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn the_first_bytes_tell_the_protocol_and_are_read_again() {
        for (sent, expected) in [
            (&b"\x16\x03\x01"[..], ClientProtocol::Tls),
            (b"GET / HTTP/1.1", ClientProtocol::Http1),
            (b"PRI * HTTP/1.1", ClientProtocol::Http1),
            (b"PO", ClientProtocol::Http1),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0", ClientProtocol::Http2),
        ] {
            let (mut client, server) = tokio::io::duplex(1);
            let sending = async {
                client.write_all(sent).await.unwrap();
                drop(client);
            };
            let reading = async {
                let mut stream = ClientStream::new(Box::new(server));
                assert_eq!(stream.protocol().await.unwrap(), expected, "{}", sent.escape_ascii());
                let mut read = Vec::new();
                stream.read_to_end(&mut read).await.unwrap();
                assert_eq!(read, sent);
            };
            tokio::join!(sending, reading);
        }
        for undecided in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
            let (mut client, server) = tokio::io::duplex(64);
            client.write_all(undecided).await.unwrap();
            drop(client);
            let error = ClientStream::new(Box::new(server)).protocol().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
