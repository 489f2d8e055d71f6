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
//! The schema's `pattern` says what a text must be, where the setting is declared; its `format` names what a pattern cannot
//! say, and [`texts`] has the rule.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};

use super::error::{Diagnostic, Provenance, SECRET_REF, shown};
use super::keys::{Keys, variable_of};
use super::schema::{
    alternatives, expected, free_keys, is_kind, is_type, is_unset, keys, rule, strings, text_of, words,
};
use super::texts;
use super::tree::{Node, Value};
use crate::types::{SIZES, TIMES, Unit, has_secret, is_token, names_secret, nearest};

/// Checks layers, and collects what is wrong with them.
pub(super) struct Checker<'a> {
    pub(super) keys: &'a Keys,
    /// The flags: what they set may be contradicted below.
    pub(super) flags: &'a Node,
    /// Whether the layers are whole. If not, a missing key is no error: it may be in what could not be read.
    pub(super) is_whole: bool,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// The files of secrets.
    pub(super) secret_files: BTreeSet<PathBuf>,
    /// The variables of secrets.
    pub(super) secret_vars: BTreeSet<String>,
}

/// What a value must be, and where it is.
#[derive(Clone, Copy)]
struct Place<'a> {
    schema: &'a Json,
    /// The keys that lead to it.
    path: &'a [&'a str],
}

