//! A token in a file, which others or graphward itself replace.

use std::io;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::absent::AbsentPolicy;
use super::decode::Format;
use super::encoding::{EncodingError, EncryptionConfig, PlainTokens, TokenEncoding, expiries_differ, same_secret};
use super::fernet::Fernet;
use super::previous_tokens::{PreviousTokens, no_previous};
use super::token_file::{TokenFile, TokenFileError};
use crate::os::watch::{ReadResult, WatchedFiles};
use crate::token::{BoxFuture, ObtainError, RefreshLock, Source, StoreFuture, StoreOutcome, Token};
use crate::types::Fingerprint;

/// A file that holds the token.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[schemars(extend("additionalProperties" = false, "not" = { "required": ["key", "pointer"] }))]
pub struct FileSourceConfig {
    /// The file's path.
    #[serde(rename = "file")]
    #[schemars(extend("format" = "path"))]
    pub path: PathBuf,
    /// The location of the token in the file.
    #[serde(flatten)]
    pub format: Format,
    /// The encryption of the token.
    #[serde(flatten)]
    pub encryption: EncryptionConfig,
}

/// A source that reads a file.
#[derive(Debug)]
pub struct FileSource {
    files: WatchedFiles<1>,
    store: TokenStore,
    absent: AbsentPolicy,
}

/// The file, and how it is written.
#[derive(Clone, Debug)]
pub(super) struct TokenStore {
    pub(super) file: TokenFile,
    encoding: TokenEncoding,
    previous: Option<PreviousTokens>,
}

impl FileSource {
    /// Creates a source for the token in `path`. The file and its directory need not exist yet.
    #[must_use]
    pub fn new(path: PathBuf, format: Format) -> Self {
        Self {
            files: WatchedFiles::new([path.clone()]),
            store: TokenStore::new(path, TokenEncoding::new(format)),
            absent: AbsentPolicy::Keep,
        }
    }

    /// Sets what it means if the file is missing or has `null` in place of the token.
    #[must_use]
    pub fn with_absent(self, absent: AbsentPolicy) -> Self {
        Self { absent, ..self }
    }

    /// Sets the keys with which the token is encrypted, if it is, and what happens to one that is not.
    #[must_use]
    pub fn encrypted_with(mut self, keys: Option<Fernet>, plain: PlainTokens) -> Self {
        self.store.encoding.encrypt_with(keys, plain);
        self
    }

    /// Sets the directory where the previous token is kept. Without one, it is not kept.
    #[must_use]
    pub fn with_state_dir(mut self, state_dir: PathBuf) -> Self {
        let file = self.store.file.canonical_path();
        self.store.previous = Some(PreviousTokens::new(state_dir, &file));
        self
    }

    /// Checks that a replaced file has the owner, the group, the mode and the ACL of the file that is there.
    ///
    /// # Errors
    ///
    /// A message for the operator: the app could be locked out of its own file.
    pub fn check_keeps_access(&self) -> Result<(), String> {
        match self.store.file.check_writable() {
            Err(error @ TokenFileError::Access(_)) => Err(error.describe(&self.store.file)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn path(&self) -> &Path {
        self.store.file.path()
    }

    async fn read(&mut self) -> Result<Token, ObtainError> {
        let [read] = self.files.read().await;
        let token = decode_file(self.path(), &self.store.encoding, read, self.absent)?;
        // The token is at least as old as the file: a token of unknown expiry is renewed by its age, across restarts.
        let metadata = tokio::fs::metadata(self.path()).await;
        Ok(Token {
            modified_at: metadata.and_then(|about| about.modified()).ok(),
            ..token
        })
    }

    async fn run_under_lock(
        &self,
        work: impl FnOnce(&TokenStore) -> Result<(), ObtainError> + Send + 'static,
    ) -> Result<(), ObtainError> {
        let _lock = self.store.file.lock().await?;
        self.store.run_blocking(work).await
    }
}

impl Source for FileSource {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        Box::pin(self.read())
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.files.changed())
    }

    fn describe(&self) -> String {
        format!("file {}", self.path().display())
    }

    fn check_writable(&self) -> Result<(), String> {
        let writable = self.store.file.check_writable();
        writable.map_err(|error| error.describe(&self.store.file))
    }

    fn lock(&mut self) -> BoxFuture<'_, Result<RefreshLock, ObtainError>> {
        Box::pin(self.store.file.lock())
    }

    fn store<'a>(&'a mut self, token: &'a Token, expected: Option<Fingerprint>) -> StoreFuture<'a> {
        Box::pin(self.store.store(token, expected))
    }

    fn roll_back(&mut self) -> BoxFuture<'_, Result<(), ObtainError>> {
        Box::pin(self.run_under_lock(TokenStore::restore_previous))
    }
}

// === impl TokenStore ===

impl TokenStore {
    pub(super) fn new(path: PathBuf, encoding: TokenEncoding) -> Self {
        Self {
            file: TokenFile::new(path),
            encoding,
            previous: None,
        }
    }

    /// Stores a token as [`Source::store`] does. The work is completed even if this future is dropped.
    pub(super) async fn store(
        &self,
        token: &Token,
        expected: Option<Fingerprint>,
    ) -> Result<StoreOutcome, ObtainError> {
        let token = token.clone();
        self.run_blocking(move |store| match expected {
            Some(expected) => store.compare_and_store(&token, expected),
            None => store.overwrite(&token).map(|()| StoreOutcome::Stored),
        })
        .await
    }

    /// Removes the file.
    pub(super) async fn remove(&self) -> Result<(), ObtainError> {
        self.run_blocking(|store| {
            let removed = store.file.check_writable().and_then(|()| store.file.remove());
            removed.map_err(|error| error.into_obtain_error(&store.file))
        })
        .await
    }

