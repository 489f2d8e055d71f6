//! Reads and writes the files of single tenants.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::super::file::TokenStore;
use super::super::tenant_pattern::check_file_name;
use super::super::tenant_table::{NewTenant, PlaceWords, Removal, StoredToken, TenantRow, TenantRows};
use super::place::FilesPlace;
use crate::token::{BoxFuture, ObtainError, RefreshLock, StoreFuture, StoreOutcome};
use crate::types::{TenantId, lock};

/// Reads and writes single files.
#[derive(Debug)]
pub(super) struct FileRows {
    pub(super) place: Arc<FilesPlace>,
    reads: Arc<Semaphore>,
    /// The files that are locked.
    locked: Mutex<Vec<TokenStore>>,
}

/// The longest reading of one file.
const ROW_TIMEOUT: Duration = Duration::from_secs(10);
/// The most files that are read on their own at the same time.
const MAX_ROW_READS: usize = 4;
/// The longest wait of the operator's change for a lock that another replica holds.
const MAX_LOCK_WAIT: Duration = Duration::from_secs(25);
/// The time between its attempts to get it.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(100);

impl FileRows {
    pub(super) fn new(place: FilesPlace) -> Self {
        Self {
            place: Arc::new(place),
            reads: Arc::new(Semaphore::new(MAX_ROW_READS)),
            locked: Mutex::default(),
        }
    }

    fn store_of(&self, tenant: &TenantId) -> TokenStore {
        let path = self.place.path.file_of(tenant);
        let locked = lock(&self.locked)
            .iter()
            .find(|store| store.file.path() == path)
            .cloned();
        locked.unwrap_or_else(|| TokenStore::new(path, self.place.encoding.clone()))
    }

    async fn read(&self, tenant: &TenantId) -> Result<Option<TenantRow>, ObtainError> {
        let (place, tenant, reads) = (Arc::clone(&self.place), tenant.clone(), Arc::clone(&self.reads));
        let read = async {
            let permit = reads.acquire_owned().await;
            let work = move || (place.read_row(&tenant), drop(permit)).0;
            spawn_blocking(work).await
        };
        match timeout(ROW_TIMEOUT, read).await {
            Ok(Ok(row)) => row,
            Ok(Err(error)) => Err(self.place.failed(io::Error::other(error).into())),
            Err(_elapsed) => Err(self.place.too_slow(ROW_TIMEOUT)),
        }
    }

    /// Takes the lock of a file for a renewal, unless another replica has it.
    async fn lock_if_free(&self, tenant: &TenantId) -> Result<RefreshLock, ObtainError> {
        check_file_name(tenant)?;
        let store = self.store_of(tenant);
        let held = store.file.lock_if_free().await?;
        let held = held.ok_or_else(|| ObtainError::locked(&self.describe(tenant)))?;
        let mut locked = lock(&self.locked);
        locked.retain(|other| other.file.is_locked() && other.file.path() != store.file.path());
        locked.push(store);
        Ok(held)
    }

    /// Waits for the lock of a file.
    async fn lock_file(&self, tenant: &TenantId) -> Result<RefreshLock, ObtainError> {
        let deadline = Instant::now() + MAX_LOCK_WAIT;
        loop {
            match self.lock_if_free(tenant).await {
                Err(error) if error.is_locked() && Instant::now() < deadline => sleep(LOCK_RETRY_INTERVAL).await,
                locked => return locked,
            }
        }
    }

    async fn store_token(&self, tenant: &TenantId, stored: StoredToken<'_>) -> Result<StoreOutcome, ObtainError> {
        check_file_name(tenant)?;
        self.store_of(tenant).store(stored.token, stored.expected).await
    }
}

impl TenantRows for FileRows {
    fn describe(&self, tenant: &TenantId) -> String {
        format!("file {}", self.place.path.file_of(tenant).display())
    }

    fn words(&self) -> PlaceWords {
        PlaceWords::DIRECTORY
    }

    fn read_row<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Option<TenantRow>, ObtainError>> {
        Box::pin(self.read(tenant))
    }

    fn check_writable(&self, tenant: &TenantId) -> Result<(), String> {
        let file = self.store_of(tenant).file;
        let path = file.path().display();
        let writable = file.check_writable();
        writable.map_err(|error| format!("a renewed token cannot be stored in `{path}`: {error}"))
    }

    fn check_put(&self, tenant: &TenantId) -> Result<(), ObtainError> {
        self.place.check_name(tenant)?;
        let writable = self.check_writable(tenant);
        writable.map_err(|reason| ObtainError::permanent("not_writable", reason))
    }

    fn put<'a>(&'a self, tenant: &'a TenantId, new: NewTenant<'a>) -> BoxFuture<'a, Result<(), ObtainError>> {
        Box::pin(async move {
            self.place.check_name(tenant)?;
            let _lock = self.lock_file(tenant).await?;
            self.store_of(tenant).store(new.token, None).await.map(drop)
        })
    }

    fn remove<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Removal, ObtainError>> {
        Box::pin(async move {
            self.place.check_name(tenant)?;
            if self.read(tenant).await?.is_none() {
                return Ok(Removal::NotFound);
            }
            let _lock = self.lock_file(tenant).await?;
            self.store_of(tenant).remove().await?;
            Ok(Removal::Done(self.describe(tenant)))
        })
    }

    fn lock<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<RefreshLock, ObtainError>> {
        Box::pin(self.lock_if_free(tenant))
    }

    fn store<'a>(&'a self, tenant: &'a TenantId, stored: StoredToken<'a>) -> StoreFuture<'a> {
        Box::pin(self.store_token(tenant, stored))
    }
}
