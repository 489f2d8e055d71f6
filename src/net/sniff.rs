//! Detects TLS by the first byte of a connection.
//!
//! # Why
//!
//! One address serves both, so that an app's base URL may begin with `http` or `https` without a second port. A ClientHello
//! begins with 0x16, with which no request begins. The byte is read and put back, not peeked at: Unix sockets and tunnels
//! have no peek. rustls's acceptor cannot do this, because it takes over a connection only if it is TLS.

use std::io::Cursor;

use tokio::io::{AsyncReadExt as _, join, split};

use super::connect::Transport;

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

/// The type of a TLS handshake record (RFC 8446, section 5.1).
const TLS_HANDSHAKE_RECORD: u8 = 0x16;

/// Waits for the first byte, and returns the connection with that byte unread; `None` if the connection ends before.
pub(super) async fn detect_tls(stream: Box<dyn Transport>) -> Option<(TransportSecurity, impl Transport)> {
    let (mut reader, writer) = split(stream);
    let first = reader.read_u8().await.ok()?;
    let security = if first == TLS_HANDSHAKE_RECORD {
        TransportSecurity::Tls
    } else {
        TransportSecurity::Plaintext
    };
    Some((security, join(Cursor::new([first]).chain(reader), writer)))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn the_first_byte_tells_tls_from_plaintext_and_is_read_again() {
        for (sent, expected) in [
            (&b"\x16\x03\x01"[..], TransportSecurity::Tls),
            (b"GET / HTTP/1.1", TransportSecurity::Plaintext),
            (b"P", TransportSecurity::Plaintext),
        ] {
            let (mut client, server) = tokio::io::duplex(64);
            client.write_all(sent).await.unwrap();
            drop(client);
            let (security, mut stream) = detect_tls(Box::new(server)).await.unwrap();
            assert_eq!(security, expected);
            let mut read = Vec::new();
            stream.read_to_end(&mut read).await.unwrap();
            assert_eq!(read, sent);
        }
        let (client, server) = tokio::io::duplex(64);
        drop(client);
        assert!(detect_tls(Box::new(server)).await.is_none());
    }
}
