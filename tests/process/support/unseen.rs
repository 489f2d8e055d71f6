//! A token file whose changes cause no event where the sidecar watches, as on a network filesystem.

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::{Graph, Sidecar, retarget_symlink, settings};

/// The named file is a link to a link to the file. graphward watches the directories of the first and of the last; the test
/// replaces the middle one.
pub(crate) struct Unseen {
    dir: TempDir,
    replacements: u32,
}

impl Unseen {
    /// Starts a sidecar whose token is in such a file.
    pub(crate) async fn start(graph: &Graph, token: &str, extra: &str) -> (Self, Sidecar) {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for directory in ["named", "middle", "end-0"] {
            fs::create_dir(path(directory)).unwrap();
        }
        fs::write(path("end-0/token"), token).unwrap();
        symlink(path("end-0/token"), path("middle/token")).unwrap();
        symlink(path("middle/token"), path("named/token")).unwrap();
        let settings = settings(graph, "file = \"named/token\"", extra);
        let sidecar = Sidecar::start(dir.path(), &settings).await;
        (Self { dir, replacements: 0 }, sidecar)
    }

    /// Puts another token there.
    pub(crate) fn drop(&mut self, token: &str) {
        self.replacements += 1;
        let end = self.dir.path().join(format!("end-{}", self.replacements));
        fs::create_dir(&end).unwrap();
        fs::write(end.join("token"), token).unwrap();
        retarget_symlink(&self.dir.path().join("middle/token"), &end.join("token"));
    }
}