impl Checker<'_> {
    /// Returns the sections of a layer with the settings that are valid.
    pub(super) fn check(&mut self, layer: &Node) -> Map<String, Json> {
        let (schema, path) = (&self.keys.schema, &[][..]);
        let sections = self.value(Place { schema, path }, layer);
        sections
            .and_then(|sections| sections.as_object().cloned())
            .unwrap_or_default()
    }

    /// Returns the value as its type deserializes it.
    fn value(&mut self, place: Place<'_>, node: &Node) -> Option<Json> {
        let format = text_of(place.schema, "format").unwrap_or_default();
        let kinds = alternatives(place.schema);
        if node.is_empty() && kinds.iter().any(|kind| is_unset(kind)) {
            return Some(Json::Null);
        }
        let node = &*typed(node, &kinds);
        let key = place.path.last().copied().unwrap_or_default();
        let is_reference = expected(&kinds) == "{ file = … } or { env = … }";
        let is_misplaced = |text: &str| is_reference || has_secret(format, key, text);
        if node.text().is_some_and(is_misplaced) {
            return self.fail(place.path, node, self.misplaced(place, node));
        }
        let is_out =
            |range: RangeInclusive<i64>| matches!(&node.value, Value::Integer(number) if !range.contains(number));
        let accepts = |kind: &&Json| is_kind(kind, node.value.kind()) && !range(kind).is_some_and(is_out);
        let accepted: Vec<_> = kinds.iter().copied().filter(accepts).collect();
        let Some(schema) = accepted.first() else {
            return self.fail(place.path, node, self.mismatch(place, &kinds, node));
        };
        match &node.value {
            Value::List(items) => self.list(place, schema, node, items),
            Value::Table(entries) => self.table(place, &accepted, node, entries),
            Value::Text(text) | Value::Variable(text) => match read_text(place.schema, &kinds, node, text) {
                Ok(value) => Some(value),
                Err(message) => self.fail(place.path, node, message),
            },
            Value::Integer(number) => Some(json!(number)),
            Value::Boolean(on) => Some(json!(on)),
            Value::Other(_) => None,
        }
    }

    fn list(&mut self, place: Place<'_>, schema: &Json, node: &Node, items: &[Node]) -> Option<Json> {
        if items.is_empty() && schema.get("minItems").is_some() {
            return self.missing(place, node, "must be a list of at least one");
        }
        let schema = schema.get("items").unwrap_or(&Json::Null);
        let item = |node| self.value(Place { schema, ..place }, node);
        // All items are checked, not only those up to the first invalid one.
        let values: Vec<_> = items.iter().map(item).collect();
        if text_of(schema, "format") == Some("argument") && values.first() == Some(&Some(json!(""))) {
            let message = "must be a program and its arguments, [\"vault\", \"read\", \"…\"]; there is no shell";
            return self.fail(place.path, node, message);
        }
        values.into_iter().collect::<Option<Vec<_>>>().map(Json::Array)
    }

    fn table(&mut self, place: Place<'_>, kinds: &[&Json], node: &Node, entries: &[(String, Node)]) -> Option<Json> {
        let schema = self.kind(place, kinds, node)?;
        let free = free_keys(schema);
        let names = schema.get("propertyNames").unwrap_or(&Json::Null);
        let (mut values, mut is_valid) = (Map::new(), true);
        for (name, node) in entries {
            let path = &[place.path, &[name]].concat();
            let property = schema.get("properties").and_then(|keys| keys.get(name));
            let (key, schema) = match (property, free) {
                (Some(property), _) => (Ok(name.clone()), property),
                (None, Some(free)) => (texts::check(names, name), free),
                (None, None) => {
                    let is_of_other_kind = kinds.iter().any(|kind| keys(kind).any(|key| key == name));
                    let own = strings(schema, "required").next().filter(|_| is_of_other_kind);
                    let message = own.map(|own| format!("is not allowed with `{own}`"));
                    let unknown = || self.unknown(path, node, &keys(schema).collect::<Vec<_>>());
                    (Err(message.unwrap_or_else(unknown)), schema)
                }
            };
            let value = match &key {
                Ok(key) if values.contains_key(key) => {
                    self.fail(path, node, "is a duplicate key (names are case-insensitive)")
                }
                Ok(_) => self.value(Place { schema, path }, node),
                Err(message) => self.fail(path, node, message),
            };
            is_valid &= value.is_some();
            values.extend(key.ok().zip(value));
        }
        let lacks = |name: &&str| node.get(name).is_none();
        if let Some(missing) = is_valid.then(|| strings(schema, "required").find(lacks)).flatten() {
            return self.missing(place, node, format!("is missing `{missing}`"));
        }
        let excluded: Vec<_> = schema
            .get("not")
            .map_or_else(Vec::new, |not| strings(not, "required").collect());
        if let ([one, other], false) = (excluded.as_slice(), excluded.iter().any(lacks)) {
            return self.exclude(place, node, one, other);
        }
        let text = |key: &str| values.get(key).and_then(Json::as_str);
        let secret_file = text("file").filter(|_| text_of(schema, "title") == Some("Secret file"));
        self.secret_files.extend(secret_file.map(PathBuf::from));
        self.secret_vars.extend(text("env").map(str::to_owned));
        // A section keeps the settings that are valid.
        (is_valid || place.path.len() < 2).then_some(Json::Object(values))
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
            [(_, one), .., (_, other)] => self.exclude(place, node, one, other),
            [] => {
                let is_unknown = |name: &str| !kinds.iter().any(|kind| keys(kind).any(|key| key == name));
                let Some((name, node)) = node.entries().iter().find(|(name, _)| is_unknown(name)) else {
                    return self.missing(place, node, format!("must be {}", expected(kinds)));
                };
                let path = [place.path, &[name]].concat();
                let own: Vec<_> = kinds.iter().flat_map(|kind| strings(kind, "required")).collect();
                self.fail(&path, node, self.unknown(&path, node, &own))
            }
        }
    }

    /// Reports two keys that exclude each other. Two variables do not matter in a setting that a flag sets.
    fn exclude<T>(&mut self, place: Place<'_>, node: &Node, one: &str, other: &str) -> Option<T> {
        let provenance = &node.get(one).unwrap_or(node).provenance;
        let flag = place.path.iter().try_fold(self.flags, |node, key| node.get(key));
        if flag.is_some() && matches!(provenance, Provenance::Environment(_)) {
            return None;
        }
        let message = format!("`{other}` is set together with `{one}` ({provenance}); remove one");
        self.fail(place.path, node.get(other).unwrap_or(node), message)
    }

    /// What is wrong with a key that a table does not have, and which one was probably meant.
    fn unknown(&self, path: &[&str], node: &Node, known: &[&str]) -> String {
        let (name, outer) = path.split_last().unwrap_or((&"", &[]));
        if holds_secret(name, node) {
            let schema = &Json::Null;
            return self.misplaced(Place { schema, path }, node);
        }
        let meant = nearest(name, known.iter().copied());
        let elsewhere = || self.keys.elsewhere(name);
        let is_elsewhere = |path: &String| path.split_once('.').is_some_and(|(_, key)| key == *name);
        let section = || meant.map(|meant| format!("unknown section; did you mean [{meant}]?"));
        let near = meant.map(|meant| format!("unknown key; did you mean `{meant}`?"));
        let message = match outer {
            [] if matches!(node.value, Value::Table(_)) => section(),
            [] => elsewhere(),
            [_] if self.keys.settings.iter().any(is_elsewhere) => elsewhere(),
            [_] => near.or_else(elsewhere),
            [..] => near,
        };
        message.unwrap_or_else(|| match outer {
            [] => format!("unknown key; known sections: [{}]", known.join("], [")),
            [..] if known.is_empty() => "unknown key; the table takes no keys".to_owned(),
            [..] => format!("unknown key; known keys: {}", known.join(", ")),
        })
    }

    /// The message for a secret that is written where a reference to it belongs: at this key if it takes one, or else at the
    /// key that has most of the words.
    fn misplaced(&self, Place { schema, path }: Place<'_>, node: &Node) -> String {
        let takes_reference = |kind: &Json| strings(kind, "required").eq(["env"]);
        let is_here = alternatives(schema).into_iter().any(takes_reference);
        let there = if is_here {
            path.join(".")
        } else {
            self.secret_key(path, node)
        };
        let place = match node.provenance {
            Provenance::File { .. } | Provenance::Default => "the configuration file",
            Provenance::Environment(_) => "this variable",
            Provenance::Flag(_) => "a flag",
        };
        let remedy = match node.provenance {
            _ if !is_here && text_of(schema, "format") == Some("service-url") => {
                format!("send it in a header, as {SECRET_REF}")
            }
            Provenance::Environment(_) | Provenance::Flag(_) => {
                format!("set {0}_FILE or {0}_ENV", variable_of(&there))
            }
            _ if is_here => format!("write {SECRET_REF}"),
            Provenance::File { .. } | Provenance::Default => {
                format!("write `[{} = {SECRET_REF}`", there.replacen('.', "] ", 1))
            }
        };
        format!("secrets must not appear in {place} (value not shown): {remedy}")
    }

    /// The key that takes a reference to a secret and that a path and a value fit best; the last one of several is the
    /// token's.
    fn secret_key(&self, path: &[&str], node: &Node) -> String {
        let written = path.join("_").to_lowercase();
        let token = node.text().is_some_and(is_token).then_some("token");
        let written: BTreeSet<_> = written.split(['_', '-', '.']).chain(token).collect();
        let fit = |path: &&str| {
            let words: BTreeSet<_> = path.split(['.', '_']).collect();
            let is_of_token = token.is_some_and(|token| words.contains(token));
            let length = Reverse(path.split('.').count());
            (words.intersection(&written).count(), is_of_token, length)
        };
        let references = self.keys.settings.iter().filter_map(|path| path.strip_suffix(".env"));
        references.max_by_key(fit).unwrap_or_default().to_owned()
    }

    /// The message for a value of another type than the schema accepts.
    fn mismatch(&self, place: Place<'_>, kinds: &[&Json], node: &Node) -> String {
        match place.path {
            [name] if holds_secret(name, node) => return self.misplaced(place, node),
            [name] => return format!("is a section: write [{name}] once, with its keys below it"),
            _ => {}
        }
        let expected = expected(kinds);
        match (&node.value, rule(place.schema, "format").unwrap_or_default()) {
            (Value::Integer(number), "time-span") => format!("must be {expected} with a unit, such as \"{number}s\""),
            (_, "size") => "must be a quoted string with a unit, such as \"64KiB\" or \"1MiB\"".to_owned(),
            (Value::Integer(number), _) if let Some(range) = kinds.iter().find_map(|kind| range(kind)) => {
                let (min, max) = (range.start(), range.end());
                format!("must be {expected} between {min} and {max}, not {number}")
            }
            (Value::Variable(_), _) if kinds.iter().any(|kind| free_keys(kind).is_some()) => {
                "has keys of its own, which are set in the file only".to_owned()
            }
            (Value::Variable(_), _) => format!("must be {expected}"),
            (value, _) => format!("must be {expected}, not {}", value.kind()),
        }
    }

    /// Reports what is not there, unless it may be in what could not be read.
    fn missing<T>(&mut self, place: Place<'_>, node: &Node, message: impl Into<String>) -> Option<T> {
        self.is_whole.then_some(())?;
        self.fail(place.path, node, message)
    }

    fn fail<T>(&mut self, path: &[&str], node: &Node, message: impl Into<String>) -> Option<T> {
        let key = shown(&path.join("."));
        self.diagnostics.push(Diagnostic::new(&node.provenance, &key, message));
        None
    }
}

