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

use crate::net::watch::contents;
use crate::token::{Claim, ObtainError};

/// Where a file is, or will be.
#[derive(Clone, Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// The lock that was had last, while somebody has it.
    claimed: Arc<Mutex<Weak<File>>>,
}

/// Why nothing can be put there.
#[derive(Debug, thiserror::Error)]
pub(super) enum Hindrance {
    #[error(
        "it is mounted from elsewhere (a Kubernetes secret, by its looks) and replaced from there"
    )]
    Theirs,
    #[error("it is mounted by itself and cannot be replaced; mount its directory instead")]
    Mounted,
    #[error("its directory cannot be written to ({0})")]
    Directory(io::Error),
    #[error("it cannot be written ({0})")]
    Write(io::Error),
}

/// The right to write, as far as it can be had at once.
enum Lock {
    Held(File),
    Taken,
    /// Where no lock can be, nobody else has it.
    None,
}

/// How often a lock that is taken is tried.
const TRY: Duration = Duration::from_millis(100);
/// More links than this are a circle.
const LINKS: u32 = 40;

// === impl Place ===

impl Place {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            claimed: Arc::default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What is there.
    pub(super) fn now(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        contents(&self.path)
    }

    /// What was there before.
    pub(super) fn before(&self) -> Result<Zeroizing<Vec<u8>>, Hindrance> {
        contents(&beside(&self.target()?, ".previous")).map_err(Hindrance::Write)
    }

    /// Whether it can be replaced. Leaves nothing behind.
    pub(super) fn keeps(&self) -> Result<(), Hindrance> {
        let target = self.target()?;
        access(directory(&target), Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|error| Hindrance::Directory(error.into()))?;
        // Where there is no such list, the attempt shows it.
        let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
        if is_mounted(&mounts, &target) {
            return Err(Hindrance::Mounted);
        }
        Ok(())
    }

    /// Puts these bytes there, and those of `before` beside them.
    pub(super) fn replace(&self, bytes: &[u8], before: Option<&[u8]>) -> Result<(), Hindrance> {
        let target = self.target()?;
        sweep(&target);
        let like = fs::metadata(&target).ok();
        let new = draft(&target, bytes, like.as_ref())?;
        if let Some(before) = before {
            let kept = draft(&target, before, like.as_ref())?;
            persist(kept, &beside(&target, ".previous"))?;
        }
        persist(new, &target)?;
        settle(&target)
    }

