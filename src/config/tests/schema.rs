//! The JSON Schema that is shipped.

use std::sync::OnceLock;

use regex_lite::Regex;
use serde_json::{Value as Json, json};

use super::*;
use crate::config::tree::Value;

/// Whether the schema accepts a TOML text.
pub(super) fn is_accepted(text: &str) -> bool {
    static SCHEMA: OnceLock<Json> = OnceLock::new();
    let (root, diagnostics) = Node::parse(&Arc::from(Path::new("")), text);
    diagnostics.is_empty() && accepts(SCHEMA.get_or_init(json_schema), &json_of(&root))
}

pub(super) fn json_of(node: &Node) -> Json {
    match &node.value {
        Value::Text(text) | Value::Variable(text) => json!(text),
        Value::Integer(number) => json!(number),
        Value::Boolean(on) => json!(on),
        Value::Other(_) => json!(0.5),
        Value::List(items) => items.iter().map(json_of).collect(),
        Value::Table(entries) => entries.iter().map(|(key, node)| (key.clone(), json_of(node))).collect(),
    }
}

/// Whether a schema of draft 7 accepts a value. Formats are annotations.
fn accepts(schema: &Json, value: &Json) -> bool {
    let Some(keywords) = schema.as_object() else {
        return schema.as_bool().unwrap();
    };
    let list = |rule: &Json| rule.as_array().unwrap().clone();
    let keys = value.as_object().into_iter().flatten();
    let mut items = value.as_array().into_iter().flatten();
    keywords.iter().all(|(keyword, rule)| match keyword.as_str() {
        "$schema" | "title" | "description" | "format" | "formatMinimum" | "formatMaximum" | "patternErrorMessage" => {
            true
        }
        "type" if rule.is_array() => list(rule).iter().any(|name| is_a(name, value)),
        "type" => is_a(rule, value),
        "const" => rule == value,
        "enum" => list(rule).contains(value),
        "anyOf" => list(rule).iter().any(|schema| accepts(schema, value)),
        "oneOf" => list(rule).iter().filter(|schema| accepts(schema, value)).count() == 1,
        "not" => !accepts(rule, value),
        "required" => !value.is_object() || list(rule).iter().all(|key| value.get(key.as_str().unwrap()).is_some()),
        "properties" => keys
            .clone()
            .all(|(key, value)| rule.get(key).is_none_or(|schema| accepts(schema, value))),
        "additionalProperties" => {
            let is_known = |key: &str| schema.pointer(&format!("/properties/{key}")).is_some();
            keys.clone().all(|(key, value)| is_known(key) || accepts(rule, value))
        }
        "propertyNames" => keys.clone().all(|(key, _)| accepts(rule, &json!(key))),
        "items" => items.all(|item| accepts(rule, item)),
        "minItems" => value
            .as_array()
            .is_none_or(|items| items.len() >= rule.as_u64().unwrap() as usize),
        "minimum" => value.as_i64().is_none_or(|number| number >= rule.as_i64().unwrap()),
        "maximum" => value.as_i64().is_none_or(|number| number <= rule.as_i64().unwrap()),
        "pattern" => {
            let pattern = Regex::new(rule.as_str().unwrap()).unwrap();
            value.as_str().is_none_or(|text| pattern.is_match(text))
        }
        other => panic!("the schema has a keyword that this test does not know: {other}"),
    })
}

fn is_a(name: &Json, value: &Json) -> bool {
    match name.as_str().unwrap() {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the schema has a type that this test does not know: {other}"),
    }
}

/// The TOML files and the TOML blocks of the papers that are shipped.
fn shipped() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = vec![root.join("README.md"), root.join("config"), root.join("docs")];
    let mut texts = Vec::new();
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let extension = path.extension().unwrap_or_default().to_owned();
        let Some(text) = std::fs::read_to_string(&path)
            .ok()
            .filter(|_| extension == "toml" || extension == "md")
        else {
            continue;
        };
        if extension == "toml" {
            texts.push((path, text));
        } else {
            let blocks = text
                .split("```toml\n")
                .skip(1)
                .map(|rest| rest.split("```").next().unwrap());
            texts.extend(blocks.map(|block| (path.clone(), block.to_owned())));
        }
    }
    texts
}

