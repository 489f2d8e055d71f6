//! A file that is replaced whole, durably, by one at a time.
//!
//! # Why
//!
//! What is minted is paid for with the token before, so whatever happens between two instructions, the file holds one of
//! them, whole: a draft beside it is written, forced to the disk and renamed over it, and the directory is forced to the
//! disk, too. What was there stays as `NAME.previous`, which is in place before the new one is.
//!
//! The lock is a file of its own, `NAME.lock`, since the other is another inode after each renewal. The kernel gives it
//! back when its holder dies, whatever of; it is never removed, as somebody may just have opened it. Drafts are locked
//! by who writes them, so that those left behind by a crash can be told from those at work, and are swept by the next.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rustix::fs::{Access, CWD, Mode, OFlags, RenameFlags, access, renameat_with};
use rustix::io::Errno;
use tempfile::NamedTempFile;
use tokio::time::sleep;
use zeroize::Zeroizing;

use crate::net::watch::read_file;
use crate::token::{ObtainError, RefreshLock};

/// Where a file is, or will be.
#[derive(Clone, Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    /// The lock that was had last, while somebody has it.
    held_lock: Arc<Mutex<Weak<File>>>,
}

/// Why nothing can be put there.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenFileError {
    #[error("it is mounted from elsewhere (a Kubernetes secret, by its looks) and replaced from there")]
    ManagedByKubernetes,
    #[error("it is mounted by itself and cannot be replaced; mount its directory instead")]
    BindMount,
    #[error("its directory cannot be written to ({0})")]
    Directory(io::Error),
    #[error("it cannot be written ({0})")]
    Write(io::Error),
}

/// The right to write, as far as it can be had at once.
enum LockAttempt {
    Acquired(File),
    Contended,
    /// Where no lock can be, nobody else has it.
    Unsupported,
}

/// How often a lock that is taken is tried.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// More links than this are a circle.
const MAX_SYMLINKS: u32 = 40;

// === impl Place ===

