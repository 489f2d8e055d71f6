//! The tokens of the last reading of a directory.
//!
//! # Why
//!
//! A file that is being written has no token for a moment, and a storage that is overloaded, or a process without a free file
//! descriptor, can read none. None of that says anything about the tenant. So the last token of a file stays while its file
//! cannot be read, or has just changed and has no token; not if it has `null`, which is a statement.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::tenant_table::{TableContents, TenantRow};
use super::listing::{ListedFile, Listing, Stamp, list};
use super::place::FilesPlace;
use crate::token::ObtainError;
use crate::types::{Clock, TenantId};

/// The tokens of the last reading.
#[derive(Debug, Default)]
pub(super) struct KnownFiles {
    files: HashMap<TenantId, Arc<KnownFile>>,
    faults: Vec<String>,
    /// The directory could be listed.
    is_listed: bool,
    /// The number of files that the last reading read.
    pub(super) read_count: usize,
}

/// What a file had.
#[derive(Debug)]
pub(super) struct KnownFile {
    /// `None` if a change could leave it as it is, or if the file is to be read again anyway.
    stamp: Option<Stamp>,
    row: TenantRow,
}

// === impl KnownFiles ===

impl KnownFiles {
    /// Reads the files that have changed. Blocks.
    pub(super) fn update(&mut self, place: &FilesPlace) -> Result<TableContents, ObtainError> {
        let listing = list(&place.path);
        self.is_listed = listing.is_ok();
        let Listing { files, mut faults } = listing.map_err(|error| place.failed(error))?;
        let (mut current, mut failures) = (HashMap::with_capacity(files.len()), 0);
        self.read_count = 0;
        for ListedFile { tenant, stamp } in files {
            let before = self.files.get(&tenant);
            let file = match before.filter(|file| file.stamp == Some(stamp)) {
                Some(unchanged) => Arc::clone(unchanged),
                None => {
                    let is_settled = stamp.is_settled(Clock::system().now());
                    let Some(row) = place.read_row(&tenant)? else {
                        continue;
                    };
                    self.read_count += 1;
                    let is_final = !row.token.as_ref().is_err_and(|error| error.is_transient());
                    failures += usize::from(!is_final);
                    let is_passing = !is_final || !is_settled;
                    Arc::new(KnownFile {
                        stamp: (is_settled && is_final).then_some(stamp),
                        row: before
                            .filter(|_| is_passing)
                            .and_then(|before| before.outlasting(&row))
                            .unwrap_or(row),
                    })
                }
            };
            current.insert(tenant, file);
        }
        tracing::debug!(
            files = current.len(),
            read = self.read_count,
            "read the files of tenants"
        );
        (self.files, self.faults) = (current, faults.clone());
        if failures > 0 {
            faults.push(format!(
                "{failures} files cannot be read for the moment; a token that one of them had stays in use"
            ));
        }
        let rows = self.files.values().map(|file| file.row.clone()).collect();
        Ok(TableContents { rows, faults })
    }

    /// Returns whether the files may differ from those of the last reading. Blocks.
    pub(super) fn differ(&self, place: &FilesPlace) -> bool {
        let Ok(listing) = list(&place.path) else {
            return self.is_listed;
        };
        let is_known = |listed: &ListedFile| {
            let known = self.files.get(&listed.tenant);
            known.is_some_and(|file| file.stamp == Some(listed.stamp))
        };
        !self.is_listed
            || self.faults != listing.faults
            || self.files.len() != listing.files.len()
            || !listing.files.iter().all(is_known)
    }
}

// === impl KnownFile ===

impl KnownFile {
    /// Returns the row with its token if the newer row has none, and does not say so.
    fn outlasting(&self, newer: &TenantRow) -> Option<TenantRow> {
        let is_failure = newer.token.as_ref().is_err_and(|error| !error.is_absence());
        (is_failure && self.row.token.is_ok()).then(|| self.row.clone())
    }
}
