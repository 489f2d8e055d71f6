//! Remembers across restarts which alerts were delivered: a file in the directory for state.
//!
//! # Why
//!
//! A pod that restarts every hour would send its alerts every hour. The file is a hint: if it is missing or damaged, an alert
//! is sent once more, which is better than none. Replicas that share the directory share the memory, because what was added
//! to the file is read before each delivery.
//!
//! Each delivery appends a line, and the file is written anew once most of its lines are old: with ten thousand tenants, it is
//! half a megabyte, and each tenant may add to it on the same day.

use std::collections::HashMap;
use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::sync::Mutex;

use super::webhook::AlertSender;
use crate::token::{AlertKey, BoxFuture, DeliveryMemory, MAX_REPEAT_INTERVAL};
use crate::types::unix_seconds;

/// The alerts that were delivered within a week, in a file. A clone is the same memory.
#[derive(Clone, Debug)]
pub struct AlertMemory(Arc<Mutex<DeliveryFile>>);

#[derive(Debug)]
struct DeliveryFile {
    path: PathBuf,
    deliveries: Deliveries,
    /// The file that was read last, and how much of it.
    read: ReadPosition,
    /// It could not be read the last time, which was logged.
    has_warned: bool,
}

/// How much of which file was read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct ReadPosition {
    inode: u64,
    bytes: u64,
}

/// Remembers when the operator was last told of an unknown expiry: with a webhook, its deliveries, which it notes itself;
/// without one, the lines in the log.
#[derive(Clone, Debug)]
pub struct NoticeMemory {
    deliveries: AlertMemory,
    webhook: Arc<ArcSwapOption<AlertSender>>,
}

/// The seconds since 1970 at which each alert was delivered last.
type Deliveries = HashMap<String, u64>;

/// The bytes of a line, on average.
const LINE_BYTES: usize = 48;
/// A file below this size is not written anew.
const MIN_REWRITE_BYTES: usize = 64 * 1024;

// === impl AlertMemory ===

impl AlertMemory {
    /// Creates the memory in this directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self(Arc::new(Mutex::new(DeliveryFile {
            path: directory.join("alerts.json"),
            deliveries: Deliveries::new(),
            read: ReadPosition::default(),
            has_warned: false,
        })))
    }
}

impl DeliveryMemory for AlertMemory {
    fn begin<'a>(&'a mut self, alerts: &'a [AlertKey], now: SystemTime) -> BoxFuture<'a, Vec<Option<SystemTime>>> {
        Box::pin(async move {
            let mut file = self.0.lock().await;
            file.update().await;
            let last = unix_seconds(now);
            // A date in the future is one of a clock that was wrong.
            let valid = last.saturating_sub(MAX_REPEAT_INTERVAL.as_secs())..=last;
            let delivered_at = |alert: &AlertKey| {
                let at = *file.deliveries.get(&alert.to_string())?;
                valid.contains(&at).then(|| UNIX_EPOCH + Duration::from_secs(at))
            };
            alerts.iter().map(delivered_at).collect()
        })
    }

    fn finish<'a>(&'a mut self, alerts: &'a [AlertKey], delivered_at: Option<SystemTime>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let Some(at) = delivered_at.filter(|_| !alerts.is_empty()) else {
                return;
            };
            let added = alerts.iter().map(|alert| (alert.to_string(), unix_seconds(at)));
            let mut file = self.0.lock().await;
            if let Err(error) = file.add(added.collect()).await {
                let path = file.path.display();
                tracing::warn!(%error, %path, "cannot remember a delivered alert; it may be sent again after a restart");
            }
        })
    }
}

// === impl DeliveryFile ===

impl DeliveryFile {
    /// Reads what was added to the file, or all of it if it is another one.
    async fn update(&mut self) {
        let read = match self.read_added().await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (self.deliveries, self.read) = Default::default();
                Ok(())
            }
            read => read,
        };
        if let Err(error) = &read {
            (self.deliveries, self.read) = Default::default();
            if !self.has_warned {
                let path = self.path.display();
                tracing::warn!(
                    %error,
                    %path,
                    "cannot read which alerts were delivered, so they may be sent again; let graphward read and write the \
                     file. A damaged one is replaced with the next alert"
                );
            }
        }
        self.has_warned = read.is_err();
    }

    async fn read_added(&mut self) -> io::Result<()> {
        let mut file = File::open(&self.path).await?;
        let metadata = file.metadata().await?;
        let (inode, bytes) = (metadata.ino(), metadata.len());
        if self.read == (ReadPosition { inode, bytes }) {
            return Ok(());
        }
        if self.read.inode != inode || self.read.bytes > bytes {
            (self.deliveries, self.read) = (Deliveries::new(), ReadPosition { inode, bytes: 0 });
        }
        file.seek(SeekFrom::Start(self.read.bytes)).await?;
        let mut added = String::new();
        let read = file.read_to_string(&mut added).await?;
        if added.is_empty() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        for line in added.lines() {
            // The message of the parser quotes the text.
            let line: Deliveries = serde_json::from_str(line).map_err(|_quotes| io::ErrorKind::InvalidData)?;
            self.deliveries.extend(line);
        }
        self.read.bytes += read as u64;
        Ok(())
    }

    /// Adds a line, or writes the file anew if it is damaged or most of it is old.
    async fn add(&mut self, added: Deliveries) -> io::Result<()> {
        self.update().await;
        let latest = added.values().max().copied().unwrap_or_default();
        let mut line = serde_json::to_vec(&added)?;
        line.push(b'\n');
        self.deliveries.extend(added);
        let useful = self.deliveries.len() * LINE_BYTES;
        let is_old = self.read.bytes > (MIN_REWRITE_BYTES + 2 * useful) as u64;
        if self.read != ReadPosition::default() && !self.has_warned && !is_old {
            let mut file = fs::OpenOptions::new().append(true).open(&self.path).await?;
            file.write_all(&line).await?;
            return file.flush().await;
        }
        let oldest = latest.saturating_sub(MAX_REPEAT_INTERVAL.as_secs());
        self.deliveries.retain(|_, at| (oldest..=latest).contains(at));
        if let Some(directory) = self.path.parent() {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(directory).await?;
        }
        let draft = self.path.with_extension("json.new");
        let mut text = serde_json::to_vec(&self.deliveries)?;
        text.push(b'\n');
        fs::write(&draft, text).await?;
        fs::rename(&draft, &self.path).await
    }
}

