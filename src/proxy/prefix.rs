//! Reads the start of a response body.

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt as _;

/// The start of a body. A single frame, the usual case, is kept without a copy.
#[derive(Debug, Default)]
pub(crate) struct Prefix {
    first: Bytes,
    joined: BytesMut,
}

// === impl Prefix ===

impl Prefix {
    /// Reads until the body ends or what was read no longer fits, and returns whether the body has ended. Cancel-safe.
    ///
    /// # Errors
    ///
    /// That of the body, if the upstream ends it early.
    pub(crate) async fn read<B>(&mut self, body: &mut B, mut fits: impl FnMut(usize) -> bool) -> Result<bool, B::Error>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            if self.first.is_empty() && self.joined.is_empty() {
                self.first = data;
            } else {
                self.joined.extend_from_slice(&std::mem::take(&mut self.first));
                self.joined.extend_from_slice(&data);
            }
            if !fits(self.first.len() + self.joined.len()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The bytes that were read.
    pub(crate) fn into_bytes(self) -> Bytes {
        if self.joined.is_empty() {
            self.first
        } else {
            self.joined.freeze()
        }
    }
}
