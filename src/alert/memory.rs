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
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use tokio::fs;

use super::webhook::AlertSender;
use crate::token::{AlertKey, BoxFuture, DeliveryMemory, MAX_REPEAT_INTERVAL};
use crate::types::unix_seconds;

/// The alerts that were delivered within a week, in a file.
#[derive(Debug)]
pub struct AlertMemory {
    path: PathBuf,
    /// It could not be read the last time, which was logged.
    has_warned: bool,
}

/// Remembers when the operator was last told of an unknown expiry: with a webhook, its deliveries, which it notes itself;
/// without one, the lines in the log.
#[derive(Debug)]
pub struct NoticeMemory {
    deliveries: AlertMemory,
    webhook: Arc<ArcSwapOption<AlertSender>>,
}

/// The seconds since 1970 at which each alert was delivered last.
type Deliveries = BTreeMap<String, u64>;

// === impl AlertMemory ===

impl AlertMemory {
    /// Creates the memory in this directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self {
            path: directory.join("alerts.json"),
            has_warned: false,
        }
    }

    /// Reads the deliveries of the last week. A date in the future is one of a clock that was wrong.
    async fn read(&mut self, now: SystemTime) -> Deliveries {
        let read = match fs::read(&self.path).await {
            Ok(text) => serde_json::from_slice(&text).map_err(|_quotes_the_text| io::ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Deliveries::new()),
            Err(error) => Err(error),
        };
        if let Err(error) = &read
            && !self.has_warned
        {
            let path = self.path.display();
            tracing::warn!(
                %error,
                %path,
                "cannot read which alerts were delivered, so they may be sent again; let graphward read and write the file. \
                 A damaged one is replaced with the next alert"
            );
        }
        self.has_warned = read.is_err();
        let mut deliveries: Deliveries = read.unwrap_or_default();
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
    fn begin<'a>(&'a mut self, alert: &'a AlertKey, now: SystemTime) -> BoxFuture<'a, Option<SystemTime>> {
        Box::pin(async move {
            let delivered_at = *self.read(now).await.get(&alert.to_string())?;
            Some(UNIX_EPOCH + Duration::from_secs(delivered_at))
        })
    }

    fn finish<'a>(&'a mut self, alert: &'a AlertKey, delivered_at: Option<SystemTime>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let Some(at) = delivered_at else { return };
            let mut deliveries = self.read(at).await;
            deliveries.insert(alert.to_string(), unix_seconds(at));
            if let Err(error) = self.write(&deliveries).await {
                let path = self.path.display();
                tracing::warn!(%error, %path, "cannot remember a delivered alert; it may be sent again after a restart");
            }
        })
    }
}

// === impl NoticeMemory ===

impl NoticeMemory {
    /// Creates the memory in this directory, of a process that has this webhook at the moment.
    #[must_use]
    pub fn new(directory: &Path, webhook: Arc<ArcSwapOption<AlertSender>>) -> Self {
        Self {
            deliveries: AlertMemory::new(directory),
            webhook,
        }
    }
}

impl DeliveryMemory for NoticeMemory {
    fn begin<'a>(&'a mut self, alert: &'a AlertKey, now: SystemTime) -> BoxFuture<'a, Option<SystemTime>> {
        self.deliveries.begin(alert, now)
    }

    fn finish<'a>(&'a mut self, alert: &'a AlertKey, delivered_at: Option<SystemTime>) -> BoxFuture<'a, ()> {
        let in_log_only = delivered_at.filter(|_| self.webhook.load().is_none());
        self.deliveries.finish(alert, in_log_only)
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
        let mut memory = NoticeMemory::new(state.path(), Arc::clone(&target));
        let notice = AlertKey {
            tenant: TenantId::default(),
            cause: AlertCause::ExpiryUnknown,
            reason: String::new(),
        };
        let url = Secret::new("https://hooks.example.com/x").unwrap();
        let client = HttpClient::from_fn(|_request| std::future::pending(), Duration::from_secs(1));
        let (sender, _webhook) = Webhook::new(url, &client, Clock::system(), Metrics::new().alert_metrics()).unwrap();
        target.store(Some(Arc::new(sender)));
        memory.finish(&notice, Some(now)).await;
        assert_eq!(memory.begin(&notice, now).await, None);
        target.store(None);
        memory.finish(&notice, None).await;
        assert_eq!(memory.begin(&notice, now).await, None);
        memory.finish(&notice, Some(now)).await;
        assert_eq!(memory.begin(&notice, now).await, Some(now));
    }
}
