//! A token file, replaced atomically and durably under a lock.
//!
//! # Why
//!
//! A renewal may invalidate the previous token, so the file must contain one of the two as a whole at every instant: a
//! temporary file beside it is written, synced and renamed over it, and the directory is synced, too. It has the owner, the
//! group, the mode and the ACL of the file that it replaces, since the app may read the file as well; where they cannot be
//! kept, the file is not replaced.
//!
//! This is done by hand, because crates for atomic writes either do not sync the directory or do not know the lock, and
//! their errors do not say which part of a Kubernetes volume or a bind mount is read-only.
//!
//! The lock is a file of its own, `NAME.lock`, since the token file is another inode after each renewal. The kernel releases
//! it when its holder dies; it is never removed, as another process may just have opened it. Temporary files are locked by
//! their writers, so that those left behind by a crash are recognized, and removed by the next writer.

mod lock;

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use rustix::fs::{Access, Mode, OFlags, XattrFlags, access, fremovexattr, fsetxattr, getxattr};
use rustix::io::Errno;
use schemars::JsonSchema;
use serde::Deserialize;
use tempfile::NamedTempFile;
use tokio::time::sleep;
use tracing::Span;
use zeroize::Zeroizing;

use crate::os::watch::{read_file, read_file_of};
use crate::token::{ObtainError, RefreshLock};
use crate::types::{OneOrMany, SecretRef, lock};
use lock::{HeldLock, LockAttempt};

/// A file of graphward's own for a token.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// The file's path.
    #[serde(rename = "file")]
    #[schemars(extend("format" = "path"))]
    pub path: PathBuf,
    /// The Fernet keys that the token is encrypted with; the first one encrypts, all decrypt.
    #[serde(default, rename = "fernet_key")]
    #[schemars(with = "OneOrMany<SecretRef>")]
    pub fernet_keys: Vec<SecretRef>,
}

/// The path of a file that may not exist yet.
#[derive(Clone, Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    /// The last lock, while it is held.
    held_lock: Arc<Mutex<Weak<HeldLock>>>,
}

/// The reason why the file cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenFileError {
    #[error("it is a Kubernetes secret or ConfigMap volume, which only Kubernetes can update")]
    ManagedByKubernetes,
    #[error("the file itself is a mount point (bind mount) and cannot be replaced; mount its directory instead")]
    BindMount,
    #[error("its owner, group, mode or ACL would change, as graphward's user may not set them ({0})")]
    Access(io::Error),
    #[error("its directory is not writable ({0})")]
    Directory(io::Error),
    #[error("writing failed ({0})")]
    Write(io::Error),
}

/// The time between attempts to acquire a lock.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// More links than this are a cycle.
const MAX_SYMLINKS: u32 = 40;

