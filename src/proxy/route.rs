//! Finds the tenant of a request: from its head before its body is received, and again with what its body says.
//!
//! # Why
//!
//! Most requests name their tenant in the head. Then a wrong name is refused before a body is received, and the body counts
//! against the tenant's own limits. A token slot in a body is read only with the body, so the signs are looked at a second time,
//! all of them. A process with one tenant looks for no signs: its app may use the same header for something of its own.
//!
//! Before a table has been read for the first time, an id that no tenant has may be that of any row. Such a request waits, since it
//! would get the token of the default tenant, or be refused for good. If the tenants of a cache are in use, a request waits as long
//! as the table cannot be read, unless another sign names its tenant: a row may be newer than the cache. Rejected: to serve nothing
//! until then, which would stop the requests that name their tenant, too; and to look up an id, for which a table has no statement.

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::OptionFuture;
use http::HeaderName;
use http::request::Parts;
use tokio::sync::watch;
use tokio::time::timeout;

use super::body_scrub::SignCheck;
use super::buffer::BufferedBody;
use super::heal_config::HealMode;
use super::lazy_tenant::{LazyTenant, TenantLookup};
use super::outbound::OutboundRequest;
use super::refusal::Refusal;
use super::request_signs::{RequestSigns, signs_of};
use super::settings::Settings;
use super::tenant::Tenant;
use crate::graph::TenantSigns;
use crate::tenants::{Directory, Entry, Route, RouteError, route};
use crate::token::{BoxFuture, ObtainError, RefreshError};
use crate::types::TenantId;

/// The tenants at one moment, and what they share.
#[derive(Debug)]
pub struct Tenants {
    /// What their requests share.
    pub settings: Arc<Settings>,
    /// The tenants.
    pub directory: Directory<LazyTenant>,
    /// The headers that name a tenant: that of `routing.header`, and those of earlier configurations.
    pub headers: Vec<HeaderName>,
    /// Whether the signs of requests are read: there is, or has been, a tenant besides the default tenant. The requests of one that
    /// is gone must not become those of another.
    pub reads_signs: bool,
    /// For requests whose tenant is not known: it has no token.
    pub unnamed: Tenant,
    /// The rows of a table that the directory leaves out, because a tenant of the configuration has their name.
    pub hidden: Vec<Arc<Entry<LazyTenant>>>,
    /// The tenants that the configuration does not have any more. Their requests must not become those of another one.
    pub removed: Vec<Arc<Entry<LazyTenant>>>,
    /// Finds the tenants that the directory does not list, if there is a place to look.
    pub lookup: Option<Arc<dyn TenantLookup>>,
    /// The progress of the first read of that place, if its tenants have ids; `None` after it.
    pub first_read: Option<watch::Receiver<FirstRead>>,
}

/// The progress of the first read of a place with tenants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FirstRead {
    /// It is going on: an id may be that of any tenant.
    Pending,
    /// It failed, or is not used yet. The tenants that were known before are served meanwhile, by any sign of theirs.
    Unavailable,
    /// It is used.
    Done,
}

/// The reason why a request is refused whose tenant may not have been read yet.
const UNREAD: &str = "an id in it may be that of a tenant of tenants_from, and these have not been read yet; if they cannot be read, \
                      the log and /readyz say why";

/// The tenants after a look-up, or after the first read.
type AwaitedTenants<'a> = BoxFuture<'a, Result<Arc<Tenants>, Refusal>>;

/// What a request has said about its tenant before the rest of its body arrives.
#[derive(Debug)]
struct SignsSoFar {
    tenants: Arc<Tenants>,
    signs: RequestSigns,
}

/// The tenant of a request by its head.
pub(crate) struct HeadRoute<'tenants> {
    /// The tenant, unless the body names another one; `None` if only the body can name one.
    entry: Option<&'tenants Arc<Entry<LazyTenant>>>,
    /// Whether the body has to be searched for the name of a tenant.
    pub(crate) needs_body: bool,
    /// Whether the request is admitted as one of the tenant before its body is there.
    admits: bool,
}

// === impl HeadRoute ===

