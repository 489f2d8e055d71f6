//! One layer of the configuration as a tree whose nodes know where they come from.
//!
//! # Why
//!
//! The parser's own way of showing an error prints the line it is on, and the line at fault may be the one with a token in
//! it. So only its message is used, which speaks of the grammar and never of the text.

use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::error::{Diagnostic, Provenance};
use crate::types::might_be_secret;

/// A value and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) provenance: Provenance,
    pub(super) value: Value,
}

/// A value as it was written.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    /// The value of an environment variable, which also stands for a boolean, a number or a comma-separated list.
    Variable(String),
    /// Saturated if it is beyond 64 bits.
    Integer(i64),
    Boolean(bool),
    Float,
    Date,
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
}

// === impl Node ===

impl Node {
    pub(super) fn new(provenance: &Provenance, value: Value) -> Self {
        Self {
            provenance: provenance.clone(),
            value,
        }
    }

    pub(super) fn empty_table(provenance: &Provenance) -> Self {
        Self::new(provenance, Value::Table(Vec::new()))
    }

    /// The entries of a table; none for any other value.
    pub(super) fn entries(&self) -> &[(String, Self)] {
        if let Value::Table(entries) = &self.value {
            entries
        } else {
            &[]
        }
    }

    /// The items of a list; none for any other value.
    pub(super) fn items(&self) -> &[Self] {
        if let Value::List(items) = &self.value {
            items
        } else {
            &[]
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let mut entries = self.entries().iter();
        entries.find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// Whether there is a value at a path.
    pub(super) fn has(&self, path: &[&str]) -> bool {
        path.iter().try_fold(self, |node, key| node.get(key)).is_some()
    }

    /// Whether it is `""` or `{}`.
    pub(super) fn is_empty(&self) -> bool {
        matches!(&self.value, Value::Table(entries) if entries.is_empty()) || self.text() == Some("")
    }

    /// The text, as written in the file or in a variable.
    pub(super) fn text(&self) -> Option<&str> {
        if let Value::Text(text) | Value::Variable(text) = &self.value {
            Some(text)
        } else {
            None
        }
    }

    /// Puts a value at a path of keys, below tables that are made on the way. Returns the value that is there already, or
    /// above it.
    pub(super) fn insert(&mut self, path: &[&str], node: Self) -> Result<(), Provenance> {
        let Value::Table(entries) = &mut self.value else {
            return Err(self.provenance.clone());
        };
        let Some((key, rest)) = path.split_first() else {
            return Err(self.provenance.clone());
        };
        match entries.iter_mut().find(|(name, _)| name == key) {
            Some((_, child)) => child.insert(rest, node),
            None => {
                let outer = rest.iter().rev().fold(node, |node, key| {
                    let provenance = node.provenance.clone();
                    Self::new(&provenance, Value::Table(vec![((*key).to_owned(), node)]))
                });
                entries.push(((*key).to_owned(), outer));
                Ok(())
            }
        }
    }

    /// Reads a file's text, or reports every syntax error.
    pub(super) fn parse(path: &Arc<Path>, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let source = Source { path, text };
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut diagnostics: Vec<Diagnostic> = Vec::new();
        for error in errors {
            let start = error.span().unwrap_or_default().start;
            let provenance = source.provenance(start);
            // One mistake often makes the parser stumble over the rest of its line.
            if diagnostics.last().is_some_and(|last| last.provenance == provenance) {
                continue;
            }
            let message = match error.message() {
                "duplicate key" => source.duplicate(start),
                message => format!("TOML syntax error at column {}: {message}", source.column(start)),
            };
            diagnostics.push(Diagnostic::new(&provenance, "", message));
        }
        if diagnostics.is_empty() {
            let table = Value::Table(source.entries(table.get_ref()));
            Ok(Self::new(&source.provenance(0), table))
        } else {
            Err(diagnostics)
        }
    }
}

// === impl Value ===

impl Value {
    /// Names the kind of value for a message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Variable(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
            Self::Float => "a float",
            Self::Date => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// A file's text.
struct Source<'a> {
    path: &'a Arc<Path>,
    text: &'a str,
}

impl Source<'_> {
    fn entries(&self, table: &DeTable<'_>) -> Vec<(String, Node)> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
            let node = Node::new(&self.provenance(key.span().start), self.value(value.get_ref()));
            (key.get_ref().to_string(), node)
        };
        entries.into_iter().map(entry).collect()
    }

    fn value(&self, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => {
                let parsed = i64::from_str_radix(number.as_str(), number.radix());
                Value::Integer(parsed.unwrap_or(i64::MAX))
            }
            DeValue::Float(_) => Value::Float,
            DeValue::Boolean(on) => Value::Boolean(*on),
            DeValue::Datetime(_) => Value::Date,
            DeValue::Array(items) => {
                let item = |item: &Spanned<DeValue<'_>>| {
                    Node::new(&self.provenance(item.span().start), self.value(item.get_ref()))
                };
                Value::List(items.iter().map(item).collect())
            }
            DeValue::Table(table) => Value::Table(self.entries(table)),
        }
    }

    fn provenance(&self, offset: usize) -> Provenance {
        Provenance::File {
            path: Arc::clone(self.path),
            line: self.before(offset).split('\n').count(),
        }
    }

    fn column(&self, offset: usize) -> usize {
        let before = self.before(offset);
        1 + before.chars().rev().take_while(|letter| *letter != '\n').count()
    }

    fn before(&self, offset: usize) -> &str {
        self.text.get(..offset).unwrap_or(self.text)
    }

    /// The message for a key or a table that is there twice: which one, and where the first one is.
    fn duplicate(&self, offset: usize) -> String {
        let defined = |line: &str| {
            let name = line.split([']', '=']).next().unwrap_or_default();
            name.trim_matches([' ', '\t', '"', '\'']).to_owned()
        };
        let line = self.before(offset).split('\n').count();
        let name = self.text.lines().nth(line - 1).map(defined).unwrap_or_default();
        // Between the two, no other table can have begun.
        let earlier: Vec<_> = self.text.lines().take(line - 1).collect();
        let first = earlier.iter().rposition(|line| defined(line) == name);
        let first = first.map_or_else(String::new, |index| format!(", first defined on line {}", index + 1));
        match name.strip_prefix('[') {
            _ if might_be_secret(&name) => format!("duplicate key{first}"),
            Some(table) => format!("duplicate table [{table}]{first}"),
            None => format!("duplicate key `{name}`{first}"),
        }
    }
}
