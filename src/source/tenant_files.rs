//! A directory with a file for each tenant, such as a Kubernetes secret with a key for each.
//!
//! # Why
//!
//! One watch on the directory announces all changes. Events are lost on network filesystems and where a link on the way is
//! swapped, so the directory is listed every few seconds as well. That reads no file whose stamp (device, inode, size and
//! times) is as before. A write within the same tick of the clock can leave a stamp as it is, so the stamp of a file that was
//! read soon after its last change counts only from the next reading on.
//!
//! The alternatives were a watch for each file, which is the source of one token ten thousand times, and contents that are
//! compared every second as there, which reads ten thousand files.

mod known;
mod listing;
mod place;
mod rows;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until, timeout};

use super::decode::Format;
use super::encoding::{EncryptionConfig, TokenEncoding};
use super::fernet::Fernet;
use super::tenant_pattern::TenantPath;
use super::tenant_table::{TableContents, TenantRows, TenantTable};
use crate::os::watch::{DirectoryEvents, WatchTargets};
use crate::token::{BoxFuture, ObtainError};
use crate::types::lock;
use known::KnownFiles;
use place::FilesPlace;
use rows::FileRows;

/// Files that hold the tokens of tenants.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[schemars(extend("additionalProperties" = false, "not" = { "required": ["key", "pointer"] }))]
pub struct TenantFilesConfig {
    /// The path of a tenant's file, with `{tenant}` in the place of its name.
    #[serde(rename = "file")]
    pub path: TenantPath,
    /// The location of the token in a file.
    #[serde(flatten)]
    pub format: Format,
    /// The encryption of the tokens.
    #[serde(flatten)]
    pub encryption: EncryptionConfig,
}

/// A directory with a file for each tenant.
#[derive(Debug)]
pub struct TenantFiles {
    rows: Arc<FileRows>,
    events: DirectoryEvents,
    known: Arc<Mutex<KnownFiles>>,
    /// The next comparison without an event.
    next_poll: Instant,
    /// The earliest time of the next comparison: a directory that changes all the time, or is slow, is not listed all the time.
    rested_at: Instant,
    poll_interval: Duration,
}

/// The interval at which the directory is listed without an event.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// A pause is so many times as long as the listing before it …
const PAUSE_FACTOR: u32 = 10;
/// … but not longer than this.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// The longest reading of the directory. What was read by then counts at the next one.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
// === impl TenantFiles ===

impl TenantFiles {
    /// Creates the table of these files, with the keys that decrypt them. Neither they nor the directory have to exist yet.
    #[must_use]
    pub fn new(config: &TenantFilesConfig, keys: Option<Fernet>) -> Self {
        let path = config.path.clone();
        let mut encoding = TokenEncoding::new(config.format.clone());
        encoding.encrypt_with(keys, config.encryption.plain);
        Self {
            rows: Arc::new(FileRows::new(FilesPlace { path, encoding })),
            events: DirectoryEvents::default(),
            known: Arc::default(),
            next_poll: Instant::now(),
            rested_at: Instant::now(),
            poll_interval: POLL_INTERVAL,
        }
    }

    async fn read_all(&mut self) -> Result<TableContents, ObtainError> {
        // Watch first, read second: a change between the two causes an event.
        self.watch().await;
        let read = self.run(|known, place| known.update(place)).await;
        read.unwrap_or_else(|error| Err(self.rows.place.failed(error.into())))
    }

    async fn watch(&mut self) {
        let place = Arc::clone(&self.rows.place);
        let targets = move || WatchTargets::of_directory(place.path.directory());
        self.events.watch(targets).await;
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut KnownFiles, &FilesPlace) -> T + Send + 'static,
    ) -> io::Result<T> {
        let (known, place) = (Arc::clone(&self.known), Arc::clone(&self.rows.place));
        let work = move || work(&mut lock(&known), &place);
        self.events.run_blocking(work).await
    }

    async fn wait_for_change(&mut self) {
        loop {
            self.events
                .wait(self.next_poll.saturating_duration_since(Instant::now()))
                .await;
            sleep_until(self.rested_at).await;
            let started_at = Instant::now();
            self.watch().await;
            let differs = self.run(|known, place| known.differ(place)).await;
            self.rest_after(started_at);
            let by_event = self.events.take_pending();
            if differs.unwrap_or(true) {
                tracing::debug!(by_event, "the files of tenants changed");
                return;
            }
        }
    }

    fn rest_after(&mut self, started_at: Instant) {
        let pause = (started_at.elapsed() * PAUSE_FACTOR).min(MAX_PAUSE);
        self.rested_at = Instant::now() + pause;
        self.next_poll = Instant::now() + pause.max(self.poll_interval);
    }
}

impl TenantTable for TenantFiles {
    fn read(&mut self) -> BoxFuture<'_, Result<Option<TableContents>, ObtainError>> {
        Box::pin(async {
            let started_at = Instant::now();
            let read = timeout(READ_TIMEOUT, self.read_all()).await;
            self.rest_after(started_at);
            let read = read.unwrap_or_else(|_elapsed| Err(self.rows.place.too_slow(READ_TIMEOUT)));
            read.map(Some)
        })
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.wait_for_change())
    }

    fn rows(&self) -> Arc<dyn TenantRows> {
        Arc::<FileRows>::clone(&self.rows)
    }
}

#[cfg(test)]
mod tests;
