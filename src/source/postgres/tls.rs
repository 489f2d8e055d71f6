//! TLS towards the database: rustls, as towards Graph, and never unverified.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

use super::binding::end_point;
use crate::token::BoxFuture;

/// Makes TLS connections with these settings.
#[derive(Clone, Debug)]
pub(super) struct Tls(pub(super) Arc<ClientConfig>);

/// A handshake with a host of this name.
pub(super) struct Handshake {
    tls: Arc<ClientConfig>,
    host: ServerName<'static>,
}

/// A connection whose other side has shown who it is.
pub(super) struct Stream(Box<tokio_rustls::client::TlsStream<Socket>>);

/// The other side is not who it should be.
#[derive(Debug, thiserror::Error)]
#[error("its certificate is not trusted")]
pub(super) struct Distrust(#[source] rustls::Error);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Stream;
    type TlsConnect = Handshake;
    type Error = BoxError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, BoxError> {
        // A socket in the file system has no name, and no TLS either.
        let host = if host.is_empty() { "localhost" } else { host };
        Ok(Handshake {
            tls: Arc::clone(&self.0),
            host: ServerName::try_from(host.to_owned())?,
        })
    }
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Stream;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Stream, BoxError>>;

    fn connect(self, socket: Socket) -> Self::Future {
        let handshake = TlsConnector::from(self.tls).connect(self.host, socket);
        Box::pin(async move {
            match handshake.await {
                Ok(stream) => Ok(Stream(Box::new(stream))),
                Err(error) => Err(distrust(error)),
            }
        })
    }
}

/// Tells a certificate that was refused from a connection that broke.
fn distrust(error: io::Error) -> BoxError {
    match error.downcast::<rustls::Error>() {
        Ok(refused @ rustls::Error::InvalidCertificate(_)) => Distrust(refused).into(),
        Ok(other) => other.into(),
        Err(broken) => broken.into(),
    }
}

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        let (_, session) = self.0.get_ref();
        let own = session.peer_certificates().and_then(<[_]>::first);
        own.and_then(|certificate| end_point(certificate))
            .map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
