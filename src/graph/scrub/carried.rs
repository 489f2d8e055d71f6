//! What of a body has arrived and has neither left nor been cut.

use std::borrow::Cow;
use std::fmt;

use super::out::Out;

/// Of the pieces before the present one.
#[derive(Default)]
pub(super) struct Carried(Vec<u8>);

/// What arrived last, and how much of it has left, been cut or been carried.
pub(super) struct Piece<'data> {
    data: &'data [u8],
    done: usize,
}

// === impl Carried ===

impl Carried {
    /// What has not left before `at`.
    pub(super) fn kept<'data>(&self, piece: &Piece<'data>, at: usize) -> Cow<'data, [u8]> {
        if self.0.is_empty() {
            return Cow::Borrowed(piece.rest(at));
        }
        Cow::Owned([&self.0, piece.rest(at)].concat())
    }

    /// Where `at` is in what has not left.
    pub(super) const fn offset(&self, piece: &Piece<'_>, at: usize) -> usize {
        self.0.len() + piece.length(at)
    }

    /// All before `at` leaves.
    pub(super) fn pass(&mut self, piece: &mut Piece<'_>, at: usize, out: &mut Out<'_>) {
        if !self.0.is_empty() {
            out.pass(&self.0);
            self.0.clear();
        }
        out.pass(piece.rest(at));
        piece.done = at.max(piece.done);
    }

    /// All before `at` does not.
    pub(super) fn cut(&mut self, piece: &mut Piece<'_>, at: usize, out: &mut Out<'_>) {
        self.0.clear();
        piece.done = at.max(piece.done);
        out.cut();
    }

    /// Goes before what has not left.
    pub(super) fn prepend(&mut self, byte: u8) {
        self.0.insert(0, byte);
    }

    /// All is carried on to the next piece.
    pub(super) fn keep(&mut self, piece: &mut Piece<'_>) {
        self.0.extend_from_slice(piece.rest(piece.end()));
        piece.done = piece.end();
    }
}

/// Never the bytes.
impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

// === impl Piece ===

impl<'data> Piece<'data> {
    /// What arrived.
    pub(super) const fn new(data: &'data [u8]) -> Self {
        Self { data, done: 0 }
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
    pub(super) const fn length(&self, at: usize) -> usize {
        at.saturating_sub(self.done)
    }

    fn rest(&self, at: usize) -> &'data [u8] {
        self.data.get(self.done..at).unwrap_or_default()
    }
}
