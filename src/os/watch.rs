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

mod events;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

pub use events::{DirectoryEvents, WatchTargets};

/// The content of a file, or the error of reading it.
pub type ReadResult = io::Result<Zeroizing<Vec<u8>>>;

/// Files that belong together.
#[derive(derive_more::Debug)]
#[debug("WatchedFiles({paths:?})")]
pub struct WatchedFiles<const N: usize> {
    paths: [PathBuf; N],
    /// The content at the last [`WatchedFiles::read`].
    last_snapshot: Option<[Snapshot; N]>,
    events: DirectoryEvents,
    /// The interval at which the content is compared without an event.
    pub(crate) poll_interval: Duration,
}

/// A digest of a file's content, or the error of reading it.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Snapshot {
    Content([u8; 32]),
    Unreadable(io::ErrorKind),
}

/// The largest file that is read whole: a token is at most 16 KiB, the document around it may be longer. One byte more is
/// read of a longer file, so that it can be recognized.
pub const MAX_FILE_BYTES: u64 = 64 * 1024;
/// The largest file that [`read_whole`] reads: a configuration with tens of thousands of tenants.
const MAX_WHOLE_MIB: u64 = 16;
const MIB: u64 = 1024 * 1024;
/// The default of [`WatchedFiles::poll_interval`].
const POLL_INTERVAL: Duration = Duration::from_secs(1);

// === impl WatchedFiles ===

impl<const N: usize> WatchedFiles<N> {
    /// Watches these files. Neither they nor their directories have to exist yet.
    #[must_use]
    pub fn new(paths: [PathBuf; N]) -> Self {
        Self {
            paths,
            last_snapshot: None,
            events: DirectoryEvents::default(),
            poll_interval: POLL_INTERVAL,
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
            self.events.wait(self.poll_interval).await;
            self.rewatch().await;
            let snapshot = self.read_all().await.each_ref().map(Snapshot::from_read);
            let by_event = self.events.take_pending();
            if self.last_snapshot != Some(snapshot) {
                tracing::debug!(by_event, "a watched file changed");
                return;
            }
        }
    }

    async fn read_all(&self) -> [ReadResult; N] {
        let paths = self.paths.clone();
        let read = self
            .events
            .run_blocking(move || paths.map(|path| read_file(&path)))
            .await;
        read.unwrap_or_else(|error| std::array::from_fn(|_| Err(io::Error::new(error.kind(), error.to_string()))))
    }

    async fn rewatch(&mut self) {
        let paths = self.paths.clone();
        self.events.watch(move || WatchTargets::of_files(&paths)).await;
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

/// Reads a file, up to one byte more than [`MAX_FILE_BYTES`], so that a longer one is rejected rather than truncated.
///
/// Only regular files are read: a pipe or a terminal would block, and cannot be read twice. Blocks.
///
/// # Errors
///
/// The system's error; [`io::ErrorKind::InvalidInput`] if it is not a regular file.
pub fn read_file(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    read_file_of(path, MAX_FILE_BYTES)
}

/// Reads a file as [`read_file`] does, up to one byte more than `max_bytes`.
///
/// # Errors
///
/// As those of [`read_file`].
pub fn read_file_of(path: &Path, max_bytes: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    open_regular(path)?.take(max_bytes + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a regular file, and no pipe or terminal, which would block and cannot be read twice.
///
/// # Errors
///
/// As those of [`read_file`].
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(file)
}

/// Reads a file of the operator's to its end: a configuration, or certificates. Reading /dev/zero would not terminate.
///
/// # Errors
///
/// The system's error; [`io::ErrorKind::FileTooLarge`] if it has more than 16 MiB.
pub fn read_whole(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_WHOLE_MIB * MIB + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_WHOLE_MIB * MIB {
        let error = format!("it has more than {MAX_WHOLE_MIB} MiB");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, error));
    }
    Ok(bytes)
}

/// Reads a text as [`read_whole`] reads a file.
///
/// # Errors
///
/// As those of [`read_whole`]; [`io::ErrorKind::InvalidData`] if it is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    io::read_to_string(read_whole(File::open(path)?)?.as_slice())
}

#[cfg(test)]
mod tests;