/// A value as one of the types that are accepted: a variable's text is a boolean, a number or a list if that is accepted,
/// and one value may stand for a list.
fn typed<'a>(node: &'a Node, kinds: &[&Json]) -> Cow<'a, Node> {
    let accepts = |name: &str| kinds.iter().any(|schema| is_type(schema, name));
    let value = match &node.value {
        Value::Variable(text) if accepts("array") => {
            let item = |item: &str| Node::new(&node.provenance, Value::Variable(item.trim().to_owned()));
            Some(Value::List(text.split(',').map(item).collect()))
        }
        Value::Variable(text)
            if accepts("boolean")
                && let Ok(on) = text.parse() =>
        {
            Some(Value::Boolean(on))
        }
        Value::Variable(text) if accepts("integer") && !accepts("string") => text.parse().ok().map(Value::Integer),
        Value::Variable(_) | Value::List(_) => None,
        Value::Text(_) | Value::Integer(_) | Value::Boolean(_) | Value::Other(_) | Value::Table(_) => {
            (accepts("array") && kinds.len() > 1).then(|| Value::List(vec![node.clone()]))
        }
    };
    value.map_or(Cow::Borrowed(node), |value| {
        Cow::Owned(Node::new(&node.provenance, value))
    })
}

/// The range of an integer.
fn range(schema: &Json) -> Option<RangeInclusive<i64>> {
    let bound = |name: &str| schema.get(name).and_then(Json::as_i64);
    is_type(schema, "integer").then(|| bound("minimum").unwrap_or(0)..=bound("maximum").unwrap_or(i64::MAX))
}

