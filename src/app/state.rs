//! The directory for what graphward remembers across restarts.

use std::path::PathBuf;

use super::secrets::env_var;
use crate::config::StateConfig;

/// Returns the state directory: `state.dir`, else systemd's `$STATE_DIRECTORY`, else `$XDG_STATE_HOME/graphward`.
pub(super) fn state_dir(config: &StateConfig) -> Option<PathBuf> {
    let absolute = |path: PathBuf| Some(path).filter(|path| path.is_absolute());
    let systemd = || {
        // systemd separates several directories by colons.
        let all = env_var("STATE_DIRECTORY")?;
        absolute(all.split(':').next()?.into())
    };
    let user = || Some(absolute(env_var("XDG_STATE_HOME")?.into())?.join("graphward"));
    config.dir.clone().or_else(systemd).or_else(user)
}

/// Says at the start what is off without a state directory.
pub(super) fn report_state_dir(config: &StateConfig) {
    match state_dir(config) {
        Some(directory) => tracing::info!(directory = %directory.display(), "state directory"),
        None => tracing::info!(
            "no state directory: `graphward token rollback` has no previous token of a file, and alerts are repeated after a \
             restart; set state.dir to a persistent, writable directory"
        ),
    }
}
