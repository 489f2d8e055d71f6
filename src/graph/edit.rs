//! Edits of a document, and those that remove elements from a list: parameters of a form, or members of an object.
//!
//! An element is removed together with one separator: the one before it, or the one after it if no kept element is before
//! it. White space between that separator and the element is removed too. All other bytes are kept.

use std::iter;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use memchr::memchr;

use super::json::{Member, Token, tokens};
use super::text::SourceText;

/// A range of the document, and its replacement.
#[derive(Debug)]
pub(crate) struct Edit {
    pub(crate) range: Range<usize>,
    pub(crate) replacement: Vec<u8>,
}

/// Removes elements from a list.
struct ListEditor<'text, 'doc> {
    text: &'text SourceText<'doc>,
    edits: Vec<Edit>,
    /// The end of the part of the list that has been processed.
    decided: usize,
    /// Whether an element has been kept.
    has_kept: bool,
    /// Whether the next separator is removed, with the element before it.
    drop_next_separator: bool,
    /// Whether the separator that was removed with the last element is missing if another element follows directly.
    separator_owed: bool,
}

/// The parameters of a form or a query that is a part of a text.
fn parameters(text: &[u8], range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let mut next = Some(range.start);
    iter::from_fn(move || {
        let start = next?;
        let length = memchr(b'&', text.get(start..range.end)?);
        let end = length.map_or(range.end, |length| start + length);
        next = length.map(|_ampersand| end + 1);
        Some(start..end)
    })
}

/// The edits that remove parameters from a form or a query. If no parameter is kept, the question mark is removed too.
pub(crate) fn remove_parameters(
    text: &SourceText<'_>,
    range: Range<usize>,
    mut is_removed: impl FnMut(Range<usize>) -> bool,
) -> Vec<Edit> {
    let start = range.start;
    let mut editor = ListEditor::new(text, start);
    for parameter in parameters(text.bytes(), range) {
        if parameter.start > start {
            editor.separator(parameter.start);
        }
        let end = parameter.end;
        if is_removed(parameter) {
            editor.remove(end);
        } else {
            editor.keep(end);
        }
    }
    let mark = start.checked_sub(1).filter(|mark| text.slice(*mark..start) == b"?");
    if let (false, Some(first), Some(mark)) = (editor.has_kept, editor.edits.first_mut(), mark) {
        first.range.start = text.document_offset(mark);
    }
    editor.edits
}

/// The edits that remove members from an object.
pub(crate) fn remove_members(
    text: &SourceText<'_>,
    range: Range<usize>,
    mut is_removed: impl FnMut(&Member) -> bool,
) -> Vec<Edit> {
    let mut editor = ListEditor::new(text, range.start);
    for token in tokens(text.bytes(), range) {
        match token {
            Token::Open(_, at) => {
                (editor.decided, editor.has_kept) = (at, false);
                (editor.drop_next_separator, editor.separator_owed) = (false, false);
            }
            Token::Member(member) if is_removed(&member) => editor.remove(member.value.end),
            Token::Member(member) => editor.keep(member.value.end),
            Token::Comma(at) => editor.separator(at),
            Token::Close => {}
        }
    }
    editor.edits
}

/// The document after the edits, which must not make it longer. In place if nothing else holds the document.
pub(crate) fn apply_in_place(document: Bytes, edits: Vec<Edit>) -> Bytes {
    let copy = |shared: Bytes| BytesMut::from(&shared[..]);
    let mut edited = document.try_into_mut().unwrap_or_else(copy);
    let (mut read, mut written) = (0, 0);
    for Edit { range, replacement } in sorted(edits) {
        edited.copy_within(read..range.start, written);
        written += range.start - read;
        if let Some(gap) = edited.get_mut(written..written + replacement.len()) {
            gap.copy_from_slice(&replacement);
        }
        written += replacement.len();
        read = range.end;
    }
    let rest = edited.len() - read;
    edited.copy_within(read.., written);
    edited.truncate(written + rest);
    edited.freeze()
}

/// A copy of the document after the edits.
pub(crate) fn apply(document: &[u8], edits: Vec<Edit>) -> Vec<u8> {
    let longer: usize = edits.iter().map(|edit| edit.replacement.len()).sum();
    let mut edited = Vec::with_capacity(document.len() + longer);
    let mut read = 0;
    for Edit { range, replacement } in sorted(edits) {
        edited.extend_from_slice(document.get(read..range.start).unwrap_or_default());
        edited.extend_from_slice(&replacement);
        read = range.end;
    }
    edited.extend_from_slice(document.get(read..).unwrap_or_default());
    edited
}

fn sorted(mut edits: Vec<Edit>) -> Vec<Edit> {
    edits.sort_by_key(|edit| edit.range.start);
    edits
}

// === impl ListEditor ===

impl<'text, 'doc> ListEditor<'text, 'doc> {
    const fn new(text: &'text SourceText<'doc>, start: usize) -> Self {
        Self {
            text,
            edits: Vec::new(),
            decided: start,
            has_kept: false,
            drop_next_separator: false,
            separator_owed: false,
        }
    }

    /// Keeps an element that ends at `end`.
    fn keep(&mut self, end: usize) {
        if let (true, Some(last)) = (self.separator_owed, self.edits.last_mut()) {
            last.replacement = b",".to_vec();
        }
        (self.decided, self.has_kept) = (end, true);
        (self.drop_next_separator, self.separator_owed) = (false, false);
    }

    /// Removes an element that ends at `end`.
    fn remove(&mut self, end: usize) {
        self.edits.push(Edit {
            range: self.text.document_offset(self.decided)..self.text.document_offset(end),
            replacement: Vec::new(),
        });
        self.decided = end;
        (self.drop_next_separator, self.separator_owed) = (!self.has_kept, self.has_kept);
    }

    /// Handles a separator of one byte that ends at `end`.
    fn separator(&mut self, end: usize) {
        self.decided = end - 1;
        if let (true, Some(last)) = (self.drop_next_separator, self.edits.last_mut()) {
            last.range.end = self.text.document_offset(end);
            self.decided = end;
        }
        (self.drop_next_separator, self.separator_owed) = (false, false);
    }
}
