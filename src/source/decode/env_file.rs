//! The value of a key in a `.env` file, as the app's own loader reads it.
//!
//! # Why
//!
//! npm's dotenv, python-dotenv and Compose disagree in the details. graphward follows npm's rules for lines, quotes and
//! comments, and expands variables as python-dotenv and Compose do: where the three differ, that is the reading that can
//! be a token. `tests/clients/env-files.json` has the differences, and is checked with the loaders themselves.
//!
//! The file is read as bytes, since a comment may be in any encoding.

use zeroize::Zeroizing;

use super::error::DecodeError;
use super::plain_text::QUOTES;
use crate::types::closest;

/// An assignment: `KEY=value`, `export KEY=value` or `KEY: value`.
#[derive(Clone, Copy)]
struct Assignment<'a> {
    name: &'a [u8],
    /// The text without its quotes.
    value: &'a [u8],
    quote: Option<u8>,
}

/// Returns the last value that is assigned to `key`, with the file's own variables expanded.
pub(super) fn value_of_key(file: &[u8], key: &str) -> Result<Zeroizing<String>, DecodeError> {
    let assignments = assignments(file);
    let mut expansion = Expansion {
        assignments: &assignments,
        budget: MAX_EXPANSIONS,
        open: Vec::new(),
        text: Zeroizing::new(Vec::with_capacity(2 * file.len())),
    };
    expansion.append(last_of_key(&assignments, key)?);
    let text = std::str::from_utf8(&expansion.text).map_err(|_encoding| DecodeError::InvalidCharacter)?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Returns the last value that is assigned to `key`, as it stands in the file.
pub(super) fn written_value<'a>(file: &'a [u8], key: &str) -> Result<&'a str, DecodeError> {
    let found = last_of_key(&assignments(file), key)?;
    std::str::from_utf8(found.value).map_err(|_encoding| DecodeError::InvalidCharacter)
}

fn last_of_key<'a>(assignments: &[Assignment<'a>], key: &str) -> Result<Assignment<'a>, DecodeError> {
    last_of(assignments, key.as_bytes()).ok_or_else(|| {
        let names = assignments.iter().flat_map(|other| std::str::from_utf8(other.name));
        let similar = names.filter(|name| resembles(name, key)).take(MAX_NAMED);
        let hint = match Vec::from_iter(similar.map(|name| format!("`{name}`"))).join(", ") {
            none if none.is_empty() => none,
            names => format!(", but others assign {names}"),
        };
        let (key, hint) = (key.into(), hint.into());
        DecodeError::KeyNotFound { key, hint }
    })
}

/// Whether a key is probably meant by another one: it is similar, or ends with the same word. The text before a `=` may be a piece
/// of a secret, such as the last line of a key in base64, which is not.
fn resembles(name: &str, key: &str) -> bool {
    let [name, key] = [name, key].map(str::to_lowercase);
    let words = name.split(['_', '-', '.']);
    let is_word = |word: &str| word.len() < 20 && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_similar = closest(&name, [key.as_str()].into_iter(), 0.6).is_some();
    (is_similar || words.clone().next_back() == key.rsplit('_').next()) && words.clone().all(is_word)
}

fn last_of<'a>(assignments: &[Assignment<'a>], name: &[u8]) -> Option<Assignment<'a>> {
    assignments.iter().rfind(|assignment| assignment.name == name).copied()
}

/// Parses a file. What is no assignment is passed over, as the loaders do.
fn assignments(file: &[u8]) -> Vec<Assignment<'_>> {
    let (mut found, mut rest) = (Vec::new(), file);
    while !rest.is_empty() {
        let (line, mut after) = split_line(rest);
        if let Some((name, on_line)) = split_name(line) {
            let (mut value, mut quote) = (until_comment(on_line), None);
            // A quoted value may have several lines, and may begin on the next one.
            let (_, text) = rest.split_at(line.len() - on_line.len());
            if let Some(quoted) = quoted(text.trim_ascii_start()) {
                (quote, value, after) = quoted;
            }
            found.push(Assignment { name, value, quote });
        }
        rest = after;
    }
    found
}

/// Splits a line at its end: LF, CR LF or CR.
fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    let (line, rest) = text.split_at(end.unwrap_or(text.len()));
    let after = rest.strip_prefix(b"\r\n").or_else(|| rest.get(1..));
    (line, after.unwrap_or_default())
}