// === impl TokenFile ===

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

    /// Reads the file.
    pub(super) fn read(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        read_file(&self.path)
    }

    /// Reads the file if it exists, up to one byte more than `max_bytes`.
    pub(super) fn read_existing(&self, max_bytes: u64) -> Result<Option<Zeroizing<Vec<u8>>>, TokenFileError> {
        match read_file_of(&self.path, max_bytes) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(TokenFileError::Write(error)),
        }
    }

    /// Returns the path without symbolic links, if the file's directory exists.
    pub(super) fn canonical_path(&self) -> PathBuf {
        self.resolve_target().unwrap_or_else(|_missing| self.path.clone())
    }

    /// Checks whether the file can be replaced, without a trace.
    pub(super) fn check_writable(&self) -> Result<(), TokenFileError> {
        let target = self.resolve_target()?;
        access(parent_directory(&target), Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|error| TokenFileError::Directory(error.into()))?;
        // On a system without this list, the first write shows it.
        let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
        if is_mount_point(&mounts, &target) {
            return Err(TokenFileError::BindMount);
        }
        let probe = tempfile::tempfile_in(parent_directory(&target)).map_err(TokenFileError::from_io)?;
        copy_access(&target, &probe)
    }

    /// Replaces the file.
    pub(super) fn replace(&self, bytes: &[u8]) -> Result<(), TokenFileError> {
        let target = self.resolve_target()?;
        remove_stale_temp_files(&target);
        let persisted = write_temp_file(&target, bytes)?.persist(&target);
        persisted.map_err(|error| TokenFileError::from_io(error.error))?;
        sync_directory(&target)
    }

    /// Removes the file durably, if it exists.
    pub(super) fn remove(&self) -> Result<(), TokenFileError> {
        let target = self.canonical_path();
        match fs::remove_file(&target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed
                .map_err(TokenFileError::Write)
                .and_then(|()| sync_directory(&target)),
        }
    }

    /// Waits for the lock. Cancel-safe: a canceled wait leaves nothing locked.
    pub(super) async fn lock(&self) -> Result<RefreshLock, ObtainError> {
        loop {
            if let Some(lock) = self.lock_if_free().await? {
                return Ok(lock);
            }
            sleep(LOCK_RETRY_INTERVAL).await;
        }
    }

    /// Takes the lock; `None` if another holder has it.
    pub(super) async fn lock_if_free(&self) -> Result<Option<RefreshLock>, ObtainError> {
        let file = self.clone();
        let attempt = run_blocking(move || file.try_lock()).await.map_err(|error| {
            let what = format!("failed to acquire the lock file `{}.lock`", self.path.display());
            ObtainError::transient("lock_failed", what).with_source(error)
        })?;
        let LockAttempt::Acquired(file) = attempt else {
            let is_free = matches!(attempt, LockAttempt::Unsupported);
            return Ok(is_free.then(RefreshLock::uncontended));
        };
        let file = Arc::new(file);
        *lock(&self.held_lock) = Arc::downgrade(&file);
        Ok(Some(RefreshLock::with_guard(file)))
    }

    /// Runs work as [`run_blocking`] does, and keeps a held lock until the work is done.
    pub(super) async fn run_under_lock<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, TokenFileError> + Send + 'static,
    ) -> Result<T, TokenFileError> {
        let held_lock = lock(&self.held_lock).upgrade();
        run_blocking(move || (work(), drop(held_lock)).0).await
    }

    /// Returns whether it is locked by this value or a clone of it.
    pub(super) fn is_locked(&self) -> bool {
        lock(&self.held_lock).strong_count() > 0
    }

    fn try_lock(&self) -> Result<LockAttempt, TokenFileError> {
        let target = match self.resolve_target() {
            Ok(target) => target,
            // No replica writes there.
            Err(TokenFileError::ManagedByKubernetes | TokenFileError::Directory(_)) => {
                return Ok(LockAttempt::Unsupported);
            }
            Err(other) => return Err(other),
        };
        lock::try_lock(target.with_added_extension("lock")).map_err(TokenFileError::Write)
    }

    /// Resolves symbolic links: the link stays, and its target is replaced.
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
        use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem, ResourceBusy};
        if error.kind() == ResourceBusy {
            Self::BindMount
        } else if matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | NotFound) {
            Self::Directory(error)
        } else {
            Self::Write(error)
        }
    }

    /// Converts the error of a store.
    pub(super) fn into_obtain_error(self, file: &TokenFile) -> ObtainError {
        let what = self.describe(file);
        match self {
            Self::ManagedByKubernetes | Self::BindMount | Self::Access(_) => {
                ObtainError::permanent("not_writable", what)
            }
            Self::Directory(_) => ObtainError::transient("not_writable", what),
            Self::Write(_) => ObtainError::transient("write_failed", what),
        }
    }

    /// Explains the error, and what to do.
    pub(super) fn describe(&self, file: &TokenFile) -> String {
        format!(
            "no token can be stored in `{}`: {self}; set token.store = {{ file = PATH }} to a path in a persistent, writable \
             directory",
            file.path.display()
        )
    }
}

