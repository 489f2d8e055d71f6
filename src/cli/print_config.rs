//! `graphward print-config`: the configuration that applies, and the origin of each value.

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::exit::{Exit, print_error, print_message};
use super::output::OutputArgs;
use crate::config::{Config, LoadedConfig, Overrides, Provenance, env_vars, no_config_file};

/// The flags of `graphward print-config`.
#[derive(Args, Clone, Debug)]
pub(super) struct PrintConfigArgs {
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    output: OutputArgs,
}

/// Prints the settings as a configuration file with comments, or as JSON.
pub(super) fn run(args: PrintConfigArgs) -> Exit {
    let loaded = match Config::load(args.overrides, &env_vars()) {
        Ok(loaded) => loaded,
        Err(error) => return print_error(&error, Exit::Usage),
    };
    for warning in &loaded.warnings {
        print_message(&format!("warning: {warning}"));
    }
    args.output.print(&as_json(&loaded), &as_toml(&loaded))
}

fn as_json(loaded: &LoadedConfig) -> Value {
    let settings = loaded.settings.iter().map(|setting| {
        let place = match &setting.provenance {
            Provenance::Default => json!({ "origin": "default" }),
            Provenance::File { path, line } => json!({ "origin": "file", "file": &**path, "line": line }),
            Provenance::Environment(name) => json!({ "origin": "environment", "variable": &**name }),
            Provenance::Flag(name) => json!({ "origin": "flag", "flag": &**name }),
        };
        let parts = [json!({ "key": setting.key, "value": setting.value }), place];
        Value::from_iter(parts.iter().filter_map(|part| part.as_object().cloned()).flatten())
    });
    json!({ "file": loaded.file, "settings": settings.collect::<Vec<_>>() })
}

fn as_toml(loaded: &LoadedConfig) -> String {
    let file = loaded.file.as_deref().map(Path::display);
    let mut text = format!("# {}", file.map_or_else(no_config_file, |file| file.to_string()));
    let mut last_section = "";
    for setting in &loaded.settings {
        let (section, key) = setting.key.split_once('.').unwrap_or(("", &setting.key));
        if section != last_section {
            text += &format!("\n\n[{section}]");
            last_section = section;
        }
        let line = format!("{} = {}", toml_key(key), toml_value(&setting.value));
        text += &format!("\n{line:<40}  # {}", setting.provenance);
    }
    text
}

/// A value in one line. A string of JSON is one of TOML.
fn toml_value(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(toml_value).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(entries) if entries.is_empty() => "{}".to_owned(),
        Value::Object(entries) => {
            let entry = |(key, value): (&String, &Value)| format!("{} = {}", toml_key(key), toml_value(value));
            let entries: Vec<_> = entries.iter().map(entry).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn toml_key(key: &str) -> String {
    let is_bare = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    if !key.is_empty() && key.chars().all(is_bare) {
        key.to_owned()
    } else {
        json!(key).to_string()
    }
}
