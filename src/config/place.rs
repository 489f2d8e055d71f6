//! Where a value was said.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a value was said. Later ones win: default, file, environment, flag.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Provenance {
    /// Nobody said it.
    #[default]
    Default,
    /// The configuration file.
    File {
        /// Which one.
        path: Arc<Path>,
        /// Counted from 1; 0 when the file as a whole is meant.
        line: usize,
    },
    /// An environment variable.
    Environment(&'static str),
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: 0 } => write!(f, "{}", path.display()),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}
