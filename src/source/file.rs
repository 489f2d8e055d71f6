//! A dropped file: the token somebody else keeps, renewed by replacing the file, by them or by us.

use std::io;
use std::path::{Path, PathBuf};

use super::decode::Format;
use super::encoding::{EncodingError, TokenEncoding, same_secret};
use super::fernet::Fernet;
use super::token_file::{TokenFile, TokenFileError};
use crate::net::watch::WatchedFiles;
use crate::token::{BoxFuture, ObtainError, RefreshLock, Source, StoreOutcome, Token};
use crate::types::Fingerprint;

/// A token in a file.
#[derive(Debug)]
pub struct FileSource {
    files: WatchedFiles<1>,
    file: TokenFile,
    encoding: TokenEncoding,
}

/// What a rollback did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RollbackOutcome {
    /// The token that was in its place, if it was a usable one. It is kept, so that a second rollback undoes the first.
    pub from: Option<Fingerprint>,
    /// The token that is there now.
    pub to: Fingerprint,
}

impl FileSource {
    /// The token that stands in `path` in this format. The file need not exist yet, nor its directory.
    #[must_use]
    pub fn new(path: PathBuf, format: Format) -> Self {
        Self {
            files: WatchedFiles::new([path.clone()]),
            file: TokenFile::new(path),
            encoding: TokenEncoding { format, fernet: None },
        }
    }

    /// The same, and what stands there was sealed with one of these keys.
    #[must_use]
    pub fn encrypted_with(mut self, keys: Fernet) -> Self {
        self.encoding.fernet = Some(keys);
        self
    }

    /// Puts the token that was there before the last deposit in its place, and that one in the place of the one before.
    ///
    /// # Errors
    ///
    /// In words if there is none, or it cannot be put there.
    pub async fn roll_back(&self) -> Result<RollbackOutcome, ObtainError> {
        let lock = self.file.lock().await?;
        let (file, encoding) = (self.file.clone(), self.encoding.clone());
        let blocking = self.file.run_under_lock(move || Ok(swap_previous(&file, &encoding)));
        let done = blocking.await;
        drop(lock);
        done.map_err(|hindrance| hindrance.into_obtain_error(&self.file))?
    }

    fn path(&self) -> &Path {
        self.file.path()
    }

    async fn read(&mut self) -> Result<Token, ObtainError> {
        let [read] = self.files.read().await;
        let bytes = read.map_err(|error| read_failed(self.path(), error))?;
        let token = self
            .encoding
            .decode(&bytes)
            .map_err(|error| undecodable(self.path(), error))?;
        // The token is as old as the file at least: what nobody says the end of is renewed by its age, across restarts.
        let metadata = tokio::fs::metadata(self.path()).await;
        Ok(Token {
            modified_at: metadata.and_then(|about| about.modified()).ok(),
            ..token
        })
    }

    async fn store_if_unchanged(&self, token: &Token, expected: Fingerprint) -> Result<StoreOutcome, ObtainError> {
        let (file, encoding, token) = (self.file.clone(), self.encoding.clone(), token.clone());
        let work = move || Ok(compare_and_store(&file, &encoding, &token, expected));
        let done = self.file.run_under_lock(work).await;
        done.map_err(|hindrance| hindrance.into_obtain_error(&self.file))?
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
        let keeps = self.file.check_writable();
        keeps.map_err(|hindrance| hindrance.describe(&self.file))
    }

    fn lock(&mut self) -> BoxFuture<'_, Result<RefreshLock, ObtainError>> {
        Box::pin(self.file.lock())
    }

    fn store<'a>(
        &'a mut self,
        token: &'a Token,
        expected: Fingerprint,
    ) -> BoxFuture<'a, Result<StoreOutcome, ObtainError>> {
        Box::pin(self.store_if_unchanged(token, expected))
    }
}

/// Puts a token there, if `expected` still is. A file that is gone, or holds none, is not ours to make: it is being written,
/// or was taken away.
fn compare_and_store(
    file: &TokenFile,
    encoding: &TokenEncoding,
    token: &Token,
    expected: Fingerprint,
) -> Result<StoreOutcome, ObtainError> {
    let path = file.path();
    let bytes = file.read().map_err(|error| read_failed(path, error))?;
    let current = encoding.decode(&bytes).map_err(|error| undecodable(path, error))?;
    if same_secret(&current.secret, &token.secret) {
        return Ok(StoreOutcome::Stored);
    }
    if current.secret.fingerprint() != expected {
        return Ok(StoreOutcome::Conflict);
    }
    let updated = encoding
        .replace_token(&bytes, token)
        .map_err(|error| undecodable(path, error))?;
    file.replace(&updated, Some(&bytes))
        .map_err(|hindrance| hindrance.into_obtain_error(file))?;
    Ok(StoreOutcome::Stored)
}

fn swap_previous(file: &TokenFile, written: &TokenEncoding) -> Result<RollbackOutcome, ObtainError> {
    let path = file.path();
    let no_previous = || {
        let what = format!(
            "there is nothing to go back to: {}.previous, which a renewal leaves behind, is not there or is the same \
             token",
            path.display()
        );
        ObtainError::permanent("nothing_before", what)
    };
    let previous = match file.read_previous() {
        Ok(before) => before,
        Err(TokenFileError::Write(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Err(no_previous());
        }
        Err(hindrance) => return Err(hindrance.into_obtain_error(file)),
    };
    let token = written.decode(&previous).map_err(|error| {
        let what = format!("the token before, {}.previous, is no use", path.display());
        ObtainError::permanent(error.label(), what).with_source(error)
    })?;
    let current = file.read().unwrap_or_default();
    let replaced = written.decode(&current).ok();
    if replaced
        .as_ref()
        .is_some_and(|now| same_secret(&now.secret, &token.secret))
    {
        return Err(no_previous());
    }
    // What surrounds the token may have been edited since; if there is no reading it, it is what it was then.
    let updated = written.replace_token(&current, &token).unwrap_or(previous);
    file.swap_with_previous(&updated, &current)
        .map_err(|hindrance| hindrance.into_obtain_error(file))?;
    Ok(RollbackOutcome {
        from: replaced.map(|token| token.secret.fingerprint()),
        to: token.secret.fingerprint(),
    })
}

fn undecodable(path: &Path, error: EncodingError) -> ObtainError {
    let what = format!("the file {} was refused: {error}", path.display());
    ObtainError::permanent(error.label(), what)
}

fn read_failed(path: &Path, error: io::Error) -> ObtainError {
    let path = path.display();
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound {
        let what = format!("the file {path} is not there yet: put the token there");
        ObtainError::transient("missing", what).with_source(error)
    } else if kind == io::ErrorKind::PermissionDenied {
        let what = format!("the file {path} may not be read; give this user read permission");
        ObtainError::permanent("unreadable", what).with_source(error)
    } else if kind == io::ErrorKind::InvalidInput {
        let what = format!("{path} is no file but a directory, a pipe or a device");
        ObtainError::permanent("unreadable", what)
    } else {
        let what = format!("the file {path} cannot be read");
        ObtainError::transient("unreadable", what).with_source(error)
    }
}

#[cfg(test)]
mod tests;
