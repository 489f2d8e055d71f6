//! The place of the tenants' files, and what one of them has.

use std::fs::{self, Metadata};
use std::io;
use std::time::Duration;

use super::super::absent::AbsentPolicy;
use super::super::encoding::TokenEncoding;
use super::super::file::decode_file;
use super::super::tenant_pattern::{TenantPath, check_file_name};
use super::super::tenant_table::TenantRow;
use super::listing::ListError;
use crate::os::watch::read_file;
use crate::token::{ObtainError, Token};
use crate::types::TenantId;

/// Where the files are, and how they are read.
#[derive(Debug)]
pub(super) struct FilesPlace {
    pub(super) path: TenantPath,
    pub(super) encoding: TokenEncoding,
}

impl FilesPlace {
    /// Reads the file of a tenant; `None` if it does not exist. Blocks.
    pub(super) fn read_row(&self, tenant: &TenantId) -> Result<Option<TenantRow>, ObtainError> {
        let path = self.path.file_of(tenant);
        if path.file_name().and_then(|name| self.path.name_in(name)).is_none() {
            return Ok(None);
        }
        let about = fs::metadata(&path);
        if about.as_ref().is_ok_and(Metadata::is_dir) {
            return Ok(None);
        }
        let read = read_file(&path);
        if read
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            // That a file is missing is a statement, unless the directory is.
            let listed = fs::read_dir(self.path.directory());
            return listed.map(|_| None).map_err(|error| self.failed(error.into()));
        }
        let token = check_file_name(tenant);
        let token = token.and_then(|()| decode_file(&path, &self.encoding, read, AbsentPolicy::Withdraw));
        let token = token.map(|token| Token {
            modified_at: about.and_then(|about| about.modified()).ok(),
            ..token
        });
        Ok(Some(TenantRow::of_token(tenant.clone(), token)))
    }

    /// Checks that the file of a tenant would be read.
    pub(super) fn check_name(&self, tenant: &TenantId) -> Result<(), ObtainError> {
        let path = self.path.file_of(tenant);
        if path.file_name().and_then(|name| self.path.name_in(name)).is_none() {
            let what = format!("graphward skips files such as `{}`; rename the tenant", path.display());
            return Err(ObtainError::permanent("invalid_name", what));
        }
        check_file_name(tenant)
    }

    pub(super) fn too_slow(&self, limit: Duration) -> ObtainError {
        let directory = self.path.directory().display();
        let what = format!("reading from the directory `{directory}` took longer than {limit:?}");
        ObtainError::transient("timeout", what)
    }

    pub(super) fn failed(&self, error: ListError) -> ObtainError {
        let kind = match &error {
            ListError::Directory(error) => Some(error.kind()),
            ListError::TooMany(_) => None,
        };
        let directory = format!("the directory `{}`", self.path.directory().display());
        match kind {
            Some(io::ErrorKind::NotFound) => {
                let what = format!("{directory} does not exist; create it, or mount it");
                ObtainError::transient("missing", what).with_source(error)
            }
            Some(io::ErrorKind::PermissionDenied) => {
                let what = format!("no permission to list {directory}; grant it to graphward's user");
                ObtainError::permanent("unreadable", what).with_source(error)
            }
            Some(_) => ObtainError::transient("unreadable", format!("failed to list {directory}")).with_source(error),
            None => ObtainError::permanent("too_large", format!("{directory} cannot be used: {error}")),
        }
    }
}
