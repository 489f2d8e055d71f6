//! The rows of a table of tenants, one at a time.

use std::num::NonZeroU8;
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::super::absent::AbsentPolicy;
use super::super::encoding::TokenEncoding;
use super::super::tenant_table::{NewTenant, Removal, StoredToken, TenantRow, TenantRows};
use super::advisory_lock::{MAX_LOCK_HOLD, lock_key, try_acquire};
use super::connection::{PgConnection, QueryError, Select};
use super::contents::ContentsDecoder;
use super::endpoint::PgEndpoint;
use super::error::{into_obtain_error, into_read_error};
use super::listener::{KeptConnection, READ_TIMEOUT};
use super::row::ColumnLayout;
use super::tenant_changes::{TENANT_LIMITS, TableStatements, TenantChanges};
use super::token_row::{BEGIN_READ, RowStatements, TokenRow};
use crate::token::{BoxFuture, ObtainError, RefreshLock, StoreFuture};
use crate::types::TenantId;

/// The rows of a table of tenants.
///
/// # Why
///
/// Single rows are read over one connection, one at a time: ten thousand tenants that miss at the same moment are a queue, and
/// no storm of connections. A renewal has a connection of its own for as long as it has the lock. It stores the token over the one
/// that reads rows, which takes some milliseconds: with a further one for each store, twice as many would be needed. The lock's
/// own connection cannot store, because a store is a serializable transaction from its beginning on.
///
/// A store waits for one read at most, and not for the queue: a read that times out is tried again, while a token that is not stored
/// in time is in memory alone. Hence reads have a queue of their own, whose first one waits for the connection beside the stores.
///
/// A lock that another replica has is not waited for: the replicas share the rows, and one that waits would do nothing for the
/// others meanwhile.
#[derive(derive_more::Debug)]
#[debug("PostgresRows({})", endpoint.display_name)]
pub(super) struct PostgresRows {
    pub(super) endpoint: PgEndpoint,
    pub(super) encoding: TokenEncoding,
    pub(super) statements: TableStatements,
    /// Reads single rows, and stores renewed tokens.
    reader: Mutex<KeptConnection>,
    /// The one read that uses the reader, or waits for it.
    next_read: Mutex<()>,
    /// Those who wait for the reader, and the one that uses it.
    reads: Semaphore,
    /// The turns of those among them that are for tenants in use.
    turns: Semaphore,
    /// Renewals at the same time.
    renewals: Arc<Semaphore>,
}

/// What keeps a renewal lock.
struct HeldLock {
    _connection: PgConnection,
    _permit: OwnedSemaphorePermit,
}

/// The most reads of single rows that wait.
const MAX_READS: usize = 256;
/// The most of them for tenants in use: if all tokens die at once, as many names as are looked up at a time still find a place, and
/// do not wait long.
const MAX_TURNS: usize = 64;

// === impl PostgresRows ===

impl PostgresRows {
    pub(super) fn new(
        endpoint: PgEndpoint,
        encoding: TokenEncoding,
        statements: TableStatements,
        renewals: NonZeroU8,
    ) -> Self {
        Self {
            reader: Mutex::new(KeptConnection::new(endpoint.clone(), None)),
            next_read: Mutex::default(),
            reads: Semaphore::new(MAX_READS),
            turns: Semaphore::new(MAX_TURNS),
            renewals: Arc::new(Semaphore::new(renewals.get().into())),
            endpoint,
            encoding,
            statements,
        }
    }

    fn row(&self, tenant: &TenantId) -> TokenRow {
        TokenRow {
            endpoint: self.endpoint.clone(),
            display_name: self.describe(tenant),
            statements: RowStatements {
                query: self.statements.narrowed.clone(),
                params: vec![tenant.as_str().to_owned()],
                update: self.statements.update.clone(),
                listen: self.statements.listen.clone(),
            },
            encoding: self.encoding.clone(),
            layout: ColumnLayout::ByName,
            absent: AbsentPolicy::Withdraw,
            limits: TENANT_LIMITS,
        }
    }

