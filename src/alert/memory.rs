//! Remembers across restarts which alerts were delivered: a file in the directory for state.
//!
//! # Why
//!
//! A pod that restarts every hour would send its alerts every hour. The file is a hint: if it is missing or damaged, an alert
//! is sent once more, which is better than none. Replicas that share the directory share the memory, because the file is
//! read again before each delivery.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::fs;

use crate::token::{Alert, BoxFuture, DeliveryMemory, MAX_REPEAT_INTERVAL};

/// The alerts that were delivered within a week, in a file.
#[derive(Clone, Debug)]
pub struct AlertMemory {
    path: PathBuf,
}

/// The seconds since 1970 at which each alert was delivered last.
type Deliveries = BTreeMap<String, u64>;

impl AlertMemory {
    /// Creates the memory in this directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self {
            path: directory.join("alerts.json"),
        }
    }

    /// Reads the deliveries of the last week. A date in the future is one of a clock that was wrong.
    async fn read(&self, now: SystemTime) -> Deliveries {
        let text = fs::read(&self.path).await.unwrap_or_default();
        let mut deliveries: Deliveries = serde_json::from_slice(&text).unwrap_or_default();
        let now = unix_seconds(now);
        deliveries.retain(|_key, at| (now.saturating_sub(MAX_REPEAT_INTERVAL.as_secs())..=now).contains(at));
        deliveries
    }

    async fn write(&self, deliveries: &Deliveries) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .await?;
        }
        let draft = self.path.with_extension("json.new");
        fs::write(&draft, serde_json::to_vec(deliveries)?).await?;
        fs::rename(&draft, &self.path).await
    }
}

impl DeliveryMemory for AlertMemory {
    fn begin<'a>(&'a mut self, alert: &'a Alert, now: SystemTime) -> BoxFuture<'a, Option<SystemTime>> {
        Box::pin(async move {
            let delivered_at = *self.read(now).await.get(&alert.key())?;
            Some(UNIX_EPOCH + Duration::from_secs(delivered_at))
        })
    }

    fn finish<'a>(&'a mut self, alert: &'a Alert, delivered_at: Option<SystemTime>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let Some(at) = delivered_at else { return };
            let mut deliveries = self.read(at).await;
            deliveries.insert(alert.key(), unix_seconds(at));
            if let Err(error) = self.write(&deliveries).await {
                let path = self.path.display();
                tracing::warn!(%error, %path, "cannot remember a delivered alert; it may be sent again after a restart");
            }
        })
    }
}

fn unix_seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
