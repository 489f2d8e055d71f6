//! One exchange on a connection: the request, the head of the response, and its body.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::connection::Connection;
use super::error::SendError;
use super::http2::Http2Body;
use super::pool::Lease;
use super::request_body::RequestBody;
use crate::net::BoxError;

/// The body of a response. Its connection serves other requests after the last byte; dropped earlier, it closes an HTTP/1.1
/// connection, and resets an HTTP/2 stream.
#[derive(derive_more::Debug)]
#[debug("ResponseBody")]
pub struct ResponseBody<B: RequestBody> {
    incoming: Received,
    /// `None` after the last byte.
    lease: Option<Lease<B>>,
}

/// The body of a response, by the HTTP version of its connection.
enum Received {
    Http1(Incoming),
    Http2(Http2Body),
}

// === impl Lease ===

impl<B: RequestBody> Lease<B> {
    /// Sends a request in origin-form, and waits for the head of the response.
    ///
    /// # Errors
    ///
    /// [`SendError`]
    pub async fn send(mut self, request: Request<B>) -> Result<Response<ResponseBody<B>>, SendError<B>> {
        let (origin, tasks) = (&self.pool.origin, &self.pool.tasks);
        let response = match &mut self.connection {
            Some(Connection::Http1(connection)) => connection.send(origin, request, tasks).await?.map(Received::Http1),
            Some(Connection::Http2(stream)) => stream.send(origin, request, tasks).await?.map(Received::Http2),
            None => return Err(SendError::HandedBack(Box::new(request))),
        };
        Ok(response.map(|incoming| ResponseBody::new(incoming, self)))
    }
}

// === impl ResponseBody ===

impl<B: RequestBody> ResponseBody<B> {
    fn new(incoming: Received, lease: Lease<B>) -> Self {
        let mut body = Self {
            incoming,
            lease: Some(lease),
        };
        if body.is_complete() {
            body.complete();
        }
        body
    }

    /// Whether all bytes have come. An HTTP/2 peer may end a stream in a frame without data, for which the reader of a body
    /// with a length does not wait.
    fn is_complete(&self) -> bool {
        self.is_end_stream() || self.size_hint().exact() == Some(0)
    }

    fn complete(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.complete();
        }
    }
}

impl<B: RequestBody> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let body = self.get_mut();
        let frame: Option<Result<_, BoxError>> = match &mut body.incoming {
            Received::Http1(incoming) => {
                let frame = ready!(match body.lease.as_mut().and_then(Lease::http1) {
                    Some(connection) => connection.poll_frame(cx, incoming),
                    None => Pin::new(incoming).poll_frame(cx),
                });
                frame.map(|frame| frame.map_err(Into::into))
            }
            Received::Http2(incoming) => {
                let data = ready!(incoming.poll_data(cx));
                data.map(|data| data.map(Frame::data).map_err(Into::into))
            }
        };
        match &frame {
            Some(Err(_)) => {}
            None => body.complete(),
            Some(Ok(_)) if body.is_complete() => body.complete(),
            Some(Ok(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.incoming {
            Received::Http1(incoming) => incoming.is_end_stream(),
            Received::Http2(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.incoming {
            Received::Http1(incoming) => incoming.size_hint(),
            Received::Http2(incoming) => incoming.size_hint(),
        }
    }
}
