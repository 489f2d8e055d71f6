//! The settings as they are written, and where each comes from.

use serde_json::{Map, Value as Json, json};

use super::error::Provenance;
use super::tree::{Node, Value};
use crate::types::{HIDDEN, has_secret, might_be_secret, might_be_secret_argument, shown_name};

/// A setting as its layer writes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Setting {
    /// `section.key`; for a tenant, `tenants.NAME`.
    pub key: String,
    /// The value, without what might be a secret.
    pub value: Json,
    /// Where it comes from.
    pub provenance: Provenance,
    /// The keys of its texts that look like a secret, or like a text with one in it: `section.key`, or keys below it.
    pub suspects: Vec<String>,
}

/// Returns each setting of the highest layer that has it, in the words of the file. The layers come from the defaults to the
/// highest; `merged` is what they are together.
pub(super) fn written_settings(layers: [&Node; 4], merged: &Json) -> Vec<Setting> {
    let mut settings: Vec<Setting> = Vec::new();
    for (rank, layer) in layers.into_iter().enumerate() {
        for (section, node) in layer.entries() {
            for (name, node) in node.entries() {
                let merged = merged.get(section).and_then(|settings| settings.get(name));
                let key = format!("{section}.{name}");
                let mut suspects = Vec::new();
                let value = shown(name, &key, node, &mut suspects);
                // The text of a variable may stand for a value of another type.
                let is_text = matches!(node.value, Value::Variable(_)) && value != HIDDEN;
                let is_meant = |typed: &&Json| {
                    is_text && (typed.is_boolean() || typed.is_array() || node.text() == Some(&typed.to_string()))
                };
                let setting = Setting {
                    value: merged.filter(is_meant).cloned().unwrap_or(value),
                    provenance: match rank {
                        0 => Provenance::Default,
                        _ => node.provenance.clone(),
                    },
                    key,
                    suspects,
                };
                match settings.iter_mut().find(|other| other.key == setting.key) {
                    Some(lower) => *lower = setting,
                    None => settings.push(setting),
                }
            }
        }
    }
    // Those of a section stand together; the defaults have every section.
    let section = |setting: &Setting| {
        let mut sections = layers[0].entries().iter();
        sections.position(|(section, _)| setting.key.split('.').next() == Some(section))
    };
    settings.sort_by_key(section);
    settings
}

/// The value at a path of keys, the last of which is `key`, without the texts in which a secret may be: the configuration
/// refuses only what is certainly one. The paths of those that look like one are suspects.
fn shown(key: &str, path: &str, node: &Node, suspects: &mut Vec<String>) -> Json {
    let is_suspect = |argv: &[&str]| {
        argv.array_windows()
            .any(|[before, text]| might_be_secret_argument(before, text))
    };
    match &node.value {
        Value::Text(text) | Value::Variable(text) => {
            let looks_secret = match key {
                "exec" => is_suspect(&Vec::from_iter(text.split(','))),
                "url" | "headers" => might_be_secret(text),
                _ => path == "upstream.proxy" && might_be_secret(text),
            };
            suspects.extend(looks_secret.then(|| path.to_owned()));
            json!(if may_hold_secret(key, text) { HIDDEN } else { text })
        }
        Value::Integer(number) => json!(number),
        Value::Boolean(on) => json!(on),
        Value::Other(_) => Json::Null,
        Value::List(items) if key == "exec" => {
            let looks_secret = is_suspect(&Vec::from_iter(items.iter().filter_map(Node::text)));
            suspects.extend(looks_secret.then(|| path.to_owned()));
            let program = items.iter().take(1).map(|program| shown(key, path, program, suspects));
            program
                .chain(items.iter().skip(1).map(|_argument| json!(HIDDEN)))
                .collect()
        }
        Value::List(items) => items.iter().map(|item| shown(key, path, item, suspects)).collect(),
        Value::Table(entries) => {
            let entries = entries.iter().map(|(name, node)| {
                // The value of a header stands at a key of the operator's.
                let is_header = key == "headers" && node.text().is_some();
                let key = Some(key).filter(|_| is_header).unwrap_or(name);
                let value = shown(key, &format!("{path}.{name}"), node, suspects);
                (shown_name(name).to_owned(), value)
            });
            Json::Object(entries.collect::<Map<_, _>>())
        }
    }
}

/// Whether the text at a key may have a secret in it. Where any text is valid, a password looks like nothing in particular.
fn may_hold_secret(key: &str, text: &str) -> bool {
    let may = match key {
        "headers" | "params" | "url" => true,
        // As a variable has it, with commas between the program and its arguments.
        "exec" => text.contains(','),
        "phone_number_id" => text.contains(|letter: char| !letter.is_ascii_digit()),
        "http" => text.contains('?') || might_be_secret(text),
        // A constant, such as a key of pgcrypto, or a comment.
        "query" | "update" | "upsert" | "withdraw" => ["'", "$$", "--", "/*"].iter().any(|mark| text.contains(mark)),
        _ => text.rsplit('/').next().is_some_and(|name| shown_name(name) == HIDDEN),
    };
    // A database's URL may name its user, and is refused with a password. In another URL, the user may be a secret.
    !text.is_empty() && (may || (key != "postgres" && has_secret("service-url", key, text)))
}
