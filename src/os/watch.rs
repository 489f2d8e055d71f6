//! Files that other processes replace: read whole, and watched for changes of their content.
//!
//! # Why
//!
//! Directories are watched, never the file: an atomic rename replaces the file's inode, and Kubernetes swaps the symlink
//! `..data` beside it, so a watch on the file would follow the deleted inode. An event only triggers a read; the content,
//! compared with that of the last read, decides. Network filesystems send no events, and a directory may appear late, so the
//! content is also compared once a second; reading a few hundred bytes is cheap. Events of other names are ignored: an
//! application may write a file beside the token a thousand times a second.
//!
//! This is kept by hand over `notify`: its debouncers report events, not content, and its polling watcher compares
//! modification times, which a mounted secret need not change.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
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
use tokio::time::{Instant, sleep, timeout};
use zeroize::Zeroizing;

/// The content of a file, or the error of reading it.
pub type ReadResult = io::Result<Zeroizing<Vec<u8>>>;

/// Files that belong together.
pub struct WatchedFiles<const N: usize> {
    paths: [PathBuf; N],
    /// The content at the last [`WatchedFiles::read`].
    last_snapshot: Option<[Snapshot; N]>,
    directory_watch: Option<DirectoryWatch>,
    event_notify: Arc<Notify>,
    event_pending: bool,
    /// The interval at which the content is compared without an event.
    pub(crate) poll_interval: Duration,
    /// Held by the thread that accesses the files.
    io_lock: Arc<Mutex<()>>,
}

/// A digest of a file's content, or the error of reading it.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Snapshot {
    Content([u8; 32]),
    Unreadable(io::ErrorKind),
}

/// The directories to watch, and the names in them whose events count.
#[derive(Default, Eq, PartialEq)]
struct WatchTargets {
    /// By name and inode: a replaced directory is another one.
    directories: Vec<(PathBuf, u64)>,
    names: BTreeSet<OsString>,
}

/// Watched directories.
struct DirectoryWatch {
    targets: Arc<WatchTargets>,
    /// A directory was removed, and its watch with it. The next directory of that name may get the same inode.
    directory_removed: Arc<AtomicBool>,
    _watcher: RecommendedWatcher,
}

/// The largest file that is read whole: a token is at most 16 KiB, the document around it may be longer. One byte more is
/// read of a longer file, so that it can be recognized.
pub const MAX_FILE_BYTES: u64 = 64 * 1024;
/// The default of [`WatchedFiles::poll_interval`].
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The pause of the watcher's thread after an event of another file, so that a burst of them is read as one batch. A change of
/// a watched file is noticed so much later at most.
const IGNORED_EVENT_PAUSE: Duration = Duration::from_millis(20);
/// The time for such a batch.
const BATCH_TIME: Duration = Duration::from_millis(2);
/// A writer that truncates and then writes causes more than one event; the last one counts …
const DEBOUNCE: Duration = Duration::from_millis(15);
/// … within this many debounce intervals.
const MAX_DEBOUNCES: u32 = 4;

// === impl WatchedFiles ===

impl<const N: usize> WatchedFiles<N> {
    /// Watches these files. Neither they nor their directories have to exist yet.
    #[must_use]
    pub fn new(paths: [PathBuf; N]) -> Self {
        Self {
            paths,
            last_snapshot: None,
            directory_watch: None,
            event_notify: Arc::new(Notify::new()),
            event_pending: false,
            poll_interval: POLL_INTERVAL,
            io_lock: Arc::default(),
        }
    }

    /// The paths of the files.
    #[must_use]
    pub const fn paths(&self) -> &[PathBuf; N] {
        &self.paths
    }

    /// Reads the current contents.
    pub async fn read(&mut self) -> [ReadResult; N] {
        // Watch first, read second: a change between the two causes an event.
        self.rewatch().await;
        let read = self.read_all().await;
        self.last_snapshot = Some(read.each_ref().map(Snapshot::from_read));
        read
    }

    /// Waits until the contents differ from those of the last read. Cancel-safe.
    pub async fn changed(&mut self) {
        loop {
            // An event is remembered until the files have been compared: this future may be dropped at any await.
            self.event_pending =
                self.event_pending || timeout(self.poll_interval, self.event_notify.notified()).await.is_ok();
            if self.event_pending {
                self.debounce().await;
            }
            self.rewatch().await;
            let snapshot = self.read_all().await.each_ref().map(Snapshot::from_read);
            let by_event = std::mem::take(&mut self.event_pending);
            if self.last_snapshot != Some(snapshot) {
                tracing::debug!(by_event, "a watched file changed");
                return;
            }
        }
    }

    async fn read_all(&self) -> [ReadResult; N] {
        let paths = self.paths.clone();
        let read = self.run_blocking(move || paths.map(|path| read_file(&path))).await;
        read.unwrap_or_else(|error| std::array::from_fn(|_| Err(io::Error::new(error.kind(), error.to_string()))))
    }

