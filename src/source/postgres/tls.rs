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

use super::channel_binding::tls_server_end_point;
use crate::token::BoxFuture;

/// Makes TLS connections with these settings.
#[derive(Clone, Debug)]
pub(super) struct PgTls(pub(super) Arc<ClientConfig>);

/// A handshake with a host of this name.
pub(super) struct PgTlsHandshake {
    tls: Arc<ClientConfig>,
    host: ServerName<'static>,
}

/// A connection whose other side has shown who it is.
pub(super) struct PgTlsStream(Box<tokio_rustls::client::TlsStream<Socket>>);

/// The other side is not who it should be.
#[derive(Debug, thiserror::Error)]
#[error("its certificate is not trusted")]
pub(super) struct UntrustedCertificate(#[source] rustls::Error);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl MakeTlsConnect<Socket> for PgTls {
    type Stream = PgTlsStream;
    type TlsConnect = PgTlsHandshake;
    type Error = BoxError;

    fn make_tls_connect(&mut self, host: &str) -> Result<PgTlsHandshake, BoxError> {
        // A socket in the file system has no name, and no TLS either.
        let host = if host.is_empty() { "localhost" } else { host };
        Ok(PgTlsHandshake {
            tls: Arc::clone(&self.0),
            host: ServerName::try_from(host.to_owned())?,
        })
    }
}

impl TlsConnect<Socket> for PgTlsHandshake {
    type Stream = PgTlsStream;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<PgTlsStream, BoxError>>;

    fn connect(self, socket: Socket) -> Self::Future {
        let handshake = TlsConnector::from(self.tls).connect(self.host, socket);
        Box::pin(async move {
            match handshake.await {
                Ok(stream) => Ok(PgTlsStream(Box::new(stream))),
                Err(error) => Err(classify_handshake_error(error)),
            }
        })
    }
}

/// Tells a certificate that was refused from a connection that broke.
fn classify_handshake_error(error: io::Error) -> BoxError {
    match error.downcast::<rustls::Error>() {
        Ok(refused @ rustls::Error::InvalidCertificate(_)) => UntrustedCertificate(refused).into(),
        Ok(other) => other.into(),
        Err(broken) => broken.into(),
    }
}

impl TlsStream for PgTlsStream {
    fn channel_binding(&self) -> ChannelBinding {
        let (_, session) = self.0.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        certificate
            .and_then(|certificate| tls_server_end_point(certificate))
            .map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl AsyncRead for PgTlsStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for PgTlsStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
