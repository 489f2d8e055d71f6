//! Checks that each setting that a comment of a shipped file or a sentence of the documentation names is one.

use std::collections::BTreeSet;

use graphward::config::{CHILD_ADMIN_URL, CHILD_URL, env_var_names};
use regex_lite::Regex;
use serde_json::{Map, Value};

use super::docs::docs;
use super::{read, text_files};

#[test]
fn every_setting_that_a_comment_or_a_sentence_names_exists() {
    let known = known();
    let mut count = 0;
    let files = text_files().into_iter();
    for (path, text) in files.filter(|(path, _)| path.starts_with("config/") && !path.ends_with(".md")) {
        let comments = text.lines().filter_map(|line| line.trim().strip_prefix('#'));
        for line in comments {
            let named = assigned(line);
            assert!(named.is_subset(&known.keys), "{path}: {line}");
            count += named.len();
        }
    }
    assert!(count >= 40, "only {count} settings were found in comments");
    // The changelog also names those that are gone.
    for (path, text) in docs().into_iter().filter(|(path, _)| path != "CHANGELOG.md") {
        for quoted in text
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|quoted| !quoted.contains('\n'))
        {
            let named = known
                .sections
                .iter()
                .any(|section| quoted.starts_with(&format!("{section}.")));
            let named = match named && is_dotted(quoted) {
                true => quoted.split('.').map(str::to_owned).collect(),
                false if quoted.starts_with("#[") => continue,
                false => assigned(quoted),
            };
            assert!(named.is_subset(&known.keys), "{path}: `{quoted}`");
            count += named.len();
        }
    }
    assert!(count >= 300, "only {count} settings were found");
}

/// Where a text takes a value from a variable, the variable is the reader's own: one that graphward reads would become its setting.
#[test]
fn no_command_line_uses_a_variable_that_graphward_reads() {
    let of_child = |name: &String| [CHILD_URL, CHILD_ADMIN_URL].contains(&name.as_str());
    let read_by_graphward: BTreeSet<String> = env_var_names().into_iter().filter(|name| !of_child(name)).collect();
    let used = Regex::new("[$][{]?(GRAPHWARD_[A-Z0-9_]+)").unwrap();
    let mut count = 0;
    for (path, text) in text_files()
        .into_iter()
        .filter(|(path, _)| !path.starts_with("tests/law/"))
    {
        for name in used.captures_iter(&text).map(|found| found[1].to_owned()) {
            assert!(!read_by_graphward.contains(&name), "{path}: ${name}");
            count += 1;
        }
    }
    assert!(count > 0 && read_by_graphward.contains("GRAPHWARD_ADMIN_KEY"));
}

#[test]
fn a_setting_that_does_not_exist_would_be_noticed() {
    let known = known();
    assert!(!assigned("   fernet = { file = \"/etc/key\" }").is_subset(&known.keys));
    assert!(!assigned("source = { file = \"a = 1\", fernet = [] }").is_subset(&known.keys));
    assert!(assigned("  cd x && y = 'z'; if a = b").is_empty());
    assert!(is_dotted("heal.hold_timeout") && !is_dotted("token.rs?") && !is_dotted("heal"));
}

struct Known {
    keys: BTreeSet<String>,
    sections: BTreeSet<String>,
}

/// What the schema of the configuration has.
fn known() -> Known {
    fn collect(schema: &Value, keys: &mut BTreeSet<String>) {
        keys.extend(properties(schema));
        for child in schema.as_object().into_iter().flat_map(Map::values) {
            collect(child, keys);
        }
        for child in schema.as_array().into_iter().flatten() {
            collect(child, keys);
        }
    }
    let schema: Value = serde_json::from_str(&read("config/graphward.schema.json")).unwrap();
    let mut keys = BTreeSet::new();
    collect(&schema, &mut keys);
    let sections = properties(&schema).collect();
    Known { keys, sections }
}

fn properties(schema: &Value) -> impl Iterator<Item = String> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(Map::keys).cloned()
}

/// The keys that a line of TOML gives values.
fn assigned(line: &str) -> BTreeSet<String> {
    let strings = Regex::new("\"[^\"]*\"").unwrap();
    let key = Regex::new("(?:^|[^A-Za-z0-9_.])([a-z][a-z0-9_.]*) = (?:[\\[{\"0-9]|true|false)").unwrap();
    let bare = strings.replace_all(line, "\"\"");
    let keys = key.captures_iter(&bare).map(|found| found[1].to_owned());
    keys.flat_map(|key| key.split('.').map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// Whether a text is a section and a key of it.
fn is_dotted(text: &str) -> bool {
    text.contains('.')
        && text
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(is_of_key))
}

fn is_of_key(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'
}
