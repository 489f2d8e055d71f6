//! From a text's first byte to its last, without recursion.

use std::ops::ControlFlow;

use super::text::{ByteSource, UnescapedString};

/// A container on the way from the top to where something stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PathStep {
    /// An array.
    Array,
    /// An object, and the key that was read last.
    Object(KnownKey),
}

/// The keys that matter to anybody.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum KnownKey {
    Body,
    Code,
    Next,
    Paging,
    Previous,
    Url,
    Other,
}

/// What is met on the way.
#[derive(Debug)]
pub(crate) enum VisitEvent<T> {
    /// A string that is a value, from behind its opening quote.
    String(UnescapedString<T>),
    /// A number or a literal, from its first byte.
    Scalar(T),
    /// A container has ended; the path is that of its parent's inside.
    ContainerEnd,
}

/// Who is shown what is met, and the path to it.
type Visitor<'visit, T> = &'visit mut dyn FnMut(&[PathStep], VisitEvent<T>) -> ControlFlow<()>;

/// How a walk ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ParseOutcome {
    /// The text is one JSON document.
    Complete,
    /// The visitor has seen enough.
    Stopped,
    /// It is no JSON, or deeper than [`MAX_DEPTH`].
    Invalid,
}

/// As deep as other readers of JSON go.
const MAX_DEPTH: usize = 127;
/// The longest key that matters: `previous`.
const MAX_KEY_BYTES: usize = 8;

struct JsonWalker<T> {
    source: T,
    path: Vec<PathStep>,
}

#[derive(Clone, Copy)]
enum Expected {
    Value,
    ValueOrClose,
    Key,
    KeyOrClose,
    Colon,
    AfterValue,
}

/// A number or a literal, as far as it has been read.
#[derive(Clone, Copy)]
enum ScalarState {
    Start,
    Minus,
    Zero,
    Digits,
    DecimalPoint,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
    Literal(&'static [u8]),
}

/// Walks through a document, and shows what is met and where.
pub(crate) fn walk<T: ByteSource>(text: T, visit: Visitor<'_, T>) -> ParseOutcome {
    let path = Vec::new();
    match (JsonWalker { source: text, path }).run(visit) {
        Some(ControlFlow::Continue(())) => ParseOutcome::Complete,
        Some(ControlFlow::Break(())) => ParseOutcome::Stopped,
        None => ParseOutcome::Invalid,
    }
}

// === impl JsonWalker ===

impl<T: ByteSource> JsonWalker<T> {
    fn run(&mut self, visit: Visitor<'_, T>) -> Option<ControlFlow<()>> {
        use Expected::{AfterValue, Colon, Key, KeyOrClose, Value, ValueOrClose};
        let mut expected = Value;
        loop {
            let before = self.source.clone();
            let Some(unit) = self.source.next() else {
                let is_complete = self.path.is_empty() && matches!(expected, AfterValue);
                return is_complete.then_some(ControlFlow::Continue(()));
            };
            let mut event = None;
            expected = match (expected, unit.byte) {
                (same, b' ' | b'\t' | b'\n' | b'\r') => same,
                (Value | ValueOrClose, b'"') => {
                    let string = UnescapedString::new(self.source.clone());
                    event = Some(VisitEvent::String(string.clone()));
                    self.source = string.into_rest()?;
                    AfterValue
                }
                (Value | ValueOrClose, b'{') => self.open_container(PathStep::Object(KnownKey::Other), KeyOrClose)?,
                (Value | ValueOrClose, b'[') => self.open_container(PathStep::Array, ValueOrClose)?,
                (ValueOrClose | AfterValue, b']') if self.path.last() == Some(&PathStep::Array) => {
                    event = self.close_container();
                    AfterValue
                }
                (KeyOrClose | AfterValue, b'}') if self.is_in_object() => {
                    event = self.close_container();
                    AfterValue
                }
                (KeyOrClose | Key, b'"') => self.read_key()?,
                (Colon, b':') => Value,
                (AfterValue, b',') => match self.path.last()? {
                    PathStep::Array => Value,
                    PathStep::Object(_) => Key,
                },
                (Value | ValueOrClose, _) => {
                    event = Some(VisitEvent::Scalar(before.clone()));
                    self.skip_scalar(before)?;
                    AfterValue
                }
                (Key | KeyOrClose | Colon | AfterValue, _) => return None,
            };
            if let Some(event) = event
                && visit(&self.path, event).is_break()
            {
                return Some(ControlFlow::Break(()));
            }
        }
    }

    fn is_in_object(&self) -> bool {
        matches!(self.path.last(), Some(PathStep::Object(_)))
    }

    fn open_container(&mut self, step: PathStep, expected: Expected) -> Option<Expected> {
        if self.path.len() >= MAX_DEPTH {
            return None;
        }
        self.path.push(step);
        Some(expected)
    }

    fn close_container(&mut self) -> Option<VisitEvent<T>> {
        self.path.pop().map(|_step| VisitEvent::ContainerEnd)
    }

    fn read_key(&mut self) -> Option<Expected> {
        let mut key = UnescapedString::new(self.source.clone());
        let (mut name, mut length) = ([0; MAX_KEY_BYTES], 0);
        for unit in key.by_ref() {
            if let Some(byte) = name.get_mut(length) {
                *byte = unit.byte;
            }
            length += 1;
        }
        self.source = key.into_rest()?;
        let known_key = name.get(..length).map_or(KnownKey::Other, KnownKey::from_name);
        *self.path.last_mut()? = PathStep::Object(known_key);
        Some(Expected::Colon)
    }

    /// Reads on behind the scalar that begins with `source`.
    fn skip_scalar(&mut self, text: T) -> Option<()> {
        self.source = text;
        let mut state = ScalarState::Start;
        loop {
            let before = self.source.clone();
            let next = self.source.next().map(|unit| unit.byte);
            match next.filter(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)) {
                Some(byte) => state = state.next_state(byte)?,
                None => {
                    self.source = before;
                    return state.is_complete().then_some(());
                }
            }
        }
    }
}

// === impl ScalarState ===

impl ScalarState {
    fn next_state(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Start, b'-') => Self::Minus,
            (Self::Start | Self::Minus, b'0') => Self::Zero,
            (Self::Start | Self::Minus, b'1'..=b'9') | (Self::Digits, b'0'..=b'9') => Self::Digits,
            (Self::Zero | Self::Digits, b'.') => Self::DecimalPoint,
            (Self::DecimalPoint | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Digits | Self::Fraction, b'e' | b'E') => Self::Exponent,
            (Self::Exponent, b'+' | b'-') => Self::ExponentSign,
            (Self::Exponent | Self::ExponentSign | Self::ExponentDigits, b'0'..=b'9') => Self::ExponentDigits,
            (Self::Start, b't') => Self::Literal(b"rue"),
            (Self::Start, b'f') => Self::Literal(b"alse"),
            (Self::Start, b'n') => Self::Literal(b"ull"),
            (Self::Literal([next, rest @ ..]), _) if *next == byte => Self::Literal(rest),
            _ => return None,
        })
    }

    const fn is_complete(self) -> bool {
        matches!(
            self,
            Self::Zero | Self::Digits | Self::Fraction | Self::ExponentDigits | Self::Literal([])
        )
    }
}

// === impl KnownKey ===

impl KnownKey {
    const fn from_name(name: &[u8]) -> Self {
        match name {
            b"body" => Self::Body,
            b"code" => Self::Code,
            b"next" => Self::Next,
            b"paging" => Self::Paging,
            b"previous" => Self::Previous,
            b"url" => Self::Url,
            _ => Self::Other,
        }
    }
}
