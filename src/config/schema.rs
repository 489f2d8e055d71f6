//! The JSON Schema of the configuration, from its types.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform as _};
use serde_json::{Value, json};

use super::file::Config;

/// The JSON Schema of a configuration file, for editors.
#[must_use]
pub fn json_schema() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Config>();
    RecursiveTransform(describe_units).transform(&mut schema);
    schema.to_value()
}

/// Durations and sizes are strings with a unit, and TOML has no null.
fn describe_units(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    object.remove("default");
    let is_duration = object
        .get("properties")
        .is_some_and(|fields| fields.get("secs").is_some());
    if is_duration {
        object.retain(|key, _| key == "description");
        object.insert("type".to_owned(), json!("string"));
        object.insert("pattern".to_owned(), json!("^(0|[0-9]+ *(ms|s|m|h|d))$"));
    }
    if object.get("format") == Some(&json!("uint64")) {
        object.retain(|key, _| key == "description");
        object.insert("type".to_owned(), json!("string"));
        object.insert("pattern".to_owned(), json!("^(0|[0-9]+ *(B|KiB|MiB|GiB|TiB))$"));
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
    }
    if let Some(Value::Array(kinds)) = object.get_mut("anyOf") {
        kinds.retain(|kind| kind.get("type") != Some(&json!("null")));
    }
}