impl TokenFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            held_lock: Arc::default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What is there.
    pub(super) fn read(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        read_file(&self.path)
    }

    /// What was there before.
    pub(super) fn read_previous(&self) -> Result<Zeroizing<Vec<u8>>, TokenFileError> {
        read_file(&with_suffix(&self.resolve_target()?, ".previous")).map_err(TokenFileError::Write)
    }

    /// Whether it can be replaced. Leaves nothing behind.
    pub(super) fn check_writable(&self) -> Result<(), TokenFileError> {
        let target = self.resolve_target()?;
        access(parent_directory(&target), Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|error| TokenFileError::Directory(error.into()))?;
        // Where there is no such list, the attempt shows it.
        let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
        if is_mount_point(&mounts, &target) {
            return Err(TokenFileError::BindMount);
        }
        Ok(())
    }

    /// Puts these bytes there, and those of `before` beside them.
    pub(super) fn replace(&self, bytes: &[u8], previous: Option<&[u8]>) -> Result<(), TokenFileError> {
        let target = self.resolve_target()?;
        remove_stale_temp_files(&target);
        let metadata = fs::metadata(&target).ok();
        let temp_file = write_temp_file(&target, bytes, metadata.as_ref())?;
        if let Some(before) = previous {
            let previous_file = write_temp_file(&target, before, metadata.as_ref())?;
            persist(previous_file, &with_suffix(&target, ".previous"))?;
        }
        persist(temp_file, &target)?;
        sync_directory(&target)
    }

    /// Puts these bytes there, which show the token of before, and what is there in the place of before. Both or
    /// neither, where the filesystem can exchange two files; and never neither of the tokens.
    pub(super) fn swap_with_previous(&self, bytes: &[u8], current: &[u8]) -> Result<(), TokenFileError> {
        let target = self.resolve_target()?;
        remove_stale_temp_files(&target);
        let metadata = fs::metadata(&target).ok();
        let previous = with_suffix(&target, ".previous");
        persist(write_temp_file(&target, bytes, metadata.as_ref())?, &previous)?;
        match renameat_with(CWD, &previous, CWD, &target, RenameFlags::EXCHANGE) {
            // What was there may have been open to more eyes. If it is not ours to close, it never was.
            Ok(()) => drop(fs::set_permissions(&previous, fs::Permissions::from_mode(0o600))),
            // There is nothing to exchange it with …
            Err(Errno::NOENT) => fs::rename(&previous, &target).map_err(TokenFileError::from_io)?,
            // … or nobody who can.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                let previous_file = write_temp_file(&target, current, metadata.as_ref())?;
                fs::rename(&previous, &target).map_err(TokenFileError::from_io)?;
                persist(previous_file, &previous)?;
            }
            Err(error) => return Err(TokenFileError::from_io(error.into())),
        }
        sync_directory(&target)
    }

    /// Waits for the right to write. Given up at any moment, it leaves nothing locked.
    pub(super) async fn lock(&self) -> Result<RefreshLock, ObtainError> {
        loop {
            let file = self.clone();
            let attempt = run_blocking(move || file.try_lock()).await;
            match attempt.map_err(|hindrance| {
                let path = self.path.display();
                let what = format!("the lock {path}.lock cannot be had");
                ObtainError::transient("lock", what).with_source(hindrance)
            })? {
                LockAttempt::Acquired(file) => {
                    let file = Arc::new(file);
                    *self.held_lock() = Arc::downgrade(&file);
                    return Ok(RefreshLock::with_guard(file));
                }
                LockAttempt::Unsupported => return Ok(RefreshLock::uncontended()),
                LockAttempt::Contended => sleep(LOCK_RETRY_INTERVAL).await,
            }
        }
    }

    /// Works as [`run_blocking`] does, under the claim if there is one: it is given back when nothing is written any more.
    pub(super) async fn run_under_lock<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, TokenFileError> + Send + 'static,
    ) -> Result<T, TokenFileError> {
        let held_lock = self.held_lock().upgrade();
        run_blocking(move || (work(), drop(held_lock)).0).await
    }

    fn held_lock(&self) -> MutexGuard<'_, Weak<File>> {
        self.held_lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock(&self) -> Result<LockAttempt, TokenFileError> {
        let target = match self.resolve_target() {
            Ok(target) => target,
            // Nobody of us writes there.
            Err(TokenFileError::ManagedByKubernetes | TokenFileError::Directory(_)) => {
                return Ok(LockAttempt::Unsupported);
            }
            Err(other) => return Err(other),
        };
        let path = with_suffix(&target, ".lock");
        let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let mode = Mode::RUSR | Mode::WUSR;
        let opened = match rustix::fs::open(&path, flags | OFlags::RDWR | OFlags::CREATE, mode) {
            // Somebody else's lock is locked by reading it.
            Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => rustix::fs::open(&path, flags | OFlags::RDONLY, mode),
            opened => opened,
        };
        let file = match opened {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(LockAttempt::Unsupported),
            Err(error) => return Err(TokenFileError::Write(error.into())),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(LockAttempt::Contended),
            Err(TryLockError::Error(error)) => {
                tracing::warn!(%error, path = %path.display(), "no locks here; replicas may each renew the token");
                return Ok(LockAttempt::Unsupported);
            }
        }
        let is_same_file = |there: &Metadata, held: &Metadata| (there.dev(), there.ino()) == (held.dev(), held.ino());
        match (fs::symlink_metadata(&path), file.metadata()) {
            (Ok(there), Ok(held)) if is_same_file(&there, &held) => Ok(LockAttempt::Acquired(file)),
            // Somebody removed it before we had it, and others lock a new one.
            (Ok(_) | Err(_), Ok(_) | Err(_)) => Ok(LockAttempt::Contended),
        }
    }

    /// The file itself, where a link leads to it: the link is somebody's intention.
    fn resolve_target(&self) -> Result<PathBuf, TokenFileError> {
        let mut path = self.path.clone();
        let mut links = 0;
        while let Ok(link) = fs::read_link(&path) {
            links += 1;
            if links > MAX_SYMLINKS {
                return Err(TokenFileError::Write(Errno::LOOP.into()));
            }
            if is_kubernetes_volume(&link) {
                return Err(TokenFileError::ManagedByKubernetes);
            }
            path = parent_directory(&path).join(link);
        }
        let directory = parent_directory(&path)
            .canonicalize()
            .map_err(TokenFileError::Directory)?;
        if is_kubernetes_volume(&directory) {
            return Err(TokenFileError::ManagedByKubernetes);
        }
        match path.file_name() {
            Some(name) => Ok(directory.join(name)),
            None => Err(TokenFileError::Write(Errno::ISDIR.into())),
        }
    }
}

// === impl TokenFileError ===

impl TokenFileError {
    fn from_io(error: io::Error) -> Self {
        let kind = error.kind();
        let directory_errors = [
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::ReadOnlyFilesystem,
            io::ErrorKind::NotFound,
        ];
        if kind == io::ErrorKind::ResourceBusy {
            Self::BindMount
        } else if directory_errors.contains(&kind) {
            Self::Directory(error)
        } else {
            Self::Write(error)
        }
    }

