//! JSON read where it lies: what belongs to which member, in pieces of any size.
//!
//! [`Lexer`] tells the members of one object, or the elements of one array, apart. It builds nothing, checks nothing
//! and does not recurse: what is nested deeper is a counter. [`SourceText`] is a text whose bytes know where they stand in
//! the document: in it, in a string of it, or in a string of the document that a string of it holds.
//!
//! # Why
//!
//! A parser that validates would let pass, unread, what a more tolerant one behind it reads. So this one reads what any of
//! those known would: names and strings in single quotes or in none, `=` and `;` for `:` and `,`, missing and
//! superfluous commas, what is cut off, and what follows the end. None of that changes how valid JSON is read.

mod text;

use std::iter;

use memchr::{memchr, memchr2};

pub(crate) use text::{SourceText, unescape};

/// What comes next in a container. Every name is followed by a value, an empty one if need be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum LexEvent {
    /// Behind the opening bracket.
    Open(Container),
    /// Before the first byte of a name.
    NameStart,
    /// Behind the last byte of a name.
    NameEnd,
    /// Before the first byte of a value. Missing if the value is.
    ValueStart,
    /// Behind the last byte of a value.
    ValueEnd,
    /// Behind a comma.
    Comma,
    /// Behind the closing bracket.
    Close,
}

/// What has members or elements.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Container {
    /// `{}`
    #[default]
    Object,
    /// `[]`
    Array,
}

/// Tells the members of the outermost container apart.
#[derive(Debug, Default)]
pub(crate) struct Lexer {
    state: LexerState,
    container: Container,
}

#[derive(Clone, Copy, Debug, Default)]
enum LexerState {
    /// Before the document.
    #[default]
    Root,
    /// In a document that is no container.
    Ignored,
    /// Before a name, an element, a comma or the end.
    BetweenMembers,
    Name(ValueSyntax),
    /// Behind a name, and before its value.
    Colon,
    Value(ValueSyntax),
    /// Behind the end. Another document may follow.
    AfterDocument,
}

/// What a name or a value looks like.
#[derive(Clone, Copy, Debug)]
enum ValueSyntax {
    Quoted(QuotedString),
    Nested {
        depth: u64,
        in_string: Option<QuotedString>,
    },
    Unquoted,
}

#[derive(Clone, Copy, Debug)]
struct QuotedString {
    quote: u8,
    /// The next byte means nothing: it follows a backslash, or opens the string.
    escaped: bool,
}

// === impl Lexer ===

impl Lexer {
    /// Goes on in `data` from `at` to the next event. `None`: there is none in the rest of `data`.
    pub(crate) fn next(&mut self, data: &[u8], at: &mut usize) -> Option<LexEvent> {
        loop {
            match &mut self.state {
                LexerState::Root => match *data.get(*at)? {
                    // White space of any kind, and a byte order mark.
                    0..=b' ' | 0xEF | 0xBB | 0xBF => *at += 1,
                    b'{' => return self.open(Container::Object, at),
                    b'[' => return self.open(Container::Array, at),
                    _ => self.state = LexerState::Ignored,
                },
                LexerState::Ignored => return None,
                LexerState::BetweenMembers => {
                    if let Some(event) = self.next_between_members(*data.get(*at)?, at) {
                        return Some(event);
                    }
                }
                LexerState::Name(form) => {
                    if !form.skip_value(data, at, is_name_end) {
                        return None;
                    }
                    self.state = LexerState::Colon;
                    return Some(LexEvent::NameEnd);
                }
                LexerState::Colon => match *data.get(*at)? {
                    0..=b' ' | b':' | b'=' | b'>' => *at += 1,
                    b',' | b';' | b'}' | b']' => {
                        self.state = LexerState::BetweenMembers;
                        return Some(LexEvent::ValueEnd);
                    }
                    first => {
                        self.state = LexerState::Value(ValueSyntax::from_first_byte(first));
                        return Some(LexEvent::ValueStart);
                    }
                },
                LexerState::Value(form) => {
                    if !form.skip_value(data, at, is_value_end) {
                        return None;
                    }
                    self.state = LexerState::BetweenMembers;
                    return Some(LexEvent::ValueEnd);
                }
                LexerState::AfterDocument => {
                    let rest = data.get(*at..)?;
                    *at += memchr(self.container.opening_byte(), rest).unwrap_or(rest.len());
                    data.get(*at)?;
                    return self.open(self.container, at);
                }
            }
        }
    }

    /// The end of the data: the events of what it cuts off, one at a time.
    pub(crate) const fn next_at_end(&mut self) -> Option<LexEvent> {
        match self.state {
            LexerState::Root | LexerState::Ignored | LexerState::BetweenMembers | LexerState::AfterDocument => None,
            LexerState::Name(_) => {
                self.state = LexerState::Colon;
                Some(LexEvent::NameEnd)
            }
            LexerState::Colon | LexerState::Value(_) => {
                self.state = LexerState::BetweenMembers;
                Some(LexEvent::ValueEnd)
            }
        }
    }

