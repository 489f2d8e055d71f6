//! Serving a fake on a listener, and the way to stop it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::body::ResponseBody;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A listener that is served in the background until [`RunningServer::stop`]. If this is dropped without it, the
/// listener is served until the runtime ends.
#[derive(Debug)]
pub struct RunningServer {
    /// The address that it listens on.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl RunningServer {
    pub(crate) fn start<S, E>(listener: TcpListener, service: S, tls: Option<TlsAcceptor>) -> io::Result<Self>
    where
        S: Service<Request<Incoming>, Response = Response<ResponseBody>, Error = E> + Clone + Send + 'static,
        S::Future: Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let address = listener.local_addr()?;
        let task = tokio::spawn(serve(listener, service, tls));
        Ok(Self { address, task })
    }

    /// Stops at once and closes all connections.
    pub async fn stop(self) {
        self.task.abort();
        // The error says that the task was aborted.
        drop(self.task.await);
    }
}

async fn serve<S, E>(listener: TcpListener, service: S, tls: Option<TlsAcceptor>)
where
    S: Service<Request<Incoming>, Response = Response<ResponseBody>, Error = E> + Clone + Send + 'static,
    S::Future: Send + 'static,
    E: Into<BoxError> + 'static,
{
    // Its tasks end with it.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _peer)) => {
                connections.spawn(serve_tcp(stream, service.clone(), tls.clone()));
            }
            // No descriptors are left, perhaps. A loop without a pause would be a busy one.
            Err(_error) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn serve_tcp<S, E>(mut stream: TcpStream, service: S, tls: Option<TlsAcceptor>)
where
    S: Service<Request<Incoming>, Response = Response<ResponseBody>, Error = E> + Send + 'static,
    S::Future: Send + 'static,
    E: Into<BoxError> + 'static,
{
    // Without it, answers are only slower.
    drop(stream.set_nodelay(true));
    match tls {
        None => serve_connection(stream, service).await,
        Some(_) if sends_plaintext(&stream).await => {
            // The client may be gone. What it sent is read: a connection that is closed before loses the answer.
            drop(stream.read(&mut [0; 8 * 1024]).await);
            drop(stream.write_all(PLAINTEXT_RESPONSE).await);
        }
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve_connection(stream, service).await;
            }
        }
    }
}

/// The type of a TLS handshake record (RFC 8446, section 5.1), with which no request begins.
const TLS_HANDSHAKE_RECORD: u8 = 0x16;
/// The answer to a client that sends HTTP where TLS is expected. Without it, it would see that the connection is closed.
const PLAINTEXT_RESPONSE: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 59\r\n\r\n\
    The fake Graph expects https here: put it into the address\n";

/// Returns whether a client sends something else than TLS.
async fn sends_plaintext(stream: &TcpStream) -> bool {
    let mut first = [0];
    matches!(stream.peek(&mut first).await, Ok(1)) && first != [TLS_HANDSHAKE_RECORD]
}

/// Serves one connection, HTTP/1.1 or HTTP/2, until it ends. Why it ended is the client's business.
pub(crate) async fn serve_connection<S, E>(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, service: S)
where
    S: Service<Request<Incoming>, Response = Response<ResponseBody>, Error = E> + Send + 'static,
    S::Future: Send + 'static,
    E: Into<BoxError> + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Tests send large heads, and many requests at a time.
    builder.http1().max_buf_size(408 * 1024);
    builder
        .http2()
        .max_concurrent_streams(256)
        .max_header_list_size(64 * 1024);
    drop(builder.serve_connection(TokioIo::new(stream), service).await);
}
