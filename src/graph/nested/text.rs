//! Bytes that know where they came from.

use std::ops::Range;

/// A byte of what a text means, and the place that it takes in the body.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) byte: u8,
    pub(crate) place: Range<usize>,
}

/// A text that can be read more than once.
pub(crate) trait Text: Iterator<Item = Unit> + Clone {}

/// A body as it is.
#[derive(Clone, Debug)]
pub(crate) struct Raw<'body> {
    rest: &'body [u8],
    at: usize,
}

/// What a JSON string says: from behind its opening quote to its closing one.
///
/// A character beyond ASCII that is escaped is one [`BEYOND`]; nothing that is looked for has any.
#[derive(Clone, Debug)]
pub(crate) struct Unescaped<T> {
    text: T,
    end: End,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Ahead,
    Closed,
    Broken,
}

/// Stands for `\u0080` and above. Valid in a string of JSON, and in no name, host or token.
const BEYOND: u8 = 0x7F;

impl<T: Iterator<Item = Unit> + Clone> Text for T {}

// === impl Raw ===

impl<'body> Raw<'body> {
    pub(crate) const fn new(body: &'body [u8]) -> Self {
        Self { rest: body, at: 0 }
    }
}

impl Iterator for Raw<'_> {
    type Item = Unit;

    fn next(&mut self) -> Option<Unit> {
        let (byte, rest) = self.rest.split_first()?;
        let place = self.at..self.at + 1;
        self.rest = rest;
        self.at = place.end;
        Some(Unit { byte: *byte, place })
    }
}

// === impl Unescaped ===

impl<T: Text> Unescaped<T> {
    /// `text` stands behind the opening quote.
    pub(crate) const fn new(text: T) -> Self {
        let end = End::Ahead;
        Self { text, end }
    }

    /// The text behind the closing quote; `None` if there is none, or what is before it is no string.
    pub(crate) fn skipped(mut self) -> Option<T> {
        self.by_ref().for_each(drop);
        (self.end == End::Closed).then_some(self.text)
    }

    /// What stands behind a backslash.
    fn escaped(&mut self) -> Option<(u8, usize)> {
        let unit = self.text.next()?;
        let byte = match unit.byte {
            plain @ (b'"' | b'\\' | b'/') => plain,
            b'b' => 0x08,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => return self.code_unit(),
            _ => return None,
        };
        Some((byte, unit.place.end))
    }

    fn code_unit(&mut self) -> Option<(u8, usize)> {
        let (mut code, mut end) = (0, 0);
        for _ in 0..4 {
            let unit = self.text.next()?;
            code = code << 4 | char::from(unit.byte).to_digit(16)?;
            end = unit.place.end;
        }
        let byte = u8::try_from(code).ok().filter(u8::is_ascii);
        Some((byte.unwrap_or(BEYOND), end))
    }
}

impl<T: Text> Iterator for Unescaped<T> {
    type Item = Unit;

    fn next(&mut self) -> Option<Unit> {
        if self.end != End::Ahead {
            return None;
        }
        // Until the opposite is read.
        self.end = End::Broken;
        let unit = self.text.next()?;
        let unit = match unit.byte {
            b'"' => {
                self.end = End::Closed;
                return None;
            }
            b'\\' => {
                let (byte, end) = self.escaped()?;
                let place = unit.place.start..end;
                Unit { byte, place }
            }
            0..0x20 => return None,
            _ => unit,
        };
        self.end = End::Ahead;
        Some(unit)
    }
}
