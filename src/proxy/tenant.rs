//! A tenant: one set of rules with one token, its share of the limits, and what its requests are sent with.
//!
//! # Why
//!
//! A tenant and a credential never travel apart: what sends a request takes an [`Authorization`], which only a tenant makes, from
//! its own credentials. So a mix-up of two tenants does not compile, however the path changes.
//!
//! A share is as much as it leaves free: half if one tenant is in a storm, a third each if two are, a quarter if three are. So the
//! others always find something, without a count of those that compete: most tenants are idle, and with ten thousand of them the
//! fair part of each would be one request. It is one comparison; no request waits or takes a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{FutureExt as _, TryFutureExt as _};
use tokio::time::Instant;

use super::buffer::BufferBudgets;
use super::concurrency_limit::ConcurrencyLimit;
use super::dead_token::DeadTokenCache;
use super::record::{RequestRecord, RequestTelemetry};
use super::refusal::Refusal;
use super::settings::Settings;
use crate::tenants::AllowRules;
use crate::token::{Credential, Generation, RefreshError, RejectedRequest, TokenHandle};
use crate::types::TokenFamily;

/// What the requests of a tenant share. A clone shares the state; a reload makes one with other settings.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// What the requests of all tenants share.
    pub settings: Arc<Settings>,
    /// The current credential.
    pub tokens: TokenHandle,
    /// The family of its tokens, if neither their prefix nor their inspection tells it (`token.family`).
    pub family: Option<TokenFamily>,
    /// The rules for its requests; `None`: they may do everything.
    pub allow: Option<Arc<AllowRules>>,
    /// The user ids of the processes that may use it; `None`: all may.
    pub uids: Option<Arc<[u32]>>,
    /// Graph's last rejection of the credential.
    pub dead_token_cache: Arc<DeadTokenCache>,
    /// Whether it is one of a table, which has no section of its own in the configuration.
    pub is_row: bool,
    /// The metrics and the log settings for requests.
    pub telemetry: Arc<RequestTelemetry>,
    /// Its share of what all tenants have together; `None` if there is no other one.
    pub share: Option<TenantShare>,
}

/// The part of what all tenants have together that one may use: as much of each as it leaves free. A clone is the same share.
#[derive(Clone, Debug)]
pub struct TenantShare {
    requests: ConcurrencyLimit,
    budgets: BufferBudgets,
    /// Whether a request was for the tenant since this was last asked.
    is_used: Arc<AtomicBool>,
}

/// What a request is sent with: a tenant, and one of its own credentials. Without one, the request carries the app's, or none.
#[derive(Debug)]
pub(crate) struct Authorization<'tenant> {
    tenant: &'tenant Tenant,
    credential: Option<Arc<Credential>>,
}

// === impl TenantShare ===

impl TenantShare {
    /// Creates the share of one tenant.
    #[must_use]
    pub fn new(requests: &ConcurrencyLimit, budgets: &BufferBudgets) -> Self {
        Self {
            requests: requests.share(),
            budgets: BufferBudgets {
                memory: budgets.memory.share(),
                disk: budgets.disk.share(),
                threads: budgets.threads.clone(),
            },
            is_used: Arc::default(),
        }
    }

    /// The number of requests in flight.
    #[must_use]
    pub fn inflight(&self) -> usize {
        self.requests.inflight()
    }

    /// Returns whether a request was for the tenant since the last call.
    #[must_use]
    pub fn take_used(&self) -> bool {
        self.is_used.swap(false, Ordering::Relaxed)
    }
}

// === impl Tenant ===

impl Tenant {
    /// Notes that a request is for this tenant.
    ///
    /// # Errors
    ///
    /// [`Refusal::UidNotAllowed`], [`Refusal::TenantShareInUse`]
    pub(crate) fn admit(&self, record: &mut RequestRecord) -> Result<(), Refusal> {
        record.set_tenant(&self.telemetry);
        self.check_uid(record.peer_uid)?;
        if let (Some(share), None) = (&self.share, &record.share_guard) {
            // Written once, not by each request: they run on several threads.
            if !share.is_used.load(Ordering::Relaxed) {
                share.is_used.store(true, Ordering::Relaxed);
            }
            let guard = share.requests.try_acquire();
            record.share_guard = Some(guard.map_err(|_full| Refusal::TenantShareInUse)?);
        }
        Ok(())
    }

