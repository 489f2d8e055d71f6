//! Commands of the documentation, run as they are written by a shell in a directory of their own.

use std::ffi::OsString;
use std::fs;
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::Graph;
use super::blocks::blocks;

/// The block of a page that has this name, such as `docs/admin.md#Events sh`.
#[track_caller]
pub(crate) fn block(name: &str) -> String {
    let (page, _) = name.split_once('#').unwrap();
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let found = blocks(page, &text).into_iter().find(|block| block.name == name);
    found.unwrap_or_else(|| panic!("there is no {name}")).text
}

/// A directory of a user, in which commands run with these variables alone.
pub(crate) struct Shell {
    pub(crate) dir: TempDir,
    variables: Vec<(String, OsString)>,
}

impl Shell {
    /// One that finds graphward, and nothing of the machine's.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let programs = dir.path().join("bin");
        fs::create_dir(&programs).unwrap();
        symlink(env!("CARGO_BIN_EXE_graphward"), programs.join("graphward")).unwrap();
        let mut path = programs.into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        let variables = vec![("PATH".to_owned(), path)];
        // A token may be late on a busy machine.
        Self { dir, variables }.with("GRAPHWARD_HEAL_HOLD_TIMEOUT", "60s")
    }

    /// One whose graphward is in front of this Graph, and takes free ports.
    pub(crate) fn in_front_of(graph: &Graph) -> Self {
        Self::new()
            .with("GRAPHWARD_ORIGIN", format!("https://{}", graph.running.address))
            .with("GRAPHWARD_CA_FILE", graph.ca().display().to_string())
            .with("GRAPHWARD_LISTEN", "127.0.0.1:0")
            .with("GRAPHWARD_ADMIN", "127.0.0.1:0")
    }

    /// Sets a variable; the last value counts.
    pub(crate) fn with(mut self, name: impl Into<String>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    /// Puts a program in place, as a script.
    pub(crate) fn write_program(&self, name: &str, script: &str) {
        let path = Path::new("bin").join(name);
        self.write(path.to_str().unwrap(), &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(self.path().join(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn command(&self, script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-ec", script])
            .current_dir(self.path())
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs a script that has to succeed, with a text for its standard input, and returns what it prints.
    #[track_caller]
    pub(crate) fn run(&self, script: &str, input: &str) -> String {
        let mut pasted = tempfile::tempfile().unwrap();
        pasted.write_all(input.as_bytes()).unwrap();
        pasted.rewind().unwrap();
        let output = self.command(script).stdin(pasted).output().unwrap();
        let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), output.stderr);
        assert!(
            output.status.success(),
            "{script}: {stdout}{}",
            String::from_utf8_lossy(&stderr)
        );
        stdout
    }
}
