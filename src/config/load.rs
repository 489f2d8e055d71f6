//! Finding the file, and laying environment and flags over it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fault::{ConfigError, Fault};
use super::file::{Entry, Said, Value, parse};
use super::layers::Layers;
use super::place::Provenance;
use super::resolve::resolve;
use super::settings::Config;

/// Where a file is looked for if none is named.
pub const DEFAULT_CONFIG_PATHS: [&str; 2] = ["graphward.toml", "/etc/graphward/graphward.toml"];

/// What the flags of a command say. No flag takes a secret: the process list is open to everybody.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Overrides {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--listen`, as often as it was given.
    pub listen: Vec<String>,
    /// `--admin`
    pub admin: Option<String>,
    /// `--origin`
    pub origin: Option<String>,
    /// `--ca-file`
    pub ca_file: Option<String>,
    /// `--token-file`
    pub token_file: Option<String>,
    /// `--app-id`
    pub app_id: Option<String>,
    /// `--app-secret-file`
    pub app_secret_file: Option<String>,
    /// `--log`
    pub log: Option<String>,
}

/// A configuration and where it is from.
#[derive(Clone, Debug)]
pub struct LoadedConfig {
    /// The configuration.
    pub config: Config,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// Where each value was said; those not listed are defaults.
    pub provenance: BTreeMap<&'static str, Provenance>,
}

impl Config {
    /// Reads the configuration: flags over environment over file over defaults.
    ///
    /// The environment is a function, [`env_var`](super::env_var) but in tests; a variable that is
    /// empty is as good as not set.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with everything that is wrong. Its message holds no secret and no line of the file.
    pub fn load(flags: Overrides, env: &dyn Fn(&str) -> Option<String>) -> Result<LoadedConfig, ConfigError> {
        Self::load_from(flags, env, &DEFAULT_CONFIG_PATHS.map(Path::new))
    }

    fn load_from(
        flags: Overrides,
        env: &dyn Fn(&str) -> Option<String>,
        files: &[&Path],
    ) -> Result<LoadedConfig, ConfigError> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let named = named(&flags, &env);
        let found = find(named, files).map_err(|fault| ConfigError::new(vec![fault]))?;
        let (file, entries) = match found {
            None => (None, Vec::new()),
            Some((path, text)) => {
                let entries = parse(&Arc::from(path.as_path()), &text).map_err(ConfigError::new)?;
                (Some(path), entries)
            }
        };
        let mut layers = Layers::new(entries);
        lay_environment(&mut layers, &env, &flags);
        lay_flags(&mut layers, flags);
        let (config, places) = resolve(layers).map_err(ConfigError::new)?;
        Ok(LoadedConfig {
            config,
            file,
            provenance: places,
        })
    }
}

/// The fuzzer's door: what a file of this text says, or everything that is wrong with it.
///
/// # Errors
///
/// [`ConfigError`], as from [`Config::load`].
#[cfg(fuzzing)]
pub fn of_text(text: &str) -> Result<Config, ConfigError> {
    let entries = parse(&Arc::from(Path::new("graphward.toml")), text).map_err(ConfigError::new)?;
    let (config, _) = resolve(Layers::new(entries)).map_err(ConfigError::new)?;
    Ok(config)
}

/// The file that somebody asked for, and who did.
fn named(flags: &Overrides, env: &dyn Fn(&str) -> Option<String>) -> Option<(PathBuf, Provenance)> {
    match &flags.config {
        Some(path) => Some((path.clone(), Provenance::Flag("--config"))),
        None => env("GRAPHWARD_CONFIG").map(|path| (PathBuf::from(path), Provenance::Environment("GRAPHWARD_CONFIG"))),
    }
}

