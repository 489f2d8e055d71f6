//! The decoded meaning of a part of a document, with the position in the document of every byte.
//!
//! # Why
//!
//! graphward changes a few bytes, and must keep all others. A batch contains strings that contain documents, whose
//! strings contain forms. A [`SourceText`] is a text like any other at every depth, and its positions are
//! always those of the outermost document, so one edit there is enough.

use std::borrow::Cow;
use std::ops::Range;
use std::slice;

use memchr::memchr;

use super::parameter::{form_decode_with_len, parse_hex};

/// A text, and the position of each of its bytes in the document.
pub(crate) struct SourceText<'doc> {
    bytes: Cow<'doc, [u8]>,
    /// One more than there are bytes. Empty if the bytes are a part of the document that starts at `base_offset`.
    offsets: Vec<usize>,
    base_offset: usize,
}

// === impl SourceText ===

impl<'doc> SourceText<'doc> {
    /// A part of the document that starts at `base_offset`.
    pub(crate) const fn from_slice(bytes: &'doc [u8], base_offset: usize) -> Self {
        Self {
            bytes: Cow::Borrowed(bytes),
            offsets: Vec::new(),
            base_offset,
        }
    }

    /// The decoded value of a form-encoded part of the document.
    pub(crate) fn from_form(encoded: &[u8], base_offset: usize) -> Self {
        let mut offset = base_offset;
        let mut text = Self::decoded(encoded.len());
        for (byte, length) in form_decode_with_len(encoded) {
            text.push(byte, offset);
            offset += length;
        }
        text.offsets.push(offset);
        text
    }

    /// The decoded value of the JSON string at `literal`, quotes included.
    pub(crate) fn unescape_at(&self, literal: Range<usize>) -> Self {
        let start = literal.start;
        // Most strings have no escapes, and need no copy.
        if let Cow::Borrowed(document) = self.bytes
            && let Some((quote, content)) = document.get(literal.clone()).and_then(<[u8]>::split_first)
            && memchr(b'\\', content).is_none()
        {
            let content = content.strip_suffix(slice::from_ref(quote)).unwrap_or(content);
            return Self::from_slice(content, self.document_offset(start + 1));
        }
        let mut text = Self::decoded(literal.len());
        let mut units = unescape(self.slice(literal));
        for (byte, offset) in units.by_ref() {
            text.push(byte, self.document_offset(start + offset));
        }
        text.offsets.push(self.document_offset(start + units.at));
        text
    }

    fn decoded(capacity: usize) -> Self {
        Self {
            bytes: Cow::Owned(Vec::with_capacity(capacity)),
            offsets: Vec::with_capacity(capacity + 1),
            base_offset: 0,
        }
    }

    fn push(&mut self, byte: u8, offset: usize) {
        self.bytes.to_mut().push(byte);
        self.offsets.push(offset);
    }

    /// The text itself.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A part of the text; empty if there is no such part.
    pub(crate) fn slice(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }

    /// The position in the document of the byte at `index`; the end of the text for the index after the last byte.
    pub(crate) fn document_offset(&self, index: usize) -> usize {
        if self.offsets.is_empty() {
            self.base_offset + index
        } else {
            let offset = self.offsets.get(index).or_else(|| self.offsets.last());
            offset.copied().unwrap_or_default()
        }
    }
}

/// Returns whether a name in JSON, with or without quotes, is this one.
pub(crate) fn is_named(literal: &[u8], name: &[u8]) -> bool {
    match literal.first() {
        Some(b'"' | b'\'') => unescape(literal).map(|(byte, _)| byte).eq(name.iter().copied()),
        Some(_) | None => literal == name,
    }
}

/// The decoded bytes of a JSON string, each with its offset in `literal`, which starts with its quote and may lack the
/// closing one. Copies nothing. A lone surrogate is U+FFFD. Of any other value, the strings in it are decoded in their quotes.
pub(crate) fn unescape(literal: &[u8]) -> UnescapedBytes<'_> {
    let quote = literal.first().filter(|first| matches!(first, b'"' | b'\''));
    UnescapedBytes {
        literal,
        // No text contains the byte 0xFF.
        quote: quote.copied().unwrap_or(0xFF),
        at: usize::from(quote.is_some()),
        pending: [0; 4],
        pending_len: 0,
        char_offset: 0,
    }
}

/// The same of a JSON text, or a part of one, with the quotes of its strings.
pub(crate) fn unescape_all(text: &[u8]) -> UnescapedBytes<'_> {
    let mut all = unescape(text);
    // A backslash starts an escape, and ends no text.
    (all.quote, all.at) = (b'\\', 0);
    all
}

/// See [`unescape`].
#[derive(Clone)]
pub(crate) struct UnescapedBytes<'doc> {
    literal: &'doc [u8],
    quote: u8,
    at: usize,
    /// The bytes of the last character in reverse, of which `pending_len` are still to come.
    pending: [u8; 4],
    pending_len: usize,
    char_offset: usize,
}

// === impl UnescapedBytes ===

impl UnescapedBytes<'_> {
    /// The four digits at `at`.
    fn hex_digits(&self, at: usize) -> Option<u32> {
        parse_hex(self.literal.get(at..at.checked_add(4)?)?)
    }

    /// Reads `\uXXXX`, and the second half of a pair.
    fn decode_surrogates(&mut self, first: u32) -> char {
        self.at += 6;
        let is_escape = self.literal.get(self.at..).is_some_and(|rest| rest.starts_with(b"\\u"));
        let low = self.hex_digits(self.at + 2).filter(|_| is_escape);
        let code = match (first, low) {
            (0xD800..0xDC00, Some(low @ 0xDC00..0xE000)) => {
                self.at += 6;
                0x1_0000 + ((first - 0xD800) << 10) + (low - 0xDC00)
            }
            _ => first,
        };
        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
    }
}

impl Iterator for UnescapedBytes<'_> {
    type Item = (u8, usize);

    fn next(&mut self) -> Option<(u8, usize)> {
        if let Some(index) = self.pending_len.checked_sub(1) {
            self.pending_len = index;
            return Some((self.pending.get(index).copied()?, self.char_offset));
        }
        self.char_offset = self.at;
        let byte = *self.literal.get(self.at)?;
        if byte != b'\\' {
            if byte == self.quote {
                return None;
            }
            self.at += 1;
            return Some((byte, self.char_offset));
        }
        let unescaped = match *self.literal.get(self.at + 1)? {
            b'b' => 0x08,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => match self.hex_digits(self.at + 2) {
                Some(code) => {
                    self.pending_len = self.decode_surrogates(code).encode_utf8(&mut self.pending).len();
                    self.pending.get_mut(..self.pending_len)?.reverse();
                    return self.next();
                }
                None => b'u',
            },
            other => other,
        };
        self.at += 2;
        Some((unescaped, self.char_offset))
    }
}

#[cfg(test)]
mod tests;
