//! A dropped file: the token somebody else keeps, renewed by replacing the file.
//!
//! # Why
//!
//! What is watched is directories, never the file: an atomic rename replaces the file's inode, and Kubernetes
//! swaps the symlink `..data` next to it, so a watch on the file would follow the dead one. An event only says
//! *look*; what decides is the content, compared with what was read last. And since network filesystems send
//! no events, and a directory may appear late, the content is also compared once a second; reading some
//! hundred bytes is cheaper than being clever about it.

use std::fmt;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::event::RemoveKind;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, Notify};
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

use super::decode::{Format, decode};
use crate::token::{BoxFuture, ObtainError, Source, Token};

/// A token in a file.
pub struct FileSource {
    path: PathBuf,
    format: Format,
    /// What the last [`Source::load`] saw.
    seen: Option<Sight>,
    watch: Option<Watch>,
    rung: Arc<Notify>,
    rang: bool,
    /// Held by the thread that is at the file.
    turn: Arc<Mutex<()>>,
}

/// What a look at the file showed: a digest of its bytes, or why there are none.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Sight {
    Content([u8; 32]),
    Nothing(io::ErrorKind),
}

/// Directories under watch, by name and inode: a directory that was replaced is another one.
struct Watch {
    directories: Vec<(PathBuf, u64)>,
    /// A directory was removed, and its watch with it. The next one of that name may well get its inode.
    ended: Arc<AtomicBool>,
    _watcher: RecommendedWatcher,
}

/// The largest file that is read: a token is at most 16 KiB, what surrounds it may be longer.
const MOST: u64 = 64 * 1024;
/// How often the content is compared where no event says so.
const POLL: Duration = Duration::from_secs(1);
/// A writer that truncates and then writes rings more than once; its last ring counts …
const SETTLE: Duration = Duration::from_millis(15);
/// … but no longer than so many settles.
const SETTLES: u32 = 4;

impl FileSource {
    /// The token that stands in `path` in this format. The file need not exist yet, nor its directory.
    #[must_use]
    pub fn new(path: PathBuf, format: Format) -> Self {
        Self {
            path,
            format,
            seen: None,
            watch: None,
            rung: Arc::new(Notify::new()),
            rang: false,
            turn: Arc::default(),
        }
    }

    async fn read(&mut self) -> Result<Token, ObtainError> {
        // Watch first, read second: what changes between the two rings.
        self.rearm().await;
        let read = self.peek().await;
        self.seen = Some(Sight::of(&read));
        let bytes = read.map_err(|error| unreadable(&self.path, error))?;
        let secret = decode(&bytes, &self.format).map_err(|error| ObtainError::Permanent {
            what: format!("the file {} was refused: {error}", self.path.display()),
            reason: error.label(),
            source: None,
        })?;
        Ok(Token::lasting(secret))
    }

    async fn peek(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        let path = self.path.clone();
        self.apart(move || contents(&path)).await?
    }

    /// Works on a thread that may block: the file can lie on a network filesystem that hangs. One at a time, since
    /// all that the process does with files shares a few such threads, and who gives up waiting leaves his behind.
    async fn apart<T>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T>
    where
        T: Send + 'static,
    {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let working = tokio::task::spawn_blocking(move || {
            let _until_done = turn;
            work()
        });
        working.await.map_err(io::Error::other)
    }

    async fn news(&mut self) {
        loop {
            // What rang is remembered until it was looked into: this future may be dropped at any await.
            self.rang = self.rang || timeout(POLL, self.rung.notified()).await.is_ok();
            if self.rang {
                self.settle().await;
            }
            self.rearm().await;
            let sight = Sight::of(&self.peek().await);
            self.rang = false;
            if self.seen != Some(sight) {
                return;
            }
        }
    }

    async fn settle(&self) {
        for _ in 0..SETTLES {
            tokio::select! {
                () = self.rung.notified() => {}
                () = sleep(SETTLE) => return,
            }
        }
    }

    /// Watches the directories that matter now, if those are not the ones under watch.
    async fn rearm(&mut self) {
        let path = self.path.clone();
        let found = self
            .apart(move || directories(&path))
            .await
            .unwrap_or_default();
        if self
            .watch
            .as_ref()
            .is_some_and(|watch| watch.directories == found && !watch.ended.load(Ordering::Relaxed))
        {
            return;
        }
        self.watch = Watch::of(found, &self.rung);
    }
}

