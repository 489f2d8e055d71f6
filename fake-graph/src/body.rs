//! The bodies of answers, and the ways in which they break on command.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// The body of an answer.
#[derive(Debug)]
pub struct ResponseBody {
    remaining: Bytes,
    end: BodyEnd,
    flush_delay: Option<Pin<Box<Sleep>>>,
}

/// The end of a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum BodyEnd {
    /// Complete.
    Complete,
    /// In the middle, with a lost connection.
    Truncated,
    /// In the middle, without an end.
    Stalled,
}

/// The fake aborts the connection, on command. hyper then closes the connection, or resets the stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the fake Graph was told to abort the connection")]
pub struct ConnectionAborted;

impl ResponseBody {
    pub(crate) const fn full(bytes: Bytes) -> Self {
        Self {
            remaining: bytes,
            end: BodyEnd::Complete,
            flush_delay: None,
        }
    }

    /// The first half, then an error.
    pub(crate) fn truncated(self) -> Self {
        self.halved(BodyEnd::Truncated)
    }

    /// The first half, then nothing.
    pub(crate) fn stalled(self) -> Self {
        self.halved(BodyEnd::Stalled)
    }

    fn halved(mut self, end: BodyEnd) -> Self {
        self.remaining.truncate(self.remaining.len() / 2);
        self.end = end;
        self.flush_delay = (end == BodyEnd::Truncated).then(|| Box::pin(tokio::time::sleep(FLUSH_DELAY)));
        self
    }
}

/// hyper discards unsent bytes, the head included, when a body fails. This delay lets them leave first.
const FLUSH_DELAY: Duration = Duration::from_millis(20);

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ConnectionAborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ConnectionAborted>>> {
        // In pieces, since a large body never arrives as one.
        let piece = self.remaining.len().min(64 * 1024);
        if piece > 0 {
            return Poll::Ready(Some(Ok(Frame::data(self.remaining.split_to(piece)))));
        }
        if let Some(flushing) = &mut self.flush_delay {
            ready!(flushing.as_mut().poll(cx));
        }
        match self.end {
            BodyEnd::Complete => Poll::Ready(None),
            BodyEnd::Truncated => Poll::Ready(Some(Err(ConnectionAborted))),
            BodyEnd::Stalled => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.end == BodyEnd::Complete && self.remaining.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.end {
            BodyEnd::Complete => SizeHint::with_exact(self.remaining.len() as u64),
            // The head promises more bytes than follow.
            BodyEnd::Truncated | BodyEnd::Stalled => SizeHint::default(),
        }
    }
}
