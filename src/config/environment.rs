//! The environment: a variable for every key, and short names for the most common ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::{Diagnostic, Provenance};
use super::keys::{ALIASES, Keys, PREFIX, SECRETS};
use super::tree::{Node, Value};

/// The variables whose names begin with `GRAPHWARD_`, without empty ones.
pub type EnvVars = BTreeMap<String, String>;

/// The variable that names the configuration file.
pub(super) const CONFIG: &str = "GRAPHWARD_CONFIG";

/// The names of the variables that `--help` lists; the rest follows from the keys' names.
pub fn common_env_vars() -> impl Iterator<Item = &'static str> {
    let secrets = SECRETS.into_iter().map(|(name, _)| name);
    ALIASES
        .into_iter()
        .map(|(name, _, _)| name)
        .chain(secrets)
        .chain([CONFIG])
}

/// The variables of the process that are graphward's. A value that is not Unicode comes with its strange bytes replaced, so
/// that it is invalid rather than missing.
#[must_use]
pub fn env_vars() -> EnvVars {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let vars = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
    vars.filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
        .collect()
}

/// The names of all variables that are read.
#[must_use]
pub fn env_var_names() -> Vec<String> {
    Keys::new().variables().chain([CONFIG]).map(str::to_owned).collect()
}

/// A variable of the process, for secrets that are in one.
#[must_use]
pub fn env_var(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// The environment as a layer. Variables that contradict each other are reported.
pub(super) fn environment_tree(vars: &EnvVars, keys: &Keys, diagnostics: &mut Vec<Diagnostic>) -> Node {
    let mut tree = Node::empty_table(&Provenance::Default);
    for (name, value) in vars.iter().filter(|(_, value)| !value.is_empty()) {
        let Some(path) = keys.variable(name) else { continue };
        let value = match value.as_str() {
            _ if SECRETS.iter().any(|(secret, _)| *secret == name) => Value::Text(name.clone()),
            "{}" => Value::Table(Vec::new()),
            text => Value::Variable(text.to_owned()),
        };
        let provenance = Provenance::Environment(Arc::from(name.as_str()));
        let keys: Vec<&str> = path.split('.').collect();
        if let Err(other) = tree.insert(&keys, Node::new(&provenance, value)) {
            let message = format!("is set together with {other}; unset one of them");
            diagnostics.push(Diagnostic::new(&provenance, path, message));
        }
    }
    tree
}

/// The variables that set nothing, and that Kubernetes did not set.
pub(super) fn unknown_variables<'a>(vars: &'a EnvVars, keys: &Keys) -> impl Iterator<Item = &'a String> {
    let is_unknown = |(name, value): &(&String, &String)| {
        !value.is_empty() && *name != CONFIG && keys.variable(name).is_none() && !is_service_link(name, value)
    };
    vars.iter().filter(is_unknown).map(|(name, _)| name)
}

/// Whether Kubernetes set the variable: it does for every Service of the namespace, here one that is named `graphward` or
/// `graphward-…`.
fn is_service_link(name: &str, value: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).unwrap_or(name);
    let is_own = rest.starts_with("SERVICE_") || rest == "PORT" || rest.starts_with("PORT_");
    let is_host = rest.ends_with("_SERVICE_HOST") || rest.ends_with("_SERVICE_PORT") || rest.contains("_SERVICE_PORT_");
    // `NAME_PORT` is a URL, and `NAME_PORT_8080_TCP_ADDR` and the like are its parts.
    let is_url = rest.ends_with("_PORT") && value.contains("://");
    let is_part = rest.split_once("_PORT_").is_some_and(|(_, part)| {
        let mut words = part.split('_');
        let is_port = words.next().is_some_and(|port| port.parse::<u16>().is_ok());
        is_port && matches!(words.next(), Some("TCP" | "UDP" | "SCTP"))
    });
    is_own || is_host || is_url || is_part
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
        let mistaken: Vec<_> = keys.variables().filter(|name| is_service_link(name, "a://b")).collect();
        assert!(mistaken.is_empty(), "{mistaken:?}");
    }
}
