//! One open connection, by its HTTP version.
//!
//! # Why
//!
//! What a failure means for a request is known only to a connection: whether it took the request, whether a byte of it was
//! written, whether a byte of an answer came.

use std::sync::Arc;

use super::http1::Http1;
use super::http2::{Http2, Stream};
use super::request_body::RequestBody;
use crate::net::{BoxError, BoxedIo, Tasks};

/// A connection on which one more request can be sent.
pub(super) enum Connection<B: RequestBody> {
    Http1(Http1<B>),
    Http2(Stream),
}

/// A new connection, by its HTTP version.
pub(super) enum NewConnection<B: RequestBody> {
    Http1(Http1<B>),
    Http2(Arc<Http2>),
}

/// Performs the handshake of the HTTP version that TLS has agreed on. `on_new_limit` is called when an HTTP/2 peer changes
/// the number of streams that it allows.
pub(super) async fn handshake<B: RequestBody>(
    io: BoxedIo,
    tasks: &Tasks,
    on_new_limit: impl FnMut() + Send + 'static,
) -> Result<NewConnection<B>, BoxError> {
    if io.is_http2() {
        let connection = Http2::handshake(io, tasks, on_new_limit).await?;
        return Ok(NewConnection::Http2(connection));
    }
    let connection = Http1::handshake(io).await?;
    Ok(NewConnection::Http1(connection))
}