/// Runs work on a thread that may block: the file can be on a network filesystem that hangs. The work is completed even if
/// this future is dropped.
async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TokenFileError> + Send + 'static,
) -> Result<T, TokenFileError> {
    let span = Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(work)).await;
    done.unwrap_or_else(|error| Err(TokenFileError::Write(io::Error::other(error))))
}

/// Writes and syncs a temporary file that those can access who can access the target; without a target, only this user.
fn write_temp_file(target: &Path, bytes: &[u8]) -> Result<NamedTempFile, TokenFileError> {
    let (prefix, suffix) = temp_file_affixes(target);
    let mut builder = tempfile::Builder::new();
    let created = builder
        .prefix(&prefix)
        .suffix(suffix)
        .tempfile_in(parent_directory(target));
    let mut temp_file = created.map_err(TokenFileError::from_io)?;
    // If another process removes it before it is locked, the rename fails. Without locks no process removes it.
    drop(temp_file.as_file().try_lock());
    copy_access(target, temp_file.as_file())?;
    let written = temp_file.write_all(bytes).and_then(|()| temp_file.as_file().sync_all());
    written.map_err(TokenFileError::from_io)?;
    Ok(temp_file)
}

/// Gives a new file the owner, the group, the mode and the ACL of the file that it replaces, if there is one.
fn copy_access(original: &Path, new: &File) -> Result<(), TokenFileError> {
    let copied = match fs::metadata(original) {
        Ok(metadata) => copy_owner_and_mode(&metadata, new).and_then(|()| Ok(copy_acl(original, new)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    copied.map_err(TokenFileError::Access)
}

fn copy_owner_and_mode(original: &Metadata, new: &File) -> io::Result<()> {
    let now = new.metadata()?;
    if (now.uid(), now.gid()) != (original.uid(), original.gid()) {
        fchown(new, Some(original.uid()), Some(original.gid()))?;
    }
    new.set_permissions(fs::Permissions::from_mode(original.mode() & 0o7777))
}

fn copy_acl(original: &Path, new: &File) -> Result<(), Errno> {
    const ATTRIBUTE: &str = "system.posix_acl_access";
    const MAX_BYTES: usize = 64 * 1024;
    let mut acl = vec![0; MAX_BYTES];
    match getxattr(original, ATTRIBUTE, acl.as_mut_slice()) {
        Ok(length) => fsetxattr(
            new,
            ATTRIBUTE,
            acl.get(..length).unwrap_or_default(),
            XattrFlags::empty(),
        ),
        // The directory may have given the new file an ACL, which the original does not have.
        Err(Errno::NODATA) => match fremovexattr(new, ATTRIBUTE) {
            Err(Errno::NODATA) => Ok(()),
            removed => removed,
        },
        Err(Errno::NOTSUP) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Syncs the directory.
fn sync_directory(target: &Path) -> Result<(), TokenFileError> {
    let synced = File::open(parent_directory(target)).and_then(|directory| directory.sync_all());
    synced.map_err(TokenFileError::Write)
}

/// Removes the temporary files of crashed writers. One that cannot be removed is tried again the next time.
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
        if temp_file.is_ok_and(|file| file.try_lock().is_ok()) {
            drop(fs::remove_file(entry.path()));
        }
    }
}

fn temp_file_affixes(target: &Path) -> (OsString, &'static str) {
    let mut prefix = OsString::from(".");
    prefix.push(target.file_name().unwrap_or_default());
    prefix.push(".");
    (prefix, ".tmp")
}

fn parent_directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

/// Returns whether a path is in a Kubernetes volume, which has directories such as `..data` and
/// `..2026_11_21_08_00_00.1`.
fn is_kubernetes_volume(path: &Path) -> bool {
    path.components().any(|part| match part {
        Component::Normal(name) => name.as_bytes().starts_with(b".."),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => false,
    })
}

/// Returns whether the path itself is a mount point: `docker run -v /a/token:/run/token`.
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
