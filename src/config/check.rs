//! Checks a layer of the configuration against the JSON Schema of its types, and reports every error.
//!
//! # Why
//!
//! Serde stops at the first error, repeats values ("unknown variant `EAA…`") and loses lines where a table is one of
//! several kinds ("did not match any variant"). So no serde error is ever shown: the schema, which is generated from the
//! types, says what is valid, this file words what is not, and what it returns is what the types deserialize. An own
//! `Deserializer` was rejected: it needs twice the code, and has to be called again for every error. So were the crates
//! that validate JSON Schemas: their messages repeat values.
//!
//! The schema's `format` names what a text must be; [`texts`] has the rule. The format of a list or of a table with free
//! keys is that of its values.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::error::{Diagnostic, Provenance, SECRET_IN_CONFIG, SECRET_REF, nearest, shown};
use super::keys::Keys;
use super::schema::{alternatives, expected, is_type, keys, strings, text_of, words};
use super::texts;
use super::tree::{Node, Value};
use crate::types::{SIZES, TIMES, Unit, is_token, names_secret};

/// Checks layers, and collects what is wrong with them.
pub(super) struct Checker<'a> {
    pub(super) keys: &'a Keys,
    /// The flags: what they set may be contradicted below.
    pub(super) flags: &'a Node,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// The settings, `section.key`, that are invalid in any layer.
    pub(super) invalid: BTreeSet<String>,
}

/// The depth of a setting, `section.key`.
const SETTING: usize = 2;

/// What a value must be, and where it is.
#[derive(Clone, Copy)]
struct Place<'a> {
    schema: &'a Json,
    /// The format of the outer list or table.
    format: &'a str,
    /// The keys that lead to it.
    path: &'a [&'a str],
}

