//! The files of tenants in a directory, and what shows that one has changed.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::SystemTime;

use super::super::tenant_pattern::TenantPath;
use crate::types::{TenantId, has_token, unix_seconds};

/// The files of a directory.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) files: Vec<ListedFile>,
    /// The names that are not those of tenants.
    pub(super) faults: Vec<String>,
}

/// The file of a tenant.
#[derive(Debug)]
pub(super) struct ListedFile {
    pub(super) tenant: TenantId,
    pub(super) stamp: Stamp,
}

/// What is compared instead of a file's content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stamp {
    File {
        device: u64,
        inode: u64,
        size: u64,
        modified: UnixTime,
        changed: UnixTime,
    },
    /// Of a link that leads in a circle, for example.
    Unreadable(io::ErrorKind),
}

/// Seconds and nanoseconds.
type UnixTime = [i64; 2];

/// The reason why a directory cannot be listed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListError {
    #[error(transparent)]
    Directory(#[from] io::Error),
    #[error("it has more than {0} files")]
    TooMany(usize),
}

/// The most files of a directory.
const MAX_FILES: usize = 100_000;
/// The most names that are shown because they are not those of tenants.
const MAX_SHOWN_FAULTS: usize = 20;
/// The most letters of such a name.
const MAX_SHOWN_LETTERS: usize = 64;
/// The coarsest clock of a filesystem.
const CLOCK_TICK_SECONDS: i64 = 2;

/// Lists the directory. Blocks.
pub(super) fn list(path: &TenantPath) -> Result<Listing, ListError> {
    list_up_to(MAX_FILES, path)
}

pub(super) fn list_up_to(max_files: usize, path: &TenantPath) -> Result<Listing, ListError> {
    let (mut files, mut faults, mut fault_count) = (Vec::new(), Vec::new(), 0);
    for entry in fs::read_dir(path.directory())? {
        let entry = entry?;
        let Some(name) = path.name_in(&entry.file_name()) else {
            continue;
        };
        let stamp = match fs::metadata(entry.path()) {
            Ok(about) if about.is_dir() => continue,
            Ok(about) => Stamp::of(&about),
            // It was removed meanwhile, or is a link to a file that was.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                // The entry itself is in the directory.
                entry.metadata()?;
                Stamp::Unreadable(error.kind())
            }
        };
        match TenantId::new(&name) {
            Ok(tenant) => files.push(ListedFile { tenant, stamp }),
            Err(error) => {
                fault_count += 1;
                if faults.len() < MAX_SHOWN_FAULTS {
                    faults.push(format!("the file name {} is not valid: {error}", shown(&name)));
                }
            }
        }
        if files.len() > max_files {
            return Err(ListError::TooMany(max_files));
        }
    }
    faults.sort();
    if fault_count > faults.len() {
        faults.push(format!("{} more file names are not valid", fault_count - faults.len()));
    }
    Ok(Listing { files, faults })
}

/// A name as a message shows it.
fn shown(name: &str) -> String {
    if has_token(name) {
        return "of a file that has a token in its name".to_owned();
    }
    let letters: String = name.chars().take(MAX_SHOWN_LETTERS).collect();
    format!("{letters:?}")
}

// === impl Stamp ===

impl Stamp {
    fn of(about: &Metadata) -> Self {
        Self::File {
            device: about.dev(),
            inode: about.ino(),
            size: about.size(),
            modified: [about.mtime(), about.mtime_nsec()],
            changed: [about.ctime(), about.ctime_nsec()],
        }
    }

    /// Returns whether a write at this time or later gives the file another stamp.
    pub(super) fn is_settled(&self, now: SystemTime) -> bool {
        let now = i64::try_from(unix_seconds(now)).unwrap_or(i64::MAX);
        match self {
            Self::File {
                changed: [changed, _], ..
            } => changed.saturating_add(CLOCK_TICK_SECONDS) < now,
            Self::Unreadable(_) => true,
        }
    }
}
