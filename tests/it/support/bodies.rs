//! Request bodies that an app may send.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};

use graphward::net::BoxError;

/// Any body.
pub(crate) type Sent = UnsyncBoxBody<Bytes, BoxError>;

/// Of known length.
pub(crate) fn sized(bytes: impl Into<Bytes>) -> Sent {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Of unknown length, in chunks of at most `step` bytes.
pub(crate) fn chunked(bytes: impl Into<Bytes>, step: usize) -> Sent {
    dribbled(bytes, step, Duration::ZERO)
}

/// The same, with a pause before each chunk.
pub(crate) fn dribbled(bytes: impl Into<Bytes>, step: usize, gap: Duration) -> Sent {
    let frames = stream::unfold(bytes.into(), move |mut left| async move {
        if left.is_empty() {
            return None;
        }
        if !gap.is_zero() {
            tokio::time::sleep(gap).await;
        }
        let chunk = left.split_to(step.min(left.len()));
        Some((Ok(Frame::data(chunk)), left))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// Begins and never ends.
pub(crate) fn stalled(start: &'static [u8]) -> Sent {
    let first = stream::iter([Ok(Frame::data(Bytes::from_static(start)))]);
    StreamBody::new(first.chain(stream::pending())).boxed_unsync()
}

/// Begins and breaks off.
pub(crate) fn broken(start: &'static [u8]) -> Sent {
    let first = stream::iter([Ok(Frame::data(Bytes::from_static(start)))]);
    // Late enough for the start to be on its way.
    let end = stream::once(async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Err(BoxError::from("broken off on purpose"))
    });
    StreamBody::new(first.chain(end)).boxed_unsync()
}
