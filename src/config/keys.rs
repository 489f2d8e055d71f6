//! The keys that exist, from the JSON Schema, and what an unknown one was probably meant to be.
//!
//! # Why
//!
//! The schema is generated from the types that are deserialized, so there is no second list of keys to keep in step: what
//! the file accepts, what a variable can set, and what a message suggests are the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::error::{Diagnostic, SECRET_IN_CONFIG, is_token, names_secret, nearest, shown};
use super::read_error::Problem;
use super::schema::json_schema;
use super::tree::{Node, Step, Value};

/// What the names of all variables begin with.
pub(super) const PREFIX: &str = "GRAPHWARD_";
/// Short names of keys. Every other key is set by `GRAPHWARD_<SECTION>_<KEY>`.
const ALIASES: [(&str, &str); 6] = [
    ("GRAPHWARD_LISTEN", "listen.proxy"),
    ("GRAPHWARD_ADMIN", "listen.admin"),
    ("GRAPHWARD_ORIGIN", "upstream.origin"),
    ("GRAPHWARD_CA_FILE", "upstream.ca_file"),
    ("GRAPHWARD_TOKEN_FILE", "token.source.file"),
    ("GRAPHWARD_LOG", "log.level"),
];
/// Variables that hold a secret: only their names become part of the configuration, as the value of a key.
pub(super) const SECRETS: [(&str, &str); 2] = [
    ("GRAPHWARD_TOKEN", "token.source.env"),
    ("GRAPHWARD_APP_SECRET", "app.secret.env"),
];

/// All keys.
pub(super) struct Keys {
    /// Their paths: `section`, `section.key` and below.
    paths: BTreeSet<String>,
    /// Those of the variables that set them, by name.
    variables: BTreeMap<String, String>,
}

impl Keys {
    /// The keys of the configuration.
    pub(super) fn new() -> Self {
        let mut paths = BTreeSet::new();
        collect(&json_schema(), "", &mut paths);
        let settings = paths.iter().filter(|path| path.contains('.'));
        let named = settings.map(|path| {
            (
                format!("{PREFIX}{}", path.replace('.', "_").to_uppercase()),
                path.clone(),
            )
        });
        let short = ALIASES.iter().chain(&SECRETS);
        let short = short.map(|(name, path)| ((*name).to_owned(), (*path).to_owned()));
        let variables = named.chain(short).collect();
        Self { paths, variables }
    }

