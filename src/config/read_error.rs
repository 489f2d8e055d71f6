//! Serde's errors, in words that repeat no value.

use std::fmt;

use serde::de::{Error, Expected, Unexpected};

use super::error::{nearest, quote};
use super::tree::Step;

/// Why a value is invalid, and where it is.
#[derive(Debug)]
pub(super) struct ReadError {
    /// From the root, the last step first.
    pub(super) path: Vec<Step>,
    pub(super) problem: Problem,
}

/// Why a value is invalid.
#[derive(Debug)]
pub(super) enum Problem {
    /// It is not what it must be.
    Invalid(String),
    /// Its table has no such key, but these.
    UnknownKey(&'static [&'static str]),
    /// It is a table without the key of a kind: the keys of all kinds, and what must be written.
    UnknownKind(&'static [&'static str], String),
}

impl ReadError {
    pub(super) fn below(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }
}

impl From<Problem> for ReadError {
    fn from(problem: Problem) -> Self {
        Self {
            path: Vec::new(),
            problem,
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value is invalid")
    }
}

impl std::error::Error for ReadError {}

impl Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Problem::Invalid(message.to_string()).into()
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let kinds = [
            ("a boolean", matches!(unexpected, Unexpected::Bool(_))),
            ("an integer", matches!(unexpected, Unexpected::Signed(_))),
            ("a list", matches!(unexpected, Unexpected::Seq)),
            ("a table", matches!(unexpected, Unexpected::Map)),
        ];
        let kind = kinds.iter().find(|(_, is)| *is).map_or("a string", |(kind, _)| kind);
        Self::custom(format!("must be {expected}, not {kind}"))
    }

    fn invalid_value(_unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format!("must be {expected}"))
    }

    fn invalid_length(_length: usize, expected: &dyn Expected) -> Self {
        Self::custom(format!("must be {expected}"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = nearest(variant, expected.iter().copied());
        let hint = hint.map_or_else(String::new, |word| format!("; did you mean \"{word}\"?"));
        let words = expected.join("\", \"");
        Self::custom(format!("must be one of \"{words}\", not {}{hint}", quote(variant)))
    }

    fn unknown_field(_field: &str, expected: &'static [&'static str]) -> Self {
        Problem::UnknownKey(expected).into()
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format!("is missing `{field}`"))
    }
}
