//! Keeps the cache of the tenants in step with the table.
//!
//! # Why
//!
//! Ten thousand tokens take a second to encrypt, and a table may change every second. So a task of its own writes the newest
//! state, and skips those that were replaced while it wrote.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use tokio::sync::watch;

use super::known_rows::KnownRows;
use crate::net::Tasks;
use crate::proxy::Tenants;
use crate::source::{CachedTable, FormerIds, TenantsCache};
use crate::tenants::UnownedReason;
use crate::types::{TenantId, error_chain};

/// The cache of the tenants. The task that writes it ends with this.
pub(super) struct CacheWriter {
    cache: TenantsCache,
    newest: watch::Sender<Arc<CachedTable>>,
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
    pub(super) async fn load(&self) -> CachedTable {
        match self.cache.load().await {
            Ok(table) => table.unwrap_or_default(),
            Err(error) => {
                let error = error_chain(&error);
                tracing::warn!(error, "the tenants of the cache cannot be used");
                CachedTable::default()
            }
        }
    }

    /// Gives the task the tenants, and the ids that no tenant has any more, if any of them have changed.
    pub(super) fn save(&mut self, rows: &KnownRows, tenants: &Tenants) {
        // The ids of a removed section are reserved until the process ends: the configuration of the next one does not have it.
        let is_removed = |id: &TenantId| tenants.removed.iter().any(|removed| removed.id == *id);
        let former = tenants
            .directory
            .unowned()
            .filter_map(|(id, unowned)| match unowned.reason {
                UnownedReason::Former => Some((Arc::clone(id), unowned.claimants.first()?.clone())),
                UnownedReason::Shared | UnownedReason::Withheld => None,
            });
        let former: FormerIds = former.filter(|(_, tenant)| !is_removed(tenant)).collect();
        let mut hasher = DefaultHasher::new();
        (rows.checksum(), &former).hash(&mut hasher);
        let checksum = hasher.finish();
        if self.saved.replace(checksum) != Some(checksum) {
            self.newest.send_replace(Arc::new(CachedTable {
                rows: rows.listed().collect(),
                former,
            }));
        }
    }
}

async fn write(cache: TenantsCache, mut changed: watch::Receiver<Arc<CachedTable>>) {
    while changed.changed().await.is_ok() {
        let table = Arc::clone(&changed.borrow_and_update());
        if let Err(error) = cache.replace(table).await {
            let error = error_chain(&error);
            tracing::warn!(
                error,
                "the tenants cannot be cached: a start at which they cannot be read has none"
            );
        }
    }
}