    /// The path of the key that a variable sets.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The names of all variables that set a key.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// The paths of all settings and of the keys below them.
    pub(super) fn settings(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str).filter(|path| path.contains('.'))
    }

    /// Says what is wrong with the value at a path of a tree.
    pub(super) fn diagnose(&self, tree: &Node, path: &[Step], problem: Problem) -> Diagnostic {
        let Some(node) = path.iter().try_fold(tree, |node, step| node.child(step)) else {
            // An item of a variable's list: the variable is what can be shown.
            return self.diagnose(tree, path.split_last().map_or(&[], |(_, rest)| rest), problem);
        };
        let names: Vec<&str> = path.iter().filter_map(key_of).collect();
        let message = match problem {
            Problem::Invalid(_) if names.len() == 1 => match names.as_slice() {
                [name] if holds_secret(name, node) => SECRET_IN_CONFIG.to_owned(),
                _ => format!("is a section: write [{}] once, with its keys below it", names.concat()),
            },
            Problem::Invalid(message) => message,
            Problem::UnknownKey(accepted) => self.unknown(&names, node, accepted),
            Problem::UnknownKind(kinds, expected) => {
                let is_unknown = |(name, _): &&(String, Node)| {
                    let path = format!("{}.{name}", names.join("."));
                    !self.paths.contains(&path)
                };
                let Some((name, node)) = node.entries().iter().find(is_unknown) else {
                    return Diagnostic::new(&node.provenance, &shown(&names.join(".")), expected);
                };
                let names: Vec<_> = names.into_iter().chain([name.as_str()]).collect();
                let message = self.unknown(&names, node, kinds);
                return Diagnostic::new(&node.provenance, &shown(&names.join(".")), message);
            }
        };
        Diagnostic::new(&node.provenance, &shown(&names.join(".")), message)
    }

    fn unknown(&self, names: &[&str], node: &Node, accepted: &[&str]) -> String {
        let (name, outer) = names.split_last().map_or(("", names), |(name, outer)| (*name, outer));
        if holds_secret(name, node) {
            return SECRET_IN_CONFIG.to_owned();
        }
        let is_of_another_kind = outer.len() >= 2 && self.paths.contains(&names.join("."));
        if let (true, Some(kind)) = (is_of_another_kind, accepted.first()) {
            return format!("is not allowed with `{kind}`");
        }
        let meant = nearest(name, accepted.iter().copied());
        let list = accepted.join(", ");
        match (outer, meant) {
            ([], _) if !matches!(node.value, Value::Table(_)) => {
                let elsewhere = self.elsewhere(name);
                elsewhere.unwrap_or_else(|| format!("unknown top-level key; known sections: {}", self.sections()))
            }
            ([], Some(meant)) => format!("unknown section; did you mean [{meant}]?"),
            ([], None) => format!("unknown section; known sections: {}", self.sections()),
            (_, Some(meant)) => format!("unknown key; did you mean `{meant}`?"),
            ([section], None) => {
                let elsewhere = self.elsewhere(name);
                elsewhere.unwrap_or_else(|| format!("unknown key; [{section}] accepts {list}"))
            }
            (_, None) if accepted.is_empty() => "unknown key; the table takes no keys".to_owned(),
            (_, None) => format!("unknown key; the table accepts {list}"),
        }
    }

    /// A key that is, or is nearly, one of another section; or the name of a variable or a flag.
    fn elsewhere(&self, name: &str) -> Option<String> {
        let setting = |path: &&str| path.split('.').count() == 2;
        let key = |path: &str| path.split_once('.').map_or("", |(_, key)| key).to_owned();
        let keys: Vec<_> = self.settings().filter(setting).map(key).collect();
        if let Some(path) = self.variable(&format!("{PREFIX}{}", name.to_uppercase()))
            && let [section, key, rest @ ..] = path.split('.').collect::<Vec<_>>().as_slice()
            && *key != name
        {
            let open: String = rest.iter().map(|key| format!("{{ {key} = ")).collect();
            let close = " }".repeat(rest.len());
            return Some(format!("unknown key here; write `[{section}] {key} = {open}…{close}`"));
        }
        let meant = nearest(name, keys.iter().map(String::as_str))?;
        let path = self.settings().filter(setting).find(|path| key(path) == meant)?;
        let (section, _) = path.split_once('.')?;
        Some(format!("unknown key here; did you mean `{meant}` under [{section}]?"))
    }

    fn sections(&self) -> String {
        let names = self.paths.iter().filter(|path| !path.contains('.'));
        names.map(|name| format!("[{name}]")).collect::<Vec<_>>().join(", ")
    }
}

/// Adds the keys of a schema, of all its alternatives and of the items of its lists.
fn collect(schema: &Json, path: &str, keys: &mut BTreeSet<String>) {
    for (name, property) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        collect(property, &path, keys);
        keys.insert(path);
    }
    let alternatives = ["anyOf", "oneOf", "allOf"]
        .iter()
        .filter_map(|word| schema.get(word)?.as_array());
    for alternative in alternatives.flatten().chain(schema.get("items")) {
        collect(alternative, path, keys);
    }
}

fn key_of(step: &Step) -> Option<&str> {
    match step {
        Step::Key(key) => Some(key),
        Step::Item(_) => None,
    }
}

/// Whether an unknown key was given a secret, by its name or by its value.
fn holds_secret(name: &str, node: &Node) -> bool {
    let is_secret = |text: &str| names_secret(name) || is_token(text);
    if let Value::List(items) = &node.value {
        return items.iter().any(|item| holds_secret(name, item));
    }
    node.text().is_some_and(is_secret)
}
