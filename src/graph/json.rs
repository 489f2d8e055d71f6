//! A tolerant reader of JSON that tells the members of an object, or the elements of an array, apart.
//!
//! [`tokens`] reads a text in place: it builds nothing, checks nothing and does not recurse. A nested container is a
//! value like any other, and may be read by another call.
//!
//! # Why
//!
//! A validating parser would reject, and so leave unsearched, documents that Graph's more tolerant parser reads. So this one
//! reads what any known parser would: names and strings in single quotes or without quotes, `=` and `;` for `:` and `,`, missing
//! and superfluous commas, truncated documents, and what follows the end. None of that changes how valid JSON is read.
//! A caller that must not touch invalid JSON asks `serde_json` first.

use std::ops::Range;

use memchr::{memchr, memchr2};

/// The next lexical token of a container. Positions are those in the text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Token {
    /// The opening bracket, and the position after it.
    Open(Container, usize),
    /// A member of an object, or an element of an array.
    Member(Member),
    /// A comma, and the position after it.
    Comma(usize),
    /// The closing bracket.
    Close,
}

/// A member of an object, or an element of an array.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Member {
    /// Its name, quotes included; empty, and at the start of the value, in an array.
    pub(crate) name: Range<usize>,
    /// Its value, quotes or brackets included; empty if it is missing.
    pub(crate) value: Range<usize>,
}

/// A value that has members or elements.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Container {
    /// `{}`
    Object,
    /// `[]`
    Array,
}

/// The tokens of the outermost containers of a text.
#[derive(Debug)]
pub(crate) struct Tokens<'text> {
    text: &'text [u8],
    at: usize,
    position: Position,
}

#[derive(Clone, Copy, Debug)]
enum Position {
    /// Before the document.
    Start,
    /// Before a name, an element, a comma or the closing bracket.
    Inside(Container),
    /// After the closing bracket. Another document may follow.
    AfterClose(Container),
}

/// Reads a part of a text.
pub(crate) fn tokens(text: &[u8], range: Range<usize>) -> Tokens<'_> {
    Tokens {
        text: text.get(..range.end).unwrap_or(text),
        at: range.start,
        position: Position::Start,
    }
}

// === impl Token ===

impl Token {
    /// The member, if this is one.
    pub(crate) fn member(self) -> Option<Member> {
        match self {
            Self::Member(member) => Some(member),
            Self::Open(..) | Self::Comma(_) | Self::Close => None,
        }
    }
}

// === impl Tokens ===

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            let byte = *self.text.get(self.at)?;
            match (self.position, byte) {
                // White space of any kind, and a byte order mark.
                (Position::Start, 0..=b' ' | 0xEF | 0xBB | 0xBF)
                | (Position::Inside(_), 0..=b' ' | b':' | b'=' | b'>') => self.at += 1,
                (Position::Start, b'{') => return self.open(Container::Object),
                (Position::Start, b'[') => return self.open(Container::Array),
                (Position::Start, _) => return None,
                (Position::Inside(_), b',' | b';') => {
                    self.at += 1;
                    return Some(Token::Comma(self.at));
                }
                // Either bracket closes, as in a nested container.
                (Position::Inside(container), b'}' | b']') => {
                    self.at += 1;
                    self.position = Position::AfterClose(container);
                    return Some(Token::Close);
                }
                (Position::Inside(container), first) => return Some(Token::Member(self.member(container, first))),
                (Position::AfterClose(container), _) => {
                    let opening = match container {
                        Container::Object => b'{',
                        Container::Array => b'[',
                    };
                    self.at += memchr(opening, self.text.get(self.at..)?)?;
                    return self.open(container);
                }
            }
        }
    }
}

impl Tokens<'_> {
    fn open(&mut self, container: Container) -> Option<Token> {
        self.at += 1;
        self.position = Position::Inside(container);
        Some(Token::Open(container, self.at))
    }

    fn member(&mut self, container: Container, first: u8) -> Member {
        let start = self.at;
        if container == Container::Array || matches!(first, b'{' | b'[') {
            self.at = value_end(self.text, start, is_value_end);
            let (name, value) = (start..start, start..self.at);
            return Member { name, value };
        }
        self.at = value_end(self.text, start, |byte| {
            is_value_end(byte) || matches!(byte, b':' | b'=')
        });
        let name = start..self.at;
        while let Some(0..=b' ' | b':' | b'=' | b'>') = self.text.get(self.at) {
            self.at += 1;
        }
        let start = self.at;
        if !matches!(self.text.get(start), Some(b',' | b';' | b'}' | b']')) {
            self.at = value_end(self.text, start, is_value_end);
        }
        let value = start..self.at;
        Member { name, value }
    }
}

/// The end of the value, or the name, that starts at `start`.
fn value_end(text: &[u8], start: usize, is_end: impl Fn(u8) -> bool) -> usize {
    match text.get(start) {
        Some(b'"' | b'\'') => string_end(text, start),
        Some(b'{' | b'[') => nested_end(text, start),
        _ => {
            let rest = text.get(start..).unwrap_or_default();
            start + rest.iter().position(|byte| is_end(*byte)).unwrap_or(rest.len())
        }
    }
}

/// The end of the nested container that starts at `start`. Its depth is a counter.
fn nested_end(text: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' | b'\'' => {
                at = string_end(text, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The end of the string whose opening quote is at `start`.
fn string_end(text: &[u8], start: usize) -> usize {
    let quote = text.get(start).copied().unwrap_or_default();
    let mut at = start + 1;
    while let Some(length) = text.get(at..).and_then(|rest| memchr2(quote, b'\\', rest)) {
        at += length + 1;
        if text.get(at - 1) == Some(&quote) {
            return at;
        }
        // The byte after a backslash means nothing.
        at += 1;
    }
    text.len()
}

/// Returns whether a byte ends a value without quotes: in a nested container it would be a bracket, a quote or a
/// separator.
const fn is_value_end(byte: u8) -> bool {
    matches!(byte, 0..=b' ' | b',' | b';' | b'{' | b'}' | b'[' | b']' | b'"' | b'\'')
}

#[cfg(test)]
mod tests;