fn read_text(schema: &Json, kinds: &[&Json], node: &Node, text: &str) -> Result<Json, String> {
    let words = words(kinds);
    let bounded = |unit: &Unit| unit.between(text, rule(schema, "formatMinimum"), rule(schema, "formatMaximum"));
    match rule(schema, "format") {
        _ if words.contains(&text) => Ok(json!(text)),
        _ if !words.is_empty() => {
            let hint = nearest(text, words.iter().copied()).map(|word| format!("; did you mean \"{word}\"?"));
            Err(format!("must be {}{}", expected(kinds), hint.unwrap_or_default()))
        }
        Some("time-span") => {
            bounded(&TIMES).map(|millis| json!({ "secs": millis / 1000, "nanos": millis % 1000 * 1_000_000 }))
        }
        Some("size") => bounded(&SIZES).map(Json::from),
        format => {
            let text = texts::check(schema, text)?;
            let is_path = format.is_some_and(|format| format.ends_with("path")) && !text.is_empty();
            let path = is_path.then(|| node.provenance.resolve(Path::new(&text)));
            Ok(json!(path.as_deref().and_then(Path::to_str).unwrap_or(&text)))
        }
    }
}

/// Whether an unknown key was given a secret, by its name or by its value.
fn holds_secret(name: &str, node: &Node) -> bool {
    if let Value::List(items) = &node.value {
        return items.iter().any(|item| holds_secret(name, item));
    }
    node.text().is_some_and(|text| names_secret(name) || is_token(text))
}
