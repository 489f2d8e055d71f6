//! The tokens of the last reading of a directory.

use std::collections::HashMap;

use super::super::tenant_table::{TableContents, TenantRow};
use super::listing::{ListedFile, Listing, Stamp, list};
use super::place::FilesPlace;
use crate::token::ObtainError;
use crate::types::{Clock, TenantId};

/// The tokens of the last reading.
#[derive(Debug, Default)]
pub(super) struct KnownFiles {
    files: HashMap<TenantId, KnownFile>,
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

impl KnownFiles {
    /// Reads the files that have changed. Blocks.
    pub(super) fn update(&mut self, place: &FilesPlace) -> Result<TableContents, ObtainError> {
        let listing = list(&place.path);
        self.is_listed = listing.is_ok();
        let Listing { files, faults } = listing.map_err(|error| place.failed(error))?;
        let mut current = HashMap::with_capacity(files.len());
        self.read_count = 0;
        for ListedFile { tenant, stamp } in files {
            let known = self.files.remove(&tenant);
            let file = match known.filter(|file| file.stamp == Some(stamp)) {
                Some(unchanged) => unchanged,
                None => {
                    let is_settled = stamp.is_settled(Clock::system().now());
                    let Some(row) = place.read_row(&tenant)? else {
                        continue;
                    };
                    self.read_count += 1;
                    let is_final = !row.token.as_ref().is_err_and(|error| error.is_transient());
                    let stamp = (is_settled && is_final).then_some(stamp);
                    KnownFile { stamp, row }
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
