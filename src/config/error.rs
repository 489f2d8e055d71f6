//! Where a value comes from, and what is wrong with it, without repeating a secret.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::types::{HIDDEN, might_be_secret, shown_path};

/// Everything that is wrong with a configuration, in the order of the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    /// The errors, at least one.
    pub diagnostics: Vec<Diagnostic>,
}

/// One error: where, in which key, and what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostic {
    /// Where the value comes from.
    pub provenance: Provenance,
    /// The key, `section.key`; empty if the error is not about one.
    pub key: String,
    /// What is wrong, and what to do.
    pub message: String,
}

/// Where a value comes from, in the order of messages. A flag wins over the environment, the environment over the file, and
/// the file over the defaults.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Provenance {
    /// The configuration file.
    File {
        /// Its absolute path.
        path: Arc<Path>,
        /// Counted from 1; 0 means the file as a whole.
        line: usize,
    },
    /// An environment variable.
    Environment(Arc<str>),
    /// A flag of the command line.
    Flag(Arc<str>),
    /// It is not set anywhere.
    #[default]
    Default,
}

// === impl ConfigError ===

impl ConfigError {
    pub(super) fn new(mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by(|one, other| one.provenance.cmp(&other.provenance));
        Self { diagnostics }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.diagnostics.len() {
            1 => write!(f, "invalid configuration:")?,
            count => write!(f, "invalid configuration ({count} errors):")?,
        }
        self.diagnostics.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

impl std::error::Error for ConfigError {}

// === impl Diagnostic ===

impl Diagnostic {
    pub(super) fn new(provenance: &Provenance, key: &str, message: impl Into<String>) -> Self {
        Self {
            provenance: provenance.clone(),
            key: key.to_owned(),
            message: message.into(),
        }
    }

    /// Whether it is about this setting, or about a key below it.
    pub(super) fn is_about(&self, setting: &str) -> bool {
        let rest = self.key.strip_prefix(setting);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.key.is_empty() { "" } else { ": " };
        write!(f, "{}{separator}{}: {}", self.provenance, self.key, self.message)
    }
}

// === impl Provenance ===

impl Provenance {
    /// The absolute path of one that is written here: it is relative to the file, or else to the current directory.
    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        let path = match self {
            Self::File { path: file, .. } => file.with_file_name(path),
            Self::Default | Self::Environment(_) | Self::Flag(_) => path.to_owned(),
        };
        std::path::absolute(&path).unwrap_or(path)
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: 0 } => write!(f, "`{}`", shown_path(path)),
            Self::File { path, line } => write!(f, "`{}:{line}`", shown_path(path)),
            Self::Environment(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// How to write a reference to a secret.
pub(super) const SECRET_REF: &str = "{ file = \"/run/graphward/secret\" } or { env = \"NAME\" }";

/// A path of keys as a message may show it: a token or a password may have been pasted in the place of a key.
pub(super) fn shown(path: &str) -> String {
    let is_secret = |key: &str| key.contains(['@', '|']) || (key.len() >= 20 && might_be_secret(key));
    let shown = |key| if is_secret(key) { HIDDEN } else { key };
    let path: Vec<_> = path.split('.').map(shown).collect();
    path.join(".").escape_debug().take(80).collect()
}
