//! Flags over environment over file over defaults.
//!
//! # Why
//!
//! A layer replaces a whole setting (`section.key`): a list of sources gives way to the one source that a variable names.
//! Merging within a setting was rejected: half of a source from the file and half from the environment is a third source
//! that no file states. Every layer's values are checked, as an invalid one will not stay hidden.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize as _;
use serde_json::{Map, Value as Json, json};

use super::check::Checker;
use super::environment::{CONFIG, EnvVars, layer, unknown_variables};
use super::error::{ConfigError, Diagnostic, Provenance, shown};
use super::file::Config;
use super::keys::{Keys, flag_of, variable_of};
use super::setting::{Setting, written_settings};
use super::tree::Node;
use super::validate::Validator;
use crate::net::EgressVariables;
use crate::os::watch::read_text;
use crate::types::{closest, shown_path};

/// Where a file is looked for if none is named.
pub const DEFAULT_CONFIG_PATHS: [&str; 2] = ["graphward.toml", "/etc/graphward/graphward.toml"];

/// The file that shows every key with its default.
const DEFAULTS: &str = include_str!("../../config/sidecar.toml");

/// The flags that set keys, which are also the help texts of `graphward serve`. No flag takes a secret: every user can read
/// the process list.
#[derive(clap::Args, Clone, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct Overrides {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Proxy listen address: IP:PORT or unix:/PATH; repeatable [default: 127.0.0.1:8080, or for `exec` a free port]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<String>,
    /// Admin listen address: IP:PORT or unix:/PATH [default: 127.0.0.1:9080, or for `exec` a free port]
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<String>,
    /// The flags that commands that call Graph have, too.
    #[command(flatten)]
    #[serde(flatten)]
    pub graph: GraphOverrides,
    /// Log level: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
    /// Logged requests: none, problems or all [default: problems]
    #[arg(long, value_name = "REQUESTS")]
    pub log_requests: Option<String>,
}

/// The flags of each command that calls Graph: where Graph is, and with which token and app it is called.
#[derive(clap::Args, Clone, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct GraphOverrides {
    /// Graph's origin [default: `https://graph.facebook.com`]
    #[arg(long, value_name = "URL")]
    pub origin: Option<String>,
    /// Additional CA certificates (PEM) to trust
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<String>,
    /// Token file [default: /run/graphward/token]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<String>,
    /// The app's id, for renewals
    #[arg(long, value_name = "ID")]
    pub app_id: Option<String>,
    /// App secret file, for renewals and `appsecret_proof`
    #[arg(long, value_name = "FILE")]
    pub app_secret_file: Option<String>,
}

/// A configuration and where it comes from.
#[derive(Clone, Debug)]
pub struct LoadedConfig {
    /// The configuration.
    pub config: Config,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// Variables that look like graphward's but set nothing, for the log.
    pub warnings: Vec<String>,
    /// The settings as they are written, in the order of `config/sidecar.toml`.
    pub settings: Vec<Setting>,
}

impl Config {
    /// Reads the configuration: flags over environment over file over defaults.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with everything that is wrong. Its message holds no secret and no line of the file.
    pub fn load(flags: Overrides, vars: &EnvVars) -> Result<LoadedConfig, ConfigError> {
        Self::load_from(flags, vars, &DEFAULT_CONFIG_PATHS.map(Path::new))
    }

    pub(super) fn load_from(flags: Overrides, vars: &EnvVars, searched: &[&Path]) -> Result<LoadedConfig, ConfigError> {
        let mut vars = vars.clone();
        vars.retain(|_, value| !value.is_empty());
        let found = find_file(&flags, &vars, searched).map_err(|diagnostic| ConfigError::new(vec![diagnostic]))?;
        let (file, text) = found.unzip();
        merge(file, &text.unwrap_or_default(), flags, &vars)
    }
}

/// Reads a file of this text, for fuzzing.
///
/// # Errors
///
/// [`ConfigError`], as from [`Config::load`].
#[cfg(any(fuzzing, test))]
#[cfg_attr(not(fuzzing), expect(unreachable_pub, reason = "it is public for the fuzz targets"))]
pub fn of_text(text: &str) -> Result<Config, ConfigError> {
    let loaded = merge(Some("/etc/g.toml".into()), text, Overrides::default(), &EnvVars::new())?;
    Ok(loaded.config)
}

