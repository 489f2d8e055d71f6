//! The events of directories: something in them may have changed.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::event::RemoveKind;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, sleep, timeout};

/// The events of some directories, and the access to what is in them.
#[derive(Default, derive_more::Debug)]
#[debug("DirectoryEvents(pending: {is_pending})")]
pub struct DirectoryEvents {
    watch: Option<DirectoryWatch>,
    pub(super) notify: Arc<Notify>,
    /// There was an event, and what is in the directories has not been compared since.
    is_pending: bool,
    /// Held by the thread that accesses the files.
    io_lock: Arc<Mutex<()>>,
}

/// The directories to watch, and the names in them whose events count.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct WatchTargets {
    /// By name and inode: a replaced directory is another one.
    directories: Vec<(PathBuf, u64)>,
    /// `None` if all names count.
    names: Option<BTreeSet<OsString>>,
}

/// Watched directories.
struct DirectoryWatch {
    targets: Arc<WatchTargets>,
    /// A directory was removed, and its watch with it. The next directory of that name may get the same inode.
    directory_removed: Arc<AtomicBool>,
    _watcher: RecommendedWatcher,
}

/// The pause of the watcher's thread after an event of another file, so that a burst of them is read as one batch. A change of
/// a watched file is noticed so much later at most.
const IGNORED_EVENT_PAUSE: Duration = Duration::from_millis(20);
/// The time for such a batch.
const BATCH_TIME: Duration = Duration::from_millis(2);
/// A writer that truncates and then writes causes more than one event; the last one counts …
const DEBOUNCE: Duration = Duration::from_millis(15);
/// … within this many debounce intervals.
const MAX_DEBOUNCES: u32 = 4;

// === impl DirectoryEvents ===

impl DirectoryEvents {
    /// Watches the directories that are relevant now, if they have changed. `find` may block.
    pub async fn watch(&mut self, find: impl FnOnce() -> WatchTargets + Send + 'static) {
        let targets = self.run_blocking(find).await.unwrap_or_default();
        let is_current =
            |watch: &DirectoryWatch| *watch.targets == targets && !watch.directory_removed.load(Ordering::Relaxed);
        if !self.watch.as_ref().is_some_and(is_current) {
            self.watch = DirectoryWatch::start(targets, &self.notify);
        }
    }

    /// Waits for an event, but not longer than this. Cancel-safe: an event is remembered until it is taken.
    pub async fn wait(&mut self, limit: Duration) {
        self.is_pending = self.is_pending || timeout(limit, self.notify.notified()).await.is_ok();
        if self.is_pending {
            self.debounce().await;
        }
    }

    /// Returns whether there was an event, and forgets it.
    pub const fn take_pending(&mut self) -> bool {
        std::mem::replace(&mut self.is_pending, false)
    }

    /// Works on a blocking thread: a file may be on a network filesystem that hangs. One thread at a time, since all file
    /// access of the process shares a few blocking threads, and a caller that gives up leaves its thread behind.
    ///
    /// # Errors
    ///
    /// The thread was stopped, or panicked.
    pub async fn run_blocking<T>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T>
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
                () = self.notify.notified() => {}
                () = sleep(DEBOUNCE) => return,
            }
        }
    }
}

// === impl WatchTargets ===

impl WatchTargets {
    /// Finds the directories in which a change of these files causes an event: their parents, or the nearest ancestors that
    /// exist; and the real parents of files that are symlinks.
    pub(super) fn of_files(paths: &[PathBuf]) -> Self {
        let mut targets = Self::default();
        let mut names = BTreeSet::new();
        for path in paths {
            let absolute = std::path::absolute(path).unwrap_or_else(|_error| path.clone());
            let real = path.canonicalize().ok();
            let real_parent = real.as_deref().and_then(Path::parent);
            let nearest = absolute.ancestors().skip(1).find_map(with_inode);
            for (directory, inode) in nearest.into_iter().chain(real_parent.and_then(with_inode)) {
                if !targets.directories.iter().any(|(_, known)| *known == inode) {
                    targets.directories.push((directory, inode));
                }
            }
            let link = absolute.read_link().ok();
            for path in [Some(&absolute), real.as_ref(), link.as_ref()].into_iter().flatten() {
                names.extend(path.iter().map(OsStr::to_owned));
            }
        }
        targets.names = Some(names);
        targets
    }

    /// Finds the directory in which any change counts: this one, or its nearest ancestor that exists.
    #[must_use]
    pub fn of_directory(path: &Path) -> Self {
        let absolute = std::path::absolute(path).unwrap_or_else(|_error| path.to_owned());
        Self {
            directories: absolute.ancestors().find_map(with_inode).into_iter().collect(),
            names: None,
        }
    }

    /// Returns whether an event may be about the files: about a part of their paths, or about the links of Kubernetes, which
    /// begin with two dots.
    fn concerns(&self, event: &Event) -> bool {
        let Some(names) = &self.names else {
            return true;
        };
        let is_ours = |name: &OsStr| names.contains(name) || name.as_encoded_bytes().starts_with(b"..");
        let mut paths = event.paths.iter();
        event.paths.is_empty() || event.need_rescan() || paths.any(|path| path.file_name().is_none_or(is_ours))
    }
}

/// Returns a directory with its inode, if it exists.
fn with_inode(directory: &Path) -> Option<(PathBuf, u64)> {
    let inode = std::fs::metadata(directory).ok()?.ino();
    Some((directory.to_owned(), inode))
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
