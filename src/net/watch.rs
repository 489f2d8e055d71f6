//! Files that somebody else replaces: read whole, and watched for a change of their content.
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

/// What a look at a file showed.
pub type ReadResult = io::Result<Zeroizing<Vec<u8>>>;

/// Some files that belong together.
pub struct WatchedFiles<const N: usize> {
    paths: [PathBuf; N],
    /// What the last [`WatchedFiles::read`] saw.
    last_snapshot: Option<[Snapshot; N]>,
    directory_watch: Option<DirectoryWatch>,
    event_notify: Arc<Notify>,
    event_pending: bool,
    /// Held by the thread that is at the files.
    io_lock: Arc<Mutex<()>>,
}

/// What a look at a file showed: a digest of its bytes, or why there are none.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Snapshot {
    Content([u8; 32]),
    Unreadable(io::ErrorKind),
}

/// Directories under watch, by name and inode: a directory that was replaced is another one.
struct DirectoryWatch {
    directories: Vec<(PathBuf, u64)>,
    /// A directory was removed, and its watch with it. The next one of that name may well get its inode.
    directory_removed: Arc<AtomicBool>,
    _watcher: RecommendedWatcher,
}

/// The largest file that is read whole: a token is at most 16 KiB, what surrounds it may be longer. Of a longer one,
/// a byte more than this is read, so that it can be told from one that fits.
pub const MAX_FILE_BYTES: u64 = 64 * 1024;
/// How often the content is compared where no event says so.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// A writer that truncates and then writes rings more than once; its last ring counts …
const DEBOUNCE: Duration = Duration::from_millis(15);
/// … but no longer than so many settles.
const MAX_DEBOUNCES: u32 = 4;

// === impl WatchedFiles ===

impl<const N: usize> WatchedFiles<N> {
    /// These files. They need not exist yet, nor their directories.
    #[must_use]
    pub fn new(paths: [PathBuf; N]) -> Self {
        Self {
            paths,
            last_snapshot: None,
            directory_watch: None,
            event_notify: Arc::new(Notify::new()),
            event_pending: false,
            io_lock: Arc::default(),
        }
    }

    /// Where they are.
    #[must_use]
    pub const fn paths(&self) -> &[PathBuf; N] {
        &self.paths
    }

    /// What is in them.
    pub async fn read(&mut self) -> [ReadResult; N] {
        // Watch first, read second: what changes between the two rings.
        self.rewatch().await;
        let read = self.read_all().await;
        self.last_snapshot = Some(read.each_ref().map(Snapshot::from_read));
        read
    }

    /// Waits until something else is in them than was read last. Cancel-safe.
    pub async fn changed(&mut self) {
        loop {
            // What rang is remembered until it was looked into: this future may be dropped at any await.
            self.event_pending =
                self.event_pending || timeout(POLL_INTERVAL, self.event_notify.notified()).await.is_ok();
            if self.event_pending {
                self.debounce().await;
            }
            self.rewatch().await;
            let snapshot = self.read_all().await.each_ref().map(Snapshot::from_read);
            self.event_pending = false;
            if self.last_snapshot != Some(snapshot) {
                return;
            }
        }
    }

    async fn read_all(&self) -> [ReadResult; N] {
        let paths = self.paths.clone();
        match self.run_blocking(move || paths.map(|path| read_file(&path))).await {
            Ok(read) => read,
            Err(error) => std::array::from_fn(|_| Err(io::Error::new(error.kind(), error.to_string()))),
        }
    }

    /// Works on a thread that may block: a file can lie on a network filesystem that hangs. One at a time, since
    /// all that the process does with files shares a few such threads, and who gives up waiting leaves his behind.
    async fn run_blocking<T>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T>
    where
        T: Send + 'static,
    {
        let guard = Arc::clone(&self.io_lock).lock_owned().await;
        let task = tokio::task::spawn_blocking(move || {
            let _until_done = guard;
            work()
        });
        task.await.map_err(io::Error::other)
    }

