//! JSON read where it lies: what belongs to which member, in pieces of any size.
//!
//! [`Lexer`] tells the members of one object, or the elements of one array, apart. It builds nothing, checks nothing
//! and does not recurse: what is nested deeper is a counter. [`Text`] is a text whose bytes know where they stand in
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

pub(crate) use text::{Text, unescape};

/// What comes next in a container. Every name is followed by a value, an empty one if need be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Event {
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
    state: State,
    container: Container,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Before the document.
    #[default]
    Root,
    /// In a document that is no container.
    Foreign,
    /// Before a name, an element, a comma or the end.
    Between,
    Name(Form),
    /// Behind a name, and before its value.
    Colon,
    Value(Form),
    /// Behind the end. Another document may follow.
    After,
}

/// What a name or a value looks like.
#[derive(Clone, Copy, Debug)]
enum Form {
    Quoted(Quoted),
    Nested { depth: u64, within: Option<Quoted> },
    Bare,
}

#[derive(Clone, Copy, Debug)]
struct Quoted {
    quote: u8,
    /// The next byte means nothing: it follows a backslash, or opens the string.
    escaped: bool,
}

// === impl Lexer ===

impl Lexer {
    /// Goes on in `data` from `at` to the next event. `None`: there is none in the rest of `data`.
    pub(crate) fn next(&mut self, data: &[u8], at: &mut usize) -> Option<Event> {
        loop {
            match &mut self.state {
                State::Root => match *data.get(*at)? {
                    // White space of any kind, and a byte order mark.
                    0..=b' ' | 0xEF | 0xBB | 0xBF => *at += 1,
                    b'{' => return self.open(Container::Object, at),
                    b'[' => return self.open(Container::Array, at),
                    _ => self.state = State::Foreign,
                },
                State::Foreign => return None,
                State::Between => {
                    if let Some(event) = self.between(*data.get(*at)?, at) {
                        return Some(event);
                    }
                }
                State::Name(form) => {
                    if !form.skip(data, at, ends_name) {
                        return None;
                    }
                    self.state = State::Colon;
                    return Some(Event::NameEnd);
                }
                State::Colon => match *data.get(*at)? {
                    0..=b' ' | b':' | b'=' | b'>' => *at += 1,
                    b',' | b';' | b'}' | b']' => {
                        self.state = State::Between;
                        return Some(Event::ValueEnd);
                    }
                    first => {
                        self.state = State::Value(Form::of(first));
                        return Some(Event::ValueStart);
                    }
                },
                State::Value(form) => {
                    if !form.skip(data, at, ends_value) {
                        return None;
                    }
                    self.state = State::Between;
                    return Some(Event::ValueEnd);
                }
                State::After => {
                    let rest = data.get(*at..)?;
                    *at += memchr(self.container.opening(), rest).unwrap_or(rest.len());
                    data.get(*at)?;
                    return self.open(self.container, at);
                }
            }
        }
    }

    /// The end of the data: the events of what it cuts off, one at a time.
    pub(crate) const fn finish(&mut self) -> Option<Event> {
        match self.state {
            State::Root | State::Foreign | State::Between | State::After => None,
            State::Name(_) => {
                self.state = State::Colon;
                Some(Event::NameEnd)
            }
            State::Colon | State::Value(_) => {
                self.state = State::Between;
                Some(Event::ValueEnd)
            }
        }
    }

    /// Nothing is to be found in the rest of the data, whatever it is.
    pub(crate) const fn ignore(&mut self) {
        self.state = State::Foreign;
    }

    /// Whether it is between two members, or behind the last.
    pub(crate) const fn is_between(&self) -> bool {
        matches!(self.state, State::Between)
    }

    const fn open(&mut self, container: Container, at: &mut usize) -> Option<Event> {
        *at += 1;
        self.container = container;
        self.state = State::Between;
        Some(Event::Open(container))
    }

    fn between(&mut self, byte: u8, at: &mut usize) -> Option<Event> {
        match (byte, self.container) {
            (b',' | b';', _) => {
                *at += 1;
                Some(Event::Comma)
            }
            // Whichever it is: what is nested is not told apart either.
            (b'}' | b']', _) => {
                *at += 1;
                self.state = State::After;
                Some(Event::Close)
            }
            (0..=b' ' | b':' | b'=' | b'>', _) => {
                *at += 1;
                None
            }
            (b'{' | b'[', _) | (_, Container::Array) => {
                self.state = State::Value(Form::of(byte));
                Some(Event::ValueStart)
            }
            (_, Container::Object) => {
                self.state = State::Name(Form::of(byte));
                Some(Event::NameStart)
            }
        }
    }
}

/// All events of a text, each with its place in it.
pub(crate) fn events(text: &[u8]) -> impl Iterator<Item = (Event, usize)> {
    let mut lexer = Lexer::default();
    let mut at = 0;
    iter::from_fn(move || {
        let event = lexer.next(text, &mut at).or_else(|| lexer.finish())?;
        Some((event, at))
    })
}

// === impl Container ===

impl Container {
    const fn opening(self) -> u8 {
        match self {
            Self::Object => b'{',
            Self::Array => b'[',
        }
    }
}

// === impl Form ===

impl Form {
    const fn of(first: u8) -> Self {
        match first {
            b'"' | b'\'' => Self::Quoted(Quoted::opened_by(first)),
            b'{' | b'[' => Self::Nested {
                depth: 0,
                within: None,
            },
            _ => Self::Bare,
        }
    }

    /// Whether it ends in `data`; then `at` is behind it.
    fn skip(&mut self, data: &[u8], at: &mut usize, ends_bare: fn(u8) -> bool) -> bool {
        match self {
            Self::Quoted(quoted) => quoted.skip(data, at),
            Self::Bare => {
                let rest = data.get(*at..).unwrap_or_default();
                let length = rest.iter().position(|byte| ends_bare(*byte));
                *at += length.unwrap_or(rest.len());
                length.is_some()
            }
            Self::Nested { depth, within } => {
                while let Some(byte) = data.get(*at) {
                    if let Some(quoted) = within {
                        if quoted.skip(data, at) {
                            *within = None;
                        }
                        continue;
                    }
                    match byte {
                        b'"' | b'\'' => *within = Some(Quoted::opened_by(*byte)),
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

impl Quoted {
    const fn opened_by(quote: u8) -> Self {
        Self {
            quote,
            escaped: true,
        }
    }

    fn skip(&mut self, data: &[u8], at: &mut usize) -> bool {
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

const fn ends_name(byte: u8) -> bool {
    ends_value(byte) || matches!(byte, b':' | b'=')
}

/// What would be a bracket or a quote if it were nested.
const fn ends_value(byte: u8) -> bool {
    matches!(
        byte,
        0..=b' ' | b',' | b';' | b'{' | b'}' | b'[' | b']' | b'"' | b'\''
    )
}

#[cfg(test)]
mod tests;