    /// Nothing is to be found in the rest of the data, whatever it is.
    pub(crate) const fn skip_rest(&mut self) {
        self.state = LexerState::Ignored;
    }

    /// Whether it is between two members, or behind the last.
    pub(crate) const fn is_between_members(&self) -> bool {
        matches!(self.state, LexerState::BetweenMembers)
    }

    const fn open(&mut self, container: Container, at: &mut usize) -> Option<LexEvent> {
        *at += 1;
        self.container = container;
        self.state = LexerState::BetweenMembers;
        Some(LexEvent::Open(container))
    }

    fn next_between_members(&mut self, byte: u8, at: &mut usize) -> Option<LexEvent> {
        match (byte, self.container) {
            (b',' | b';', _) => {
                *at += 1;
                Some(LexEvent::Comma)
            }
            // Whichever it is: what is nested is not told apart either.
            (b'}' | b']', _) => {
                *at += 1;
                self.state = LexerState::AfterDocument;
                Some(LexEvent::Close)
            }
            (0..=b' ' | b':' | b'=' | b'>', _) => {
                *at += 1;
                None
            }
            (b'{' | b'[', _) | (_, Container::Array) => {
                self.state = LexerState::Value(ValueSyntax::from_first_byte(byte));
                Some(LexEvent::ValueStart)
            }
            (_, Container::Object) => {
                self.state = LexerState::Name(ValueSyntax::from_first_byte(byte));
                Some(LexEvent::NameStart)
            }
        }
    }
}

/// All events of a text, each with its place in it.
pub(crate) fn lex(text: &[u8]) -> impl Iterator<Item = (LexEvent, usize)> {
    let mut lexer = Lexer::default();
    let mut at = 0;
    iter::from_fn(move || {
        let event = lexer.next(text, &mut at).or_else(|| lexer.next_at_end())?;
        Some((event, at))
    })
}

// === impl Container ===

impl Container {
    const fn opening_byte(self) -> u8 {
        match self {
            Self::Object => b'{',
            Self::Array => b'[',
        }
    }
}

// === impl Form ===

impl ValueSyntax {
    const fn from_first_byte(first: u8) -> Self {
        match first {
            b'"' | b'\'' => Self::Quoted(QuotedString::new(first)),
            b'{' | b'[' => Self::Nested {
                depth: 0,
                in_string: None,
            },
            _ => Self::Unquoted,
        }
    }

    /// Whether it ends in `data`; then `at` is behind it.
    fn skip_value(&mut self, data: &[u8], at: &mut usize, is_end: fn(u8) -> bool) -> bool {
        match self {
            Self::Quoted(quoted) => quoted.skip_string(data, at),
            Self::Unquoted => {
                let rest = data.get(*at..).unwrap_or_default();
                let length = rest.iter().position(|byte| is_end(*byte));
                *at += length.unwrap_or(rest.len());
                length.is_some()
            }
            Self::Nested {
                depth,
                in_string: within,
            } => {
                while let Some(byte) = data.get(*at) {
                    if let Some(quoted) = within {
                        if quoted.skip_string(data, at) {
                            *within = None;
                        }
                        continue;
                    }
                    match byte {
                        b'"' | b'\'' => *within = Some(QuotedString::new(*byte)),
                        b'{' | b'[' => {
                            *depth += 1;
                            *at += 1;
                        }
                        b'}' | b']' => {
                            *depth -= 1;
                            *at += 1;
                            if *depth == 0 {
                                return true;
                            }
                        }
                        _ => *at += 1,
                    }
                }
                false
            }
        }
    }
}

impl QuotedString {
    const fn new(quote: u8) -> Self {
        Self { quote, escaped: true }
    }

    fn skip_string(&mut self, data: &[u8], at: &mut usize) -> bool {
        while let Some(rest) = data.get(*at..).filter(|rest| !rest.is_empty()) {
            if self.escaped {
                self.escaped = false;
                *at += 1;
                continue;
            }
            let Some(length) = memchr2(self.quote, b'\\', rest) else {
                *at = data.len();
                return false;
            };
            *at += length + 1;
            if rest.get(length) == Some(&self.quote) {
                return true;
            }
            self.escaped = true;
        }
        false
    }
}

const fn is_name_end(byte: u8) -> bool {
    is_value_end(byte) || matches!(byte, b':' | b'=')
}

/// What would be a bracket or a quote if it were nested.
const fn is_value_end(byte: u8) -> bool {
    matches!(byte, 0..=b' ' | b',' | b';' | b'{' | b'}' | b'[' | b']' | b'"' | b'\'')
}

#[cfg(test)]
mod tests;
