//! A dropped file: the token somebody else keeps, renewed by replacing the file.

use std::io;
use std::path::{Path, PathBuf};

use super::decode::{Format, token};
use crate::net::watch::Files;
use crate::token::{BoxFuture, ObtainError, Source, Token};

/// A token in a file.
#[derive(Debug)]
pub struct FileSource {
    files: Files<1>,
    format: Format,
}

impl FileSource {
    /// The token that stands in `path` in this format. The file need not exist yet, nor its directory.
    #[must_use]
    pub fn new(path: PathBuf, format: Format) -> Self {
        Self {
            files: Files::new([path]),
            format,
        }
    }

    fn path(&self) -> &Path {
        let [path] = self.files.paths();
        path
    }

    async fn read(&mut self) -> Result<Token, ObtainError> {
        let [read] = self.files.read().await;
        let bytes = read.map_err(|error| unreadable(self.path(), error))?;
        let found = token(&bytes, &self.format, None).map_err(|error| ObtainError::Permanent {
            what: format!("the file {} was refused: {error}", self.path().display()),
            reason: error.label(),
            source: None,
        })?;
        Ok(found)
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
}

fn unreadable(path: &Path, error: io::Error) -> ObtainError {
    let path = path.display();
    let kind = error.kind();
    let source = Some(error.into());
    if kind == io::ErrorKind::NotFound {
        let what = format!("the file {path} is not there yet");
        ObtainError::Transient {
            what,
            reason: "missing",
            source,
        }
    } else if kind == io::ErrorKind::PermissionDenied {
        let what = format!("the file {path} may not be read; give this user read permission");
        ObtainError::Permanent {
            what,
            reason: "unreadable",
            source,
        }
    } else if kind == io::ErrorKind::InvalidInput {
        let what = format!("{path} is no file but a directory, a pipe or a device");
        ObtainError::Permanent {
            what,
            reason: "unreadable",
            source: None,
        }
    } else {
        let what = format!("the file {path} cannot be read");
        ObtainError::Transient {
            what,
            reason: "unreadable",
            source,
        }
    }
}

#[cfg(test)]
mod tests;
