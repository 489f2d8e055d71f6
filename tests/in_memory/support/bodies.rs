//! Request bodies that an app may send.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};

use graphward::net::BoxError;

/// Any body.
pub(crate) type TestBody = UnsyncBoxBody<Bytes, BoxError>;

/// Of known length.
pub(crate) fn sized(bytes: impl Into<Bytes>) -> TestBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Of unknown length, in chunks of at most `chunk_size` bytes.
pub(crate) fn chunked(bytes: impl Into<Bytes>, chunk_size: usize) -> TestBody {
    chunked_with_delay(bytes, chunk_size, Duration::ZERO)
}

/// The same, with a pause before each chunk.
pub(crate) fn chunked_with_delay(bytes: impl Into<Bytes>, chunk_size: usize, delay: Duration) -> TestBody {
    let frames = stream::unfold(bytes.into(), move |mut left| async move {
        if left.is_empty() {
            return None;
        }
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let chunk = left.split_to(chunk_size.min(left.len()));
        Some((Ok(Frame::data(chunk)), left))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// Begins and never ends.
pub(crate) fn stalled(start: &'static [u8]) -> TestBody {
    let first = stream::iter([Ok(Frame::data(Bytes::from_static(start)))]);
    StreamBody::new(first.chain(stream::pending())).boxed_unsync()
}

/// Begins and breaks off.
pub(crate) fn aborted(start: &'static [u8]) -> TestBody {
    let first = stream::iter([Ok(Frame::data(Bytes::from_static(start)))]);
    // Late enough for the start to be on its way.
    let end = stream::once(async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Err(BoxError::from("broken off on purpose"))
    });
    StreamBody::new(first.chain(end)).boxed_unsync()
}
