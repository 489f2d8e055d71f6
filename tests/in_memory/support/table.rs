//! A scripted table of tenants.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use graphward::source::{StoredToken, TableContents, TenantRow, TenantRows, TenantTable};
use graphward::token::{BoxFuture, ObtainError, RefreshLock, StoreOutcome, Token};
use graphward::types::{Secret, TenantId};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::lock;

/// A table whose rows a test sets. Clones are the same table.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScriptedTable(Arc<TableState>);

#[derive(Debug, Default)]
struct TableState {
    rows: Mutex<BTreeMap<String, TenantRow>>,
    is_failing: AtomicBool,
    /// Whether only the list cannot be read.
    is_list_failing: AtomicBool,
    /// Whether the rows can be read by name only.
    is_unlisted: AtomicBool,
    reads: AtomicUsize,
    row_reads: AtomicUsize,
    changed: Notify,
}

impl ScriptedTable {
    /// Adds a row, or replaces it.
    pub(crate) fn set(&self, tenant: &str, token: &str, object_ids: &[&str]) {
        let token = Token {
            secret: Secret::new(token).unwrap(),
            expires_at: None,
            expiry_key: None,
            modified_at: None,
        };
        self.insert(tenant, Ok(token), object_ids);
    }

    /// Adds a row without a usable token.
    pub(crate) fn set_faulty(&self, tenant: &str, message: &str) {
        let error = ObtainError::permanent("wrong_key", message);
        self.insert(tenant, Err(Arc::new(error)), &[]);
    }

    fn insert(&self, tenant: &str, token: Result<Token, Arc<ObtainError>>, object_ids: &[&str]) {
        let row = TenantRow {
            id: TenantId::new(tenant).unwrap(),
            object_ids: object_ids.iter().copied().map(Box::from).collect(),
            app: None,
            token,
        };
        lock(&self.0.rows).insert(tenant.to_owned(), row);
    }

    pub(crate) fn remove(&self, tenant: &str) {
        lock(&self.0.rows).remove(tenant);
    }

    pub(crate) fn clear(&self) {
        lock(&self.0.rows).clear();
    }

    /// Announces a change.
    pub(crate) fn announce(&self) {
        self.0.changed.notify_one();
    }

    pub(crate) fn set_failing(&self, is_failing: bool) {
        self.0.is_failing.store(is_failing, Ordering::Relaxed);
    }

    /// Lets the list fail, and not the single rows.
    pub(crate) fn set_list_failing(&self, is_failing: bool) {
        self.0.is_list_failing.store(is_failing, Ordering::Relaxed);
    }

    /// Lets the rows be read by name only.
    pub(crate) fn hide_list(&self) {
        self.0.is_unlisted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn reads(&self) -> usize {
        self.0.reads.load(Ordering::Relaxed)
    }

    pub(crate) fn row_reads(&self) -> usize {
        self.0.row_reads.load(Ordering::Relaxed)
    }

    fn check(&self) -> Result<(), ObtainError> {
        if self.0.is_failing.load(Ordering::Relaxed) {
            return Err(ObtainError::transient("unreachable", "the table is unreachable"));
        }
        Ok(())
    }
}

impl TenantTable for ScriptedTable {
    fn read(&mut self) -> BoxFuture<'_, Result<Option<TableContents>, ObtainError>> {
        Box::pin(async {
            self.0.reads.fetch_add(1, Ordering::Relaxed);
            // The rows as they are when the read begins, as those of a database.
            let rows = lock(&self.0.rows).values().cloned().collect();
            sleep(Duration::from_millis(50)).await;
            self.check()?;
            if self.0.is_list_failing.load(Ordering::Relaxed) {
                return Err(ObtainError::transient("timeout", "the list takes too long"));
            }
            if self.0.is_unlisted.load(Ordering::Relaxed) {
                return Ok(None);
            }
            Ok(Some(TableContents {
                rows,
                faults: Vec::new(),
            }))
        })
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let poll = sleep(Duration::from_secs(60));
            tokio::select! {
                () = self.0.changed.notified() => {}
                () = poll => {}
            }
        })
    }

    fn rows(&self) -> Arc<dyn TenantRows> {
        Arc::new(self.clone())
    }
}

impl TenantRows for ScriptedTable {
    fn describe(&self, tenant: &TenantId) -> String {
        format!("table, tenant {tenant}")
    }

    fn read_row<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Option<TenantRow>, ObtainError>> {
        Box::pin(async {
            self.0.row_reads.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(20)).await;
            self.check()?;
            Ok(lock(&self.0.rows).get(tenant.as_str()).cloned())
        })
    }

    fn poll_interval(&self) -> Option<Duration> {
        let is_unlisted = self.0.is_unlisted.load(Ordering::Relaxed);
        is_unlisted.then_some(Duration::from_secs(30))
    }

    fn check_writable(&self, _tenant: &TenantId) -> Result<(), String> {
        Ok(())
    }

    fn lock<'a>(&'a self, _tenant: &'a TenantId) -> BoxFuture<'a, Result<RefreshLock, ObtainError>> {
        Box::pin(async { Ok(RefreshLock::uncontended()) })
    }

    fn store<'a>(
        &'a self,
        tenant: &'a TenantId,
        stored: StoredToken<'a>,
    ) -> BoxFuture<'a, Result<StoreOutcome, ObtainError>> {
        Box::pin(async move {
            self.check()?;
            if let Some(row) = lock(&self.0.rows).get_mut(tenant.as_str()) {
                row.token = Ok(stored.token.clone());
            }
            Ok(StoreOutcome::Stored)
        })
    }
}