    /// Why a token was not put there.
    pub(super) fn into_obtain_error(self, file: &TokenFile) -> ObtainError {
        let what = self.describe(file);
        match self {
            Self::ManagedByKubernetes | Self::BindMount => ObtainError::permanent("not_writable", what),
            Self::Directory(_) => ObtainError::transient("not_writable", what),
            Self::Write(_) => ObtainError::transient("not_written", what),
        }
    }

    /// The same for people, and what to do.
    pub(super) fn describe(&self, file: &TokenFile) -> String {
        format!(
            "a renewed token cannot be kept in {}: {self}; or set token.store = {{ file = PATH }}, in a directory that \
             can be written to and outlasts this process",
            file.path.display()
        )
    }
}

/// Works on a thread that may block: the file can lie on a network filesystem that hangs. What was begun there is done
/// to its end, whether or not anybody waits for it.
async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TokenFileError> + Send + 'static,
) -> Result<T, TokenFileError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(TokenFileError::Write(io::Error::other(error))),
    }
}

/// What is to be renamed, on the disk already: its owner's alone, and the owner is who had it before, if we may.
fn write_temp_file(target: &Path, bytes: &[u8], metadata: Option<&Metadata>) -> Result<NamedTempFile, TokenFileError> {
    let (prefix, suffix) = temp_file_affixes(target);
    let write = || {
        let mut draft = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(suffix)
            .tempfile_in(parent_directory(target))?;
        let file = draft.as_file();
        // Should the sweeper of another process have had it first, the rename says so. Without locks there is no sweeper.
        drop(file.try_lock());
        if let Some(like) = metadata {
            // Only root may, and a file of our own is as good to us.
            drop(fchown(file, Some(like.uid()), Some(like.gid())));
            let mode = like.mode() & 0o600 | 0o400;
            file.set_permissions(fs::Permissions::from_mode(mode))?;
        }
        draft.write_all(bytes)?;
        draft.as_file().sync_all()?;
        Ok(draft)
    };
    write().map_err(TokenFileError::from_io)
}

fn persist(temp_file: NamedTempFile, path: &Path) -> Result<(), TokenFileError> {
    match temp_file.persist(path) {
        Ok(_file) => Ok(()),
        Err(error) => Err(TokenFileError::from_io(error.error)),
    }
}

/// Forces the names to the disk.
fn sync_directory(target: &Path) -> Result<(), TokenFileError> {
    let synced = File::open(parent_directory(target)).and_then(|directory| directory.sync_all());
    synced.map_err(TokenFileError::Write)
}

/// Removes the drafts of those who died over them. What cannot be removed is tried the next time.
fn remove_stale_temp_files(target: &Path) {
    let (prefix, suffix) = temp_file_affixes(target);
    let Ok(entries) = fs::read_dir(parent_directory(target)) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.as_bytes();
        if !name.starts_with(prefix.as_bytes()) || !name.ends_with(suffix.as_bytes()) {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let temp_file = rustix::fs::open(entry.path(), flags, Mode::empty()).map(File::from);
        if temp_file.is_ok_and(|draft| draft.try_lock().is_ok()) {
            drop(fs::remove_file(entry.path()));
        }
    }
}

fn temp_file_affixes(target: &Path) -> (OsString, &'static str) {
    let mut prefix = OsString::from(".");
    prefix.push(target.file_name().unwrap_or_default());
    prefix.push(".");
    (prefix, ".draft")
}

fn with_suffix(target: &Path, suffix: &str) -> PathBuf {
    let mut path = target.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn parent_directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

/// Kubernetes keeps what it mounts in directories such as `..data` and `..2026_11_21_08_00_00.1`.
fn is_kubernetes_volume(path: &Path) -> bool {
    path.components().any(|part| match part {
        Component::Normal(name) => name.as_bytes().starts_with(b".."),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => false,
    })
}

/// Whether something is mounted exactly there: `docker run -v /a/token:/run/token`.
fn is_mount_point(mounts: &[u8], path: &Path) -> bool {
    let mut escaped = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => escaped.extend(format!("\\{byte:03o}").bytes()),
            _ => escaped.push(*byte),
        }
    }
    let is_at_path = |line: &[u8]| line.split(|byte| *byte == b' ').nth(4) == Some(&escaped[..]);
    mounts.split(|byte| *byte == b'\n').any(is_at_path)
}

#[cfg(test)]
mod tests;
