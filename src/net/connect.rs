//! Connections to the upstream: TCP, TLS, ALPN.
//!
//! # Why
//!
//! The transport is a trait object, which costs one allocation per connection, next to several round trips. In return
//! tests can pass a [`Connector`] whose [`BoxedIo`]s are in-memory pipes, and everything above (framing, pooling, early
//! closes, ALPN) runs as in production.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::uri::Authority;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, timeout_at};

use super::dial::ConnectFailure;
use super::dialer::{Dialed, Dialer, start_tls};
use super::host_name::without_brackets;

/// Opens a [`BoxedIo`] to a host and port. Tests replace it.
#[derive(Clone, derive_more::Debug)]
#[debug("Connector")]
pub struct Connector(Arc<dyn Fn(Authority) -> ConnectFuture + Send + Sync>);

/// The future of a [`BoxedIo`].
pub type ConnectFuture = Pin<Box<dyn Future<Output = Result<BoxedIo, ConnectFailure>> + Send>>;

/// An open connection over any transport.
#[derive(derive_more::Debug)]
#[debug("BoxedIo")]
pub struct BoxedIo {
    io: Box<dyn Transport>,
    is_http2: bool,
    counters: Arc<IoCounters>,
    write_error: Option<DelayedWriteError>,
}

/// The bytes that went through a connection.
#[derive(Debug, Default)]
pub struct IoCounters {
    read: AtomicU64,
    written: AtomicU64,
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
    /// Opens the connections; its limit includes TLS here. SNI, `Host` and the name in the certificate are those of the host,
    /// wherever it leads.
    pub dialer: Dialer,
    /// TLS settings; their ALPN list follows [`HttpVersion::alpn`].
    pub tls: Arc<ClientConfig>,
}

/// The transport of a connection in either direction.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// Wraps any transport; `alpn` is the protocol that ALPN selected.
pub fn boxed_io(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, alpn: Option<&[u8]>) -> BoxedIo {
    BoxedIo {
        io: Box::new(io),
        is_http2: alpn == Some(b"h2"),
        counters: Arc::default(),
        write_error: None,
    }
}

// === impl Connector ===

impl Connector {
    /// A connector for the network.
    #[must_use]
    pub fn from_config(config: ConnectorConfig) -> Self {
        let config = Arc::new(config);
        Self::new(move |authority| {
            let config = Arc::clone(&config);
            async move { config.connect(&authority).await }
        })
    }

    /// A connector that calls a function.
    pub fn new<F, O>(connect: F) -> Self
    where
        F: Fn(Authority) -> O + Send + Sync + 'static,
        O: Future<Output = Result<BoxedIo, ConnectFailure>> + Send + 'static,
    {
        Self(Arc::new(move |authority| Box::pin(connect(authority))))
    }

    /// Opens a connection to an `https` host.
    pub fn connect(&self, authority: Authority) -> ConnectFuture {
        (self.0)(authority)
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
    async fn connect(&self, authority: &Authority) -> Result<BoxedIo, ConnectFailure> {
        let deadline = Instant::now() + self.dialer.timeout;
        let host = without_brackets(authority.host());
        let port = authority.port_u16().unwrap_or(443);
        match self.dialer.dial(host, port).await? {
            Dialed::Direct(tcp) => self.start_tls(tcp, host, port, deadline).await,
            Dialed::Tunneled(tunnel) => self.start_tls(tunnel, host, port, deadline).await,
        }
    }

    async fn start_tls<I>(&self, io: I, host: &str, port: u16, deadline: Instant) -> Result<BoxedIo, ConnectFailure>
    where
        I: Transport + 'static,
    {
        let address = self.dialer.address_of(host, port);
        let handshake = timeout_at(deadline, start_tls(io, host, &address, &self.tls)).await;
        let tls = handshake.map_err(|_elapsed| ConnectFailure::timed_out(host, "the TLS handshake did not end"))??;
        let alpn = tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        Ok(boxed_io(tls, alpn.as_deref()))
    }
}

// === impl BoxedIo ===

/// The time that the reader has to read an answer before it learns of a write error.
const WRITE_ERROR_DELAY: Duration = Duration::from_millis(250);

impl BoxedIo {
    /// Returns whether ALPN selected HTTP/2.
    #[must_use]
    pub const fn is_http2(&self) -> bool {
        self.is_http2
    }

    /// The bytes that go through it from now on.
    #[must_use]
    pub fn counters(&self) -> Arc<IoCounters> {
        Arc::clone(&self.counters)
    }

    /// Writes, and reports an error after a delay.
    fn delay_write_error<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut dyn Transport>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let write_error = match self.write_error.take() {
            Some(write_error) => write_error,
            None => match ready!(write(Pin::new(&mut *self.io), cx)) {
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

impl AsyncRead for BoxedIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let state = Pin::new(&mut self.io).poll_read(cx, buf);
        let count = (buf.filled().len() - before) as u64;
        self.counters.read.fetch_add(count, Ordering::Relaxed);
        state
    }
}

impl AsyncWrite for BoxedIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(self.delay_write_error(cx, |io, cx| io.poll_write(cx, buf)))?;
        self.counters.add_written(written);
        Poll::Ready(Ok(written))
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
        let written = ready!(self.delay_write_error(cx, |io, cx| io.poll_write_vectored(cx, bufs)))?;
        self.counters.add_written(written);
        Poll::Ready(Ok(written))
    }
}

// === impl IoCounters ===

impl IoCounters {
    /// The number of bytes that were read.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// The number of bytes that the transport took.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn add_written(&self, count: usize) {
        self.written.fetch_add(count as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::Request;
    use http_body_util::Full;
    use hyper_util::rt::TokioIo;

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
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await.unwrap();
        let request = Request::post("/").body(Full::new(Bytes::from(vec![0; 1 << 20])));
        let response = sender.send_request(request.unwrap());
        let (response, _ended) = tokio::join!(response, connection);
        assert_eq!(response.unwrap().status(), 413);
    }
}
