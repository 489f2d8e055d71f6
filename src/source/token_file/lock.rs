//! The lock file beside a token file: it exists only while it is locked, so nothing of it stays in the app's directory.

use std::fs::{self, File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// A locked file. It is removed when this is dropped.
#[derive(Debug)]
pub(super) struct HeldLock {
    file: File,
    path: PathBuf,
}

/// The result of one attempt to lock.
pub(super) enum LockAttempt {
    Acquired(HeldLock),
    Contended,
    /// The filesystem has no locks, or the file cannot be written.
    Unsupported,
}

/// Locks the file at this path, and creates it if it is not there.
pub(super) fn try_lock(path: PathBuf) -> io::Result<LockAttempt> {
    let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mode = Mode::RUSR | Mode::WUSR;
    let opened = match rustix::fs::open(&path, flags | OFlags::RDWR | OFlags::CREATE, mode) {
        // A lock file of another user can be locked through a read-only handle.
        Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => rustix::fs::open(&path, flags | OFlags::RDONLY, mode),
        opened => opened,
    };
    let file = match opened {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(LockAttempt::Unsupported),
        Err(error) => return Err(error.into()),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(LockAttempt::Contended),
        Err(TryLockError::Error(error)) => {
            tracing::warn!(%error, path = %path.display(), "the filesystem does not support file locks; replicas may each renew the token");
            return Ok(LockAttempt::Unsupported);
        }
    }
    let held = HeldLock { file, path };
    // If it was removed before it was locked, others lock a new one.
    Ok(match held.is_in_place() {
        true => LockAttempt::Acquired(held),
        false => LockAttempt::Contended,
    })
}

// === impl HeldLock ===

impl HeldLock {
    /// Returns whether the locked file is the one that others find at its path.
    fn is_in_place(&self) -> bool {
        let is_same = |there: &Metadata, held: &Metadata| (there.dev(), there.ino()) == (held.dev(), held.ino());
        match (fs::symlink_metadata(&self.path), self.file.metadata()) {
            (Ok(there), Ok(held)) => is_same(&there, &held),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
        }
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        // While it is still locked: who has opened it meanwhile sees that it is not in place any more, and opens a new one.
        if self.is_in_place() {
            drop(fs::remove_file(&self.path));
        }
    }
}
