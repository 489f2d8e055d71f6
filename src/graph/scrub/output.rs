//! The output of the scrubber of multipart forms. For a form in memory it is empty until something changes.

use bytes::BytesMut;

/// Collects what may be forwarded: each byte of the body is either forwarded or discarded, in order.
#[derive(derive_more::Debug)]
// Never the bytes.
#[debug("ScrubOutput")]
pub(super) struct ScrubOutput<'a> {
    out: &'a mut BytesMut,
    /// A body in memory that has not changed so far, and how much of it has been forwarded.
    unchanged: Option<(&'a [u8], usize)>,
    /// Whether anything was dropped or put in.
    pub(super) is_changed: bool,
}

// === impl ScrubOutput ===

impl<'a> ScrubOutput<'a> {
    /// For a body that streams.
    pub(super) const fn stream(out: &'a mut BytesMut) -> Self {
        Self {
            out,
            unchanged: None,
            is_changed: false,
        }
    }

    /// For a body in memory. `out` is filled from the first change on.
    pub(super) const fn in_memory(body: &'a [u8], out: &'a mut BytesMut) -> Self {
        Self {
            out,
            unchanged: Some((body, 0)),
            is_changed: false,
        }
    }

    /// Forwards the next bytes of the body unchanged.
    pub(super) fn forward(&mut self, bytes: &[u8]) {
        match &mut self.unchanged {
            Some((_body, forwarded)) => *forwarded += bytes.len(),
            None => self.out.extend_from_slice(bytes),
        }
    }

    /// Drops the next bytes of the body.
    pub(super) fn discard(&mut self) {
        self.is_changed = true;
        if let Some((body, forwarded)) = self.unchanged.take() {
            self.out.reserve(body.len());
            self.out.extend_from_slice(body.get(..forwarded).unwrap_or(body));
        }
    }

    /// Inserts these bytes.
    pub(super) fn insert(&mut self, bytes: &[u8]) {
        self.discard();
        self.forward(bytes);
    }
}
