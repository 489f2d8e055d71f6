//! What has the tokens of many tenants in one place: a database table, a directory, a service.
//!
//! # Why
//!
//! A source for each of ten thousand tenants would be ten thousand watches and polls. So one task reads what they have in
//! common, a [`TenantTable`], and the refresher of a tenant that is in use shares its [`TenantRows`]: it reads, locks and
//! writes one row.

use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::SemaphorePermit;

use crate::token::{BoxFuture, ObtainError, RefreshLock, StoreFuture, Token};
use crate::types::{Fingerprint, TenantId};

/// A tenant of a table.
#[derive(Clone, Debug)]
pub struct TenantRow {
    /// Its name.
    pub id: TenantId,
    /// The ids of the objects that belong to it. The directory of tenants shares them.
    pub object_ids: Arc<[Arc<str>]>,
    /// The id of the Meta app that its token is of, if the table says so.
    pub app: Option<Box<str>>,
    /// Its token, or the reason why it cannot be used.
    pub token: Result<Token, Arc<ObtainError>>,
    /// The time at which its token expires, as Graph has reported while the tenant was open.
    pub reported_expires_at: Option<SystemTime>,
}

/// All tenants of a table at one moment.
#[derive(Clone, Debug, Default)]
pub struct TableContents {
    /// The tenants, each once.
    pub rows: Vec<TenantRow>,
    /// What is wrong with the rows that are no tenants: a name that is not valid, or is there twice. No secrets.
    pub faults: Vec<String>,
}

/// A place that has the tokens of many tenants, as the one task sees it that reads all of them.
pub trait TenantTable: Send + 'static {
    /// Reads all tenants; `None` if the table cannot list them, and each has to be asked for by its name. Bounded in time.
    fn read(&mut self) -> BoxFuture<'_, Result<Option<TableContents>, ObtainError>>;

    /// Completes when the tenants may have changed, or are to be read again. Cancel-safe.
    fn changed(&mut self) -> BoxFuture<'_, ()>;

    /// Returns what reads and writes single rows.
    fn rows(&self) -> Arc<dyn TenantRows>;

    /// Returns whether its rows may have ids, so that before the first read an id may be that of any tenant. Default: they have none.
    fn has_ids(&self) -> bool {
        false
    }
}

impl fmt::Debug for dyn TenantTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TenantTable")
    }
}

/// Reads and writes single rows of a table. Shared by the refreshers of its tenants; bounds what they do at the same time.
pub trait TenantRows: fmt::Debug + Send + Sync + 'static {
    /// Describes the place of a tenant's token for logs and alerts: `postgres db/app, tenant acme`. Never a secret.
    fn describe(&self, tenant: &TenantId) -> String;

    /// The words for this place in messages about what it lists. Default: those of a table.
    fn words(&self) -> PlaceWords {
        PlaceWords::TABLE
    }

    /// Reads the row of a tenant; `None` if it does not exist, which is a statement and no failure. Bounded in time.
    fn read_row<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Option<TenantRow>, ObtainError>>;

    /// Waits until the row of a tenant in use may be read, whose token is dead or to be renewed. Many tenants may need that at the same
    /// moment, and must not keep names from being looked up. Default: it may be read at once.
    fn take_turn(&self) -> BoxFuture<'_, Option<SemaphorePermit<'_>>> {
        Box::pin(ready(None))
    }

    /// Returns how long after a token has died its row is read again. Default: 2 s.
    fn look_interval(&self) -> Duration {
        Duration::from_secs(2)
    }

    /// Returns how often the row of a tenant in use is read; `None` if [`TenantTable::changed`] announces its changes.
    fn poll_interval(&self) -> Option<Duration> {
        None
    }

    /// Checks whether a renewed token can be stored. Cheap. Default: it cannot.
    ///
    /// # Errors
    ///
    /// The reason why not, which ends in what to do.
    fn check_writable(&self, tenant: &TenantId) -> Result<(), String> {
        Err(format!("{} is read-only", self.describe(tenant)))
    }

    /// Takes the renewal lock of a row, which replicas share. Waits for other renewals of this process, but not for another
    /// replica that renews this row: then it returns [`ObtainError::locked`]. Default: there are no other replicas.
    fn lock<'a>(&'a self, _tenant: &'a TenantId) -> BoxFuture<'a, Result<RefreshLock, ObtainError>> {
        Box::pin(ready(Ok(RefreshLock::uncontended())))
    }

    /// Stores a token in a row that still has the `expected` one, as [`crate::token::Source::store`] does.
    fn store<'a>(&'a self, tenant: &'a TenantId, _stored: StoredToken<'a>) -> StoreFuture<'a> {
        let what = format!("{} is read-only", self.describe(tenant));
        Box::pin(ready(Err(ObtainError::permanent("not_writable", what))))
    }

    /// Checks whether a tenant of the operator can be put here. Cheap. Default: it cannot.
    ///
    /// # Errors
    ///
    /// The reason why not.
    fn check_put(&self, tenant: &TenantId) -> Result<(), ObtainError> {
        Err(self.takes_no_change(tenant))
    }

    /// Checks whether the ids of a tenant of the operator can be stored here. Cheap. Default: a place has none.
    ///
    /// # Errors
    ///
    /// The reason why not.
    fn check_ids(&self, tenant: &TenantId, new: &NewTenant<'_>) -> Result<(), ObtainError> {
        if new.waba_id.or(new.phone_number_id).is_none() {
            return Ok(());
        }
        self.check_put(tenant)?;
        let what = format!(
            "{} has no place for ids; leave `wabaId` and `phoneNumberId` out, and let the app name the tenant",
            self.describe(tenant)
        );
        Err(ObtainError::permanent("ids_not_stored", what))
    }

    /// Puts a tenant of the operator here, or replaces its token and its ids. Bounded in time. Default: it cannot.
    fn put<'a>(&'a self, tenant: &'a TenantId, _new: NewTenant<'a>) -> BoxFuture<'a, Result<(), ObtainError>> {
        Box::pin(ready(Err(self.takes_no_change(tenant))))
    }

    /// Removes a tenant. Bounded in time. Default: it cannot.
    fn remove<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Removal, ObtainError>> {
        Box::pin(ready(Err(self.takes_no_change(tenant))))
    }

    /// The reason why tenants cannot be changed here.
    fn takes_no_change(&self, tenant: &TenantId) -> ObtainError {
        let what = format!(
            "{} is only read; change the tenants where it has them",
            self.describe(tenant)
        );
        ObtainError::permanent("not_writable", what)
    }
}

