//! The tenants of `[tenants_from]`, as the admin listener reads and changes them. Most are not open: only
//! their row is known.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::tenant::{AdminTenant, TenantStatus};
use crate::renew::{SignUpCode, SignedUp};
use crate::source::{NewTenant, Removal};
use crate::telemetry::metrics::TokenState;
use crate::token::{BoxFuture, ObtainError};
use crate::types::{TenantId, unix_seconds};

/// The tenants of `[tenants_from]`: lists, opens, adds and removes them.
pub trait TenantRegistry: fmt::Debug + Send + Sync {
    /// Returns the tenants as they are now.
    fn all(&self) -> Vec<ListedTenant>;

    /// Returns whether the table could be read.
    fn state(&self) -> Arc<TableState>;

    /// Reads the table again, and uses what is read, whatever is missing in it. Ends when that is done, or has failed.
    fn read_again(&self) -> BoxFuture<'_, ()>;

    /// Returns a tenant by its name, which is opened if it was not; `None` if it does not exist, or was withdrawn.
    fn open(&self, name: &str) -> Option<Arc<AdminTenant>>;

    /// Checks a tenant's token, puts the tenant into the table, and uses it; returns where it is stored.
    fn put<'a>(&'a self, tenant: &'a TenantId, new: NewTenant<'a>) -> BoxFuture<'a, Result<StoredAt, ObtainError>>;

    /// Checks whether an OAuth code can be exchanged, and its token stored.
    ///
    /// # Errors
    ///
    /// The reason why not.
    fn check_sign_up(&self, tenant: &TenantId) -> Result<(), ObtainError>;

    /// Exchanges an OAuth code once.
    fn exchange<'a>(&'a self, code: SignUpCode<'a>) -> BoxFuture<'a, Result<SignedUp, ObtainError>>;

    /// Puts the tenant of a code's token into the table, and uses it; returns where it is stored.
    fn put_signed_up<'a>(
        &'a self,
        tenant: &'a TenantId,
        signed_up: &'a SignedUp,
    ) -> BoxFuture<'a, Result<StoredAt, ObtainError>>;

    /// Removes a tenant from the table, and refuses its requests.
    fn remove<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Removal, ObtainError>>;
}

/// What is known of a table.
#[derive(Debug)]
pub struct TableState {
    /// Whether it lists its tenants. If it does not, only those are known that are in use.
    pub lists_tenants: bool,
    /// The reason why it cannot be read, if it cannot.
    pub failure: Option<ReadFailure>,
}

/// The reason why a table cannot be read.
#[derive(Clone, Debug, Serialize)]
pub struct ReadFailure {
    /// The last error. No secret.
    pub error: String,
    /// The time of the first of the failures in a row, in the format of RFC 3339.
    pub since: String,
}

impl Default for TableState {
    fn default() -> Self {
        Self {
            lists_tenants: true,
            failure: None,
        }
    }
}

/// Where a tenant was put.
#[derive(Clone, Debug)]
pub struct StoredAt {
    /// The description of the place.
    pub place: String,
    /// Whether Graph was asked about the token, and calls it valid.
    pub inspected: bool,
    /// The reason why it could not be read there afterwards, if it could not: it is used when it can be.
    pub unread: Option<Arc<ObtainError>>,
}

/// A tenant of the configuration or of the table, as a list shows it.
#[derive(Debug)]
pub struct ListedTenant {
    /// Its name.
    pub id: TenantId,
    /// What is known of its token.
    pub token: ListedToken,
}

/// What is known of the token of a listed tenant.
#[derive(Debug)]
pub enum ListedToken {
    /// The tenant is open, and knows more.
    Open(Arc<AdminTenant>),
    /// Its row has a token.
    InRow {
        /// The time at which it expires, if the row says so.
        expires_at: Option<SystemTime>,
        /// The time at which its file was written, or graphward first saw it.
        first_seen_at: Option<SystemTime>,
    },
    /// The token in its row cannot be used.
    Faulty(Arc<ObtainError>),
    /// It is not in its place any more.
    Withdrawn,
}

// === impl ListedToken ===

impl ListedToken {
    /// The state of the token.
    pub(super) fn state(&self, now: SystemTime) -> TokenState {
        match self {
            Self::Open(tenant) => tenant.token_state(now),
            #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
            Self::InRow { expires_at, .. } => TokenState::of_usable(expires_at.map(|at| unix_seconds(at) as f64), now),
            Self::Faulty(error) if error.is_about_encryption() => TokenState::Undecryptable,
            Self::Faulty(_) => TokenState::Dead,
            Self::Withdrawn => TokenState::Withdrawn,
        }
    }

    /// The state of the token in words.
    pub(super) fn status(&self) -> TenantStatus {
        let reason = match self {
            Self::Open(tenant) => return tenant.status(),
            Self::InRow { .. } => "token available; no request for it lately".to_owned(),
            Self::Faulty(error) => format!("no token: {error}"),
            Self::Withdrawn => {
                "its place no longer has the tenant; add it there again if it is to be served".to_owned()
            }
        };
        TenantStatus {
            usable: matches!(self, Self::InRow { .. }),
            reason,
            ..TenantStatus::default()
        }
    }
}

/// Returns whether the token in this state is used.
pub(super) const fn is_usable(state: TokenState) -> bool {
    match state {
        TokenState::Usable | TokenState::EndsInSevenDays | TokenState::EndsInOneDay => true,
        TokenState::Withdrawn | TokenState::Undecryptable | TokenState::Dead => false,
    }
}
