//! The OAuth codes that were sent to Graph, so that none is sent a second time.
//!
//! # Why
//!
//! Graph grants a token for a code once, and may revoke it when the code comes a second time (RFC 6749, 4.1.2). A client may repeat its
//! request after a restart. In the directory for state, each code has a file of its own, named by its hash: the file system
//! creates it once, whichever process that shares the directory comes first.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::types::{Fingerprint, lock};

/// The codes that were exchanged, or were to be.
#[derive(Debug)]
pub struct UsedCodes {
    /// Those of this process.
    own: Mutex<VecDeque<Fingerprint>>,
    /// Has the codes from before a restart, and of other processes.
    directory: Option<PathBuf>,
    /// Bounds the threads that note codes: a directory may hang, and token files need the same threads.
    threads: Arc<Semaphore>,
}

/// Whether a code is used for the first time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CodeUse {
    /// It is.
    First,
    /// It was used before, or that is unknown.
    Again,
    /// It was not noted, because too many are.
    Busy,
}

/// The most codes of this process that are remembered.
const MAX_OWN: usize = 10_000;
/// The most threads that note codes.
const MAX_THREADS: usize = 8;
/// The time for which a file remembers a code. Codes live for ten minutes.
const REMEMBERED_FOR: Duration = Duration::from_secs(60 * 60);

impl UsedCodes {
    /// Remembers codes in the directory for state, if there is one.
    #[must_use]
    pub fn new(state_dir: Option<PathBuf>) -> Self {
        Self {
            own: Mutex::default(),
            directory: state_dir.map(|dir| dir.join("used-codes")),
            threads: Arc::new(Semaphore::new(MAX_THREADS)),
        }
    }

    /// Notes that a code is used.
    pub(super) async fn add(self: &Arc<Self>, code: Fingerprint, now: SystemTime) -> CodeUse {
        let Ok(permit) = Arc::clone(&self.threads).try_acquire_owned() else {
            return CodeUse::Busy;
        };
        let used = Arc::clone(self);
        // This thread goes on when the client leaves.
        let added = spawn_blocking(move || (used.add_blocking(code, now), drop(permit)).0);
        // A panic would leave it unknown whether the code is used.
        if added.await.unwrap_or(false) {
            CodeUse::First
        } else {
            CodeUse::Again
        }
    }

    /// Notes that a code is used; `false` if it was before. Blocks.
    fn add_blocking(&self, code: Fingerprint, now: SystemTime) -> bool {
        let mut own = lock(&self.own);
        if own.contains(&code) {
            return false;
        }
        own.truncate(MAX_OWN - 1);
        own.push_front(code);
        drop(own);
        let Some(directory) = &self.directory else {
            return true;
        };
        add_file(directory, code, now).unwrap_or_else(|error| {
            let path = directory.display();
            tracing::warn!(%error, %path, "a used OAuth code is not remembered across a restart; let graphward write there");
            true
        })
    }
}

fn add_file(directory: &Path, code: Fingerprint, now: SystemTime) -> io::Result<bool> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    // An error here says nothing of this code: another process may have removed the file, or it is not a file of graphward.
    for file in fs::read_dir(directory).into_iter().flatten().flatten() {
        let modified = file.metadata().and_then(|metadata| metadata.modified());
        if modified.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > REMEMBERED_FOR)) {
            drop(fs::remove_file(file.path()));
        }
    }
    match File::create_new(directory.join(code.to_string())) {
        Ok(file) => file.sync_all()?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error),
    }
    // Both, because the directory itself may be new.
    for synced in [Some(directory), directory.parent()].into_iter().flatten() {
        File::open(synced)?.sync_all()?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use futures_util::future::FutureExt as _;

    use super::*;
    use crate::types::{Clock, Secret};

    fn code(text: &str) -> Fingerprint {
        Secret::new(text).unwrap().fingerprint()
    }

    #[test]
    fn a_code_is_used_once_by_all_processes_that_share_the_directory_and_forgotten_after_an_hour() {
        let state = tempfile::tempdir().unwrap();
        let process = || UsedCodes::new(Some(state.path().to_owned()));
        let now = Clock::system().now();
        let first = process();
        assert!(first.add_blocking(code("one"), now) && first.add_blocking(code("two"), now));
        assert!(!first.add_blocking(code("one"), now));
        let next = process();
        assert!(!next.add_blocking(code("one"), now) && next.add_blocking(code("three"), now));
        let later = now + REMEMBERED_FOR + Duration::from_secs(60);
        assert!(process().add_blocking(code("one"), later));
        assert_eq!(fs::read_dir(state.path().join("used-codes")).unwrap().count(), 1);
    }

    #[test]
    fn a_code_is_used_once_beside_files_that_cannot_be_removed() {
        let state = tempfile::tempdir().unwrap();
        let directory = state.path().join("used-codes");
        fs::create_dir_all(directory.join("lost+found/kept")).unwrap();
        std::os::unix::fs::symlink("gone", directory.join("link")).unwrap();
        // The directory is older than codes are remembered.
        let now = Clock::system().now() + REMEMBERED_FOR * 2;
        let process = || UsedCodes::new(Some(state.path().to_owned()));
        assert!(process().add_blocking(code("one"), now));
        let file = File::open(directory.join(code("one").to_string())).unwrap();
        file.set_modified(now).unwrap();
        assert!(!process().add_blocking(code("one"), now));
    }

    #[test]
    fn a_code_is_used_once_by_processes_that_forget_the_old_ones_at_the_same_moment() {
        let state = tempfile::tempdir().unwrap();
        let now = Clock::system().now();
        for round in 0..20 {
            let directory = state.path().join("used-codes");
            fs::create_dir_all(&directory).unwrap();
            for old in 0..100 {
                let file = File::create(directory.join(format!("old-{old}"))).unwrap();
                file.set_modified(now - REMEMBERED_FOR * 2).unwrap();
            }
            let code = code(&format!("code{round}"));
            let add = || UsedCodes::new(Some(state.path().to_owned())).add_blocking(code, now);
            let uses = std::thread::scope(|scope| {
                let processes: Vec<_> = (0..4).map(|_| scope.spawn(add)).collect();
                let uses = processes.into_iter();
                uses.map(|process| process.join().unwrap()).filter(|used| *used).count()
            });
            assert_eq!(uses, 1, "round {round}");
        }
    }

    #[tokio::test]
    async fn codes_that_cannot_be_noted_now_take_no_more_than_a_few_threads() {
        let (codes, now) = (Arc::new(UsedCodes::new(None)), Clock::system().now());
        // As a directory that hangs.
        let hanging = codes.own.lock().unwrap();
        let texts = (0..MAX_THREADS).map(|number| format!("code{number}"));
        let mut adding: Vec<_> = texts.map(|text| Box::pin(codes.add(code(&text), now))).collect();
        for added in &mut adding {
            assert_eq!(added.now_or_never(), None);
        }
        assert_eq!(codes.add(code("more"), now).now_or_never(), Some(CodeUse::Busy));
        drop(hanging);
        for added in adding {
            assert_eq!(added.await, CodeUse::First);
        }
        assert_eq!(codes.add(code("more"), now).await, CodeUse::First);
        assert_eq!(codes.add(code("more"), now).await, CodeUse::Again);
    }

    #[test]
    fn a_directory_that_cannot_be_written_lets_codes_be_used_and_remembered_by_the_process() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for directory in [None, Some(file.path().to_owned())] {
            let codes = UsedCodes::new(directory);
            let now = Clock::system().now();
            assert!(codes.add_blocking(code("one"), now));
            assert!(!codes.add_blocking(code("one"), now));
        }
    }
}
