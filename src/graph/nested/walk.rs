//! From a text's first byte to its last, without recursion.

use std::ops::ControlFlow;

use super::text::{Text, Unescaped};

/// A container on the way from the top to where something stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// An array.
    Array,
    /// An object, and the key that was read last.
    Object(Word),
}

/// The keys that matter to anybody.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Word {
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
pub(crate) enum Event<T> {
    /// A string that is a value, from behind its opening quote.
    String(Unescaped<T>),
    /// A number or a literal, from its first byte.
    Scalar(T),
    /// A container has ended; the path is that of its parent's inside.
    Close,
}

/// Who is shown what is met, and the path to it.
type Visit<'visit, T> = &'visit mut dyn FnMut(&[Step], Event<T>) -> ControlFlow<()>;

/// How a walk ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Walked {
    /// The text is one JSON document.
    Whole,
    /// The visitor has seen enough.
    Stopped,
    /// It is no JSON, or deeper than [`DEEPEST`].
    Broken,
}

/// As deep as other readers of JSON go.
const DEEPEST: usize = 127;
/// The longest key that matters: `previous`.
const LONGEST: usize = 8;

struct Walk<T> {
    text: T,
    path: Vec<Step>,
}

#[derive(Clone, Copy)]
enum Expected {
    Value,
    ValueOrClose,
    Key,
    KeyOrClose,
    Colon,
    Behind,
}

/// A number or a literal, as far as it has been read.
#[derive(Clone, Copy)]
enum Scalar {
    Start,
    Minus,
    Zero,
    Digits,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
    Letters(&'static [u8]),
}

/// Walks through a document, and shows what is met and where.
pub(crate) fn walk<T: Text>(text: T, visit: Visit<'_, T>) -> Walked {
    let path = Vec::new();
    match (Walk { text, path }).run(visit) {
        Some(ControlFlow::Continue(())) => Walked::Whole,
        Some(ControlFlow::Break(())) => Walked::Stopped,
        None => Walked::Broken,
    }
}

// === impl Walk ===

impl<T: Text> Walk<T> {
    fn run(&mut self, visit: Visit<'_, T>) -> Option<ControlFlow<()>> {
        use Expected::{Behind, Colon, Key, KeyOrClose, Value, ValueOrClose};
        let mut expected = Value;
        loop {
            let before = self.text.clone();
            let Some(unit) = self.text.next() else {
                let whole = self.path.is_empty() && matches!(expected, Behind);
                return whole.then_some(ControlFlow::Continue(()));
            };
            let mut event = None;
            expected = match (expected, unit.byte) {
                (same, b' ' | b'\t' | b'\n' | b'\r') => same,
                (Value | ValueOrClose, b'"') => {
                    let string = Unescaped::new(self.text.clone());
                    event = Some(Event::String(string.clone()));
                    self.text = string.skipped()?;
                    Behind
                }
                (Value | ValueOrClose, b'{') => self.open(Step::Object(Word::Other), KeyOrClose)?,
                (Value | ValueOrClose, b'[') => self.open(Step::Array, ValueOrClose)?,
                (ValueOrClose | Behind, b']') if self.path.last() == Some(&Step::Array) => {
                    event = self.close();
                    Behind
                }
                (KeyOrClose | Behind, b'}') if self.is_in_object() => {
                    event = self.close();
                    Behind
                }
                (KeyOrClose | Key, b'"') => self.key()?,
                (Colon, b':') => Value,
                (Behind, b',') => match self.path.last()? {
                    Step::Array => Value,
                    Step::Object(_) => Key,
                },
                (Value | ValueOrClose, _) => {
                    event = Some(Event::Scalar(before.clone()));
                    self.scalar(before)?;
                    Behind
                }
                (Key | KeyOrClose | Colon | Behind, _) => return None,
            };
            if let Some(event) = event
                && visit(&self.path, event).is_break()
            {
                return Some(ControlFlow::Break(()));
            }
        }
    }

    fn is_in_object(&self) -> bool {
        matches!(self.path.last(), Some(Step::Object(_)))
    }

    fn open(&mut self, step: Step, expected: Expected) -> Option<Expected> {
        if self.path.len() >= DEEPEST {
            return None;
        }
        self.path.push(step);
        Some(expected)
    }

    fn close(&mut self) -> Option<Event<T>> {
        self.path.pop().map(|_step| Event::Close)
    }

    fn key(&mut self) -> Option<Expected> {
        let mut key = Unescaped::new(self.text.clone());
        let (mut name, mut length) = ([0; LONGEST], 0);
        for unit in key.by_ref() {
            if let Some(byte) = name.get_mut(length) {
                *byte = unit.byte;
            }
            length += 1;
        }
        self.text = key.skipped()?;
        let word = name.get(..length).map_or(Word::Other, Word::of);
        *self.path.last_mut()? = Step::Object(word);
        Some(Expected::Colon)
    }

    /// Reads on behind the scalar that begins with `text`.
    fn scalar(&mut self, text: T) -> Option<()> {
        self.text = text;
        let mut read = Scalar::Start;
        loop {
            let before = self.text.clone();
            let next = self.text.next().map(|unit| unit.byte);
            match next.filter(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)) {
                Some(byte) => read = read.then(byte)?,
                None => {
                    self.text = before;
                    return read.is_whole().then_some(());
                }
            }
        }
    }
}

// === impl Scalar ===

impl Scalar {
    fn then(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Start, b'-') => Self::Minus,
            (Self::Start | Self::Minus, b'0') => Self::Zero,
            (Self::Start | Self::Minus, b'1'..=b'9') | (Self::Digits, b'0'..=b'9') => Self::Digits,
            (Self::Zero | Self::Digits, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Digits | Self::Fraction, b'e' | b'E') => Self::Exponent,
            (Self::Exponent, b'+' | b'-') => Self::Sign,
            (Self::Exponent | Self::Sign | Self::Power, b'0'..=b'9') => Self::Power,
            (Self::Start, b't') => Self::Letters(b"rue"),
            (Self::Start, b'f') => Self::Letters(b"alse"),
            (Self::Start, b'n') => Self::Letters(b"ull"),
            (Self::Letters([next, rest @ ..]), _) if *next == byte => Self::Letters(rest),
            _ => return None,
        })
    }

    const fn is_whole(self) -> bool {
        matches!(
            self,
            Self::Zero | Self::Digits | Self::Fraction | Self::Power | Self::Letters([])
        )
    }
}

// === impl Word ===

impl Word {
    const fn of(name: &[u8]) -> Self {
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
