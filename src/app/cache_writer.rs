//! Keeps the cache of the tenants in step with the table.
//!
//! # Why
//!
//! Ten thousand tokens take a second to encrypt, and a table may change every second. So a task of its own writes the newest
//! state, and skips those that were replaced while it wrote.

use std::sync::Arc;

use tokio::sync::watch;

use super::known_rows::KnownRows;
use crate::net::Tasks;
use crate::source::{TenantRow, TenantsCache};
use crate::types::error_chain;

/// The cache of the tenants. The task that writes it ends with this.
pub(super) struct CacheWriter {
    cache: TenantsCache,
    newest: watch::Sender<Arc<[TenantRow]>>,
    /// The checksum of what was saved last.
    saved: Option<u64>,
}

// === impl CacheWriter ===

impl CacheWriter {
    /// Starts the task.
    pub(super) fn start(cache: TenantsCache, tasks: &Tasks) -> Self {
        let (newest, changed) = watch::channel(Arc::default());
        drop(tasks.spawn(write(cache.clone(), changed)));
        Self {
            cache,
            newest,
            saved: None,
        }
    }

    /// Reads the tenants; none, if that fails.
    pub(super) async fn load(&self) -> Vec<TenantRow> {
        match self.cache.load().await {
            Ok(rows) => rows.unwrap_or_default(),
            Err(error) => {
                let error = error_chain(&error);
                tracing::warn!(error, "the tenants of the cache cannot be used");
                Vec::new()
            }
        }
    }

    /// Writes the tenants in a while, if they are others than before.
    pub(super) fn save(&mut self, rows: &KnownRows) {
        let checksum = rows.checksum();
        if self.saved.replace(checksum) != Some(checksum) {
            self.newest.send_replace(rows.listed().collect());
        }
    }
}

async fn write(cache: TenantsCache, mut changed: watch::Receiver<Arc<[TenantRow]>>) {
    while changed.changed().await.is_ok() {
        let rows = Arc::clone(&changed.borrow_and_update());
        if let Err(error) = cache.replace(&rows).await {
            let error = error_chain(&error);
            tracing::warn!(
                error,
                "the tenants cannot be cached: a start at which they cannot be read has none"
            );
        }
    }
}
