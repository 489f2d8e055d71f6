//! The part of a body that is still to arrive.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::net::BoxError;

/// The part of a body that is still to arrive.
#[derive(Debug)]
pub(super) enum Arriving<R> {
    Request(Incoming),
    Response(R),
    /// The upstream has ended it early. hyper drops what it has not written when an error comes, the head of the response
    /// included, so the error waits until it has been asked for again.
    Interrupted {
        error: Option<BoxError>,
        is_asked_for: bool,
    },
}

impl<R: Body<Data = Bytes, Error = BoxError> + Unpin> Body for Arriving<R> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let arriving = self.get_mut();
        match arriving {
            Self::Request(body) => return Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Response(body) => match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Err(error)) => {
                    *arriving = Self::Interrupted {
                        error: Some(error),
                        is_asked_for: true,
                    };
                }
                frame => return Poll::Ready(frame),
            },
            Self::Interrupted { error, is_asked_for } => {
                if std::mem::replace(is_asked_for, true) {
                    return Poll::Ready(error.take().map(Err));
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Request(body) => body.is_end_stream(),
            Self::Response(body) => body.is_end_stream(),
            Self::Interrupted { error, .. } => error.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Request(body) => body.size_hint(),
            Self::Response(body) => body.size_hint(),
            Self::Interrupted { .. } => SizeHint::default(),
        }
    }
}
