//! What these tests stand on: a fake Graph in this process, a sidecar in another, a client between them.

mod client;
mod graph;
mod sidecar;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::time::{Instant, sleep};

pub(crate) use client::{Answer, Body, Client, get, message};
pub(crate) use graph::{Graph, fingerprint};
pub(crate) use sidecar::{APP_SECRET, Sidecar, exchanged, graphward, sample, settings};

static QUIET: RwLock<()> = RwLock::const_new(());

/// For tests that measure time, or use much of the machine: no other test runs meanwhile.
pub(crate) async fn alone() -> RwLockWriteGuard<'static, ()> {
    QUIET.write().await
}

/// For all others.
pub(crate) async fn together() -> RwLockReadGuard<'static, ()> {
    QUIET.read().await
}

/// Waits until something holds, at most ten seconds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "waited in vain until {what}"
        );
        sleep(Duration::from_millis(5)).await;
    }
}

/// Puts a file in place as a careful writer does: whole or not at all.
pub(crate) fn renamed_into(path: &Path, content: impl AsRef<[u8]>) {
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap()).unwrap();
    file.write_all(content.as_ref()).unwrap();
    file.persist(path).unwrap();
}

/// Lets a link point elsewhere, at once.
pub(crate) fn relinked(link: &Path, target: &Path) {
    let next = link.with_file_name("..next");
    std::os::unix::fs::symlink(target, &next).unwrap();
    fs::rename(next, link).unwrap();
}

/// A token file whose changes cause no event where the sidecar watches, as on a network filesystem.
///
/// The named file is a link to a link to the file. What is watched is the directory of the first and of the last;
/// it is the middle one that is swapped.
pub(crate) struct Unseen {
    place: std::path::PathBuf,
    drops: u32,
}

impl Unseen {
    pub(crate) fn new(place: &Path, content: &str) -> Self {
        for directory in ["named", "middle", "end-0"] {
            fs::create_dir(place.join(directory)).unwrap();
        }
        fs::write(place.join("end-0/token"), content).unwrap();
        std::os::unix::fs::symlink(place.join("end-0/token"), place.join("middle/token")).unwrap();
        std::os::unix::fs::symlink(place.join("middle/token"), place.join("named/token")).unwrap();
        Self {
            place: place.to_path_buf(),
            drops: 0,
        }
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.place.join("named/token")
    }

    pub(crate) fn drop(&mut self, content: &str) {
        self.drops += 1;
        let end = self.place.join(format!("end-{}", self.drops));
        fs::create_dir(&end).unwrap();
        fs::write(end.join("token"), content).unwrap();
        relinked(&self.place.join("middle/token"), &end.join("token"));
    }
}

/// Says a figure, for whoever runs these tests with `--nocapture`.
pub(crate) fn fact(words: &str) {
    writeln!(std::io::stdout(), "{words}").unwrap();
}