/// Splits a line after `=`, or after a colon that white space follows.
fn split_name(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_separator = |at: &usize| matches!(line.get(*at..), Some([b'=', ..] | [b':', b' ' | b'\t', ..]));
    let at = (0..line.len()).find(is_separator)?;
    let (name, value) = (line.get(..at)?.trim_ascii(), line.get(at + 1..)?);
    let is_space = |sign: &u8| sign.is_ascii_whitespace();
    let exported = name
        .strip_prefix(b"export")
        .filter(|name| name.first().is_some_and(is_space));
    let name = exported.unwrap_or(name).trim_ascii();
    // python-dotenv accepts a key in quotes.
    let quoted = name.strip_prefix(b"'").and_then(|name| name.strip_suffix(b"'"));
    let name = quoted.unwrap_or(name);
    let is_name = !name.is_empty() && !name.iter().any(|sign| is_space(sign) || *sign == b'#');
    is_name.then_some((name, value))
}

/// Returns the quote, the text in quotes and the lines after it, if only white space or a comment follows on its line.
fn quoted(text: &[u8]) -> Option<(Option<u8>, &[u8], &[u8])> {
    let (quote, inner) = text.split_first()?;
    let mut found = None;
    let is_quote = QUOTES.contains(&char::from(*quote));
    for at in (0..inner.len()).filter(|at| is_quote && inner.get(*at) == Some(quote)) {
        let (value, closing) = inner.split_at(at);
        let (line_end, after) = split_line(closing.get(1..)?);
        if until_comment(line_end).is_empty() {
            found = Some((Some(*quote), value, after));
        }
        // An escaped quote ends the value only if no later one does, as in `'C:\'`.
        if !value.ends_with(b"\\") {
            break;
        }
    }
    found
}

/// Returns a value without quotes: until a `#`, without white space around it.
fn until_comment(value: &[u8]) -> &[u8] {
    value
        .split(|sign| *sign == b'#')
        .next()
        .unwrap_or_default()
        .trim_ascii()
}

/// The most keys that an error names.
const MAX_NAMED: usize = 5;
/// The most variables that one value may refer to, directly or not: a file must not be able to make this take long.
const MAX_EXPANSIONS: u32 = 64;

/// The expansion of the variables in one value.
struct Expansion<'a> {
    assignments: &'a [Assignment<'a>],
    budget: u32,
    /// The names of the values that are being expanded, each in the one before.
    open: Vec<&'a [u8]>,
    text: Zeroizing<Vec<u8>>,
}

impl<'a> Expansion<'a> {
    /// Appends a value, with the variables in it that the file defines. Other references stay, and so does one to a value that
    /// is being expanded: they are no token.
    fn append(&mut self, assignment: Assignment<'a>) {
        self.open.push(assignment.name);
        let mut rest = assignment.value;
        if assignment.quote == Some(b'"') {
            while let Some(before) = rest.strip_suffix(b"\\n").or_else(|| rest.strip_suffix(b"\\r")) {
                rest = before;
            }
        }
        let is_literal = assignment.quote == Some(b'\'');
        while let Some(at) = rest.iter().position(|sign| *sign == b'$').filter(|_| !is_literal) {
            let (before, reference) = rest.split_at(at);
            self.text.extend_from_slice(before);
            let (name, after) = split_reference(reference);
            let defined = last_of(self.assignments, name);
            let defined = defined.filter(|defined| self.has_room(defined.value) && !self.open.contains(&defined.name));
            rest = after;
            if let Some(defined) = defined {
                self.budget -= 1;
                self.append(defined);
            } else {
                self.text
                    .extend_from_slice(reference.strip_suffix(after).unwrap_or_default());
            }
        }
        self.text.extend_from_slice(rest);
        self.open.pop();
    }

    /// Whether another value may be expanded. The text never grows beyond its capacity, which would leave copies behind.
    fn has_room(&self, value: &[u8]) -> bool {
        self.budget > 0 && self.text.len() + value.len() < self.text.capacity()
    }
}

/// Splits `${NAME}`, `${NAME:-default}` or `$NAME` into the name and what follows.
fn split_reference(text: &[u8]) -> (&[u8], &[u8]) {
    let is_other = |sign: &u8| !sign.is_ascii_alphanumeric() && *sign != b'_';
    let is_end = |sign: &u8| {
        if text.starts_with(b"${") {
            *sign == b'}'
        } else {
            is_other(sign)
        }
    };
    let inner = text.strip_prefix(b"${").or_else(|| text.get(1..)).unwrap_or_default();
    let (inner, after) = inner.split_at(inner.iter().position(is_end).unwrap_or(inner.len()));
    let name = inner.split(is_other).next().unwrap_or_default();
    (
        name,
        after
            .strip_prefix(b"}")
            .filter(|_| text.starts_with(b"${"))
            .unwrap_or(after),
    )
}
