//! The environment: a variable for every key, and short names for the most common ones.

use std::collections::BTreeMap;

use regex_lite::Regex;

use super::error::{Diagnostic, Provenance};
use super::keys::{Keys, PREFIX, SHORT_NAMES};
use super::tree::{Node, Value};
use crate::net::EGRESS_VARIABLES;

/// The variables whose names begin with `GRAPHWARD_`, and those about egress proxies; an empty one counts as unset.
pub type EnvVars = BTreeMap<String, String>;

/// The variable that names the configuration file.
pub(super) const CONFIG: &str = "GRAPHWARD_CONFIG";

/// The variable in which `graphward exec` gives its child the base URL. It sets nothing for a graphward that the child runs.
pub const CHILD_URL: &str = "GRAPHWARD_URL";
/// The same with the URL of the admin listener, which a command that asks a sidecar takes from there.
pub const CHILD_ADMIN_URL: &str = "GRAPHWARD_ADMIN_URL";
/// The variables that are no keys.
const OTHERS: [&str; 3] = [CONFIG, CHILD_URL, CHILD_ADMIN_URL];

/// The names of the variables that `--help` lists; the rest follows from the keys' names.
pub fn common_env_vars() -> impl Iterator<Item = &'static str> {
    SHORT_NAMES.into_iter().map(|(name, _)| name).chain([CONFIG])
}

/// The variables of the process that are graphward's. A value that is not Unicode comes with its strange bytes replaced, so
/// that it is invalid rather than missing.
#[must_use]
pub fn env_vars() -> EnvVars {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let vars = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
    vars.filter(|(name, _)| name.starts_with(PREFIX) || EGRESS_VARIABLES.contains(&name.as_str()))
        .collect()
}

/// The names of all variables that are read, and of those that `graphward exec` sets.
#[must_use]
pub fn env_var_names() -> Vec<String> {
    let others = OTHERS.map(str::to_owned);
    Keys::new().variables.into_keys().chain(others).collect()
}

/// A layer of variables, or of flags by the names of their variables. Those that contradict each other are reported.
pub(super) fn layer(
    vars: &EnvVars,
    keys: &Keys,
    provenance: fn(&str) -> Provenance,
    diagnostics: &mut Vec<Diagnostic>,
) -> Node {
    let mut layer = Node::new(&Provenance::Default, Value::Table(Vec::new()));
    for (name, value) in vars {
        let Some(path) = keys.variables.get(name) else { continue };
        let holds_secret = |(short, path): &(&str, &str)| short == name && path.ends_with(".env");
        let value = match value.as_str() {
            _ if SHORT_NAMES.iter().any(holds_secret) => Value::Text(name.clone()),
            "{}" => Value::Table(Vec::new()),
            text => Value::Variable(text.to_owned()),
        };
        let keys: Vec<&str> = path.split('.').collect();
        if let Err(other) = layer.insert(&keys, Node::new(&provenance(name), value)) {
            let message = format!("is set together with {other}; unset one of them");
            diagnostics.push(Diagnostic::new(&provenance(name), path, message));
        }
    }
    layer
}

/// The variables that set nothing, and that Kubernetes did not set.
pub(super) fn unknown_variables<'a>(vars: &'a EnvVars, keys: &Keys) -> impl Iterator<Item = &'a String> {
    let is_unknown = |(name, value): &(&String, &String)| {
        name.starts_with(PREFIX)
            && !OTHERS.contains(&name.as_str())
            && !keys.variables.contains_key(*name)
            && !is_service_link(name, value)
    };
    vars.iter().filter(is_unknown).map(|(name, _)| name)
}

/// Whether Kubernetes set the variable: it does for every Service of the namespace, here one that is named `graphward` or
/// `graphward-…`. `NAME_PORT` is a URL, and `NAME_PORT_8080_TCP_ADDR` and the like are its parts.
fn is_service_link(name: &str, value: &str) -> bool {
    let link = "^GRAPHWARD_(.+_)?(SERVICE_(HOST|PORT(_.+)?)|PORT_[0-9]+_(TCP|UDP|SCTP)(_.+)?)$";
    let is_own = name.starts_with("GRAPHWARD_SERVICE_") || name.starts_with("GRAPHWARD_PORT_");
    let is_url = name.ends_with("_PORT") && value.contains("://");
    is_own || is_url || name == "GRAPHWARD_PORT" || Regex::new(link).is_ok_and(|link| link.is_match(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_links_of_kubernetes_are_told_from_keys() {
        for (name, value) in [
            ("GRAPHWARD_SERVICE_HOST", "10.0.0.1"),
            ("GRAPHWARD_SERVICE_PORT", "80"),
            ("GRAPHWARD_SERVICE_PORT_HTTP", "80"),
            ("GRAPHWARD_PORT", "tcp://10.0.0.1:80"),
            ("GRAPHWARD_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("GRAPHWARD_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("GRAPHWARD_ADMIN_SERVICE_HOST", "10.0.0.1"),
            ("GRAPHWARD_ADMIN_SERVICE_PORT_METRICS", "9080"),
            ("GRAPHWARD_ADMIN_PORT", "tcp://10.0.0.1:9080"),
            ("GRAPHWARD_ADMIN_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("GRAPHWARD_ADMIN_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("GRAPHWARD_ADMIN_PORT_53_UDP_PROTO", "udp"),
            ("GRAPHWARD_TOKEN_PORT_80_TCP_PORT", "80"),
        ] {
            assert!(is_service_link(name, value), "{name}");
        }
        for name in [
            "GRAPHWARD_ADMIN",
            "GRAPHWARD_ADMIN_PORT",
            "GRAPHWARD_TOKEN_PORT_X",
            "GRAPHWARD_TOKN",
        ] {
            assert!(!is_service_link(name, "9080"), "{name}");
        }
        let keys = Keys::new();
        let mistaken: Vec<_> = keys
            .variables
            .keys()
            .filter(|name| is_service_link(name, "a://b"))
            .collect();
        assert!(mistaken.is_empty(), "{mistaken:?}");
    }
}
