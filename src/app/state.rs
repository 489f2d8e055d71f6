//! The directory for what graphward remembers across restarts.

use std::env::{split_paths, var_os};
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::config::{Config, StateConfig};
use crate::types::error_chain;

/// What is off without a state directory, and what to do.
const WITHOUT_ONE: &str = "`graphward token rollback` has no previous token of a file, and after a restart alerts are repeated and used OAuth codes \
     are not known; set state.dir to a persistent, writable directory";

/// Returns the state directory: `state.dir`, else systemd's `$STATE_DIRECTORY`, else `$XDG_STATE_HOME/graphward`.
pub(super) fn state_dir(config: &StateConfig) -> Option<PathBuf> {
    config.dir.clone().or_else(|| default_dir(|name| var_os(name)))
}

/// Returns the directory that the environment names. systemd separates several by colons; a relative path is passed over.
fn default_dir(var: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name| split_paths(&var(name)?).find(|path| path.is_absolute());
    absolute("STATE_DIRECTORY").or_else(|| Some(absolute("XDG_STATE_HOME")?.join("graphward")))
}

/// Creates the state directory, and says what is off without one that can be written. Where no alerts are sent and no table takes
/// sign-ups, only the command for a rollback needs one, and says so.
pub(super) fn prepare_state_dir(config: &Config) {
    let Some(path) = state_dir(&config.state) else {
        if config.alerts.url.is_some() || config.tenants_from.is_some() {
            tracing::info!("no state directory: {WITHOUT_ONE}");
        }
        return;
    };
    let directory = path.display();
    match try_write(&path) {
        Ok(()) => tracing::info!(%directory, "state directory"),
        Err(error) => tracing::warn!(
            %directory,
            error = error_chain(&error),
            "the state directory cannot be written: until it can, {WITHOUT_ONE}"
        ),
    }
}

fn try_write(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    tempfile::tempfile_in(directory)?.write_all(b"graphward")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_the_state_directory() {
        for (systemd, user, expected) in [
            (Some("/var/lib/graphward"), None, Some("/var/lib/graphward")),
            (
                Some("/var/lib/graphward"),
                Some("/home/a/.local/state"),
                Some("/var/lib/graphward"),
            ),
            (Some("/var/lib/a:/var/lib/b"), None, Some("/var/lib/a")),
            (Some("state:/var/lib/b"), None, Some("/var/lib/b")),
            (
                Some("state"),
                Some("/home/a/.local/state"),
                Some("/home/a/.local/state/graphward"),
            ),
            (
                Some(""),
                Some("/home/a/.local/state"),
                Some("/home/a/.local/state/graphward"),
            ),
            (Some("::"), None, None),
            (
                None,
                Some("/home/a/.local/state"),
                Some("/home/a/.local/state/graphward"),
            ),
            (None, Some(".local/state"), None),
            (None, Some(""), None),
            (None, None, None),
        ] {
            let var = |name: &str| match name {
                "STATE_DIRECTORY" => systemd.map(OsString::from),
                "XDG_STATE_HOME" => user.map(OsString::from),
                _ => panic!("{name}"),
            };
            assert_eq!(default_dir(var), expected.map(PathBuf::from), "{systemd:?}, {user:?}");
        }
    }
}