impl Checker<'_> {
    /// Returns the sections of a layer with the settings that are valid.
    pub(super) fn check(&mut self, layer: &Node) -> Map<String, Json> {
        let place = Place {
            schema: &self.keys.schema,
            format: "",
            path: &[],
        };
        match self.value(place, layer) {
            Some(Json::Object(sections)) => sections,
            _ => Map::new(),
        }
    }

    /// Returns the value as its type deserializes it.
    fn value(&mut self, mut place: Place<'_>, node: &Node) -> Option<Json> {
        place.format = text_of(place.schema, "format").unwrap_or(place.format);
        let kinds = alternatives(place.schema);
        let kind = |name: &str| kinds.iter().copied().find(|schema| is_type(schema, name));
        let node = &*typed(node, &kinds);
        if place.path.len() == SETTING && node.is_empty() && kind("null").is_some() {
            return Some(Json::Null);
        }
        match &node.value {
            Value::Text(text) | Value::Variable(text) if is_token(text) => self.fail(place, node, SECRET_IN_CONFIG),
            Value::List(items) if let Some(list) = kind("array") => self.list(place, list, node, items),
            Value::Table(entries) if kind("object").is_some() => {
                let tables: Vec<_> = kinds
                    .iter()
                    .copied()
                    .filter(|schema| is_type(schema, "object"))
                    .collect();
                self.table(place, &tables, node, entries)
            }
            Value::Text(text) | Value::Variable(text) if let Some(schema) = kind("string") => {
                let words: Vec<&str> = kinds.iter().flat_map(|schema| words(schema)).collect();
                let read = match words.as_slice() {
                    [] => read_text(place, schema, node, text),
                    words => one_of(words, text),
                };
                read.map_or_else(|message| self.fail(place, node, message), Some)
            }
            Value::Integer(0) if place.format == "size" => Some(json!(0)),
            Value::Integer(number) if let Some(schema) = kind("integer") => {
                let bound = |name: &str| schema.get(name).and_then(Json::as_i64);
                let (min, max) = (bound("minimum").unwrap_or(0), bound("maximum").unwrap_or(i64::MAX));
                if !(min..=max).contains(number) {
                    return self.fail(place, node, format!("must be between {min} and {max}, not {number}"));
                }
                Some(json!(number))
            }
            Value::Boolean(on) if kind("boolean").is_some() => Some(json!(on)),
            Value::Text(_)
            | Value::Variable(_)
            | Value::Integer(_)
            | Value::Boolean(_)
            | Value::List(_)
            | Value::Table(_)
            | Value::Float
            | Value::Date => self.fail(place, node, mismatch(place, &kinds, node)),
        }
    }

    fn list(&mut self, place: Place<'_>, schema: &Json, node: &Node, items: &[Node]) -> Option<Json> {
        if items.is_empty() && schema.get("minItems").is_some() {
            return self.fail(place, node, "must be a list of at least one");
        }
        let item = Place {
            schema: schema.get("items").unwrap_or(&Json::Null),
            ..place
        };
        // All items are checked, not only those up to the first invalid one.
        let values: Vec<_> = items.iter().map(|node| self.value(item, node)).collect();
        if place.format == "argument" && values.first() == Some(&Some(json!(""))) {
            let message = "must be a program and its arguments, [\"vault\", \"read\", \"…\"]; there is no shell";
            return self.fail(place, node, message);
        }
        values.into_iter().collect::<Option<Vec<_>>>().map(Json::Array)
    }

    fn table(&mut self, place: Place<'_>, kinds: &[&Json], node: &Node, entries: &[(String, Node)]) -> Option<Json> {
        let schema = self.kind(place, kinds, node)?;
        let (mut values, mut is_valid) = (Map::new(), true);
        for (name, node) in entries {
            let path = [place.path, &[name]].concat();
            let inner = Place { path: &path, ..place };
            let property = schema.get("properties").and_then(|keys| keys.get(name));
            let free = schema.get("additionalProperties").filter(|free| free.is_object());
            let (key, value) = match (property, free) {
                (Some(schema), _) => (
                    Ok(name.clone()),
                    Place {
                        schema,
                        format: "",
                        ..inner
                    },
                ),
                (None, Some(free)) => {
                    let format = schema.get("propertyNames").and_then(|names| text_of(names, "format"));
                    (
                        texts::check(format.unwrap_or(""), "", name),
                        Place { schema: free, ..inner },
                    )
                }
                (None, None) => (Err(self.unknown(inner, kinds, schema, node)), inner),
            };
            let value = match key {
                Ok(key) if values.contains_key(&key) => {
                    self.fail(inner, node, "is a duplicate key (names are case-insensitive)")
                }
                Ok(key) => self.value(value, node).map(|value| values.insert(key, value)),
                Err(message) => self.fail(inner, node, message),
            };
            is_valid &= value.is_some();
        }
        let lacks = |name: &&str| node.get(name).is_none();
        if let Some(missing) = is_valid.then(|| strings(schema, "required").find(lacks)).flatten() {
            return self.fail(place, node, format!("is missing `{missing}`"));
        }
        let excluded: Vec<&str> = schema
            .get("not")
            .into_iter()
            .flat_map(|not| strings(not, "required"))
            .collect();
        if let [one, other] = excluded.as_slice()
            && !excluded.iter().any(lacks)
        {
            return self.exclude(place, node, one, other);
        }
        // A section keeps the settings that are valid.
        (is_valid || place.path.len() < SETTING).then_some(Json::Object(values))
    }

    /// The kind of table that a table is: of several, the one whose own key it has.
    fn kind<'s>(&mut self, place: Place<'_>, kinds: &[&'s Json], node: &Node) -> Option<&'s Json> {
        if let [only] = kinds {
            return Some(only);
        }
        let own = |kind: &'s Json| strings(kind, "required").find(|key| node.get(key).is_some());
        let found: Vec<_> = kinds.iter().filter_map(|kind| Some((*kind, own(kind)?))).collect();
        match found.as_slice() {
            [(kind, _)] => Some(kind),
            [] => {
                let is_known = |name: &str| kinds.iter().any(|kind| keys(kind).any(|key| key == name));
                match node.entries().iter().find(|(name, _)| !is_known(name)) {
                    Some((name, node)) => {
                        let path = [place.path, &[name]].concat();
                        let inner = Place { path: &path, ..place };
                        let all = json!({ "properties": kinds.iter().flat_map(|kind| strings(kind, "required"))
                            .map(|key| (key.to_owned(), Json::Null)).collect::<Map<_, _>>() });
                        let message = self.unknown(inner, &[], &all, node);
                        self.fail(inner, node, message)
                    }
                    None => self.fail(place, node, format!("must be {}", expected(kinds))),
                }
            }
            [(_, one), .., (_, other)] => self.exclude(place, node, one, other),
        }
    }

    /// Reports two keys that exclude each other. Two variables do not matter in a setting that a flag sets.
    fn exclude<T>(&mut self, place: Place<'_>, node: &Node, one: &str, other: &str) -> Option<T> {
        let [provenance, other_provenance] =
            [one, other].map(|key| node.get(key).map_or(&node.provenance, |node| &node.provenance));
        let is_settled = matches!(provenance, Provenance::Environment(_)) && self.flags.has(place.path);
        if is_settled {
            return None;
        }
        let message = format!("`{other}` is set together with `{one}` ({provenance}); remove one");
        self.fail(place, &Node::new(other_provenance, Value::Date), message)
    }

    /// What is wrong with a key that a table does not have, and which one was probably meant.
    fn unknown(&self, place: Place<'_>, kinds: &[&Json], schema: &Json, node: &Node) -> String {
        let Some((name, outer)) = place.path.split_last() else {
            return String::new();
        };
        if holds_secret(name, node) {
            return SECRET_IN_CONFIG.to_owned();
        }
        let is_of_another_kind = kinds.iter().any(|kind| keys(kind).any(|key| key == *name));
        if let (true, Some(own)) = (is_of_another_kind, strings(schema, "required").next()) {
            return format!("is not allowed with `{own}`");
        }
        let meant = nearest(name, keys(schema));
        let list = keys(schema).collect::<Vec<_>>().join(", ");
        match (outer, meant) {
            ([], Some(meant)) if matches!(node.value, Value::Table(_)) => {
                format!("unknown section; did you mean [{meant}]?")
            }
            ([], _) => {
                let sections = list.replace(", ", "], [");
                match (&node.value, self.keys.elsewhere(name)) {
                    (Value::Table(_), _) => format!("unknown section; known sections: [{sections}]"),
                    (_, Some(elsewhere)) => elsewhere,
                    (_, None) => format!("unknown top-level key; known sections: [{sections}]"),
                }
            }
            (_, Some(meant)) => format!("unknown key; did you mean `{meant}`?"),
            ([section], None) => {
                let elsewhere = self.keys.elsewhere(name);
                elsewhere.unwrap_or_else(|| format!("unknown key; [{section}] accepts {list}"))
            }
            (_, None) if list.is_empty() => "unknown key; the table takes no keys".to_owned(),
            (_, None) => format!("unknown key; the table accepts {list}"),
        }
    }

    fn fail<T>(&mut self, place: Place<'_>, node: &Node, message: impl Into<String>) -> Option<T> {
        if let [section, key, ..] = place.path {
            self.invalid.insert(format!("{section}.{key}"));
        }
        let key = shown(&place.path.join("."));
        self.diagnostics.push(Diagnostic::new(&node.provenance, &key, message));
        None
    }
}