#[test]
fn the_schema_and_the_program_accept_every_text_that_is_shipped() {
    let texts = shipped();
    assert!(texts.len() >= 15, "{}", texts.len());
    for (path, text) in texts {
        if let Err(errors) = read(&text) {
            panic!("{}: {text}{errors:#?}", path.display());
        }
        assert!(is_accepted(&text), "{}: {text}", path.display());
    }
}

#[test]
fn the_schema_refuses_what_the_program_refuses_if_it_can_say_so() {
    for text in [
        "[listen]\nmax_connections = 0",
        "[listen]\nmax_connections = \"2\"",
        "[token]\nsource = []",
        "[token]\nsource = {}",
        "[token]\nsource = { file = \"/a\", env = \"A\" }",
        "[token]\nsource = { file = \"/a\", key = \"K\", pointer = \"/p\" }",
        "[token]\nrenew = \"exchange\"",
        "[token]\nrenew = { exchange = {}, threads = {} }",
        "[token.renew.mint]\nsystem_user = \"1\"\nscopes = [\"a\"]\ntoken = {}",
        "[app]\nsecret = { file = \"/a\", env = \"A\" }",
        "[app]\nsecret = \"hunter2\"",
        "[token]\nstore = { fernet_key = { env = \"A\" } }",
        "[heal]\nhold_timeout = 5",
        "[heal]\nhold_timeout = \"5 seconds\"",
        "[heal]\nbody_memory = 64",
        "[heal]\nbody_memory = \"1MB\"",
        "[log]\nlevel = \"loud\"",
        "[log]\nlevl = \"info\"",
        "[lgo]",
    ] {
        assert!(read(text).is_err(), "{text}");
        assert!(!is_accepted(text), "{text}");
    }
}

#[test]
fn a_setting_that_is_not_set_is_empty_for_the_schema_and_the_program() {
    for path in Keys::new().settings.iter().filter(|path| path.split('.').count() == 2) {
        let (section, key) = path.split_once('.').unwrap();
        let text = format!("[{section}]\n{key} = {{}}");
        assert_eq!(read(&text).is_ok(), is_accepted(&text), "{text}");
    }
    for text in [
        "[token]\nrenew = {}\nstore = {}",
        "[app]\nsecret = {}\nid = \"\"",
        "[listen]\ntls = {}",
        "[alerts]\nurl = \"\"",
        "[upstream]\nca_file = \"\"",
    ] {
        assert!(read(text).is_ok() && is_accepted(text), "{text}");
    }
}

#[test]
fn the_descriptions_are_for_those_who_write_a_file() {
    let schema = json_schema().to_string();
    for words in [
        "[`",
        "`]",
        "It is one",
        "It is not one",
        "nternal details",
        "\"None.\"",
        "\"All.\"",
    ] {
        assert!(!schema.contains(words), "{words}");
    }
}

#[test]
fn the_shipped_schema_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/graphward.schema.json");
    let schema = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &schema).unwrap();
    }
    let shipped = std::fs::read_to_string(&path).unwrap();
    assert!(
        shipped == schema,
        "run `UPDATE_SCHEMA=1 cargo test --lib shipped_schema`"
    );
}

#[test]
fn the_schema_describes_units_and_kinds() {
    let schema = json_schema();
    let at = |pointer: &str| {
        schema
            .pointer(pointer)
            .unwrap_or_else(|| panic!("{pointer}: {schema:#}"))
    };
    assert_eq!(at("/properties/heal/properties/hold_timeout/type"), "string");
    // `0` needs no unit.
    assert_eq!(
        at("/properties/heal/properties/body_disk/type"),
        &json!(["string", "integer"])
    );
    assert_eq!(at("/properties/heal/properties/body_disk/maximum"), 0);
    assert_eq!(at("/properties/log/properties/level/oneOf/0/const"), "error");
    assert_eq!(at("/properties/heal/additionalProperties"), false);
    let renewers = at("/properties/token/properties/renew").to_string();
    for kind in ["exchange", "mint", "instagram", "threads", "http", "exec"] {
        assert!(renewers.contains(&format!("\"{kind}\":{{")), "{kind}: {renewers}");
    }
    assert!(!schema.to_string().contains("null"));
}
