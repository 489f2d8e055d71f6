//! The tokens that a file held before, for a rollback.
//!
//! # Why
//!
//! The file may be the app's own `.env`: a copy beside it would hold all the secrets of the app, where version control and
//! backups see it. So only the tokens are kept, in graphward's state directory.
//!
//! The last two are kept, and the previous token is the newest that the file does not hold. So a process may be killed
//! between the two writes of a renewal or of a rollback, and no token is lost.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::encoding::{EncodedToken, EncodingError, decode_at_pointer, encode_document, same_secret};
use super::fernet::Fernet;
use super::token_file::{TokenFile, TokenFileError};
use crate::token::{ObtainError, Token};
use crate::types::Secret;

/// The previous tokens of one file.
#[derive(Clone, Debug)]
pub(super) struct PreviousTokens {
    directory: PathBuf,
    file: TokenFile,
}

/// The number of tokens that are kept.
const KEPT: usize = 2;

#[derive(Serialize)]
struct PreviousJson {
    previous: Vec<EncodedToken>,
}

/// The error of a rollback to a token that is not there.
pub(super) fn no_previous(reason: &str) -> ObtainError {
    let message = format!("there is no previous token to roll back to: {reason}");
    ObtainError::permanent("no_previous_token", message)
}

impl PreviousTokens {
    /// Creates the list for this token file. Replicas that share the file by the same path share the list.
    pub(super) fn new(state_dir: PathBuf, token_file: &Path) -> Self {
        let digest = Sha256::digest(token_file.as_os_str().as_bytes());
        let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self {
            file: TokenFile::new(state_dir.join(format!("previous-{name}.json"))),
            directory: state_dir,
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Adds the token that is about to be replaced.
    pub(super) fn push(&self, token: &Token, keys: Option<&Fernet>) -> Result<(), TokenFileError> {
        let mut builder = DirBuilder::new();
        let created = builder.recursive(true).mode(0o700).create(&self.directory);
        created.map_err(TokenFileError::Directory)?;
        let older = self.load(keys).unwrap_or_else(|error| {
            let path = self.path().display();
            tracing::warn!(%error, "the previous tokens in `{path}` cannot be read, and are replaced");
            Vec::new()
        });
        let older = older.iter().filter(|older| !same_secret(&older.secret, &token.secret));
        let kept = std::iter::once(token).chain(older).take(KEPT);
        let json = PreviousJson {
            previous: kept.map(|token| EncodedToken::new(token, keys)).collect(),
        };
        let bytes = encode_document(&json).map_err(TokenFileError::Write)?;
        self.file.replace(&bytes)
    }

    /// Returns the newest token other than this one; `None` without one.
    pub(super) fn other_than(
        &self,
        current: Option<&Secret>,
        keys: Option<&Fernet>,
    ) -> Result<Option<Token>, EncodingError> {
        let is_current = |token: &Token| current.is_some_and(|current| same_secret(current, &token.secret));
        Ok(self.load(keys)?.into_iter().find(|token| !is_current(token)))
    }

    fn load(&self, keys: Option<&Fernet>) -> Result<Vec<Token>, EncodingError> {
        let bytes = match self.file.read() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(EncodingError::Unreadable(error.kind())),
        };
        let newest = decode_at_pointer(&bytes, "/previous/0/access_token", keys)?;
        let older = decode_at_pointer(&bytes, "/previous/1/access_token", keys);
        Ok(std::iter::once(newest).chain(older).collect())
    }
}
