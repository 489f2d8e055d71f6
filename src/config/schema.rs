//! The JSON Schema of the configuration, from its types, and what it says.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform as _};
use serde_json::{Map, Value, json};

use super::file::Config;

/// The JSON Schema of a configuration file, for editors.
#[must_use]
pub fn json_schema() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Config>().to_value();
    // Every setting has a default.
    for section in drop_required(&mut schema) {
        drop_required(section).for_each(mark_optional);
    }
    if let Some(tenants_from) = schema.pointer_mut("/properties/tenants_from") {
        let places = tenants_from.pointer_mut("/anyOf/0/anyOf").and_then(Value::as_array_mut);
        let places = places.into_iter().flatten();
        places
            .filter_map(|place| place.pointer_mut("/properties/cache"))
            .for_each(mark_optional);
        mark_optional(tenants_from);
    }
    // A tenant has the settings of `[app]` and `[token]`, except the place of its token.
    if let Some(tenant) = schema.pointer_mut("/properties/tenants/additionalProperties") {
        drop_required(tenant).for_each(mark_optional);
        tenant["required"] = json!(["source"]);
        if let Some(app) = tenant.pointer_mut("/properties/app") {
            drop_required(app).for_each(mark_optional);
        }
    }
    let mut schema = Schema::try_from(schema).unwrap_or_default();
    RecursiveTransform(simplify).transform(&mut schema);
    schema.to_value()
}

/// Returns the schemas of a table's keys, none of which is required from now on.
fn drop_required(table: &mut Value) -> impl Iterator<Item = &mut Value> {
    table.as_object_mut().into_iter().flat_map(|table| {
        table.remove("required");
        let keys = table.get_mut("properties").and_then(Value::as_object_mut);
        keys.into_iter().flat_map(Map::values_mut)
    })
}

/// TOML has no null: a setting that is not set is `""` or `{}`.
fn mark_optional(setting: &mut Value) {
    let is_optional = alternatives(setting).iter().any(|kind| is_type(kind, "null"));
    if let Some(object) = setting.as_object_mut().filter(|_| is_optional) {
        let outer = ["description", "format"].map(|keyword| object.remove_entry(keyword));
        let unset = json!({ "description": "Not set.", "enum": ["", {}] });
        let kinds = ("anyOf".to_owned(), json!([object, unset]));
        *setting = outer.into_iter().flatten().chain([kinds]).collect();
    }
}

/// Removes what is of Rust: null, defaults, links of rustdoc. Durations and sizes are strings with a unit. What is said of
/// the texts in a list or a table with free keys moves to those.
fn simplify(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    object.remove("default");
    let is_of_many = |name: &&str| object.get(*name).is_some_and(Value::is_object);
    if let Some(values) = ["items", "additionalProperties"].into_iter().find(is_of_many) {
        let rules = ["format", "pattern", "patternErrorMessage"].map(|keyword| object.remove_entry(keyword));
        if let Some(Value::Object(values)) = object.get_mut(values) {
            values.extend(rules.into_iter().flatten());
        }
    }
    if let Some(Value::String(text)) = object.get_mut("description") {
        *text = text.replace("[`", "`").replace("`]", "`").replace('\n', " ");
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
    }
    if let Some(Value::Array(kinds)) = object.get_mut("anyOf") {
        kinds.retain(|kind| kind.get("type") != Some(&json!("null")));
    }
    let is_duration = |fields: &Value| fields.get("secs").is_some();
    let unit = if object.get("properties").is_some_and(is_duration) {
        json!({ "type": "string", "format": "time-span", "pattern": "^(0|[0-9]+ *(ms|s|m|h|d))$" })
    } else if object.get("format") == Some(&json!("uint64")) {
        let pattern = "^(0|[0-9]+ *(B|KiB|MiB|GiB|TiB))$";
        json!({ "type": ["string", "integer"], "format": "size", "pattern": pattern, "minimum": 0, "maximum": 0 })
    } else {
        return;
    };
    object.retain(|key, _| matches!(key.as_str(), "description" | "formatMinimum" | "formatMaximum"));
    object.extend(unit.as_object().cloned().unwrap_or_default());
}

/// Whether a schema is that of a setting that is left out.
pub(super) fn is_unset(schema: &Value) -> bool {
    schema.get("enum") == Some(&json!(["", {}]))
}

// === Reading a schema ===

/// The types of values, and how messages name one that was given and one that is expected.
const TYPES: [(&str, &str, &str); 5] = [
    ("string", "a string", "a quoted string"),
    ("integer", "an integer", "an integer (unquoted)"),
    ("boolean", "a boolean", "true or false"),
    ("array", "a list", "a list, [\"…\", \"…\"]"),
    ("object", "a table", "a table"),
];

/// The alternatives of a schema, which is its own if it has no others.
pub(super) fn alternatives(schema: &Value) -> Vec<&Value> {
    let alternatives = ["anyOf", "oneOf"].iter().find_map(|word| schema.get(word)?.as_array());
    match alternatives {
        Some(alternatives) => alternatives.iter().flat_map(self::alternatives).collect(),
        None => vec![schema],
    }
}

pub(super) fn is_type(schema: &Value, name: &str) -> bool {
    text_of(schema, "type") == Some(name) || strings(schema, "type").any(|kind| kind == name)
}

pub(super) fn text_of<'a>(schema: &'a Value, keyword: &str) -> Option<&'a str> {
    schema.get(keyword)?.as_str()
}

/// What a schema says by a keyword, or one of its alternatives.
pub(super) fn rule<'a>(schema: &'a Value, keyword: &str) -> Option<&'a str> {
    let mut schemas = [schema].into_iter().chain(alternatives(schema));
    schemas.find_map(|schema| text_of(schema, keyword))
}

pub(super) fn strings<'a>(schema: &'a Value, keyword: &str) -> impl Iterator<Item = &'a str> {
    let list = schema.get(keyword).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

/// The schema of the values of a table's free keys, if it has such keys.
pub(super) fn free_keys(schema: &Value) -> Option<&Value> {
    schema.get("additionalProperties").filter(|free| free.is_object())
}

pub(super) fn keys(schema: &Value) -> impl Iterator<Item = &str> + Clone {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(Map::keys).map(String::as_str)
}

/// Whether a schema accepts a kind of value, as [`Value::kind`](super::tree::Value::kind) names it.
pub(super) fn is_kind(schema: &Value, kind: &str) -> bool {
    let mut types = TYPES.iter();
    types.any(|(name, given, _)| *given == kind && is_type(schema, name))
}

/// The texts that alternatives accept, if they are listed.
pub(super) fn words<'a>(kinds: &[&'a Value]) -> Vec<&'a str> {
    let listed = kinds.iter().filter(|schema| !is_unset(schema));
    let words = listed.flat_map(|schema| text_of(schema, "const").into_iter().chain(strings(schema, "enum")));
    words.collect()
}

/// What alternatives accept, in words.
pub(super) fn expected(kinds: &[&Value]) -> String {
    let words = words(kinds);
    if !words.is_empty() {
        return format!("one of \"{}\"", words.join("\", \""));
    }
    let describe = |schema: &&Value| {
        let (_, _, description) = TYPES.iter().find(|(name, ..)| is_type(schema, name))?;
        let required: Vec<_> = strings(schema, "required").collect();
        let shown = if required.is_empty() {
            keys(schema).collect()
        } else {
            required
        };
        Some(match shown.as_slice() {
            [] => (*description).to_owned(),
            keys => format!("{{ {} = … }}", keys.join(" = …, ")),
        })
    };
    kinds.iter().filter_map(describe).collect::<Vec<_>>().join(" or ")
}
