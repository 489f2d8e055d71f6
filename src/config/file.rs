//! The file, key for key: TOML as a tree in which everything knows its line.
//!
//! # Why
//!
//! The parser's own way of showing an error prints the line it is on. Here only its message is used, which
//! speaks of the grammar and never of the text.

use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::fault::Fault;
use super::place::Provenance;

/// A value, and where it was said.
#[derive(Clone)]
pub(super) struct Said {
    pub(super) place: Provenance,
    pub(super) value: Value,
}

/// A value as it was said, not yet understood.
#[derive(Clone)]
pub(super) enum Value {
    Text(String),
    /// A whole number; none if it is beyond 64 bits.
    Number(Option<i64>),
    Switch(bool),
    List(Vec<Said>),
    Table(Vec<Entry>),
    Fraction,
    Date,
}

/// A key of a table, and what it was given.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) said: Said,
}

/// Reads a file's text: its top-level keys, in the order of their lines.
pub(super) fn parse(path: &Arc<Path>, text: &str) -> Result<Vec<Entry>, Vec<Fault>> {
    let lines = Lines { path, text };
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(lines.entries(table.get_ref()));
    }
    let mut faults: Vec<Fault> = Vec::new();
    for error in errors {
        let offset = error.span().map_or(0, |span| span.start);
        let place = lines.place(offset);
        // One mistake often upsets the rest of its line.
        if faults.last().is_some_and(|last| last.place == place) {
            continue;
        }
        let what = format!(
            "this is not TOML, at column {}: {}",
            lines.column(offset),
            error.message()
        );
        faults.push(Fault::new(&place, "", what));
    }
    Err(faults)
}

// === impl ParamValue ===

impl Value {
    /// What it is, for a message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Number(_) => "a number",
            Self::Switch(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Fraction => "a fraction",
            Self::Date => "a date",
        }
    }
}

struct Lines<'a> {
    path: &'a Arc<Path>,
    text: &'a str,
}

impl Lines<'_> {
    fn entries(&self, table: &DeTable<'_>) -> Vec<Entry> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| Entry {
            key: String::from(std::borrow::Cow::as_ref(key.get_ref())),
            said: Said {
                place: self.place(key.span().start),
                value: self.value(value.get_ref()),
            },
        };
        entries.into_iter().map(entry).collect()
    }

    fn value(&self, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.clone().into_owned()),
            DeValue::Integer(number) => Value::Number(i64::from_str_radix(number.as_str(), number.radix()).ok()),
            DeValue::Float(_) => Value::Fraction,
            DeValue::Boolean(on) => Value::Switch(*on),
            DeValue::Datetime(_) => Value::Date,
            DeValue::Array(items) => Value::List(
                items
                    .iter()
                    .map(|item| Said {
                        place: self.place(item.span().start),
                        value: self.value(item.get_ref()),
                    })
                    .collect(),
            ),
            DeValue::Table(table) => Value::Table(self.entries(table)),
        }
    }

    fn place(&self, offset: usize) -> Provenance {
        let before = self.before(offset);
        Provenance::File {
            path: Arc::clone(self.path),
            line: 1 + before.bytes().filter(|byte| *byte == b'\n').count(),
        }
    }

    fn column(&self, offset: usize) -> usize {
        let before = self.before(offset);
        let line = before.rsplit('\n').next().unwrap_or(before);
        1 + line.chars().count()
    }

    fn before(&self, offset: usize) -> &str {
        self.text.get(..offset).unwrap_or(self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let path: Arc<Path> = Arc::from(Path::new("a.toml"));
        match parse(&path, text) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_syntax_error_shows_line_and_column_and_never_the_line() {
        for (text, place) in [
            (
                "[token]\nsource = EAAGsecret\n",
                "a.toml:2: this is not TOML, at column 10: ",
            ),
            (
                "[token]\nsource = \"EAAGsecret\n",
                "a.toml:2: this is not TOML, at column ",
            ),
            ("EAAGsecret\n", "a.toml:1: this is not TOML, at column "),
            ("[token\nEAAGsecret = 1\n", "a.toml:1: this is not TOML, at column "),
            ("a = 'ü' EAAGsecret\n", "a.toml:1: this is not TOML, at column 9: "),
            (
                "EAAGsecret = 1\nEAAGsecret = 2\n",
                "a.toml:2: this is not TOML, at column 1: duplicate key",
            ),
        ] {
            let shown = faults(text).join("\n");
            assert!(shown.starts_with(place), "{text}: {shown}");
            assert!(!shown.contains("secret"), "{shown}");
        }
    }

    #[test]
    fn several_syntax_errors_are_shown_at_once() {
        let shown = faults("a = 1\nb = = 2\nc = 3\nd = nope\n");
        assert_eq!(shown.len(), 2, "{shown:?}");
        assert!(shown[0].starts_with("a.toml:2:") && shown[1].starts_with("a.toml:4:"));
    }
}
