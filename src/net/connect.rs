//! Connections to the upstream: TCP, TLS, ALPN.
//!
//! # Why
//!
//! The transport is erased once per connection, which costs one allocation where a dozen round trips are spent
//! anyway, and makes this the one door by which tests enter: they hand in a [`Connector`] whose [`Wire`]s are
//! in-memory pipes, and everything above (framing, pooling, early closes, ALPN) is exercised, not imagined.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::error::BoxError;

/// Opens a [`Wire`] to the host of a URI. The seam where tests enter.
///
/// hyper-util clones its connector for each request, so a clone is a reference count.
#[derive(Clone)]
pub struct Connector(Arc<dyn Fn(Uri) -> Opening + Send + Sync>);

/// A [`Wire`] being opened.
pub type Opening = Pin<Box<dyn Future<Output = Result<Wire, BoxError>> + Send>>;

/// An open, erased transport.
///
/// # Why
///
/// Graph may answer early, 413 say, and close while we still send. The rest of the request then meets a reset,
/// and hyper gives up at the first write that fails, with the answer still unread behind it. So a wire whose peer
/// reads no more swallows what is written; what was answered is read, and then the end.
pub struct Wire {
    io: TokioIo<Box<dyn Transport>>,
    http2: bool,
    /// The peer reads no more.
    deaf: bool,
}

/// Which versions of HTTP may be spoken to the upstream.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Http {
    /// Whatever ALPN settles on, HTTP/2 preferred.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    One,
    /// HTTP/2 only.
    Two,
}

/// How to reach the upstream.
#[derive(Clone, Debug)]
pub struct Dial {
    /// Host name -> `host:port` to dial instead. SNI, `Host` and the certificate's name stay the key's.
    pub connect_to: HashMap<String, String>,
    /// TLS settings; their ALPN list follows [`Http::alpn`].
    pub tls: Arc<ClientConfig>,
    /// Limit for name look-up, TCP and TLS together.
    pub timeout: Duration,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Only `https` is spoken to the upstream: a token never travels in the clear.
    #[error("not an https address")]
    NotHttps,
    /// The host cannot be looked up, or nothing listens there.
    #[error("cannot reach {address}")]
    Unreachable {
        /// What was dialled.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The other side is not who it should be, or does not speak TLS.
    #[error("cannot trust {host}")]
    Tls {
        /// The name that the certificate had to have.
        host: String,
        /// What rustls said.
        source: io::Error,
    },
    /// Not within [`Dial::timeout`].
    #[error("cannot reach {address} in time")]
    Late {
        /// What was dialled.
        address: String,
    },
}

/// What a [`Wire`], and a connection of ours, is made of.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// Takes any transport as a [`Wire`]; `http2` says what ALPN settled on.
pub fn wired(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, http2: bool) -> Wire {
    Wire {
        io: TokioIo::new(Box::new(io)),
        http2,
        deaf: false,
    }
}

// === impl Connector ===

impl Connector {
    /// A connector for the real network.
    #[must_use]
    pub fn real(dial: Dial) -> Self {
        let dial = Arc::new(dial);
        Self::new(move |uri| {
            let dial = Arc::clone(&dial);
            async move { dial.open(&uri).await.map_err(BoxError::from) }
        })
    }

    /// A connector that opens wires in any way.
    pub fn new<F, O>(open: F) -> Self
    where
        F: Fn(Uri) -> O + Send + Sync + 'static,
        O: Future<Output = Result<Wire, BoxError>> + Send + 'static,
    {
        Self(Arc::new(move |uri| Box::pin(open(uri))))
    }
}

impl Service<Uri> for Connector {
    type Response = Wire;
    type Error = BoxError;
    type Future = Opening;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Opening {
        (self.0)(uri)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

// === impl Http ===

impl Http {
    /// The protocols to offer, in order of preference.
    #[must_use]
    pub const fn alpn(self) -> &'static [&'static [u8]] {
        match self {
            Self::Auto => &[b"h2", b"http/1.1"],
            Self::One => &[b"http/1.1"],
            Self::Two => &[b"h2"],
        }
    }
}

// === impl Dial ===

impl Dial {
    async fn open(&self, uri: &Uri) -> Result<Wire, ConnectError> {
        let by = Instant::now() + self.timeout;
        let host = match (uri.scheme_str(), uri.host()) {
            (Some("https"), Some(host)) => host.trim_start_matches('[').trim_end_matches(']'),
            _ => return Err(ConnectError::NotHttps),
        };
        let address = match self.connect_to.get(host) {
            Some(instead) => instead.clone(),
            None if host.contains(':') => format!("[{host}]:{}", uri.port_u16().unwrap_or(443)),
            None => format!("{host}:{}", uri.port_u16().unwrap_or(443)),
        };

        let tcp = match timeout_at(by, TcpStream::connect(&address)).await {
            Ok(tcp) => tcp.and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp)),
            Err(_elapsed) => return Err(ConnectError::Late { address }),
        };
        let tcp = tcp.map_err(|source| ConnectError::Unreachable {
            address: address.clone(),
            source,
        })?;

        let untrusted = |source| ConnectError::Tls {
            host: host.to_owned(),
            source,
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| untrusted(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let handshake = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp);
        let tls = match timeout_at(by, handshake).await {
            Ok(tls) => tls.map_err(untrusted)?,
            Err(_elapsed) => return Err(ConnectError::Late { address }),
        };
        let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(wired(tls, http2))
    }
}

// === impl Wire ===

impl Connection for Wire {
    fn connected(&self) -> Connected {
        if self.http2 {
            Connected::new().negotiated_h2()
        } else {
            Connected::new()
        }
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Wire {
    /// What becomes of a write of `length` bytes.
    fn heard(
        &mut self,
        written: Poll<io::Result<usize>>,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        match written {
            Poll::Ready(Err(error))
                if matches!(
                    error.kind(),
                    BrokenPipe | ConnectionAborted | ConnectionReset
                ) =>
            {
                self.deaf = true;
                Poll::Ready(Ok(length))
            }
            heard @ (Poll::Ready(_) | Poll::Pending) => heard,
        }
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.deaf {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.heard(written, buf.len())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deaf {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.heard(flushed.map_ok(|()| 0), 0).map_ok(|_nothing| ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = bufs.iter().map(|buf| buf.len()).sum();
        if self.deaf {
            return Poll::Ready(Ok(length));
        }
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.heard(written, length)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("http2", &self.http2)
            .finish_non_exhaustive()
    }
}
