//! Keeps the cache of the tenants in step with the table.
//!
//! # Why
//!
//! Ten thousand tokens take a second to encrypt, and a table may change every second. So a task of its own writes the newest
//! state, and skips those that were replaced while it wrote.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::known_rows::KnownRows;
use crate::net::Tasks;
use crate::proxy::Tenants;
use crate::source::{CachedTable, FormerIds, TenantsCache};
use crate::tenants::UnownedReason;
use crate::token::ObtainError;
use crate::types::{TenantId, error_chain};

/// The cache of the tenants. The task that writes it ends with this.
pub(super) struct CacheWriter {
    cache: TenantsCache,
    newest: watch::Sender<Arc<CachedTable>>,
    /// The checksum of what was saved last.
    saved: Option<u64>,
}

/// The longest read of the cache. A hundred thousand tokens take some ten seconds to decrypt; a network filesystem may hang.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);

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
        let loaded = timeout(LOAD_TIMEOUT, self.cache.load()).await;
        let hung = |_elapsed| {
            let (cache, limit) = (self.cache.describe(), LOAD_TIMEOUT.as_secs());
            let message = format!("the {cache} did not respond within {limit} s");
            Err(ObtainError::transient("timeout", message))
        };
        match loaded.unwrap_or_else(hung) {
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
        // The ids of a removed section are reserved until the process ends: the configuration of the next one does not have it. A row
        // may have its name.
        let is_removed = |id: &TenantId| {
            let entry = tenants.directory.find(id.as_str());
            entry.is_some_and(|entry| tenants.removed.iter().any(|removed| Arc::ptr_eq(removed, entry)))
        };
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
                rows: rows.rows_in_use().collect(),
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
                "cannot write the cache of the tenants: a start that cannot read the table has only those of the last write, if any"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt as _;
    use tokio::runtime::Builder;
    use tokio::time::advance;

    use super::*;
    use crate::source::Fernet;
    use crate::types::Secret;

    #[test]
    fn a_cache_that_hangs_delays_the_first_read_of_the_table_by_a_minute_at_most() {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).max_blocking_threads(1).build();
        let (release, released) = mpsc::channel::<()>();
        runtime.unwrap().block_on(async {
            // The only thread that may block does.
            drop(tokio::task::spawn_blocking(move || released.recv()));
            let key = Secret::new("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=").unwrap();
            let cache = TenantsCache::new("/".into(), Fernet::new(vec![key]).unwrap(), String::new());
            let writer = CacheWriter::start(cache, &Tasks::default());
            let mut load = Box::pin(writer.load());
            assert!((&mut load).now_or_never().is_none());
            advance(LOAD_TIMEOUT * 2).await;
            let loaded = load.now_or_never().expect("it waits for the cache without an end");
            assert!(loaded.rows.is_empty() && loaded.former.is_empty());
            drop(release);
        });
    }
}
