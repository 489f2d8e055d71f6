//! Answers' bodies, and the ways in which they go wrong on command.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// The body of an answer.
#[derive(Debug)]
pub struct SimBody {
    rest: Bytes,
    end: End,
    flushing: Option<Pin<Box<Sleep>>>,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// As it should.
    Well,
    /// Half-way, with a lost connection.
    Cut,
    /// Half-way, with silence.
    Stalled,
}

/// The fake hangs up, on command. hyper answers it by closing the connection, or resetting the stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the fake Graph was told to hang up")]
pub struct Hangup;

impl SimBody {
    pub(super) const fn whole(bytes: Bytes) -> Self {
        Self {
            rest: bytes,
            end: End::Well,
            flushing: None,
        }
    }

    /// The first half, then an error.
    pub(super) fn cut(self) -> Self {
        self.halved(End::Cut)
    }

    /// The first half, then nothing.
    pub(super) fn stalled(self) -> Self {
        self.halved(End::Stalled)
    }

    fn halved(mut self, end: End) -> Self {
        self.rest.truncate(self.rest.len() / 2);
        self.end = end;
        self.flushing = (end == End::Cut).then(|| Box::pin(tokio::time::sleep(FLUSH)));
        self
    }
}

/// An error discards what has not been sent yet, the head too: before it, what was written has to leave.
const FLUSH: Duration = Duration::from_millis(20);

impl Body for SimBody {
    type Data = Bytes;
    type Error = Hangup;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Hangup>>> {
        // In pieces, so that a large body does not arrive in a way in which none does.
        let piece = self.rest.len().min(64 * 1024);
        if piece > 0 {
            return Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))));
        }
        if let Some(flushing) = &mut self.flushing {
            ready!(flushing.as_mut().poll(cx));
        }
        match self.end {
            End::Well => Poll::Ready(None),
            End::Cut => Poll::Ready(Some(Err(Hangup))),
            End::Stalled => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.end == End::Well && self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.end {
            End::Well => SizeHint::with_exact(self.rest.len() as u64),
            // The head has promised more than will come.
            End::Cut | End::Stalled => SizeHint::default(),
        }
    }
}