    async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, ObtainError> + Send + 'static,
    ) -> Result<T, ObtainError> {
        let store = self.clone();
        let done = self.file.run_under_lock(move || Ok(work(&store))).await;
        done.map_err(|error| error.into_obtain_error(&self.file))?
    }

    /// Stores a token if the file still has the `expected` one. A file that is missing or has no token is not created: it is
    /// being written, or was removed.
    fn compare_and_store(&self, token: &Token, expected: Fingerprint) -> Result<StoreOutcome, ObtainError> {
        let path = self.file.path();
        let bytes = self.file.read().map_err(|error| read_failed(path, error))?;
        let decoded = self.encoding.decode(&bytes);
        let current = decoded.map_err(|error| undecodable(path, &error))?;
        let is_same = same_secret(&current.secret, &token.secret);
        // Only a date that is there can be updated.
        let has_other_date = current.expires_at.is_some() && expiries_differ(current.expires_at, token.expires_at);
        if is_same && !has_other_date {
            return Ok(StoreOutcome::Stored);
        }
        if !is_same && current.secret.fingerprint() != expected {
            return Ok(StoreOutcome::Conflict);
        }
        // The previous token stays if only the date changes.
        self.replace(&bytes, token, (!is_same).then_some(&current))?;
        Ok(StoreOutcome::Stored)
    }

    /// Stores a token in place of the one that is there, of none, or of a text that is no token.
    fn overwrite(&self, token: &Token) -> Result<(), ObtainError> {
        let bytes = self.content()?;
        let replaced = match self.encoding.decode(&bytes) {
            Ok(replaced) if same_secret(&replaced.secret, &token.secret) => return Ok(()),
            Ok(replaced) => Some(replaced),
            Err(EncodingError::Decode(error)) if error.is_about_document() => {
                return Err(undecodable(self.file.path(), &error.into()));
            }
            Err(_) => None,
        };
        self.replace(&bytes, token, replaced.as_ref())
    }

    /// Returns the content; nothing if the file is missing.
    fn content(&self) -> Result<Zeroizing<Vec<u8>>, ObtainError> {
        match self.file.read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Zeroizing::default()),
            read => read.map_err(|error| read_failed(self.file.path(), error)),
        }
    }

    /// Exchanges the token with the newest one that was kept.
    fn restore_previous(&self) -> Result<(), ObtainError> {
        let previous = self.previous.as_ref();
        let previous = previous.ok_or_else(|| no_previous("none is kept without a state directory; set state.dir"))?;
        let kept_in = previous.path().display();
        let current = self.content()?;
        let replaced = self.encoding.decode(&current).ok();
        let secret = replaced.as_ref().map(|token| &token.secret);
        let found = previous.other_than(secret, self.encoding.fernet.as_ref());
        let token = found
            .map_err(|error| {
                let what = format!("the previous token in `{kept_in}` is not usable");
                ObtainError::permanent(error.label(), what).with_source(error)
            })?
            .ok_or_else(|| no_previous(&format!("`{kept_in}`, which each renewal writes, has no other token")))?;
        self.replace(&current, &token, replaced.as_ref())
    }

    /// Puts a token into the contents of the file, and keeps the replaced one, if there is one. A renewed token is worth more
    /// than a rollback: a failure to keep one is only told.
    fn replace(&self, bytes: &[u8], token: &Token, replaced: Option<&Token>) -> Result<(), ObtainError> {
        let updated = self.encoding.replace_token(bytes, token);
        let updated = updated.map_err(|error| undecodable(self.file.path(), &error))?;
        if let (Some(previous), Some(replaced)) = (&self.previous, replaced)
            && let Err(error) = previous.push(replaced, self.encoding.fernet.as_ref())
        {
            let path = previous.path().display();
            tracing::warn!(%error, "the previous token cannot be kept in `{path}`, so there will be no rollback to it");
        }
        let stored = self.file.replace(&updated);
        stored.map_err(|error| error.into_obtain_error(&self.file))
    }
}

/// Finds the token in what was read of a file.
pub(super) fn decode_file(
    path: &Path,
    encoding: &TokenEncoding,
    read: ReadResult,
    absent: AbsentPolicy,
) -> Result<Token, ObtainError> {
    let bytes = read.map_err(|error| {
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        let failed = read_failed(path, error);
        if is_missing { absent.apply(failed) } else { failed }
    })?;
    encoding.decode(&bytes).map_err(|error| {
        let undecodable = undecodable(path, &error).about_content(&bytes);
        if error.is_null() {
            absent.apply(undecodable)
        } else {
            undecodable
        }
    })
}

fn undecodable(path: &Path, error: &EncodingError) -> ObtainError {
    let what = format!("the file `{}` was rejected: {error}", path.display());
    ObtainError::permanent(error.label(), what)
}

fn read_failed(path: &Path, error: io::Error) -> ObtainError {
    let path = path.display();
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound {
        let what = format!("the file `{path}` does not exist; write the token to it");
        ObtainError::transient("missing", what).with_source(error)
    } else if kind == io::ErrorKind::PermissionDenied {
        let what = format!("no permission to read the file `{path}`; grant read permission to graphward's user");
        ObtainError::permanent("unreadable", what).with_source(error)
    } else if kind == io::ErrorKind::InvalidInput {
        let what = format!("`{path}` is not a regular file (a directory, a pipe or a device); set the path of a file");
        ObtainError::permanent("unreadable", what)
    } else {
        let what = format!("failed to read the file `{path}`");
        ObtainError::transient("unreadable", what).with_source(error)
    }
}

#[cfg(test)]
mod tests;
