//! One layer of the configuration as a tree whose nodes know where they come from.
//!
//! # Why
//!
//! The parser's own way of showing an error prints the line it is on, and the line at fault may be the one with a token in
//! it. So only its message is used, which speaks of the grammar and never of the text.

use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::error::{Diagnostic, Provenance, might_be_secret};

/// A value and where it comes from.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) provenance: Provenance,
    pub(super) value: Value,
    /// An invalid value was removed from below this one, so what it lacks is not an error.
    pub(super) is_incomplete: bool,
}

/// A value as it was written.
#[derive(Clone)]
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

/// One step from a node to one below it.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Key(String),
    Item(usize),
}

// === impl Node ===

impl Node {
    pub(super) fn new(provenance: &Provenance, value: Value) -> Self {
        Self {
            provenance: provenance.clone(),
            value,
            is_incomplete: false,
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

    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries()
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, node)| node)
    }

    /// The text, as written in the file or in a variable.
    pub(super) fn text(&self) -> Option<&str> {
        if let Value::Text(text) | Value::Variable(text) = &self.value {
            Some(text)
        } else {
            None
        }
    }

    /// Where a step leads.
    pub(super) fn child(&self, step: &Step) -> Option<&Self> {
        match (step, &self.value) {
            (Step::Key(key), _) => self.get(key),
            (Step::Item(index), Value::List(items)) => items.get(*index),
            (Step::Item(_), _) => None,
        }
    }

    fn child_mut(&mut self, step: &Step) -> Option<&mut Self> {
        match (step, &mut self.value) {
            (Step::Key(key), Value::Table(entries)) => {
                let mut entries = entries.iter_mut();
                entries.find(|(name, _)| name == key).map(|(_, node)| node)
            }
            (Step::Item(index), Value::List(items)) => items.get_mut(*index),
            _ => None,
        }
    }

    /// Removes the node at a path, or the last one on the way to it that exists.
    pub(super) fn remove(&mut self, path: &[Step]) {
        let Some((step, rest)) = path.split_first() else {
            return;
        };
        self.is_incomplete = true;
        if let (Some(next), Some(child)) = (rest.first(), self.child_mut(step))
            && child.child(next).is_some()
        {
            return child.remove(rest);
        }
        match (step, &mut self.value) {
            (Step::Key(key), Value::Table(entries)) => entries.retain(|(name, _)| name != key),
            (Step::Item(index), Value::List(items)) if *index < items.len() => drop(items.remove(*index)),
            _ => {}
        }
    }

    /// Puts a value at a path of keys, below tables that are made on the way.
    pub(super) fn insert(&mut self, path: &[&str], node: Self) {
        let Some((key, rest)) = path.split_first() else {
            return *self = node;
        };
        let provenance = &node.provenance;
        if !matches!(self.value, Value::Table(_)) {
            *self = Self::empty_table(provenance);
        }
        if let Value::Table(entries) = &mut self.value {
            let index = entries.iter().position(|(name, _)| name == key).unwrap_or_else(|| {
                entries.push(((*key).to_owned(), Self::empty_table(provenance)));
                entries.len() - 1
            });
            if let Some((_, child)) = entries.get_mut(index) {
                child.insert(rest, node);
            }
        }
    }

    /// Reads a file's text, or reports every syntax error.
    pub(super) fn parse(path: &Arc<Path>, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let source = Source { path, text };
        let (table, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            let table = Value::Table(source.entries(table.get_ref()));
            return Ok(Self::new(&source.provenance(0), table));
        }
        let mut diagnostics: Vec<Diagnostic> = Vec::new();
        for error in errors {
            let span = error.span().unwrap_or_default();
            let provenance = source.provenance(span.start);
            // One mistake often makes the parser stumble over the rest of its line.
            if diagnostics.last().is_some_and(|last| last.provenance == provenance) {
                continue;
            }
            let message = match error.message() {
                "duplicate key" => source.duplicate(span),
                message => format!("TOML syntax error at column {}: {message}", source.column(span.start)),
            };
            diagnostics.push(Diagnostic::new(&provenance, "", message));
        }
        Err(diagnostics)
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
        let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            let name: &str = std::borrow::Cow::as_ref(key.get_ref());
            let provenance = self.provenance(key.span().start);
            (name.to_owned(), Node::new(&provenance, self.value(value.get_ref())))
        };
        entries.into_iter().map(entry).collect()
    }

    fn value(&self, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.clone().into_owned()),
            DeValue::Integer(number) => {
                let parsed = i64::from_str_radix(number.as_str(), number.radix());
                Value::Integer(parsed.unwrap_or(i64::MAX))
            }
            DeValue::Float(_) => Value::Float,
            DeValue::Boolean(on) => Value::Boolean(*on),
            DeValue::Datetime(_) => Value::Date,
            DeValue::Array(items) => {
                let item = |item: &toml::Spanned<DeValue<'_>>| {
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
        let line = before.rsplit('\n').next().unwrap_or(before);
        1 + line.chars().count()
    }

    fn before(&self, offset: usize) -> &str {
        self.text.get(..offset).unwrap_or(self.text)
    }

    /// The message for a key or a table that is there twice: which one, and where the first one is.
    fn duplicate(&self, span: std::ops::Range<usize>) -> String {
        let name = self
            .text
            .get(span.clone())
            .unwrap_or_default()
            .trim_matches(['"', '\'']);
        let before: Vec<_> = self.before(span.start).split('\n').map(str::trim).collect();
        let line = self.text.lines().nth(before.len() - 1).unwrap_or_default().trim();
        let header = |line: &str| {
            Some(
                line.strip_prefix('[')?
                    .split(']')
                    .next()?
                    .trim_matches(['[', ' '])
                    .to_owned(),
            )
        };
        let table = header(line);
        let defines = |earlier: &str| match (&table, header(earlier)) {
            (Some(table), other) => other.as_ref() == Some(table),
            (None, Some(_)) => false,
            (None, None) => {
                let key = earlier.split(['=', '.']).next().unwrap_or_default();
                key.trim().trim_matches(['"', '\'']) == name
            }
        };
        let in_table = before.iter().rposition(|line| line.starts_with('[')).unwrap_or(0);
        let from = if table.is_some() { 0 } else { in_table };
        let found = before.iter().skip(from).position(|line| defines(line));
        let first = found.map_or_else(String::new, |index| {
            format!(", first defined on line {}", from + index + 1)
        });
        match table {
            Some(table) if !might_be_secret(&table) => format!("duplicate table [{table}]{first}"),
            None if !might_be_secret(name) => format!("duplicate key `{name}`{first}"),
            _ => format!("duplicate key{first}"),
        }
    }
}
