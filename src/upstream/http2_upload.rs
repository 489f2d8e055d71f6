//! The body of a request on its way into an HTTP/2 stream.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use tokio::time::timeout;

use super::request_body::RequestBody;
use crate::net::BoxError;

/// Sends a body as the peer takes it. Dropped before the end, with all else that holds the stream, it resets the stream.
pub(super) struct Upload<B> {
    body: B,
    stream: SendStream<Bytes>,
    /// What the peer has not taken yet of the last frame of the body.
    chunk: Bytes,
    /// The number of parts that the peer has taken.
    sent: u64,
}

/// How long a body goes on after the head of the response, while the peer takes nothing of it.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// What a stream holds at most of a body that is being sent.
pub(super) const MAX_BUFFERED_BYTES: usize = 64 * 1024;

// === impl Upload ===

impl<B: RequestBody> Upload<B> {
    pub(super) const fn new(body: B, stream: SendStream<Bytes>) -> Self {
        Self {
            body,
            stream,
            chunk: Bytes::new(),
            sent: 0,
        }
    }

    /// Sends what the peer takes. Ready when all is sent, or the stream has ended: what that means, its response says.
    ///
    /// # Errors
    ///
    /// The error of the body. The stream has been reset.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        loop {
            if self.chunk.is_empty() && !self.body.is_end_stream() {
                let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                    // The peer may want no more of it (RFC 9113, section 8.1).
                    return self.stream.poll_reset(cx).map(|_reason| Ok(()));
                };
                match frame.transpose() {
                    // Trailers are not sent on.
                    Ok(Some(frame)) => self.chunk = frame.into_data().unwrap_or_default(),
                    Ok(None) => {
                        // A stream that has ended needs no end.
                        drop(self.stream.send_data(Bytes::new(), true));
                        return Poll::Ready(Ok(()));
                    }
                    Err(error) => {
                        self.stream.send_reset(Reason::CANCEL);
                        return Poll::Ready(Err(error.into()));
                    }
                }
                if self.chunk.is_empty() && !self.body.is_end_stream() {
                    continue;
                }
            }
            let Some(capacity) = ready!(self.poll_capacity(cx)) else {
                return Poll::Ready(Ok(()));
            };
            let part = self.chunk.split_to(capacity);
            self.sent += 1;
            let is_last = self.chunk.is_empty() && self.body.is_end_stream();
            let has_ended = self.stream.send_data(part, is_last).is_err();
            if has_ended || is_last {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Sends the rest after the head of the response. Gives up once the peer takes nothing for [`STALL_TIMEOUT`]: it may be
    /// done with the request, and never say so.
    pub(super) async fn finish(mut self) {
        loop {
            let sent = self.sent;
            let ended = timeout(STALL_TIMEOUT, poll_fn(|cx| self.poll(cx))).await;
            // With an empty chunk, it waits for the app, which has a timeout of its own.
            if ended.is_ok() || (self.sent == sent && !self.chunk.is_empty()) {
                return;
            }
        }
    }

    /// The number of bytes of the chunk that can be sent; `None` if the stream has ended.
    fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        let wanted = self.chunk.len().min(MAX_BUFFERED_BYTES);
        self.stream.reserve_capacity(wanted);
        while wanted > 0 && self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(None),
            }
        }
        Poll::Ready(Some(self.stream.capacity().min(wanted)))
    }
}
