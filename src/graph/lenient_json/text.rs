//! What a string means, byte for byte, and where each byte of that stands.

use std::borrow::Cow;
use std::ops::Range;

/// A text, and where each of its bytes stands in the document.
pub(crate) struct SourceText<'doc> {
    bytes: Cow<'doc, [u8]>,
    /// One more than there are bytes; nothing: each stands where it is, from `base_offset` on.
    offsets: Vec<usize>,
    base_offset: usize,
}

// === impl Text ===

impl<'doc> SourceText<'doc> {
    /// A part of the document, and where it begins.
    pub(crate) const fn from_slice(bytes: &'doc [u8], base_offset: usize) -> Self {
        Self {
            bytes: Cow::Borrowed(bytes),
            offsets: Vec::new(),
            base_offset,
        }
    }

    /// What the string means that stands at `literal`, quotes included.
    pub(crate) fn unescape_at(&self, literal: Range<usize>) -> SourceText<'static> {
        let start = literal.start;
        let mut units = unescape(self.slice(literal));
        let mut bytes = Vec::new();
        let mut offsets = Vec::new();
        for (byte, offset) in units.by_ref() {
            bytes.push(byte);
            offsets.push(self.place(start + offset));
        }
        offsets.push(self.place(start + units.at));
        SourceText {
            bytes: Cow::Owned(bytes),
            offsets,
            base_offset: 0,
        }
    }

    /// The text itself.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A part of it; nothing if there is no such part.
    pub(crate) fn slice(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }

    /// Where the byte at `index` stands in the document; its end for the index behind the last.
    pub(crate) fn place(&self, index: usize) -> usize {
        if self.offsets.is_empty() {
            self.base_offset + index
        } else {
            let offset = self.offsets.get(index).or_else(|| self.offsets.last());
            offset.copied().unwrap_or_default()
        }
    }
}

/// The bytes that a string means, each with where it stands in `literal`, which begins with its quote and may lack the
/// closing one. Without a copy. A lone surrogate is U+FFFD.
pub(crate) fn unescape(literal: &[u8]) -> UnescapedBytes<'_> {
    UnescapedBytes {
        literal,
        quote: literal.first().copied().unwrap_or_default(),
        at: 1,
        pending: [0; 4],
        pending_len: 0,
        char_offset: 0,
    }
}

/// See [`unescape`].
#[derive(Clone)]
pub(crate) struct UnescapedBytes<'doc> {
    literal: &'doc [u8],
    quote: u8,
    at: usize,
    /// The last character's bytes, of which `left` are still to be given.
    pending: [u8; 4],
    pending_len: usize,
    char_offset: usize,
}

// === impl UnescapedBytes ===

impl UnescapedBytes<'_> {
    /// Where the string ends in the literal: before its closing quote.
    pub(crate) fn end(mut self) -> usize {
        self.by_ref().for_each(drop);
        match self.literal.get(self.at) {
            Some(byte) if *byte == self.quote => self.at,
            Some(_) | None => self.literal.len(),
        }
    }

    /// The four digits at `at`.
    fn hex_digits(&self, at: usize) -> Option<u32> {
        let digits = self.literal.get(at..at.checked_add(4)?)?;
        digits
            .iter()
            .try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))
    }

    fn decode_surrogates(&mut self, first: u32) -> char {
        self.at += 6;
        let low_surrogate = || {
            let escape = self.literal.get(self.at..)?.starts_with(b"\\u");
            self.hex_digits(self.at + 2)
                .filter(|low| escape && (0xDC00..0xE000).contains(low))
        };
        if (0xD800..0xDC00).contains(&first)
            && let Some(low) = low_surrogate()
        {
            self.at += 6;
            let code = 0x1_0000 + ((first - 0xD800) << 10) + (low - 0xDC00);
            return char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        }
        char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER)
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
        if byte == self.quote {
            return None;
        }
        if byte != b'\\' {
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