impl Source for FileSource {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        Box::pin(self.read())
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.news())
    }

    fn describe(&self) -> String {
        format!("file {}", self.path.display())
    }
}

impl fmt::Debug for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSource")
            .field("path", &self.path)
            .field("format", &self.format)
            .field("watched", &self.watch.is_some())
            .finish_non_exhaustive()
    }
}

// === impl Sight ===

impl Sight {
    fn of(read: &io::Result<Zeroizing<Vec<u8>>>) -> Self {
        match read {
            Ok(bytes) => Self::Content(Sha256::digest(bytes.as_slice()).into()),
            Err(error) => Self::Nothing(error.kind()),
        }
    }
}

// === impl Watch ===

impl Watch {
    /// Rings at anything that happens in these directories; none where the system has no watches to give.
    fn of(directories: Vec<(PathBuf, u64)>, rung: &Arc<Notify>) -> Option<Self> {
        let (rung, ended) = (Arc::clone(rung), Arc::new(AtomicBool::new(false)));
        let end = Arc::clone(&ended);
        let ring = move |event: notify::Result<Event>| {
            match event.map(|event| event.kind) {
                // Our own reading opens the file; ringing at that would never end.
                Ok(EventKind::Access(_)) => return,
                Ok(EventKind::Remove(RemoveKind::File)) => {}
                Ok(EventKind::Remove(_)) => end.store(true, Ordering::Relaxed),
                Ok(
                    EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Other,
                )
                | Err(_) => {}
            }
            rung.notify_one();
        };
        let mut watcher = notify::recommended_watcher(ring)
            .inspect_err(|error| tracing::debug!(%error, "no file events; polling"))
            .ok()?;
        for (directory, _inode) in &directories {
            watcher
                .watch(directory, RecursiveMode::NonRecursive)
                .inspect_err(
                    |error| tracing::debug!(%error, ?directory, "no file events here; polling"),
                )
                .ok()?;
        }
        Some(Self {
            directories,
            ended,
            _watcher: watcher,
        })
    }
}

/// What is in the file, up to one byte more than is taken, so that a longer one is refused rather than cut.
///
/// Nothing but an ordinary file is read: a pipe or a terminal is waited for, and cannot be read twice.
fn contents(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MOST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Where a change of the file would show: the directory it is named in, or the nearest one that exists; and the
/// directory it lies in, if it is named by a link.
fn directories(path: &Path) -> Vec<(PathBuf, u64)> {
    let named = path.ancestors().skip(1).map(|directory| {
        if directory.as_os_str().is_empty() {
            Path::new(".")
        } else {
            directory
        }
        .to_path_buf()
    });
    let real = path
        .canonicalize()
        .ok()
        .and_then(|real| real.parent().map(Path::to_path_buf));
    let inode = |directory: PathBuf| {
        let inode = std::fs::metadata(&directory).ok()?.ino();
        Some((directory, inode))
    };
    let mut found: Vec<(PathBuf, u64)> = named.filter_map(inode).take(1).collect();
    if let Some(real) = real.and_then(inode)
        && !found.iter().any(|(_, inode)| *inode == real.1)
    {
        found.push(real);
    }
    found
}

fn unreadable(path: &Path, error: io::Error) -> ObtainError {
    let path = path.display();
    let kind = error.kind();
    let source = Some(error.into());
    if kind == io::ErrorKind::NotFound {
        let what = format!("the file {path} is not there yet");
        ObtainError::Transient {
            what,
            reason: "missing",
            source,
        }
    } else if kind == io::ErrorKind::PermissionDenied {
        let what = format!("the file {path} may not be read; give this user read permission");
        ObtainError::Permanent {
            what,
            reason: "unreadable",
            source,
        }
    } else if kind == io::ErrorKind::InvalidInput {
        let what = format!("{path} is no file but a directory, a pipe or a device");
        ObtainError::Permanent {
            what,
            reason: "unreadable",
            source: None,
        }
    } else {
        let what = format!("the file {path} cannot be read");
        ObtainError::Transient {
            what,
            reason: "unreadable",
            source,
        }
    }
}

#[cfg(test)]
mod tests;
