//! Detects TLS by the first byte of a connection.
//!
//! # Why
//!
//! One address serves both, so that an app's base URL may begin with `http` or `https` without a second port. A ClientHello
//! begins with 0x16, with which no request begins. The byte is read and put back, not peeked at: Unix sockets and tunnels
//! have no peek. This is kept by hand: rustls's acceptor takes over a connection only if it is TLS, and hyper-util's rewind
//! type is private.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use super::connect::Transport;

/// The protocol that a connection begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum InitialProtocol {
    /// A TLS handshake.
    Tls,
    /// Any other protocol.
    Plaintext,
}

/// A connection whose first byte is read again.
pub(super) struct PrefixedIo {
    first: Option<u8>,
    rest: Box<dyn Transport>,
}

/// The type of a TLS handshake record (RFC 8446, section 5.1).
const TLS_HANDSHAKE_RECORD: u8 = 0x16;

/// Waits for the first byte; `None` if the connection ends before.
pub(super) async fn detect_protocol(mut stream: Box<dyn Transport>) -> Option<(InitialProtocol, PrefixedIo)> {
    let first = stream.read_u8().await.ok()?;
    let protocol = if first == TLS_HANDSHAKE_RECORD {
        InitialProtocol::Tls
    } else {
        InitialProtocol::Plaintext
    };
    let prefixed = PrefixedIo {
        first: Some(first),
        rest: stream,
    };
    Some((protocol, prefixed))
}

impl AsyncRead for PrefixedIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() > 0
            && let Some(first) = self.first.take()
        {
            buf.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.rest).poll_read(cx, buf)
    }
}

impl AsyncWrite for PrefixedIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.rest).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.rest).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.rest).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.rest.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.rest).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn every_byte_is_there_and_the_first_one_tells() {
        for (sent, expected) in [
            (&b"\x16\x03\x01"[..], InitialProtocol::Tls),
            (b"GET / HTTP/1.1", InitialProtocol::Plaintext),
            (b"P", InitialProtocol::Plaintext),
        ] {
            let (mut client, server) = tokio::io::duplex(64);
            client.write_all(sent).await.unwrap();
            drop(client);
            let (protocol, mut stream) = detect_protocol(Box::new(server)).await.unwrap();
            assert_eq!(protocol, expected);
            let mut read = Vec::new();
            stream.read_to_end(&mut read).await.unwrap();
            assert_eq!(read, sent);
        }
        let (client, server) = tokio::io::duplex(64);
        drop(client);
        assert!(detect_protocol(Box::new(server)).await.is_none());
    }
}