/// Lays the layers over each other, or reports everything that is wrong with them.
fn merge(path: Option<PathBuf>, text: &str, flags: Overrides, vars: &EnvVars) -> Result<LoadedConfig, ConfigError> {
    let (file, mut diagnostics) = Node::parse(&path.clone().unwrap_or_default().into(), text);
    let is_whole = diagnostics.is_empty();
    let keys = Keys::new();
    let mut layer = |vars: &EnvVars, provenance| layer(vars, &keys, provenance, &mut diagnostics);
    let flags = layer(&flag_vars(&flags), flag_of);
    let environment = layer(vars, |name| Provenance::Environment(name.into()));
    let (defaults, _) = Node::parse(&Arc::from(Path::new("config/sidecar.toml")), DEFAULTS);
    let layers = [&defaults, &file, &environment, &flags];
    let mut checker = Checker {
        keys: &keys,
        flags: &flags,
        is_whole,
        diagnostics,
        secret_files: BTreeSet::new(),
        secret_vars: BTreeSet::new(),
    };
    let mut merged = Map::new();
    for layer in layers {
        for (section, settings) in checker.check(layer) {
            match (merged.get_mut(&section), settings) {
                (Some(Json::Object(merged)), Json::Object(settings)) => merged.extend(settings),
                // The defaults have every section; one that may be absent is null there.
                (Some(merged @ Json::Null), Json::Object(settings)) if !settings.is_empty() => {
                    *merged = settings.into();
                }
                (Some(_), _) => {}
                (None, settings) => drop(merged.insert(section, settings)),
            }
        }
    }
    complete_tenants(&mut merged);
    let (merged, mut diagnostics) = (Json::Object(merged), checker.diagnostics);
    let Ok(mut config) = Config::deserialize(&merged) else {
        // The schema is that of the type, so what has been checked can be deserialized. Serde's message may have a value.
        let message = "cannot be read, and the reason is not known";
        diagnostics.push(Diagnostic::new(&Provenance::Default, "", message));
        return Err(ConfigError::new(diagnostics));
    };
    config.secret_files = checker.secret_files;
    config.egress_variables = EgressVariables::read(|name| vars.get(name).cloned());
    for section in ["listen", "state", "tenants_from", "upstream"] {
        let settings = merged.get(section).and_then(Json::as_object).into_iter().flatten();
        let settings = settings.map(|(key, value)| (format!("{section}.{key}"), value.clone()));
        config.until_restart.extend(settings);
    }
    if is_whole {
        let validator = Validator {
            layers: [&flags, &environment, &file],
            checked: &diagnostics,
            diagnostics: Vec::new(),
        };
        let found = validator.validate(&mut config);
        diagnostics.extend(found);
    }
    let mut warnings = Vec::new();
    for name in unknown_variables(vars, &keys).filter(|name| !checker.secret_vars.contains(*name)) {
        let known = keys.variables.keys().map(String::as_str).chain([CONFIG]);
        let reason = match (keys.free_table(name), closest(&name.to_uppercase(), known, 0.8)) {
            (Some(table), _) => format!("the keys of `{table}` are set in the file only"),
            (None, Some(meant)) => {
                let provenance = Provenance::Environment(name.as_str().into());
                let message = format!("unknown variable; did you mean {meant}?");
                diagnostics.push(Diagnostic::new(&provenance, "", message));
                continue;
            }
            (None, None) => "there is no such key".to_owned(),
        };
        let name = shown(name);
        warnings.push(format!("the environment variable {name} sets nothing: {reason}"));
    }
    if !diagnostics.is_empty() {
        return Err(ConfigError::new(diagnostics));
    }
    config.secret_vars = checker.secret_vars;
    Ok(LoadedConfig {
        config,
        file: path,
        warnings,
        settings: written_settings(layers, &merged),
    })
}

/// Gives each tenant what it lacks of `[app]` and `[token]`, except the places where tokens are.
fn complete_tenants(merged: &mut Map<String, Json>) {
    let table = |settings: Option<&Json>| settings.and_then(Json::as_object).cloned().unwrap_or_default();
    let mut token = table(merged.get("token"));
    token.retain(|key, _| !["source", "store", "cache"].contains(&key.as_str()));
    token.extend(
        [
            ("store", Json::Null),
            ("cache", Json::Null),
            ("ids", json!([])),
            ("listen", json!([])),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    let app = table(merged.get("app"));
    let tenants = merged.get_mut("tenants").and_then(Json::as_object_mut);
    for tenant in tenants.into_iter().flat_map(Map::values_mut) {
        let (own, mut settings, mut app) = (table(Some(tenant)), token.clone(), app.clone());
        app.extend(table(own.get("app")));
        settings.extend(own);
        settings.insert("app".to_owned(), Json::Object(app));
        *tenant = Json::Object(settings);
    }
}

/// The file and its text. One that was named has to be there; one that is only looked for need not be, but if it is there
/// and cannot be read, that is an error too: the defaults in its place would be a surprise.
fn find_file(flags: &Overrides, vars: &EnvVars, searched: &[&Path]) -> Result<Option<(PathBuf, String)>, Diagnostic> {
    let flag = flags.config.as_deref().map(|path| (path, flag_of(CONFIG)));
    let variable = || Some((Path::new(vars.get(CONFIG)?), Provenance::Environment(CONFIG.into())));
    let searched = searched.iter().map(|path| (*path, Provenance::Default));
    let named = flag.or_else(variable);
    let paths = named.map_or_else(|| searched.collect(), |named| vec![named]);
    for (path, provenance) in paths {
        let path = Provenance::Default.resolve(path);
        match read_text(&path) {
            Ok(text) => return Ok(Some((path, text))),
            Err(error) if provenance == Provenance::Default && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let advice = if error.kind() == io::ErrorKind::IsADirectory {
                    "; name the file in it, such as graphward.toml"
                } else if error.kind() == io::ErrorKind::NotFound {
                    "; create it, or name another one"
                } else {
                    ""
                };
                let path = shown_path(&path);
                let message = format!("cannot read the configuration file `{path}`: {error}{advice}");
                return Err(Diagnostic::new(&provenance, "", message));
            }
        }
    }
    Ok(None)
}

/// Says where a configuration file was looked for and not found.
#[must_use]
pub fn no_config_file() -> String {
    let paths = DEFAULT_CONFIG_PATHS.map(|path| shown_path(&Provenance::Default.resolve(Path::new(path))));
    format!("no configuration file: {} do not exist", paths.join(" and "))
}

/// The flags that are set, by the names of their variables.
fn flag_vars(flags: &Overrides) -> EnvVars {
    let flags = json!(flags);
    let set = flags.as_object().into_iter().flatten().filter_map(|(flag, value)| {
        let texts = value
            .as_array()
            .map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
        let texts: Vec<_> = texts.iter().filter_map(Json::as_str).map(str::trim).collect();
        (!texts.is_empty()).then(|| (variable_of(flag), texts.join(",")))
    });
    set.collect()
}
