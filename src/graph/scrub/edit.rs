//! Changes to a text, noted as places in it.

use std::ops::Range;

use super::super::lenient_json::unescape;

/// A change to a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Edit {
    pub(super) range: Range<usize>,
    pub(super) kind: EditKind,
}

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum EditKind {
    /// They go.
    Remove,
    /// They are masked, as a part of a string.
    MaskString,
    /// They are masked, as a value that is no string.
    MaskNumber,
}

/// What is cut out of a list: each with one separator, and none is left over.
#[derive(Default)]
pub(super) struct ListRemovals {
    /// Whether anything is before that leaves.
    pub(super) has_kept: bool,
    drop_next_comma: bool,
    comma_owed: bool,
    pub(super) ranges: Vec<Range<usize>>,
}

/// The text after the edits, which are in order.
pub(super) fn apply_edits(text: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut edited = Vec::with_capacity(text.len());
    let mut done = 0;
    for Edit { range: at, kind: how } in edits {
        edited.extend_from_slice(text.get(done..at.start).unwrap_or_default());
        if *how != EditKind::Remove {
            edited.resize(edited.len() + at.len(), how.mask_byte());
        }
        done = at.end;
    }
    edited.extend_from_slice(text.get(done..).unwrap_or_default());
    edited
}

// === impl LinkEdit ===

impl Edit {
    /// Masks a name or a value of JSON, and leaves its quotes.
    pub(super) fn mask_literal(text: &[u8], at: Range<usize>) -> Self {
        let literal = text.get(at.clone()).unwrap_or_default();
        let kind = EditKind::mask_for(literal.first().copied());
        if kind != EditKind::MaskString {
            return Self { range: at, kind };
        }
        let end = at.start + unescape(literal).end();
        Self {
            range: at.start + 1..end,
            kind,
        }
    }
}

// === impl EditKind ===

impl EditKind {
    /// How a value is masked that begins so.
    pub(super) const fn mask_for(first: Option<u8>) -> Self {
        match first {
            Some(b'"' | b'\'') => Self::MaskString,
            Some(_) | None => Self::MaskNumber,
        }
    }

    /// The byte that masks.
    pub(super) const fn mask_byte(self) -> u8 {
        match self {
            Self::Remove | Self::MaskString => b'x',
            Self::MaskNumber => b'1',
        }
    }
}

// === impl ListRemovals ===

impl ListRemovals {
    /// Cuts this, and the separator before it, or else the one behind it.
    pub(super) fn remove(&mut self, separator: Option<usize>, at: Range<usize>) {
        let start = separator.filter(|_| self.has_kept).unwrap_or(at.start);
        self.drop_next_comma = !self.has_kept;
        self.comma_owed = start != at.start;
        self.ranges.push(start..at.end);
    }

    /// Another begins: what went before it leaves its separator if it had none behind it.
    pub(super) fn begin_element(&mut self) {
        if let (true, Some(last)) = (std::mem::take(&mut self.comma_owed), self.ranges.last_mut()) {
            last.start += 1;
        }
    }

    pub(super) const fn keep_element(&mut self) {
        self.has_kept = true;
        self.drop_next_comma = false;
    }

    /// A separator that ends at `at`: whether it goes with what was cut before it.
    pub(super) fn end_separator(&mut self, at: usize) -> bool {
        let is_dropped = std::mem::take(&mut self.drop_next_comma);
        self.comma_owed = false;
        if let (true, Some(last)) = (is_dropped, self.ranges.last_mut()) {
            last.end = at;
        }
        is_dropped
    }

    /// A list begins.
    pub(super) const fn reset(&mut self) {
        self.has_kept = false;
        (self.drop_next_comma, self.comma_owed) = (false, false);
    }
}
