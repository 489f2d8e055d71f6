//! A tenant that is opened at its first request.
//!
//! # Why
//!
//! Of ten thousand tenants most are idle. One at rest has a name, its ids and the row of a table; its credential, refresher and
//! counters are made when a request or a renewal is for it. Reading an open one is one atomic load: the path takes no lock.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::tenant::Tenant;
use crate::token::{BoxFuture, ObtainError};
use crate::types::TenantId;

/// A tenant of a directory: open, or opened when it is first used. It does not close: a closed one replaces it.
#[derive(Debug)]
pub struct LazyTenant {
    // Boxed: most tenants are closed, and need no place for it.
    open: OnceLock<Box<Tenant>>,
    opener: Option<Arc<dyn TenantOpener>>,
}

/// Opens a tenant.
pub trait TenantOpener: fmt::Debug + Send + Sync {
    /// Opens it, on the path of a request: it must not wait. Called once by each entry that has it.
    fn open(&self) -> Tenant;
}

/// Finds tenants that the directory does not list.
pub trait TenantLookup: fmt::Debug + Send + Sync {
    /// Asks for a tenant by its name. If there is one, it is in the proxy's tenants when this ends.
    ///
    /// An error says that nothing could be found out.
    fn look_up<'a>(&'a self, name: &'a TenantId) -> BoxFuture<'a, Result<(), Arc<ObtainError>>>;
}

// === impl LazyTenant ===

impl LazyTenant {
    /// A tenant that stays open.
    #[must_use]
    pub fn opened(tenant: Tenant) -> Self {
        Self {
            open: OnceLock::from(Box::new(tenant)),
            opener: None,
        }
    }

    /// A tenant that is opened when it is first used.
    #[must_use]
    pub fn closed(opener: Arc<dyn TenantOpener>) -> Self {
        Self {
            open: OnceLock::new(),
            opener: Some(opener),
        }
    }

    /// The tenant, which is opened now if it was not.
    ///
    /// # Panics
    ///
    /// Never: without an opener it was created open.
    #[expect(clippy::expect_used, reason = "one of the two is there since it was created")]
    pub fn get(&self) -> &Tenant {
        self.open
            .get_or_init(|| Box::new(self.opener.as_ref().expect("it is open, or has an opener").open()))
    }

    /// The tenant, if it is open.
    #[must_use]
    pub fn if_open(&self) -> Option<&Tenant> {
        self.open.get().map(Box::as_ref)
    }

    /// Returns whether it is one of a table, which can be opened and closed.
    #[must_use]
    pub const fn is_row(&self) -> bool {
        self.opener.is_some()
    }

    /// What opens it, if it is not open all the time.
    #[must_use]
    pub const fn opener(&self) -> Option<&Arc<dyn TenantOpener>> {
        self.opener.as_ref()
    }

    /// Returns a copy of it. If it is open, the copy has the changed tenant; a closed one stays closed.
    #[must_use]
    pub fn with(&self, change: impl FnOnce(&Tenant) -> Tenant) -> Self {
        Self {
            open: self
                .if_open()
                .map(|open| OnceLock::from(Box::new(change(open))))
                .unwrap_or_default(),
            opener: self.opener.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_tenant_keeps_no_room_for_an_open_one() {
        assert!(size_of::<LazyTenant>() <= 32, "{}", size_of::<LazyTenant>());
        assert!(size_of::<Tenant>() > 64);
    }
}