/// A value as one of the types that are accepted: a variable's text is a boolean, a number or a list if that is accepted,
/// and one value may stand for a list.
fn typed<'a>(node: &'a Node, kinds: &[&Json]) -> Cow<'a, Node> {
    let accepts = |name: &str| kinds.iter().any(|schema| is_type(schema, name));
    let typed = if let Value::Variable(text) = &node.value {
        let item = |item: &str| Node::new(&node.provenance, Value::Variable(item.trim().to_owned()));
        match text.parse::<bool>() {
            _ if accepts("array") => Some(Value::List(text.split(',').map(item).collect())),
            _ if accepts("integer") => text.parse().ok().map(Value::Integer),
            Ok(on) if accepts("boolean") => Some(Value::Boolean(on)),
            Ok(_) | Err(_) => None,
        }
    } else {
        let is_one_of_many = accepts("array") && kinds.len() > 1 && !matches!(node.value, Value::List(_));
        is_one_of_many.then(|| Value::List(vec![node.clone()]))
    };
    typed.map_or(Cow::Borrowed(node), |value| {
        Cow::Owned(Node::new(&node.provenance, value))
    })
}

fn read_text(place: Place<'_>, schema: &Json, node: &Node, text: &str) -> Result<Json, String> {
    let bounded = |unit: &Unit| {
        let bound = |name| text_of(place.schema, name).or_else(|| text_of(schema, name));
        unit.between(text, bound("formatMinimum"), bound("formatMaximum"))
    };
    match place.format {
        "time-span" => {
            bounded(&TIMES).map(|millis| json!({ "secs": millis / 1000, "nanos": millis % 1000 * 1_000_000 }))
        }
        "size" => bounded(&SIZES).map(Json::from),
        format => {
            let text = texts::check(format, place.path.last().copied().unwrap_or(""), text)?;
            if format.ends_with("path") && !text.is_empty() {
                let path = node.provenance.resolve(Path::new(&text));
                return Ok(json!(path.to_str().unwrap_or(&text)));
            }
            Ok(json!(text))
        }
    }
}

fn one_of(words: &[&str], text: &str) -> Result<Json, String> {
    if words.contains(&text) {
        return Ok(json!(text));
    }
    let hint = nearest(text, words.iter().copied());
    let hint = hint.map_or_else(String::new, |word| format!("; did you mean \"{word}\"?"));
    Err(format!("must be one of \"{}\"{hint}", words.join("\", \"")))
}

/// The message for a value of another type than the schema accepts.
fn mismatch(place: Place<'_>, kinds: &[&Json], node: &Node) -> String {
    if let [name] = place.path {
        return if holds_secret(name, node) {
            SECRET_IN_CONFIG.to_owned()
        } else {
            format!("is a section: write [{name}] once, with its keys below it")
        };
    }
    if place.format == "secret" && node.text().is_some() {
        return format!("secrets must not appear in the configuration file (value not shown): must be {SECRET_REF}");
    }
    let expected = expected(kinds);
    match (&node.value, place.format) {
        (Value::Integer(number), "time-span") => format!("must be {expected} with a unit, such as \"{number}s\""),
        (_, "size") => format!("must be {expected} with a unit, such as \"64KiB\" or \"1MiB\""),
        (Value::Variable(_), _) => format!("must be {expected}"),
        (value, _) => format!("must be {expected}, not {}", value.kind()),
    }
}

/// Whether an unknown key was given a secret, by its name or by its value.
fn holds_secret(name: &str, node: &Node) -> bool {
    node.items().iter().any(|item| holds_secret(name, item))
        || node.text().is_some_and(|text| names_secret(name) || is_token(text))
}
