//! Bytes that know where they came from.

use std::ops::Range;

/// A byte of what a text means, and the place that it takes in the body.
#[derive(Clone, Debug)]
pub(crate) struct SourceByte {
    pub(crate) byte: u8,
    pub(crate) place: Range<usize>,
}

/// A text that can be read more than once.
pub(crate) trait ByteSource: Iterator<Item = SourceByte> + Clone {}

/// A body as it is.
#[derive(Clone, Debug)]
pub(crate) struct RawBytes<'body> {
    rest: &'body [u8],
    at: usize,
}

/// What a JSON string says: from behind its opening quote to its closing one.
///
/// A character beyond ASCII that is escaped is one [`NON_ASCII_PLACEHOLDER`]; nothing that is looked for has any.
#[derive(Clone, Debug)]
pub(crate) struct UnescapedString<T> {
    source: T,
    state: StringState,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum StringState {
    Open,
    Closed,
    Invalid,
}

/// Stands for `\u0080` and above. Valid in a string of JSON, and in no name, host or token.
const NON_ASCII_PLACEHOLDER: u8 = 0x7F;

impl<T: Iterator<Item = SourceByte> + Clone> ByteSource for T {}

// === impl Raw ===

impl<'body> RawBytes<'body> {
    pub(crate) const fn new(body: &'body [u8]) -> Self {
        Self { rest: body, at: 0 }
    }
}

impl Iterator for RawBytes<'_> {
    type Item = SourceByte;

    fn next(&mut self) -> Option<SourceByte> {
        let (byte, rest) = self.rest.split_first()?;
        let range = self.at..self.at + 1;
        self.rest = rest;
        self.at = range.end;
        Some(SourceByte {
            byte: *byte,
            place: range,
        })
    }
}

// === impl UnescapedString ===

impl<T: ByteSource> UnescapedString<T> {
    /// `source` stands behind the opening quote.
    pub(crate) const fn new(source: T) -> Self {
        let state = StringState::Open;
        Self { source, state }
    }

    /// The text behind the closing quote; `None` if there is none, or what is before it is no string.
    pub(crate) fn into_rest(mut self) -> Option<T> {
        self.by_ref().for_each(drop);
        (self.state == StringState::Closed).then_some(self.source)
    }

    /// What stands behind a backslash.
    fn read_escape(&mut self) -> Option<(u8, usize)> {
        let unit = self.source.next()?;
        let byte = match unit.byte {
            plain @ (b'"' | b'\\' | b'/') => plain,
            b'b' => 0x08,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => return self.read_unicode_escape(),
            _ => return None,
        };
        Some((byte, unit.place.end))
    }

    fn read_unicode_escape(&mut self) -> Option<(u8, usize)> {
        let (mut code, mut end) = (0, 0);
        for _ in 0..4 {
            let unit = self.source.next()?;
            code = code << 4 | char::from(unit.byte).to_digit(16)?;
            end = unit.place.end;
        }
        let byte = u8::try_from(code).ok().filter(u8::is_ascii);
        Some((byte.unwrap_or(NON_ASCII_PLACEHOLDER), end))
    }
}

impl<T: ByteSource> Iterator for UnescapedString<T> {
    type Item = SourceByte;

    fn next(&mut self) -> Option<SourceByte> {
        if self.state != StringState::Open {
            return None;
        }
        // Until the opposite is read.
        self.state = StringState::Invalid;
        let unit = self.source.next()?;
        let unit = match unit.byte {
            b'"' => {
                self.state = StringState::Closed;
                return None;
            }
            b'\\' => {
                let (byte, end) = self.read_escape()?;
                let range = unit.place.start..end;
                SourceByte { byte, place: range }
            }
            0..0x20 => return None,
            _ => unit,
        };
        self.state = StringState::Open;
        Some(unit)
    }
}
