//! Graph's side of a connection: HTTP framing by hyper, or bytes by hand.

use std::pin::pin;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::watch;

use super::{Protocol, TestBody, TestTasks};
use graphward::net::BoxError;

/// Serves a connection until it ends; `goaway` asks for its polite end.
pub(crate) async fn serve<F, A>(
    io: DuplexStream,
    http: Protocol,
    tasks: TestTasks,
    mut goaway: watch::Receiver<u32>,
    handler: F,
) where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Result<Response<TestBody>, BoxError>> + Send + 'static,
{
    goaway.mark_unchanged();
    // A connection that was lost, on purpose or by the other side, is not this task's business.
    match http {
        Protocol::Http1 => {
            let mut connection = pin!(http1::Builder::new().serve_connection(TokioIo::new(io), service_fn(handler)));
            tokio::select! {
                _ended = &mut connection => return,
                Ok(()) = goaway.changed() => connection.as_mut().graceful_shutdown(),
            }
            drop(connection.await);
        }
        Protocol::Two => {
            let mut connection =
                pin!(http2::Builder::new(tasks).serve_connection(TokioIo::new(io), service_fn(handler)));
            tokio::select! {
                _ended = &mut connection => return,
                Ok(()) = goaway.changed() => connection.as_mut().graceful_shutdown(),
            }
            drop(connection.await);
        }
    }
}

/// Reads a request's head and answers it with these bytes, then ends the connection.
pub(crate) async fn serve_raw(mut io: DuplexStream, bytes: Vec<u8>) -> Vec<u8> {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(b"\r\n\r\n") && io.read(&mut byte).await.is_ok_and(|count| count > 0) {
        read.extend_from_slice(&byte);
    }
    drop(io.write_all(&bytes).await);
    read
}
