//! The settings as they are written, and where each comes from.

use serde_json::{Map, Value as Json, json};

use super::error::Provenance;
use super::tree::{Node, Value};
use crate::types::{HIDDEN, has_secret, is_token};

/// A setting as its layer writes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Setting {
    /// `section.key`; for a tenant, `tenants.NAME`.
    pub key: String,
    /// The value, without what might be a secret.
    pub value: Json,
    /// Where it comes from.
    pub provenance: Provenance,
}

/// Returns each setting of the highest layer that has it, in the words of the file. The layers come from the defaults to the
/// highest; `merged` is what they are together.
pub(super) fn written_settings(layers: [&Node; 4], merged: &Json) -> Vec<Setting> {
    let mut settings: Vec<Setting> = Vec::new();
    for (rank, layer) in layers.into_iter().enumerate() {
        for (section, node) in layer.entries() {
            for (key, node) in node.entries() {
                let merged = merged.get(section).and_then(|settings| settings.get(key));
                let key = format!("{section}.{key}");
                let value = shown(&key, node);
                let setting = Setting {
                    // The text of a variable may stand for a value of another type.
                    value: match (&node.value, merged) {
                        (Value::Variable(_), Some(typed @ (Json::Bool(_) | Json::Array(_)))) => typed.clone(),
                        (Value::Variable(text), Some(Json::Number(number))) if number.to_string() == *text => {
                            json!(number)
                        }
                        _ => value,
                    },
                    provenance: match rank {
                        0 => Provenance::Default,
                        _ => node.provenance.clone(),
                    },
                    key,
                };
                match settings.iter_mut().find(|other| other.key == setting.key) {
                    Some(lower) => *lower = setting,
                    // A new one stands with those of its section.
                    None => {
                        let is_beside = |other: &Setting| other.key.split('.').next() == Some(section);
                        let at = settings
                            .iter()
                            .rposition(is_beside)
                            .map_or(settings.len(), |last| last + 1);
                        settings.insert(at, setting);
                    }
                }
            }
        }
    }
    settings
}

/// The value at a key. The configuration refuses secrets; a text that is one nevertheless is not repeated.
fn shown(key: &str, node: &Node) -> Json {
    match &node.value {
        Value::Text(text) | Value::Variable(text) => {
            let is_secret = is_token(text)
                || ["service-url", "proxy-url"]
                    .iter()
                    .any(|format| has_secret(format, key, text));
            if is_secret { json!(HIDDEN) } else { json!(text) }
        }
        Value::Integer(number) => json!(number),
        Value::Boolean(on) => json!(on),
        Value::Other(_) => Json::Null,
        Value::List(items) => items.iter().map(|item| shown(key, item)).collect(),
        Value::Table(entries) => {
            let entries = entries.iter().map(|(name, node)| (name.clone(), shown(name, node)));
            Json::Object(entries.collect::<Map<_, _>>())
        }
    }
}
