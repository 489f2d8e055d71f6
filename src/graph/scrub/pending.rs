//! What of a body has arrived and has neither left nor been cut.

use std::borrow::Cow;
use std::fmt;

use super::output::ScrubOutput;

/// Of the pieces before the present one.
#[derive(Default)]
pub(super) struct Pending(Vec<u8>);

/// What arrived last, and how much of it has left, been cut or been carried.
pub(super) struct Chunk<'data> {
    data: &'data [u8],
    consumed: usize,
}

// === impl Pending ===

impl Pending {
    /// What has not left before `at`.
    pub(super) fn unsent<'data>(&self, chunk: &Chunk<'data>, at: usize) -> Cow<'data, [u8]> {
        if self.0.is_empty() {
            return Cow::Borrowed(chunk.unsent(at));
        }
        Cow::Owned([&self.0, chunk.unsent(at)].concat())
    }

    /// Where `at` is in what has not left.
    pub(super) const fn offset(&self, chunk: &Chunk<'_>, at: usize) -> usize {
        self.0.len() + chunk.unsent_len(at)
    }

    /// All before `at` leaves.
    pub(super) fn forward(&mut self, chunk: &mut Chunk<'_>, at: usize, out: &mut ScrubOutput<'_>) {
        if !self.0.is_empty() {
            out.forward(&self.0);
            self.0.clear();
        }
        out.forward(chunk.unsent(at));
        chunk.consumed = at.max(chunk.consumed);
    }

    /// All before `at` does not.
    pub(super) fn discard(&mut self, chunk: &mut Chunk<'_>, at: usize, out: &mut ScrubOutput<'_>) {
        self.0.clear();
        chunk.consumed = at.max(chunk.consumed);
        out.discard();
    }

    /// Goes before what has not left.
    pub(super) fn prepend(&mut self, byte: u8) {
        self.0.insert(0, byte);
    }

    /// All is carried on to the next piece.
    pub(super) fn buffer(&mut self, chunk: &mut Chunk<'_>) {
        self.0.extend_from_slice(chunk.unsent(chunk.end()));
        chunk.consumed = chunk.end();
    }
}

/// Never the bytes.
impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

// === impl Piece ===

impl<'data> Chunk<'data> {
    /// What arrived.
    pub(super) const fn new(data: &'data [u8]) -> Self {
        Self { data, consumed: 0 }
    }

    /// Behind its last byte.
    pub(super) const fn end(&self) -> usize {
        self.data.len()
    }

    /// The byte at `at`.
    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        self.data.get(at).copied()
    }

    /// How much of it is left before `at`.
    pub(super) const fn unsent_len(&self, at: usize) -> usize {
        at.saturating_sub(self.consumed)
    }

    fn unsent(&self, at: usize) -> &'data [u8] {
        self.data.get(self.consumed..at).unwrap_or_default()
    }
}