impl<'tenants> HeadRoute<'tenants> {
    /// The tenant, unless the body names another one. The default tenant is left out if the process may not use it: the body may
    /// name one that it may use.
    pub(crate) fn tenant(&self) -> Option<&'tenants Tenant> {
        self.entry.filter(|_| self.admits).map(|entry| entry.tenant.get())
    }

    /// Returns the tenant by the head, whether or not the process may use it.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unsearchable`] if only the body can name one, and it cannot be searched.
    pub(crate) fn into_entry(
        self,
        received: &BufferedBody,
        outbound: &OutboundRequest,
    ) -> Result<Option<&'tenants Arc<Entry<LazyTenant>>>, Refusal> {
        if self.needs_body && (received.may_name_a_tenant() || outbound.hides_parameters(&received.body)) {
            return Err(Refusal::Unsearchable);
        }
        Ok(self.entry)
    }
}

// === impl Tenants ===

impl Tenants {
    /// The tenant of all requests, if no sign is read.
    pub(crate) fn sole_tenant(&self) -> Option<&Arc<Entry<LazyTenant>>> {
        self.directory.default_tenant().filter(|_| !self.reads_signs)
    }

    /// Takes the signs out of the head of a request; `None` if there is one tenant only.
    ///
    /// # Errors
    ///
    /// [`Refusal::MalformedRequest`] if nothing valid is left of the path after its prefix.
    pub(crate) fn take_signs(
        &self,
        head: &mut Parts,
        listener: Option<&TenantId>,
    ) -> Result<Option<Box<RequestSigns>>, Refusal> {
        if self.sole_tenant().is_some() {
            return Ok(None);
        }
        let signs = RequestSigns::take(head, listener, &self.headers)?;
        Ok(Some(Box::new(signs)))
    }