    /// Works on a blocking thread: a file may be on a network filesystem that hangs. One thread at a time, since all file
    /// access of the process shares a few blocking threads, and a caller that gives up leaves its thread behind.
    async fn run_blocking<T>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T>
    where
        T: Send + 'static,
    {
        let guard = Arc::clone(&self.io_lock).lock_owned().await;
        let task = tokio::task::spawn_blocking(move || {
            let _held_until_done = guard;
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

    /// Watches the directories that are relevant now, if they have changed.
    async fn rewatch(&mut self) {
        let paths = self.paths.clone();
        let targets = self
            .run_blocking(move || WatchTargets::of(&paths))
            .await
            .unwrap_or_default();
        let is_current =
            |watch: &DirectoryWatch| *watch.targets == targets && !watch.directory_removed.load(Ordering::Relaxed);
        if !self.directory_watch.as_ref().is_some_and(is_current) {
            self.directory_watch = DirectoryWatch::start(targets, &self.event_notify);
        }
    }
}

impl<const N: usize> fmt::Debug for WatchedFiles<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WatchedFiles({:?})", self.paths)
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

// === impl WatchTargets ===

impl WatchTargets {
    /// Finds the directories in which a change of these files causes an event: their parents, or the nearest ancestors that
    /// exist; and the real parents of files that are symlinks.
    fn of(paths: &[PathBuf]) -> Self {
        let mut targets = Self::default();
        for path in paths {
            let absolute = std::path::absolute(path).unwrap_or_else(|_error| path.clone());
            let real = path.canonicalize().ok();
            let real_parent = real.as_deref().and_then(Path::parent).map(Path::to_path_buf);
            let inode = |directory: PathBuf| {
                let inode = std::fs::metadata(&directory).ok()?.ino();
                Some((directory, inode))
            };
            let ancestors = absolute.ancestors().skip(1).map(Path::to_path_buf);
            let nearest = ancestors.filter_map(inode).take(1);
            for (directory, inode) in nearest.chain(real_parent.and_then(inode)) {
                if !targets.directories.iter().any(|(_, known)| *known == inode) {
                    targets.directories.push((directory, inode));
                }
            }
            let link = absolute.read_link().ok();
            for path in [Some(&absolute), real.as_ref(), link.as_ref()].into_iter().flatten() {
                targets.names.extend(path.iter().map(OsStr::to_owned));
            }
        }
        targets
    }

    /// Returns whether an event may be about the files: about a part of their paths, or about the links of Kubernetes, which
    /// begin with two dots.
    fn concerns(&self, event: &Event) -> bool {
        let is_ours = |name: &OsStr| self.names.contains(name) || name.as_encoded_bytes().starts_with(b"..");
        let mut paths = event.paths.iter();
        event.paths.is_empty() || event.need_rescan() || paths.any(|path| path.file_name().is_none_or(is_ours))
    }
}

// === impl DirectoryWatch ===

impl DirectoryWatch {
    /// Notifies of the events that count; `None` if the system has no watch left.
    fn start(targets: WatchTargets, event_notify: &Arc<Notify>) -> Option<Self> {
        let (event_notify, directory_removed) = (Arc::clone(event_notify), Arc::new(AtomicBool::new(false)));
        let removed = Arc::clone(&directory_removed);
        let targets = Arc::new(targets);
        let watched = Arc::clone(&targets);
        let mut batch_started_at = Instant::now();
        let on_event = move |event: notify::Result<Event>| {
            if event.as_ref().is_ok_and(|event| !watched.concerns(event)) {
                // Many events that are read at once cost little, but each that wakes this thread does.
                if batch_started_at.elapsed() > BATCH_TIME {
                    std::thread::sleep(IGNORED_EVENT_PAUSE);
                    batch_started_at = Instant::now();
                }
                return;
            }
            match event.map(|event| event.kind) {
                // Reading opens the file; notifying of that would never end.
                Ok(EventKind::Access(_)) => return,
                Ok(EventKind::Remove(RemoveKind::File)) => {}
                Ok(EventKind::Remove(_)) => removed.store(true, Ordering::Relaxed),
                Ok(EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Other) | Err(_) => {}
            }
            event_notify.notify_one();
        };
        let mut watcher = notify::recommended_watcher(on_event)
            .inspect_err(|error| tracing::debug!(%error, "file events unavailable; polling"))
            .ok()?;
        for (directory, _inode) in &targets.directories {
            watcher
                .watch(directory, RecursiveMode::NonRecursive)
                .inspect_err(|error| tracing::debug!(%error, ?directory, "cannot watch this directory; polling"))
                .ok()?;
        }
        Some(Self {
            targets,
            directory_removed,
            _watcher: watcher,
        })
    }
}

/// Reads a file, up to one byte more than [`MAX_FILE_BYTES`], so that a longer one is rejected rather than truncated.
///
/// Only regular files are read: a pipe or a terminal would block, and cannot be read twice. Blocks.
///
/// # Errors
///
/// The system's error; [`io::ErrorKind::InvalidInput`] if it is not a regular file.
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

#[cfg(test)]
mod tests;
