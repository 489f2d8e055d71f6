//! A dropped file: the token somebody else keeps, renewed by replacing the file, by them or by us.

use std::io;
use std::path::{Path, PathBuf};

use super::decode::Format;
use super::fernet::Fernet;
use super::place::{Hindrance, Place};
use super::written::{Written, WrittenError, same};
use crate::net::watch::Files;
use crate::token::{BoxFuture, Claim, Deposit, ObtainError, Source, Token};
use crate::types::Fingerprint;

/// A token in a file.
#[derive(Debug)]
pub struct FileSource {
    files: Files<1>,
    place: Place,
    written: Written,
}

/// What a rollback did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RolledBack {
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
            files: Files::new([path.clone()]),
            place: Place::new(path),
            written: Written { format, keys: None },
        }
    }

    /// The same, and what stands there was sealed with one of these keys.
    #[must_use]
    pub fn sealed(mut self, keys: Fernet) -> Self {
        self.written.keys = Some(keys);
        self
    }

    /// Puts the token that was there before the last deposit in its place, and that one in the place of the one before.
    ///
    /// # Errors
    ///
    /// In words if there is none, or it cannot be put there.
    pub async fn roll_back(&self) -> Result<RolledBack, ObtainError> {
        let claim = self.place.claim().await?;
        let (place, written) = (self.place.clone(), self.written.clone());
        let work = self.place.apart(move || Ok(rolled_back(&place, &written)));
        let done = work.await;
        drop(claim);
        done.map_err(|hindrance| hindrance.unkept(&self.place))?
    }

    fn path(&self) -> &Path {
        self.place.path()
    }

    async fn read(&mut self) -> Result<Token, ObtainError> {
        let [read] = self.files.read().await;
        let bytes = read.map_err(|error| unreadable(self.path(), error))?;
        let token = self
            .written
            .read(&bytes)
            .map_err(|error| refused(self.path(), error))?;
        // The token is as old as the file at least: what nobody says the end of is renewed by its age, across restarts.
        let about = tokio::fs::metadata(self.path()).await;
        Ok(Token {
            there_since: about.and_then(|about| about.modified()).ok(),
            ..token
        })
    }

    async fn keep(&self, token: &Token, over: Fingerprint) -> Result<Deposit, ObtainError> {
        let (place, written, token) = (self.place.clone(), self.written.clone(), token.clone());
        let work = move || Ok(deposited(&place, &written, &token, over));
        let done = self.place.apart(work).await;
        done.map_err(|hindrance| hindrance.unkept(&self.place))?
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

    fn keeps(&self) -> Result<(), String> {
        let keeps = self.place.keeps();
        keeps.map_err(|hindrance| hindrance.words(&self.place))
    }

    fn claim(&mut self) -> BoxFuture<'_, Result<Claim, ObtainError>> {
        Box::pin(self.place.claim())
    }

    fn deposit<'a>(
        &'a mut self,
        token: &'a Token,
        over: Fingerprint,
    ) -> BoxFuture<'a, Result<Deposit, ObtainError>> {
        Box::pin(self.keep(token, over))
    }
}

/// Puts a token there, if `over` still is. A file that is gone, or holds none, is not ours to make: it is being written,
/// or was taken away.
fn deposited(
    place: &Place,
    written: &Written,
    token: &Token,
    over: Fingerprint,
) -> Result<Deposit, ObtainError> {
    let path = place.path();
    let bytes = place.now().map_err(|error| unreadable(path, error))?;
    let now = written.read(&bytes).map_err(|error| refused(path, error))?;
    if same(&now.secret, &token.secret) {
        return Ok(Deposit::Kept);
    }
    if now.secret.fingerprint() != over {
        return Ok(Deposit::Overtaken);
    }
    let new = written
        .rewrite(&bytes, token)
        .map_err(|error| refused(path, error))?;
    place
        .replace(&new, Some(&bytes))
        .map_err(|hindrance| hindrance.unkept(place))?;
    Ok(Deposit::Kept)
}

fn rolled_back(place: &Place, written: &Written) -> Result<RolledBack, ObtainError> {
    let path = place.path();
    let nothing = || {
        let what = format!(
            "there is nothing to go back to: {}.previous, which a renewal leaves behind, is not there or is the same \
             token",
            path.display()
        );
        ObtainError::permanent("nothing_before", what)
    };
    let before = match place.before() {
        Ok(before) => before,
        Err(Hindrance::Write(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Err(nothing());
        }
        Err(hindrance) => return Err(hindrance.unkept(place)),
    };
    let token = written.read(&before).map_err(|error| {
        let what = format!("the token before, {}.previous, is no use", path.display());
        ObtainError::permanent(error.label(), what).because(error)
    })?;
    let now = place.now().unwrap_or_default();
    let from = written.read(&now).ok();
    if from
        .as_ref()
        .is_some_and(|now| same(&now.secret, &token.secret))
    {
        return Err(nothing());
    }
    // What surrounds the token may have been edited since; if there is no reading it, it is what it was then.
    let new = written.rewrite(&now, &token).unwrap_or(before);
    place
        .exchange(&new, &now)
        .map_err(|hindrance| hindrance.unkept(place))?;
    Ok(RolledBack {
        from: from.map(|token| token.secret.fingerprint()),
        to: token.secret.fingerprint(),
    })
}

fn refused(path: &Path, error: WrittenError) -> ObtainError {
    let what = format!("the file {} was refused: {error}", path.display());
    ObtainError::permanent(error.label(), what)
}

fn unreadable(path: &Path, error: io::Error) -> ObtainError {
    let path = path.display();
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound {
        let what = format!("the file {path} is not there yet: put the token there");
        ObtainError::transient("missing", what).because(error)
    } else if kind == io::ErrorKind::PermissionDenied {
        let what = format!("the file {path} may not be read; give this user read permission");
        ObtainError::permanent("unreadable", what).because(error)
    } else if kind == io::ErrorKind::InvalidInput {
        let what = format!("{path} is no file but a directory, a pipe or a device");
        ObtainError::permanent("unreadable", what)
    } else {
        let what = format!("the file {path} cannot be read");
        ObtainError::transient("unreadable", what).because(error)
    }
}

#[cfg(test)]
mod tests;