    fn changes<'a>(&'a self, tenant: &'a TenantId) -> TenantChanges<'a> {
        TenantChanges {
            endpoint: &self.endpoint,
            encoding: &self.encoding,
            statements: &self.statements,
            tenant,
            place: self.describe(tenant),
        }
    }

    async fn read(&self, tenant: &TenantId) -> Result<Option<TenantRow>, ObtainError> {
        let Ok(_permit) = self.reads.try_acquire() else {
            let what = format!("more than {MAX_READS} tenants wait for {}", self.endpoint.display_name);
            return Err(ObtainError::transient("busy", what));
        };
        let select = Select {
            begin: BEGIN_READ,
            query: &self.statements.narrowed,
            params: &[tenant.as_str().to_owned()],
            limits: TENANT_LIMITS,
        };
        let read = async {
            let _turn = self.next_read.lock().await;
            self.reader.lock().await.select(&select).await
        };
        let rows = timeout(READ_TIMEOUT, read).await.unwrap_or(Err(QueryError::TimedOut));
        let rows = rows.map_err(|failed| into_read_error(&self.describe(tenant), failed))?;
        let decoder = ContentsDecoder {
            source: &self.endpoint.display_name,
            encoding: &self.encoding,
        };
        Ok(decoder.decode(&rows)?.rows.into_iter().next())
    }

    async fn acquire_lock(&self, tenant: &TenantId) -> Result<RefreshLock, ObtainError> {
        let key = lock_key(&self.statements.query, &[tenant.as_str().to_owned()]);
        let permit = Arc::clone(&self.renewals).acquire_owned().await;
        let permit = permit.map_err(|closed| ObtainError::transient("lock_timeout", closed.to_string()))?;
        let source = self.describe(tenant);
        match try_acquire(&self.endpoint, key, MAX_LOCK_HOLD).await {
            Ok(Some(_connection)) => Ok(RefreshLock::with_guard(HeldLock {
                _connection,
                _permit: permit,
            })),
            Ok(None) => Err(ObtainError::locked(&source)),
            Err(failed) => Err(into_obtain_error(&source, "acquire the renewal lock at", failed)),
        }
    }
}

impl TenantRows for PostgresRows {
    fn describe(&self, tenant: &TenantId) -> String {
        format!("{}, tenant {}", self.endpoint.display_name, tenant.as_str())
    }

    fn read_row<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Option<TenantRow>, ObtainError>> {
        Box::pin(self.read(tenant))
    }

    fn take_turn(&self) -> BoxFuture<'_, Option<SemaphorePermit<'_>>> {
        Box::pin(async { self.turns.acquire().await.ok() })
    }

    fn check_writable(&self, tenant: &TenantId) -> Result<(), String> {
        match self.statements.update {
            Some(_) => Ok(()),
            None => Err(self.row(tenant).read_only_reason()),
        }
    }

    fn lock<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<RefreshLock, ObtainError>> {
        Box::pin(self.acquire_lock(tenant))
    }

    fn check_put(&self, tenant: &TenantId) -> Result<(), ObtainError> {
        self.changes(tenant).check_put()
    }

    fn check_ids(&self, tenant: &TenantId, new: &NewTenant<'_>) -> Result<(), ObtainError> {
        self.changes(tenant).check_ids(new)
    }

    fn put<'a>(&'a self, tenant: &'a TenantId, new: NewTenant<'a>) -> BoxFuture<'a, Result<(), ObtainError>> {
        Box::pin(self.changes(tenant).put(new))
    }

    fn remove<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Removal, ObtainError>> {
        Box::pin(self.changes(tenant).remove())
    }

    fn store<'a>(&'a self, tenant: &'a TenantId, stored: StoredToken<'a>) -> StoreFuture<'a> {
        Box::pin(async move {
            let row = self.row(tenant);
            row.store(&self.reader, stored.token, stored.expected).await
        })
    }
}
