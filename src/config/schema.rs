//! The JSON Schema of the configuration, from its types, and what it says.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform as _};
use serde_json::{Value, json};

use super::file::Config;

/// The JSON Schema of a configuration file, for editors. TOML has no null.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = nullable_schema();
    RecursiveTransform(remove_null).transform(&mut schema);
    schema.to_value()
}

/// The schema in which settings that may be left out may also be null.
pub(super) fn nullable_schema() -> Schema {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Config>();
    RecursiveTransform(describe_units).transform(&mut schema);
    // Every setting has a default.
    schema.remove("required");
    let sections = schema.get_mut("properties").and_then(Value::as_object_mut);
    for section in sections.into_iter().flat_map(|sections| sections.values_mut()) {
        section.as_object_mut().map(|section| section.remove("required"));
    }
    schema
}

/// Durations and sizes are strings with a unit.
fn describe_units(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    object.remove("default");
    let is_duration = object
        .get("properties")
        .is_some_and(|fields| fields.get("secs").is_some());
    let (format, pattern) = if is_duration {
        ("time-span", "^(0|[0-9]+ *(ms|s|m|h|d))$")
    } else if object.get("format") == Some(&json!("uint64")) {
        ("size", "^(0|[0-9]+ *(B|KiB|MiB|GiB|TiB))$")
    } else {
        return;
    };
    object.retain(|key, _| matches!(key.as_str(), "description" | "formatMinimum" | "formatMaximum"));
    let keywords = [("type", "string"), ("format", format), ("pattern", pattern)];
    object.extend(keywords.map(|(keyword, value)| (keyword.to_owned(), json!(value))));
}

fn remove_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
    }
    if let Some(Value::Array(kinds)) = object.get_mut("anyOf") {
        kinds.retain(|kind| kind.get("type") != Some(&json!("null")));
    }
}

// === Reading a schema ===

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

pub(super) fn strings<'a>(schema: &'a Value, keyword: &str) -> impl Iterator<Item = &'a str> {
    let list = schema.get(keyword).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

pub(super) fn keys(schema: &Value) -> impl Iterator<Item = &str> + Clone {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties
        .into_iter()
        .flat_map(|properties| properties.keys().map(String::as_str))
}

/// The texts that a schema accepts, if they are listed.
pub(super) fn words(schema: &Value) -> impl Iterator<Item = &str> {
    text_of(schema, "const").into_iter().chain(strings(schema, "enum"))
}

/// What alternatives accept, in words.
pub(super) fn expected(kinds: &[&Value]) -> String {
    let choice: Vec<&str> = kinds.iter().flat_map(|schema| words(schema)).collect();
    if !choice.is_empty() {
        return format!("one of \"{}\"", choice.join("\", \""));
    }
    let types = [
        ("string", "a quoted string"),
        ("integer", "an integer (unquoted)"),
        ("boolean", "true or false"),
        ("array", "a list, [\"…\", \"…\"]"),
    ];
    let describe = |schema: &&Value| match types.iter().find(|(name, _)| is_type(schema, name)) {
        Some((_, description)) => Some((*description).to_owned()),
        None => is_type(schema, "object").then(|| describe_table(schema)),
    };
    kinds.iter().filter_map(describe).collect::<Vec<_>>().join(" or ")
}

fn describe_table(schema: &Value) -> String {
    let required = strings(schema, "required").collect::<Vec<_>>();
    let keys: Vec<&str> = if required.is_empty() {
        keys(schema).collect()
    } else {
        required
    };
    match keys.as_slice() {
        [] if schema.get("additionalProperties") == Some(&json!(false)) => "{}".to_owned(),
        [] => "a table".to_owned(),
        keys => format!("{{ {} = … }}", keys.join(" = …, ")),
    }
}