// === impl NoticeMemory ===

impl NoticeMemory {
    /// Creates the memory of a process that has this webhook at the moment.
    #[must_use]
    pub const fn new(deliveries: AlertMemory, webhook: Arc<ArcSwapOption<AlertSender>>) -> Self {
        Self { deliveries, webhook }
    }
}

impl DeliveryMemory for NoticeMemory {
    fn begin<'a>(&'a mut self, alerts: &'a [AlertKey], now: SystemTime) -> BoxFuture<'a, Vec<Option<SystemTime>>> {
        self.deliveries.begin(alerts, now)
    }

    fn finish<'a>(&'a mut self, alerts: &'a [AlertKey], delivered_at: Option<SystemTime>) -> BoxFuture<'a, ()> {
        let in_log_only = delivered_at.filter(|_| self.webhook.load().is_none());
        self.deliveries.finish(alerts, in_log_only)
    }
}

#[cfg(test)]
mod tests {
    use super::super::webhook::Webhook;
    use super::*;
    use crate::net::HttpClient;
    use crate::telemetry::metrics::Metrics;
    use crate::token::AlertCause;
    use crate::types::{Clock, Secret, TenantId};

    #[tokio::test]
    async fn a_notice_in_the_log_is_remembered_only_if_no_webhook_tells_it() {
        let (state, now) = (
            tempfile::tempdir().unwrap(),
            UNIX_EPOCH + Duration::from_secs(1_759_276_800),
        );
        let target = Arc::new(ArcSwapOption::empty());
        let mut memory = NoticeMemory::new(AlertMemory::new(state.path()), Arc::clone(&target));
        let notice = [AlertKey {
            tenant: TenantId::default(),
            cause: AlertCause::ExpiryUnknown,
            reason: String::new(),
        }];
        let url = Secret::new("https://hooks.example.com/x").unwrap();
        let client = HttpClient::from_fn(|_request| std::future::pending(), Duration::from_secs(1));
        let (sender, _webhook) = Webhook::new(url, &client, Clock::system(), Metrics::new().alert_metrics()).unwrap();
        target.store(Some(Arc::new(sender)));
        memory.finish(&notice, Some(now)).await;
        assert_eq!(memory.begin(&notice, now).await, [None]);
        target.store(None);
        memory.finish(&notice, None).await;
        assert_eq!(memory.begin(&notice, now).await, [None]);
        memory.finish(&notice, Some(now)).await;
        assert_eq!(memory.begin(&notice, now).await, [Some(now)]);
    }

    #[tokio::test]
    async fn ten_thousand_deliveries_are_appended_and_the_file_stays_small() {
        let (state, start) = (
            tempfile::tempdir().unwrap(),
            UNIX_EPOCH + Duration::from_secs(1_759_276_800),
        );
        let path = state.path().join("alerts.json");
        let mut memory = AlertMemory::new(state.path());
        let key = |number: u64| AlertKey {
            tenant: TenantId::new(&format!("tenant-{number}")).unwrap(),
            cause: AlertCause::ExpiryUnknown,
            reason: String::new(),
        };
        let all: Vec<_> = (0..10_000).map(key).collect();
        memory.finish(&all, Some(start)).await;
        let bytes = std::fs::metadata(&path).unwrap().len();
        memory.finish(&all[..1], Some(start + Duration::from_secs(1))).await;
        let added = std::fs::metadata(&path).unwrap().len() - bytes;
        assert!(added < 100, "{added} bytes for one delivery");

        // Another process sees it, and what it adds is seen here.
        let mut replica = AlertMemory::new(state.path());
        assert_eq!(
            replica.begin(&all[..2], start + Duration::from_secs(9)).await,
            [Some(start + Duration::from_secs(1)), Some(start)]
        );
        replica.finish(&all[1..2], Some(start + Duration::from_secs(5))).await;
        let seen = memory.begin(&all[1..3], start + Duration::from_secs(9)).await;
        assert_eq!(seen, [Some(start + Duration::from_secs(5)), Some(start)]);

        // A day with the same deliveries after the other: the lines of the days before go.
        for day in 1..=30 {
            let now = start + Duration::from_secs(day * 24 * 60 * 60);
            memory.finish(&all, Some(now)).await;
        }
        let bytes = std::fs::metadata(&path).unwrap().len();
        assert!(bytes < 2_000_000, "{bytes} bytes");
        let later = start + Duration::from_secs(31 * 24 * 60 * 60);
        let last = start + Duration::from_secs(30 * 24 * 60 * 60);
        assert_eq!(memory.begin(&all[7..8], later).await, [Some(last)]);
        assert_eq!(
            replica.begin(&all[7..8], later).await,
            [Some(last)],
            "the file is another one now"
        );
    }
}