    /// Finds out what the directory does not know about the signs yet. If the request was refused for a name that is not listed, the
    /// name is looked up; if an id may be that of a tenant that has not been read, the first read is awaited. The future returns the
    /// tenants after that; the request has to be routed again.
    ///
    /// # Errors
    ///
    /// The refusal, if it has another reason. That of the future, [`Refusal::NoCredential`], says that it is not known whether there
    /// is such a tenant.
    pub(crate) fn look_up_unlisted<'a, R>(
        &'a self,
        routed: Result<R, Refusal>,
        signs: Option<&'a RequestSigns>,
        current: &'a ArcSwap<Self>,
    ) -> Result<(Option<R>, OptionFuture<AwaitedTenants<'a>>), Refusal> {
        let unlisted = routed.as_ref().err().and_then(Self::unlisted);
        let has_awaited = signs.is_some_and(|signs| self.awaited_read(signs).is_some());
        let lookup = self.lookup.as_ref().filter(|_| unlisted.is_some() || has_awaited);
        let Some((lookup, signs)) = lookup.zip(signs) else {
            return routed.map(|route| (Some(route), None.into()));
        };
        let found: AwaitedTenants<'a> = Box::pin(async move {
            if let Some(name) = unlisted {
                lookup.look_up(&name).await.map_err(RefreshError::Failed)?;
            }
            let found = current.load_full();
            // The tenant that was looked up may have the ids.
            let Some(mut first_read) = found.awaited_read(signs).cloned() else {
                return Ok(found);
            };
            let is_named = found.is_named(signs);
            let serves = |read: &FirstRead| *read == FirstRead::Done || (*read == FirstRead::Unavailable && is_named);
            let first_read = timeout(found.settings.heal.token_wait, first_read.wait_for(serves));
            let unread = || RefreshError::Failed(Arc::new(ObtainError::transient("unread", UNREAD)));
            // If graphward stops, it is not read any more.
            let is_read = first_read.await.is_ok_and(|read| read.is_ok());
            Ok(is_read.then(|| current.load_full()).ok_or_else(unread)?)
        });
        Ok((None, Some(found).into()))
    }

    /// The tenant that a request was refused for because the directory does not list it.
    fn unlisted(refusal: &Refusal) -> Option<TenantId> {
        if let Refusal::Route(RouteError::Unknown { name, .. }) = refusal {
            TenantId::new(name).ok()
        } else if let Refusal::Route(RouteError::Inactive(name)) = refusal {
            // It may be in the place again, or one that the configuration had is there now.
            Some(name.clone())
        } else {
            None
        }
    }

    /// Returns the first read if a request with these signs waits for it: an id, or one that is still to arrive, may be that of a
    /// tenant that has not been read.
    fn awaited_read(&self, signs: &RequestSigns) -> Option<&watch::Receiver<FirstRead>> {
        let first_read = self.first_read.as_ref();
        let first_read = first_read.filter(|_| self.settings.heal.mode != HealMode::Observe)?;
        // `me` is the owner of the token.
        let is_known = |id: &str| id == "me" || self.directory.owner_of(id).is_some();
        let are_known = !signs.is_partial && signs.parameters.object_ids.iter().all(|id| is_known(id));
        let is_served = are_known || (*first_read.borrow() == FirstRead::Unavailable && self.is_named(signs));
        (!is_served).then_some(first_read)
    }

    /// Returns whether signs that have been read name a tenant.
    fn is_named(&self, signs: &RequestSigns) -> bool {
        route(&self.directory, signs.all()).is_ok_and(|route| route.is_named)
    }

    /// Finds the tenant that the head names, or the default tenant, for a process with this user id.
    ///
    /// # Errors
    ///
    /// [`Refusal::Route`]
    pub(crate) fn route_head(&self, signs: Option<&RequestSigns>, uid: Option<u32>) -> Result<HeadRoute<'_>, Refusal> {
        let (entry, needs_body) = match signs.map(|signs| route(&self.directory, signs.all())) {
            None => (self.directory.default_tenant(), false),
            Some(Ok(Route { entry, is_named })) => (Some(entry), !is_named),
            Some(Err(RouteError::Unnamed | RouteError::Undecided | RouteError::Former(_))) => (None, true),
            Some(Err(error)) => return Err(Refusal::Route(error)),
        };
        let admits = !needs_body || entry.is_some_and(|entry| entry.tenant.get().allows_uid(uid));
        Ok(HeadRoute {
            entry,
            needs_body,
            admits,
        })
    }

    /// Finds the tenant that all signs name.
    ///
    /// # Errors
    ///
    /// [`RouteError`]
    pub(crate) fn route_observed(&self, signs: Option<&RequestSigns>) -> Result<&Tenant, RouteError> {
        let entry = match signs {
            None => self.directory.default_tenant().ok_or(RouteError::Unnamed),
            Some(signs) => route(&self.directory, signs.all()).map(|route| route.entry),
        };
        entry.map(|entry| entry.tenant.get())
    }

    /// Finds the tenant that all signs name, those of the body included.
    ///
    /// # Errors
    ///
    /// [`Refusal::Route`], or [`Refusal::Unnamed`]
    pub(crate) fn route_with_body<'tenants>(
        &'tenants self,
        by_head: Option<&'tenants Arc<Entry<LazyTenant>>>,
        signs: Option<&RequestSigns>,
    ) -> Result<&'tenants Arc<Entry<LazyTenant>>, Refusal> {
        let entry = match signs.filter(|signs| signs.includes_body || by_head.is_none()) {
            Some(signs) => route(&self.directory, signs.all()).map(|route| route.entry),
            None => by_head.ok_or(RouteError::Unnamed),
        };
        entry.map_err(|error| {
            if error == RouteError::Unnamed {
                Refusal::Unnamed(self.ways())
            } else {
                Refusal::Route(error)
            }
        })
    }

    /// The ways to name a tenant.
    fn ways(&self) -> String {
        let header = self.headers.last().map(|header| format!("in the header {header}, "));
        format!(
            "name it {}as tenant:NAME in the place of the token or in the path as /-/NAME/…, add an id in it to the ids of its tenant, \
             or give that a listener of its own",
            header.unwrap_or_default()
        )
    }

    /// Compares what is still to arrive of the body with the signs of the request.
    ///
    /// # Errors
    ///
    /// [`Refusal::Route`] if what has arrived names another tenant.
    pub(crate) fn compare_rest(
        self: &Arc<Self>,
        signs: Option<&RequestSigns>,
        received: &mut BufferedBody,
    ) -> Result<(), Refusal> {
        let Some(signs) = signs.filter(|_| received.may_name_a_tenant()) else {
            return Ok(());
        };
        let so_far = SignsSoFar {
            tenants: Arc::clone(self),
            signs: signs.clone(),
        };
        received.body.compare_signs(Box::new(so_far)).map_err(Refusal::Route)
    }
}

// === impl SignsSoFar ===

impl SignCheck for SignsSoFar {
    fn check(&self, in_body: TenantSigns) -> Result<(), RouteError> {
        let signs = self.signs.all().chain(signs_of(&in_body));
        route(&self.tenants.directory, signs).map(drop)
    }
}