    /// Checks whether a process with this user id may use the tenant.
    ///
    /// # Errors
    ///
    /// [`Refusal::UidNotAllowed`]
    pub(crate) fn check_uid(&self, uid: Option<u32>) -> Result<(), Refusal> {
        if self.allows_uid(uid) {
            return Ok(());
        }
        Err(Refusal::UidNotAllowed {
            place: self.setting("uids"),
            uid,
        })
    }

    /// The place of one of its settings in the configuration.
    pub(crate) fn setting(&self, key: &str) -> String {
        let own_section = (!self.is_row).then(|| self.telemetry.tenant.clone());
        own_section.unwrap_or_default().setting(key)
    }

    /// Returns whether a process with this user id may use the tenant. Without one, it may not if there are `uids`.
    pub(crate) fn allows_uid(&self, uid: Option<u32>) -> bool {
        let is_listed = |uids: &Arc<[u32]>| uid.is_some_and(|uid| uids.contains(&uid));
        self.uids.as_ref().is_none_or(is_listed)
    }

    /// The budgets for the bodies of its requests, of which `whole` are those of all.
    pub(crate) fn budgets<'a>(&'a self, whole: &'a BufferBudgets) -> &'a BufferBudgets {
        self.share.as_ref().map_or(whole, |share| &share.budgets)
    }

    /// The authorization of a request that carries no credential of the tenant.
    pub(crate) const fn without_credential(&self) -> Authorization<'_> {
        Authorization {
            tenant: self,
            credential: None,
        }
    }

    /// The current credential, if it is newer than this one.
    pub(crate) fn newer_than(&self, generation: Generation) -> Option<Authorization<'_>> {
        let current = self.tokens.current()?;
        (current.generation() > generation).then(|| self.authorize(current))
    }

    /// [`TokenHandle::current_or_wait`]
    pub(crate) fn current_or_wait(
        &self,
        deadline: Instant,
    ) -> impl Future<Output = Result<Authorization<'_>, RefreshError>> {
        self.tokens
            .current_or_wait(deadline)
            .map_ok(|credential| self.authorize(credential))
    }

    /// [`TokenHandle::prefer_unrejected`]
    pub(crate) fn prefer_unrejected(
        &self,
        deadline: Instant,
    ) -> impl Future<Output = Result<Authorization<'_>, RefreshError>> {
        self.tokens
            .prefer_unrejected(deadline)
            .map_ok(|credential| self.authorize(credential))
    }

    /// [`TokenHandle::wait_for_usable`]
    pub(crate) fn wait_for_usable(&self) -> impl Future<Output = Option<Authorization<'_>>> {
        let hold_timeout = self.settings.heal.hold_timeout;
        self.tokens
            .wait_for_usable(hold_timeout)
            .map(|credential| Some(self.authorize(credential?)))
    }

    /// [`TokenHandle::wait_for_successor`]
    pub(crate) fn wait_for_successor<'tenant>(
        &'tenant self,
        request: &RejectedRequest,
        hold_timeout: Duration,
        deadline: Instant,
    ) -> impl Future<Output = Result<Authorization<'tenant>, RefreshError>> {
        self.tokens
            .wait_for_successor(request, hold_timeout, deadline)
            .map_ok(|credential| self.authorize(credential))
    }

    const fn authorize(&self, credential: Arc<Credential>) -> Authorization<'_> {
        Authorization {
            tenant: self,
            credential: Some(credential),
        }
    }
}

// === impl Authorization ===

impl<'tenant> Authorization<'tenant> {
    /// The tenant.
    pub(crate) const fn tenant(&self) -> &'tenant Tenant {
        self.tenant
    }

    /// Its credential, unless the request carries none of the tenant.
    pub(crate) fn credential(&self) -> Option<&Credential> {
        self.credential.as_deref()
    }

    /// The generation of that credential.
    pub(crate) fn generation(&self) -> Option<Generation> {
        self.credential().map(Credential::generation)
    }
}