/// The file and its text. One that was named has to be there; one that is only looked for need not, but if it
/// is there and cannot be read, that is a fault too: going on with the defaults would be a riddle.
fn find(named: Option<(PathBuf, Provenance)>, files: &[&Path]) -> Result<Option<(PathBuf, String)>, Fault> {
    if let Some((path, place)) = named {
        return match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some((path, text))),
            Err(error) => Err(unreadable(&place, &path, &error)),
        };
    }
    for path in files {
        match std::fs::read_to_string(path) {
            Ok(text) => return Ok(Some((path.to_path_buf(), text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let line = 0;
                let place = Provenance::File {
                    path: Arc::from(*path),
                    line,
                };
                return Err(unreadable(&place, path, &error));
            }
        }
    }
    Ok(None)
}

fn unreadable(place: &Provenance, path: &Path, error: &io::Error) -> Fault {
    let reason = if error.kind() == io::ErrorKind::InvalidData {
        "it is not UTF-8 text".to_owned()
    } else {
        error.to_string()
    };
    let what = format!("cannot read the configuration file {}: {reason}", path.display());
    Fault::new(place, "", what)
}

fn lay_environment(layers: &mut Layers, env: &dyn Fn(&str) -> Option<String>, flags: &Overrides) {
    let mut lay = |name: &'static str, key, value: fn(&Provenance, String) -> Value| {
        if let Some(said) = env(name) {
            let place = Provenance::Environment(name);
            let value = value(&place, said);
            layers.over(key, place, value);
        }
    };
    lay("GRAPHWARD_LISTEN", "listen.proxy", |place, list| {
        texts(place, list.split(','))
    });
    lay("GRAPHWARD_ADMIN", "listen.admin", |_, text| Value::Text(text));
    lay("GRAPHWARD_ORIGIN", "upstream.origin", |_, text| Value::Text(text));
    lay("GRAPHWARD_CA_FILE", "upstream.ca_file", |_, text| Value::Text(text));
    lay("GRAPHWARD_TOKEN_FILE", "token.source", |place, path| {
        table(place, "file", path)
    });
    // The token itself stays where it is; only where it is becomes part of the configuration.
    lay("GRAPHWARD_TOKEN", "token.source", |place, _token| {
        table(place, "env", "GRAPHWARD_TOKEN".to_owned())
    });
    lay("GRAPHWARD_APP_ID", "app.id", |_, text| Value::Text(text));
    lay("GRAPHWARD_APP_SECRET_FILE", "app.secret", |place, path| {
        table(place, "file", path)
    });
    lay("GRAPHWARD_APP_SECRET", "app.secret", |place, _secret| {
        table(place, "env", "GRAPHWARD_APP_SECRET".to_owned())
    });
    lay("GRAPHWARD_LOG", "log.level", |_, text| Value::Text(text));

    // Where a flag says it, two variables that disagree do not matter.
    let doubles = [
        (
            "GRAPHWARD_TOKEN",
            "GRAPHWARD_TOKEN_FILE",
            "token.source",
            "is set, and so is GRAPHWARD_TOKEN_FILE, but the token has one source: unset one of them",
            flags.token_file.is_some(),
        ),
        (
            "GRAPHWARD_APP_SECRET",
            "GRAPHWARD_APP_SECRET_FILE",
            "app.secret",
            "is set, and so is GRAPHWARD_APP_SECRET_FILE, but the secret is in one place: unset one of them",
            flags.app_secret_file.is_some(),
        ),
    ];
    for (one, other, key, what, settled) in doubles {
        if !settled && env(one).is_some() && env(other).is_some() {
            layers.fault(Fault::new(&Provenance::Environment(one), key, what));
        }
    }
}

fn lay_flags(layers: &mut Layers, flags: Overrides) {
    if !flags.listen.is_empty() {
        let place = Provenance::Flag("--listen");
        let value = texts(&place, flags.listen.iter());
        layers.over("listen.proxy", place, value);
    }
    for (flag, key, said) in [
        ("--token-file", "token.source", flags.token_file),
        ("--app-secret-file", "app.secret", flags.app_secret_file),
    ] {
        if let Some(path) = said {
            let place = Provenance::Flag(flag);
            let value = table(&place, "file", path);
            layers.over(key, place, value);
        }
    }
    for (flag, key, said) in [
        ("--admin", "listen.admin", flags.admin),
        ("--origin", "upstream.origin", flags.origin),
        ("--ca-file", "upstream.ca_file", flags.ca_file),
        ("--app-id", "app.id", flags.app_id),
        ("--log", "log.level", flags.log),
    ] {
        if let Some(text) = said {
            layers.over(key, Provenance::Flag(flag), Value::Text(text));
        }
    }
}

fn texts(place: &Provenance, items: impl Iterator<Item = impl AsRef<str>>) -> Value {
    let said = |item: _| Said {
        place: place.clone(),
        value: Value::Text(str::trim(AsRef::as_ref(&item)).to_owned()),
    };
    Value::List(items.map(said).collect())
}

fn table(place: &Provenance, key: &str, text: String) -> Value {
    Value::Table(vec![Entry {
        key: key.to_owned(),
        said: Said {
            place: place.clone(),
            value: Value::Text(text),
        },
    }])
}

#[cfg(test)]
mod tests;