    async fn debounce(&self) {
        for _ in 0..MAX_DEBOUNCES {
            tokio::select! {
                () = self.event_notify.notified() => {}
                () = sleep(DEBOUNCE) => return,
            }
        }
    }

    /// Watches the directories that matter now, if those are not the ones under watch.
    async fn rewatch(&mut self) {
        let paths = self.paths.clone();
        let directories = self
            .run_blocking(move || watched_directories(&paths))
            .await
            .unwrap_or_default();
        if self
            .directory_watch
            .as_ref()
            .is_some_and(|watch| watch.directories == directories && !watch.directory_removed.load(Ordering::Relaxed))
        {
            return;
        }
        self.directory_watch = DirectoryWatch::start(directories, &self.event_notify);
    }
}

impl<const N: usize> fmt::Debug for WatchedFiles<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files")
            .field("paths", &self.paths)
            .field("watched", &self.directory_watch.is_some())
            .finish_non_exhaustive()
    }
}

// === impl Snapshot ===

impl Snapshot {
    fn from_read(read: &ReadResult) -> Self {
        match read {
            Ok(bytes) => Self::Content(Sha256::digest(bytes.as_slice()).into()),
            Err(error) => Self::Unreadable(error.kind()),
        }
    }
}

// === impl DirectoryWatch ===

impl DirectoryWatch {
    /// Rings at anything that happens in these directories; none where the system has no watches to give.
    fn start(directories: Vec<(PathBuf, u64)>, event_notify: &Arc<Notify>) -> Option<Self> {
        let (event_notify, directory_removed) = (Arc::clone(event_notify), Arc::new(AtomicBool::new(false)));
        let removed = Arc::clone(&directory_removed);
        let on_event = move |event: notify::Result<Event>| {
            match event.map(|event| event.kind) {
                // Our own reading opens the file; ringing at that would never end.
                Ok(EventKind::Access(_)) => return,
                Ok(EventKind::Remove(RemoveKind::File)) => {}
                Ok(EventKind::Remove(_)) => removed.store(true, Ordering::Relaxed),
                Ok(EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Other) | Err(_) => {}
            }
            event_notify.notify_one();
        };
        let mut watcher = notify::recommended_watcher(on_event)
            .inspect_err(|error| tracing::debug!(%error, "no file events; polling"))
            .ok()?;
        for (directory, _inode) in &directories {
            watcher
                .watch(directory, RecursiveMode::NonRecursive)
                .inspect_err(|error| tracing::debug!(%error, ?directory, "no file events here; polling"))
                .ok()?;
        }
        Some(Self {
            directories,
            directory_removed,
            _watcher: watcher,
        })
    }
}

/// What is in the file, up to one byte more than is taken, so that a longer one is refused rather than cut.
///
/// Nothing but an ordinary file is read: a pipe or a terminal is waited for, and cannot be read twice. Blocks.
///
/// # Errors
///
/// What the system says; [`io::ErrorKind::InvalidInput`] if it is no ordinary file.
pub fn read_file(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Where a change of the files would show: the directories they are named in, or the nearest that exist; and the
/// directories they lie in, if they are named by links.
fn watched_directories(paths: &[PathBuf]) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for path in paths {
        let ancestors = path.ancestors().skip(1).map(|directory| {
            if directory.as_os_str().is_empty() {
                Path::new(".")
            } else {
                directory
            }
            .to_path_buf()
        });
        let real_parent = path
            .canonicalize()
            .ok()
            .and_then(|real| real.parent().map(Path::to_path_buf));
        let inode = |directory: PathBuf| {
            let inode = std::fs::metadata(&directory).ok()?.ino();
            Some((directory, inode))
        };
        let nearest = ancestors.filter_map(inode).take(1);
        for (directory, inode) in nearest.chain(real_parent.and_then(inode)) {
            if !found.iter().any(|(_, known)| *known == inode) {
                found.push((directory, inode));
            }
        }
    }
    found
}
