//! A scripted table of tenants.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use graphward::source::{
    NewTenant, PlaceWords, Removal, StoredToken, TableContents, TenantRow, TenantRows, TenantTable,
};
use graphward::token::{BoxFuture, ObtainError, RefreshLock, StoreFuture, StoreOutcome, Token};
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
    faults: Mutex<Vec<String>>,
    is_failing: AtomicBool,
    /// How long a read of the list takes longer, in milliseconds.
    list_delay: AtomicU64,
    /// The same of a read of a row.
    row_delay: AtomicU64,
    /// The app of the rows that the operator puts.
    app: Mutex<Option<Box<str>>>,
    /// Whether only the list cannot be read.
    is_list_failing: AtomicBool,
    /// Whether the rows can be read by name only.
    is_unlisted: AtomicBool,
    is_directory: AtomicBool,
    reads: AtomicUsize,
    row_reads: AtomicUsize,
    changed: Notify,
}

impl ScriptedTable {
    /// Adds a row, or replaces it.
    pub(crate) fn set(&self, tenant: &str, token: &str, object_ids: &[&str]) {
        self.insert(
            tenant,
            Ok(Token::without_expiry(Secret::new(token).unwrap())),
            object_ids,
        );
    }

    /// Adds a row whose token ends then, or replaces it.
    pub(crate) fn set_ending(&self, tenant: &str, token: &str, expires_at: SystemTime) {
        let token = Token {
            expires_at: Some(expires_at),
            ..Token::without_expiry(Secret::new(token).unwrap())
        };
        self.insert(tenant, Ok(token), &[]);
    }

    /// Adds a row without a token, or takes the token out of it.
    pub(crate) fn set_empty(&self, tenant: &str) {
        let error = Arc::new(ObtainError::absent("null", "the row has no token"));
        if let Some(row) = lock(&self.0.rows).get_mut(tenant) {
            row.token = Err(error);
            return;
        }
        self.insert(tenant, Err(error), &[]);
    }

    /// Sets what is wrong with rows that are no tenants.
    pub(crate) fn set_faults(&self, faults: &[&str]) {
        *lock(&self.0.faults) = faults.iter().map(|fault| (*fault).to_owned()).collect();
    }

    /// Adds a row whose token cannot be decrypted.
    pub(crate) fn set_faulty(&self, tenant: &str, message: &str) {
        let error = ObtainError::permanent("fernet_wrong_key", message);
        self.insert(tenant, Err(Arc::new(error)), &[]);
    }

    fn insert(&self, tenant: &str, token: Result<Token, Arc<ObtainError>>, object_ids: &[&str]) {
        let row = TenantRow {
            id: TenantId::new(tenant).unwrap(),
            object_ids: object_ids.iter().copied().map(Arc::from).collect(),
            app: None,
            reported_expires_at: None,
            token,
        };
        lock(&self.0.rows).insert(tenant.to_owned(), row);
    }

    /// Sets the app that a row names.
    pub(crate) fn set_app_of(&self, tenant: &str, app: &str) {
        lock(&self.0.rows).get_mut(tenant).unwrap().app = Some(app.into());
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

    /// Lets reads of the list that begin from now on take this much longer.
    pub(crate) fn delay_list(&self, delay: Duration) {
        self.0.list_delay.store(millis(delay), Ordering::Relaxed);
    }

    /// Lets reads of a row that begin from now on take this much longer.
    pub(crate) fn delay_rows(&self, delay: Duration) {
        self.0.row_delay.store(millis(delay), Ordering::Relaxed);
    }

    /// Sets the app of the rows that the operator puts.
    pub(crate) fn set_app(&self, app: &str) {
        *lock(&self.0.app) = Some(app.into());
    }

    /// Has the words of a directory.
    pub(crate) fn be_directory(&self) {
        self.0.is_directory.store(true, Ordering::Relaxed);
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

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

impl TenantTable for ScriptedTable {
    fn read(&mut self) -> BoxFuture<'_, Result<Option<TableContents>, ObtainError>> {
        Box::pin(async {
            self.0.reads.fetch_add(1, Ordering::Relaxed);
            // The rows as they are when the read begins, as those of a database.
            let rows = lock(&self.0.rows).values().cloned().collect();
            sleep(Duration::from_millis(50 + self.0.list_delay.load(Ordering::Relaxed))).await;
            self.check()?;
            if self.0.is_list_failing.load(Ordering::Relaxed) {
                return Err(ObtainError::transient("timeout", "the list takes too long"));
            }
            if self.0.is_unlisted.load(Ordering::Relaxed) {
                return Ok(None);
            }
            Ok(Some(TableContents {
                rows,
                faults: lock(&self.0.faults).clone(),
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

    fn has_ids(&self) -> bool {
        !self.0.is_unlisted.load(Ordering::Relaxed)
    }
}

impl TenantRows for ScriptedTable {
    fn describe(&self, tenant: &TenantId) -> String {
        format!("table, tenant {tenant}")
    }

    fn words(&self) -> PlaceWords {
        match self.0.is_directory.load(Ordering::Relaxed) {
            true => PlaceWords::DIRECTORY,
            false => PlaceWords::TABLE,
        }
    }

    fn read_row<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Option<TenantRow>, ObtainError>> {
        Box::pin(async {
            self.0.row_reads.fetch_add(1, Ordering::Relaxed);
            let row = lock(&self.0.rows).get(tenant.as_str()).cloned();
            sleep(Duration::from_millis(20 + self.0.row_delay.load(Ordering::Relaxed))).await;
            self.check()?;
            Ok(row)
        })
    }

    fn poll_interval(&self) -> Option<Duration> {
        let is_unlisted = self.0.is_unlisted.load(Ordering::Relaxed);
        is_unlisted.then_some(Duration::from_secs(30))
    }

    fn check_writable(&self, _tenant: &TenantId) -> Result<(), String> {
        Ok(())
    }

    fn put<'a>(&'a self, tenant: &'a TenantId, new: NewTenant<'a>) -> BoxFuture<'a, Result<(), ObtainError>> {
        Box::pin(async {
            let row = TenantRow {
                app: lock(&self.0.app).clone(),
                ..TenantRow::of_token(tenant.clone(), Ok(new.token.clone()))
            };
            lock(&self.0.rows).insert(tenant.to_string(), row);
            Ok(())
        })
    }

    fn remove<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Removal, ObtainError>> {
        Box::pin(async {
            let removed = lock(&self.0.rows).remove(tenant.as_str());
            Ok(removed.map_or(Removal::NotFound, |_row| Removal::Done(self.describe(tenant))))
        })
    }

    fn lock<'a>(&'a self, _tenant: &'a TenantId) -> BoxFuture<'a, Result<RefreshLock, ObtainError>> {
        Box::pin(async { Ok(RefreshLock::uncontended()) })
    }

    fn store<'a>(&'a self, tenant: &'a TenantId, stored: StoredToken<'a>) -> StoreFuture<'a> {
        Box::pin(async move {
            self.check()?;
            if let Some(row) = lock(&self.0.rows).get_mut(tenant.as_str()) {
                row.token = Ok(stored.token.clone());
            }
            Ok(StoreOutcome::Stored)
        })
    }
}
