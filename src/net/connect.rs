//! Connections to the upstream: TCP, TLS, ALPN.
//!
//! # Why
//!
//! The transport is a trait object, which costs one allocation per connection, next to several round trips. In return
//! tests can pass a [`Connector`] whose [`BoxedIo`]s are in-memory pipes, and everything above (framing, pooling, early
//! closes, ALPN) runs as in production.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep, timeout_at};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::dial::{ConnectFailure, connect_tcp};
use super::error::BoxError;

/// Opens a [`BoxedIo`] to the host of a URI. Tests replace it.
///
/// hyper-util clones its connector for each request, so a clone is a reference count.
#[derive(Clone)]
pub struct Connector(Arc<dyn Fn(Uri) -> ConnectFuture + Send + Sync>);

/// The future of a [`BoxedIo`].
pub type ConnectFuture = Pin<Box<dyn Future<Output = Result<BoxedIo, BoxError>> + Send>>;

/// An open connection over any transport.
pub struct BoxedIo {
    io: TokioIo<Box<dyn Transport>>,
    is_http2: bool,
    write_error: Option<DelayedWriteError>,
}

/// A write error that is reported after a delay.
///
/// # Why
///
/// A server that refuses an upload answers before it has read all of it, and closes. Then a write fails while the answer
/// is still to be read, and hyper's HTTP/1.1 client gives up at the first error without reading it.
struct DelayedWriteError {
    error: io::Error,
    delay: Pin<Box<Sleep>>,
}

/// The HTTP versions for the upstream.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
pub enum HttpVersion {
    /// The version that ALPN selects, HTTP/2 preferred.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// HTTP/1.1 only.
    #[serde(rename = "1.1")]
    Http1,
    /// HTTP/2 only.
    #[serde(rename = "2")]
    Two,
}

/// The settings of connections to the upstream.
#[derive(Clone, Debug)]
pub struct ConnectorConfig {
    /// Host name -> `host:port` to connect to instead. SNI, `Host` and the name in the certificate stay those of the key.
    pub connect_to: HashMap<String, String>,
    /// TLS settings; their ALPN list follows [`HttpVersion::alpn`].
    pub tls: Arc<ClientConfig>,
    /// The limit for DNS, TCP and TLS together.
    pub timeout: Duration,
}

/// The transport of a connection in either direction.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// Wraps any transport; `alpn` is the protocol that ALPN selected.
pub fn boxed_io(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, alpn: Option<&[u8]>) -> BoxedIo {
    BoxedIo {
        io: TokioIo::new(Box::new(io)),
        is_http2: alpn == Some(b"h2"),
        write_error: None,
    }
}

// === impl Connector ===

impl Connector {
    /// A connector for the network.
    #[must_use]
    pub fn from_config(config: ConnectorConfig) -> Self {
        let config = Arc::new(config);
        Self::new(move |uri| {
            let config = Arc::clone(&config);
            async move { config.connect(&uri).await.map_err(BoxError::from) }
        })
    }

    /// A connector that calls a function.
    pub fn new<F, O>(connect: F) -> Self
    where
        F: Fn(Uri) -> O + Send + Sync + 'static,
        O: Future<Output = Result<BoxedIo, BoxError>> + Send + 'static,
    {
        Self(Arc::new(move |uri| Box::pin(connect(uri))))
    }
}

impl Service<Uri> for Connector {
    type Response = BoxedIo;
    type Error = BoxError;
    type Future = ConnectFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> ConnectFuture {
        (self.0)(uri)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

// === impl HttpVersion ===

impl HttpVersion {
    /// The protocols to offer, in order of preference.
    #[must_use]
    pub const fn alpn(self) -> &'static [&'static [u8]] {
        match self {
            Self::Auto => &[b"h2", b"http/1.1"],
            Self::Http1 => &[b"http/1.1"],
            Self::Two => &[b"h2"],
        }
    }
}

// === impl ConnectorConfig ===

impl ConnectorConfig {
    async fn connect(&self, uri: &Uri) -> Result<BoxedIo, ConnectFailure> {
        let deadline = Instant::now() + self.timeout;
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if uri.scheme_str() != Some("https") {
            return Err(ConnectFailure::tls(host, &io::Error::other("only https is allowed")));
        }
        let port = uri.port_u16().unwrap_or(443);
        let address = match self.connect_to.get(host) {
            Some(override_address) => override_address.clone(),
            None if host.contains(':') => format!("[{host}]:{port}"),
            None => format!("{host}:{port}"),
        };

        let tcp = connect_tcp(host, &address, self.timeout).await?;
        let tls_failure = |error| ConnectFailure::tls(host, &error);
        let name = ServerName::try_from(host.to_owned()).map_err(|error| tls_failure(io::Error::other(error)))?;
        let handshake = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp);
        let tls = timeout_at(deadline, handshake).await;
        let tls = tls.map_err(|_elapsed| ConnectFailure::timed_out(host))?;
        let tls = tls.map_err(tls_failure)?;
        let alpn = tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        Ok(boxed_io(tls, alpn.as_deref()))
    }
}

// === impl BoxedIo ===

/// The time that the reader has to read an answer before it learns of a write error.
const WRITE_ERROR_DELAY: Duration = Duration::from_millis(250);

impl BoxedIo {
    /// Writes, and reports an error after a delay.
    fn delay_write_error<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TokioIo<Box<dyn Transport>>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let write_error = match self.write_error.take() {
            Some(write_error) => write_error,
            None => match ready!(write(Pin::new(&mut self.io), cx)) {
                Ok(written) => return Poll::Ready(Ok(written)),
                Err(error) => DelayedWriteError {
                    error,
                    delay: Box::pin(sleep(WRITE_ERROR_DELAY)),
                },
            },
        };
        let write_error = self.write_error.insert(write_error);
        ready!(write_error.delay.as_mut().poll(cx));
        Poll::Ready(Err(write_error.error.kind().into()))
    }
}

impl Connection for BoxedIo {
    fn connected(&self) -> Connected {
        if self.is_http2 {
            Connected::new().negotiated_h2()
        } else {
            Connected::new()
        }
    }
}

impl Read for BoxedIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for BoxedIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.delay_write_error(cx, |io, cx| io.poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.delay_write_error(cx, |io, cx| io.poll_flush(cx))
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
        self.delay_write_error(cx, |io, cx| io.poll_write_vectored(cx, bufs))
    }
}

impl fmt::Debug for BoxedIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxedIo").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use http_body_util::Full;
    use tokio::io::ReadBuf;

    use super::*;

    /// Accepts some bytes, then fails; only after that there is an answer to read.
    #[derive(Default)]
    struct EarlyResponseIo {
        written: usize,
        response: Option<&'static [u8]>,
    }

    impl AsyncRead for EarlyResponseIo {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let Some(response) = &mut self.response else {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            };
            buf.put_slice(std::mem::take(response));
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for EarlyResponseIo {
        fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.written += buf.len();
            if self.written < 100_000 {
                return Poll::Ready(Ok(buf.len()));
            }
            self.response = Some(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n");
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_comes_before_a_broken_pipe_is_read() {
        let io = boxed_io(EarlyResponseIo::default(), None);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        let request = Request::post("/").body(Full::new(Bytes::from(vec![0; 1 << 20])));
        let response = sender.send_request(request.unwrap());
        let (response, _ended) = tokio::join!(response, connection);
        assert_eq!(response.unwrap().status(), 413);
    }
}
