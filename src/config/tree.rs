//! One layer of the configuration as a tree whose nodes know where they come from.
//!
//! # Why
//!
//! The parser's own way of showing an error prints the line it is on, and the line at fault may be the one with a token in
//! it. So only its message is used, which speaks of the grammar and never of the text.
//!
//! A syntax error hides no other error: what could be read besides is checked as well.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::error::{Diagnostic, Provenance};
use crate::types::{might_be_secret, names_secret};

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
    /// The name of a kind that no setting has.
    Other(&'static str),
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

    /// The entries of a table; none for any other value.
    pub(super) fn entries(&self) -> &[(String, Self)] {
        if let Value::Table(entries) = &self.value {
            entries
        } else {
            &[]
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let mut entries = self.entries().iter();
        entries.find(|(name, _)| name == key).map(|(_, node)| node)
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

    /// Puts a value at a path of keys, below tables that are made on the way. Returns the provenance of the value that is
    /// there already, or above it.
    pub(super) fn insert(&mut self, path: &[&str], node: Self) -> Result<(), Provenance> {
        let (Value::Table(entries), Some((key, rest))) = (&mut self.value, path.split_first()) else {
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

    /// Reads what can be read of a file's text, and reports the syntax errors, at most one for each line.
    pub(super) fn parse(path: &Arc<Path>, text: &str) -> (Self, Vec<Diagnostic>) {
        let starts = text.match_indices('\n').map(|(end, _)| end + 1);
        let starts = [0].into_iter().chain(starts).collect();
        let source = Source { path, text, starts };
        let (_, mut errors) = DeTable::parse_recoverable(text);
        let rest = source.without_broken_lines(&errors);
        let (table, more) = DeTable::parse_recoverable(&rest);
        errors.extend(more);
        let mut messages = BTreeMap::new();
        for error in errors {
            let span = error.span().unwrap_or_default();
            let line = source.line(span.start);
            let message = match error.message() {
                DUPLICATE => source.duplicate(span),
                message => {
                    let column = 1 + source.before(span.start).chars().count();
                    format!("TOML syntax error at column {column}: {message}")
                }
            };
            // One mistake often makes the parser stumble over the rest of its line.
            messages.entry(line).or_insert(message);
        }
        let new = |(line, message)| Diagnostic::new(&source.provenance(line), "", message);
        let root = Self::new(&source.provenance(0), Value::Table(source.entries(table.get_ref())));
        (root, messages.into_iter().map(new).collect())
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
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}

/// A file's text.
struct Source<'a> {
    path: &'a Arc<Path>,
    text: &'a str,
    /// The offsets of its lines.
    starts: Vec<usize>,
}

/// The parser's message for a key or a table that is there twice, which is the only error that is not one of syntax.
const DUPLICATE: &str = "duplicate key";

impl Source<'_> {
    /// The text with blanks in the place of the lines with syntax errors, whose values are not what was meant. A broken
    /// header is either read in spite of its error, or blank like the keys below it.
    fn without_broken_lines(&self, errors: &[Error]) -> String {
        let syntax = errors.iter().filter(|error| error.message() != DUPLICATE);
        let line = |error: &Error| self.line(error.span().unwrap_or_default().start);
        let broken: BTreeMap<_, _> = syntax.rev().map(|error| (line(error), error.message())).collect();
        let headers = ["key with no value", "unclosed table", "unclosed array table"];
        let mut is_lost = false;
        let kept = |(line, number): (&str, usize)| {
            let (error, is_header) = (broken.get(&number), line.trim_start().starts_with('['));
            if error.is_some() || is_header {
                let stops = |error: &&str| headers.iter().any(|start| error.starts_with(start));
                is_lost = error.is_some_and(stops) && line.contains(['[', ']']);
            }
            let is_blank = is_lost || (error.is_some() && !is_header);
            let blank = || " ".repeat(line.len() - 1) + "\n";
            if is_blank { blank() } else { line.to_owned() }
        };
        self.text.split_inclusive('\n').zip(1..).map(kept).collect()
    }

    fn entries(&self, table: &DeTable<'_>) -> Vec<(String, Node)> {
        let entries = table.iter().map(|(key, value)| {
            let offset = key.span().start;
            (offset, (key.get_ref().to_string(), self.node(offset, value.get_ref())))
        });
        entries.collect::<BTreeMap<_, _>>().into_values().collect()
    }

    fn node(&self, offset: usize, value: &DeValue<'_>) -> Node {
        let value = match value {
            DeValue::Table(table) => Value::Table(self.entries(table)),
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => {
                let parsed = i64::from_str_radix(number.as_str(), number.radix());
                Value::Integer(parsed.unwrap_or(i64::MAX))
            }
            DeValue::Float(_) => Value::Other("a float"),
            DeValue::Boolean(on) => Value::Boolean(*on),
            DeValue::Datetime(_) => Value::Other("a date"),
            DeValue::Array(items) => {
                let item = |item: &Spanned<DeValue<'_>>| self.node(item.span().start, item.get_ref());
                Value::List(items.iter().map(item).collect())
            }
        };
        Node::new(&self.provenance(self.line(offset)), value)
    }

    fn provenance(&self, line: usize) -> Provenance {
        let path = Arc::clone(self.path);
        Provenance::File { path, line }
    }

    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// The text of a line before an offset.
    fn before(&self, offset: usize) -> &str {
        let start = self.starts.get(self.line(offset) - 1).copied().unwrap_or(offset);
        self.text.get(start..offset).unwrap_or_default()
    }

    /// The message for a key or a table that is there twice: which one, and where the first one is.
    fn duplicate(&self, span: Range<usize>) -> String {
        let parts = [0..span.start, span.clone(), span.end..self.text.len()];
        let [before, written, after] = parts.map(|part| self.text.get(part).unwrap_or_default());
        // With another name, the key is read into the table that has the first one.
        let text = [before, "renamed", after.split('\n').next().unwrap_or_default()].concat();
        let (table, _) = DeTable::parse_recoverable(&text);
        let name = written.trim_matches(['"', '\'']);
        let mut beside = holder(table.get_ref(), span.start).into_iter().flat_map(DeTable::keys);
        let first = beside.find(|key| key.get_ref() == name);
        let first = first.map(|key| format!(", first defined on line {}", self.line(key.span().start)));
        let first = first.unwrap_or_default();
        let header = self.before(span.start).trim_start();
        let mut keys = header.split('.').chain([name]);
        if keys.any(|key| might_be_secret(key) && !names_secret(key)) {
            return format!("duplicate key{first}");
        }
        match header.matches('[').count() {
            0 => format!("duplicate key `{name}`{first}"),
            depth => format!("duplicate table {header}{written}{}{first}", "]".repeat(depth)),
        }
    }
}

/// The table that has the key at an offset.
fn holder<'a, 'b>(table: &'a DeTable<'b>, offset: usize) -> Option<&'a DeTable<'b>> {
    if table.keys().any(|key| key.span().start == offset) {
        return Some(table);
    }
    let values = table
        .values()
        .flat_map(|value| value.get_ref().as_array().into_iter().flatten().chain([value]));
    let mut tables = values.filter_map(|value| value.get_ref().as_table());
    tables.find_map(|table| holder(table, offset))
}