    /// Puts these bytes there, which show the token of before, and what is there in the place of before. Both or
    /// neither, where the filesystem can exchange two files; and never neither of the tokens.
    pub(super) fn exchange(&self, bytes: &[u8], now: &[u8]) -> Result<(), Hindrance> {
        let target = self.target()?;
        sweep(&target);
        let like = fs::metadata(&target).ok();
        let previous = beside(&target, ".previous");
        persist(draft(&target, bytes, like.as_ref())?, &previous)?;
        match renameat_with(CWD, &previous, CWD, &target, RenameFlags::EXCHANGE) {
            // What was there may have been open to more eyes. If it is not ours to close, it never was.
            Ok(()) => drop(fs::set_permissions(
                &previous,
                fs::Permissions::from_mode(0o600),
            )),
            // There is nothing to exchange it with …
            Err(Errno::NOENT) => fs::rename(&previous, &target).map_err(Hindrance::of)?,
            // … or nobody who can.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                let kept = draft(&target, now, like.as_ref())?;
                fs::rename(&previous, &target).map_err(Hindrance::of)?;
                persist(kept, &previous)?;
            }
            Err(error) => return Err(Hindrance::of(error.into())),
        }
        settle(&target)
    }

    /// Waits for the right to write. Given up at any moment, it leaves nothing locked.
    pub(super) async fn claim(&self) -> Result<Claim, ObtainError> {
        loop {
            let place = self.clone();
            let lock = apart(move || place.lock()).await;
            match lock.map_err(|hindrance| {
                let path = self.path.display();
                let what = format!("the lock {path}.lock cannot be had");
                ObtainError::transient("lock", what).because(hindrance)
            })? {
                Lock::Held(file) => {
                    let file = Arc::new(file);
                    *self.claimed() = Arc::downgrade(&file);
                    return Ok(Claim::held(file));
                }
                Lock::None => return Ok(Claim::free()),
                Lock::Taken => sleep(TRY).await,
            }
        }
    }

    /// Works as [`apart`] does, under the claim if there is one: it is given back when nothing is written any more.
    pub(super) async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Hindrance> + Send + 'static,
    ) -> Result<T, Hindrance> {
        let claimed = self.claimed().upgrade();
        apart(move || (work(), drop(claimed)).0).await
    }

    fn claimed(&self) -> MutexGuard<'_, Weak<File>> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> Result<Lock, Hindrance> {
        let target = match self.target() {
            Ok(target) => target,
            // Nobody of us writes there.
            Err(Hindrance::Theirs | Hindrance::Directory(_)) => return Ok(Lock::None),
            Err(other) => return Err(other),
        };
        let path = beside(&target, ".lock");
        let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let mode = Mode::RUSR | Mode::WUSR;
        let opened = match rustix::fs::open(&path, flags | OFlags::RDWR | OFlags::CREATE, mode) {
            // Somebody else's lock is locked by reading it.
            Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => {
                rustix::fs::open(&path, flags | OFlags::RDONLY, mode)
            }
            opened => opened,
        };
        let file = match opened {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(Lock::None),
            Err(error) => return Err(Hindrance::Write(error.into())),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Lock::Taken),
            Err(TryLockError::Error(error)) => {
                tracing::warn!(%error, path = %path.display(), "no locks here; replicas may each renew the token");
                return Ok(Lock::None);
            }
        }
        let is_there = |there: &Metadata, held: &Metadata| {
            (there.dev(), there.ino()) == (held.dev(), held.ino())
        };
        match (fs::symlink_metadata(&path), file.metadata()) {
            (Ok(there), Ok(held)) if is_there(&there, &held) => Ok(Lock::Held(file)),
            // Somebody removed it before we had it, and others lock a new one.
            (Ok(_) | Err(_), Ok(_) | Err(_)) => Ok(Lock::Taken),
        }
    }

    /// The file itself, where a link leads to it: the link is somebody's intention.
    fn target(&self) -> Result<PathBuf, Hindrance> {
        let mut path = self.path.clone();
        let mut links = 0;
        while let Ok(link) = fs::read_link(&path) {
            links += 1;
            if links > LINKS {
                return Err(Hindrance::Write(Errno::LOOP.into()));
            }
            if is_theirs(&link) {
                return Err(Hindrance::Theirs);
            }
            path = directory(&path).join(link);
        }
        let directory = directory(&path)
            .canonicalize()
            .map_err(Hindrance::Directory)?;
        if is_theirs(&directory) {
            return Err(Hindrance::Theirs);
        }
        match path.file_name() {
            Some(name) => Ok(directory.join(name)),
            None => Err(Hindrance::Write(Errno::ISDIR.into())),
        }
    }
}

// === impl Hindrance ===

impl Hindrance {
    fn of(error: io::Error) -> Self {
        let kind = error.kind();
        let barred = [
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::ReadOnlyFilesystem,
            io::ErrorKind::NotFound,
        ];
        if kind == io::ErrorKind::ResourceBusy {
            Self::Mounted
        } else if barred.contains(&kind) {
            Self::Directory(error)
        } else {
            Self::Write(error)
        }
    }

    /// Why a token was not put there.
    pub(super) fn unkept(self, place: &Place) -> ObtainError {
        let what = self.words(place);
        match self {
            Self::Theirs | Self::Mounted => ObtainError::permanent("not_writable", what),
            Self::Directory(_) => ObtainError::transient("not_writable", what),
            Self::Write(_) => ObtainError::transient("not_written", what),
        }
    }

