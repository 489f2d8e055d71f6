//! The files of the secrets, watched for changes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use futures_util::future::{join_all, select_all};

use crate::os::watch::WatchedFiles;

/// The files of the secrets that a configuration refers to.
pub(super) struct SecretFiles(Vec<WatchedFiles<1>>);

// === impl SecretFiles ===

impl SecretFiles {
    /// Watches these files from now on.
    pub(super) async fn watch(paths: &BTreeSet<PathBuf>) -> Self {
        let files: Vec<_> = paths.iter().map(|path| WatchedFiles::new([path.clone()])).collect();
        let mut files = Self(files);
        files.note_contents().await;
        files
    }

    /// Waits for changes from the present contents on: a mounted secret has all of its files replaced at once, which is one
    /// change.
    pub(super) async fn note_contents(&mut self) {
        drop(join_all(self.0.iter_mut().map(WatchedFiles::read)).await);
    }

    /// Waits until one of them has another content than was noted. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        let changes = self.0.iter_mut().map(|file| Box::pin(file.changed()));
        match changes.collect::<Vec<_>>() {
            none if none.is_empty() => std::future::pending().await,
            changes => drop(select_all(changes).await),
        }
    }
}
