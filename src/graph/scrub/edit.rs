//! Changes to a text, noted as places in it.

use std::ops::Range;

use super::super::json::unescape;

/// A change to a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Edit {
    pub(super) at: Range<usize>,
    pub(super) how: How,
}

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum How {
    /// They go.
    Cut,
    /// They are masked, as a part of a string.
    Text,
    /// They are masked, as a value that is no string.
    Number,
}

/// What is cut out of a list: each with one separator, and none is left over.
#[derive(Default)]
pub(super) struct Cuts {
    /// Whether anything is before that leaves.
    pub(super) left: bool,
    orphan: bool,
    owed: bool,
    pub(super) cuts: Vec<Range<usize>>,
}

/// The text after the edits, which are in order.
pub(super) fn edited(text: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut edited = Vec::with_capacity(text.len());
    let mut done = 0;
    for Edit { at, how } in edits {
        edited.extend_from_slice(text.get(done..at.start).unwrap_or_default());
        if *how != How::Cut {
            edited.resize(edited.len() + at.len(), how.mask());
        }
        done = at.end;
    }
    edited.extend_from_slice(text.get(done..).unwrap_or_default());
    edited
}

// === impl Edit ===

impl Edit {
    /// Masks a name or a value of JSON, and leaves its quotes.
    pub(super) fn masked(text: &[u8], at: Range<usize>) -> Self {
        let literal = text.get(at.clone()).unwrap_or_default();
        let how = How::of(literal.first().copied());
        if how != How::Text {
            return Self { at, how };
        }
        let end = at.start + unescape(literal).end();
        Self {
            at: at.start + 1..end,
            how,
        }
    }
}

// === impl How ===

impl How {
    /// How a value is masked that begins so.
    pub(super) const fn of(first: Option<u8>) -> Self {
        match first {
            Some(b'"' | b'\'') => Self::Text,
            Some(_) | None => Self::Number,
        }
    }

    /// The byte that masks.
    pub(super) const fn mask(self) -> u8 {
        match self {
            Self::Cut | Self::Text => b'x',
            Self::Number => b'1',
        }
    }
}

// === impl Cuts ===

impl Cuts {
    /// Cuts this, and the separator before it, or else the one behind it.
    pub(super) fn cut(&mut self, separator: Option<usize>, at: Range<usize>) {
        let start = separator.filter(|_| self.left).unwrap_or(at.start);
        self.orphan = !self.left;
        self.owed = start != at.start;
        self.cuts.push(start..at.end);
    }

    /// Another begins: what went before it leaves its separator if it had none behind it.
    pub(super) fn begin(&mut self) {
        if let (true, Some(last)) = (std::mem::take(&mut self.owed), self.cuts.last_mut()) {
            last.start += 1;
        }
    }

    pub(super) const fn leave(&mut self) {
        self.left = true;
        self.orphan = false;
    }

    /// A separator that ends at `at`: whether it goes with what was cut before it.
    pub(super) fn comma(&mut self, at: usize) -> bool {
        let goes = std::mem::take(&mut self.orphan);
        self.owed = false;
        if let (true, Some(last)) = (goes, self.cuts.last_mut()) {
            last.end = at;
        }
        goes
    }

    /// A list begins.
    pub(super) const fn next(&mut self) {
        self.left = false;
        (self.orphan, self.owed) = (false, false);
    }
}
