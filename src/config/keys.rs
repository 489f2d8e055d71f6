//! The keys that exist, from the JSON Schema, and what an unknown one was probably meant to be.
//!
//! # Why
//!
//! The schema is generated from the types that are deserialized, so there is no second list of keys to keep in step: what
//! the file accepts, what a variable can set, and what a message suggests are the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::error::Provenance;
use super::schema::{alternatives, free_keys, json_schema};
use crate::types::nearest;

/// What the names of all variables begin with.
pub(super) const PREFIX: &str = "GRAPHWARD_";
/// The most common keys, whose variables have short names, which most flags share. Every other key is set by
/// `GRAPHWARD_<SECTION>_<KEY>`. A variable for `env` holds the secret: only its name becomes part of the configuration.
pub(super) const SHORT_NAMES: [(&str, &str); 11] = [
    ("GRAPHWARD_LISTEN", "listen.proxy"),
    ("GRAPHWARD_ADMIN", "listen.admin"),
    ("GRAPHWARD_ORIGIN", "upstream.origin"),
    ("GRAPHWARD_CA_FILE", "upstream.ca_file"),
    ("GRAPHWARD_TOKEN_FILE", "token.source.file"),
    ("GRAPHWARD_APP_ID", "app.id"),
    ("GRAPHWARD_APP_SECRET_FILE", "app.secret.file"),
    ("GRAPHWARD_LOG", "log.level"),
    ("GRAPHWARD_LOG_REQUESTS", "log.requests"),
    ("GRAPHWARD_TOKEN", "token.source.env"),
    ("GRAPHWARD_APP_SECRET", "app.secret.env"),
];

/// All keys.
pub(super) struct Keys {
    /// The schema that has them.
    pub(super) schema: Json,
    /// The paths of all settings and of the keys below them.
    pub(super) settings: BTreeSet<String>,
    /// Those of the variables that set them, by name.
    pub(super) variables: BTreeMap<String, String>,
    /// Those of tables whose keys are free: they are set in the file only.
    free_tables: Vec<String>,
}

impl Keys {
    /// The keys of the configuration.
    pub(super) fn new() -> Self {
        let schema = json_schema();
        let (mut settings, mut free_tables) = (BTreeSet::new(), Vec::new());
        collect(&schema, "", &mut settings, &mut free_tables);
        settings.retain(|path| path.contains('.'));
        let named = settings.iter().map(|path| (variable_of(path), path.clone()));
        let short = SHORT_NAMES.map(|(name, path)| (name.to_owned(), path.to_owned()));
        let variables = named.chain(short).collect();
        Self {
            schema,
            settings,
            variables,
            free_tables,
        }
    }

    /// The table with free keys that a variable seems to set a key of.
    pub(super) fn free_table(&self, name: &str) -> Option<&String> {
        let is_below = |path: &&String| name.starts_with(&(variable_of(path) + "_"));
        self.free_tables.iter().find(is_below)
    }

    /// A key that is, or is nearly, one of another section; or the name of a variable or a flag.
    pub(super) fn elsewhere(&self, name: &str) -> Option<String> {
        if let Some(path) = self.variables.get(&variable_of(name))
            && let [section, key, rest @ ..] = path.split('.').collect::<Vec<_>>().as_slice()
            && *key != name
        {
            let open: String = rest.iter().map(|key| format!("{{ {key} = ")).collect();
            let close = " }".repeat(rest.len());
            return Some(format!("unknown key here; write `[{section}] {key} = {open}…{close}`"));
        }
        let keys = self.settings.iter().filter_map(|path| path.split_once('.'));
        let keys: Vec<_> = keys.filter(|(_, key)| !key.contains('.')).collect();
        let meant = nearest(name, keys.iter().map(|(_, key)| *key))?;
        let (section, _) = keys.iter().find(|(_, key)| *key == meant)?;
        Some(format!("unknown key here; did you mean `{meant}` under [{section}]?"))
    }
}

/// The variable of a key.
pub(super) fn variable_of(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "_").to_uppercase())
}

/// The flag that has the name of a variable.
pub(super) fn flag_of(variable: &str) -> Provenance {
    let name = variable.trim_start_matches(PREFIX).to_lowercase();
    Provenance::Flag(format!("--{}", name.replace('_', "-")).into())
}

/// Adds the keys below a prefix, and the tables with free keys, of a schema, of all its alternatives and of the items of its
/// lists.
fn collect(schema: &Json, prefix: &str, settings: &mut BTreeSet<String>, free_tables: &mut Vec<String>) {
    if free_keys(schema).is_some() {
        free_tables.push(prefix.trim_end_matches('.').to_owned());
    }
    for (name, property) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
        let path = format!("{prefix}{name}");
        collect(property, &format!("{path}."), settings, free_tables);
        settings.insert(path);
    }
    let inner = alternatives(schema).into_iter().filter(|inner| *inner != schema);
    for inner in inner.chain(schema.get("items")) {
        collect(inner, prefix, settings, free_tables);
    }
}