/// The words for a place that lists its tenants.
#[derive(Clone, Copy, Debug)]
pub struct PlaceWords {
    /// What has all tenants.
    pub whole: &'static str,
    /// What has one of them.
    pub part: &'static str,
    /// What may have happened if many tenants, tokens or ids are missing at once.
    pub loss: &'static str,
}

/// A tenant that the operator puts into a table.
#[derive(Clone, Copy, Debug)]
pub struct NewTenant<'a> {
    /// Its token.
    pub token: &'a Token,
    /// The id of its WhatsApp Business Account.
    pub waba_id: Option<&'a str>,
    /// The id of its phone number.
    pub phone_number_id: Option<&'a str>,
}

/// The result of removing a tenant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Removal {
    /// It was removed from this place.
    Done(String),
    /// The table has no such tenant.
    NotFound,
}

/// A token to store.
#[derive(Clone, Copy, Debug)]
pub struct StoredToken<'a> {
    /// The token.
    pub token: &'a Token,
    /// The fingerprint of the token that it replaces; `None` replaces whatever is there.
    pub expected: Option<Fingerprint>,
}

// === impl PlaceWords ===

impl PlaceWords {
    /// Those of a table in a database.
    pub const TABLE: Self = Self {
        whole: "table",
        part: "row",
        loss: "the table was truncated, a column was emptied, a key is missing or the wrong database answers",
    };
    /// Those of a directory.
    pub const DIRECTORY: Self = Self {
        whole: "directory",
        part: "file",
        loss: "the files were deleted or emptied, a key is missing or another directory is mounted there",
    };
}

// === impl TenantRow ===

impl TenantRow {
    /// The reason of a row's fault if its app is not configured.
    pub const UNKNOWN_APP: &str = "unknown_app";

    /// Returns whether its app is not configured.
    #[must_use]
    pub fn has_unknown_app(&self) -> bool {
        matches!(&self.token, Err(fault) if fault.reason() == Self::UNKNOWN_APP)
    }

    /// Creates the row of a tenant of which nothing is known but its token, or why that cannot be used.
    #[must_use]
    pub fn of_token(id: TenantId, token: Result<Token, ObtainError>) -> Self {
        Self {
            id,
            object_ids: Arc::default(),
            app: None,
            token: token.map_err(Arc::new),
            reported_expires_at: None,
        }
    }
}