    /// The same for people, and what to do.
    pub(super) fn words(&self, place: &Place) -> String {
        format!(
            "a renewed token cannot be kept in {}: {self}; or set token.store = {{ file = PATH }}, in a directory that \
             can be written to and outlasts this process",
            place.path.display()
        )
    }
}

/// Works on a thread that may block: the file can lie on a network filesystem that hangs. What was begun there is done
/// to its end, whether or not anybody waits for it.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Hindrance> + Send + 'static,
) -> Result<T, Hindrance> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Hindrance::Write(io::Error::other(error))),
    }
}

/// What is to be renamed, on the disk already: its owner's alone, and the owner is who had it before, if we may.
fn draft(target: &Path, bytes: &[u8], like: Option<&Metadata>) -> Result<NamedTempFile, Hindrance> {
    let (prefix, suffix) = draft_name(target);
    let draft = || {
        let mut draft = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(suffix)
            .tempfile_in(directory(target))?;
        let file = draft.as_file();
        // Should the sweeper of another process have had it first, the rename says so. Without locks there is no sweeper.
        drop(file.try_lock());
        if let Some(like) = like {
            // Only root may, and a file of our own is as good to us.
            drop(fchown(file, Some(like.uid()), Some(like.gid())));
            let mode = like.mode() & 0o600 | 0o400;
            file.set_permissions(fs::Permissions::from_mode(mode))?;
        }
        draft.write_all(bytes)?;
        draft.as_file().sync_all()?;
        Ok(draft)
    };
    draft().map_err(Hindrance::of)
}

fn persist(draft: NamedTempFile, path: &Path) -> Result<(), Hindrance> {
    match draft.persist(path) {
        Ok(_file) => Ok(()),
        Err(error) => Err(Hindrance::of(error.error)),
    }
}

/// Forces the names to the disk.
fn settle(target: &Path) -> Result<(), Hindrance> {
    let synced = File::open(directory(target)).and_then(|directory| directory.sync_all());
    synced.map_err(Hindrance::Write)
}

/// Removes the drafts of those who died over them. What cannot be removed is tried the next time.
fn sweep(target: &Path) {
    let (prefix, suffix) = draft_name(target);
    let Ok(entries) = fs::read_dir(directory(target)) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.as_bytes();
        if !name.starts_with(prefix.as_bytes()) || !name.ends_with(suffix.as_bytes()) {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let draft = rustix::fs::open(entry.path(), flags, Mode::empty()).map(File::from);
        if draft.is_ok_and(|draft| draft.try_lock().is_ok()) {
            drop(fs::remove_file(entry.path()));
        }
    }
}

fn draft_name(target: &Path) -> (OsString, &'static str) {
    let mut prefix = OsString::from(".");
    prefix.push(target.file_name().unwrap_or_default());
    prefix.push(".");
    (prefix, ".draft")
}

fn beside(target: &Path, suffix: &str) -> PathBuf {
    let mut path = target.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

/// Kubernetes keeps what it mounts in directories such as `..data` and `..2026_11_21_08_00_00.1`.
fn is_theirs(path: &Path) -> bool {
    path.components().any(|part| match part {
        Component::Normal(name) => name.as_bytes().starts_with(b".."),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => {
            false
        }
    })
}

/// Whether something is mounted exactly there: `docker run -v /a/token:/run/token`.
fn is_mounted(mounts: &[u8], path: &Path) -> bool {
    let mut escaped = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => escaped.extend(format!("\\{byte:03o}").bytes()),
            _ => escaped.push(*byte),
        }
    }
    let at = |line: &[u8]| line.split(|byte| *byte == b' ').nth(4) == Some(&escaped[..]);
    mounts.split(|byte| *byte == b'\n').any(at)
}

#[cfg(test)]
mod tests;
