//! Which tenants have series of their own: a bounded number, those that send requests first.
//!
//! # Why
//!
//! A tenant costs about 25 series, and ten thousand tenants would be a scrape of 64 MB. Most of them are idle, and what an
//! operator asks of all of them is how many tokens are dead or about to end, which `graphward_tokens` counts. So a tenant takes
//! one of N places when it sends a request, and while there are places for all, when its token is checked. Tenants without a place
//! count into one shared set, `other`. A place is given away only when another tenant needs it, and its tenant sent nothing for
//! an hour, or never: with few tenants, no series ever ends. A ranking by rate would need a clock on the path of each request,
//! and would move tenants whose counters then begin again at 0.
//!
//! A request looks at two atomics. The scrape does the rest: it is the only reader of what is decided here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

use super::last_hour::MinuteCounts;
use super::tenant_label::TenantLabel;
use super::tenant_series::TenantSeries;
use super::token_values::TokenValues;
use super::usage::UsageMetrics;
use crate::types::{TenantId, lock};

/// The tenants of the process, and which of them have series of their own.
#[derive(Debug)]
pub(super) struct Places {
    tenants: Mutex<Tenants>,
    /// The number of places that a request may take: those that are free, and those of idle tenants.
    room: AtomicUsize,
    /// The series of the tenants without a place.
    other: OnceLock<Arc<TenantSeries>>,
    /// The requests of all tenants.
    pub(super) minutes: MinuteCounts,
}

#[derive(Debug)]
struct Tenants {
    limit: usize,
    taken: usize,
    by_name: BTreeMap<TenantId, Entry>,
    /// Tenants that have a place and may lose it.
    idle: Vec<Arc<TenantMetrics>>,
}

#[derive(Debug)]
struct Entry {
    tenant: Arc<TenantMetrics>,
    handle: Weak<TenantHandle>,
    has_place: bool,
    /// When it was last found to have sent requests since the scrape before.
    active_at: Option<Instant>,
}

/// The metrics of one tenant.
#[derive(Debug)]
pub(super) struct TenantMetrics {
    id: TenantId,
    /// `None` until there is something to count.
    series: ArcSwapOption<TenantSeries>,
    /// Whether it has sent a request since the last scrape.
    is_active: AtomicBool,
    token: Mutex<TokenValues>,
    /// Where the first credential of the app's that was replaced stood.
    pub(super) client_credential: OnceLock<&'static str>,
}

/// The metrics of one tenant, whose series end with it.
#[derive(Debug)]
pub(super) struct TenantHandle {
    pub(super) tenant: Arc<TenantMetrics>,
    pub(super) places: Arc<Places>,
}

/// The series with one value of the label `tenant`, and the state of the token.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) series: Arc<TenantSeries>,
    pub(super) token: TokenValues,
}

/// What a tenant's metrics count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TenantEvent {
    /// A request.
    Request,
    /// What happens to its token, whether it sends requests or not.
    Token,
}

/// How long a tenant sends nothing before another may have its place.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// The label of tenants without a place.
const OTHER: &str = "other";

// === impl Places ===

impl Places {
    pub(super) fn new() -> Self {
        let limit = TenantLabel::default().limit();
        Self {
            tenants: Mutex::new(Tenants {
                limit,
                taken: 0,
                by_name: BTreeMap::new(),
                idle: Vec::new(),
            }),
            room: AtomicUsize::new(limit),
            other: OnceLock::new(),
            minutes: MinuteCounts::new(),
        }
    }

    /// Sets the number of places. Tenants that have one beyond it lose it.
    pub(super) fn set_limit(&self, limit: usize) {
        let mut tenants = lock(&self.tenants);
        tenants.limit = limit;
        let surplus = tenants.taken.saturating_sub(limit);
        tenants.taken -= surplus;
        let entries = tenants.by_name.values_mut().rev();
        for entry in entries.filter(|entry| entry.has_place).take(surplus) {
            entry.has_place = false;
            entry.tenant.series.store(None);
        }
        tenants.idle.clear();
        self.update_room(&tenants);
    }

    /// Returns the handle of a tenant, which all of its parts share.
    pub(super) fn handle(self: &Arc<Self>, id: &TenantId) -> Arc<TenantHandle> {
        let mut tenants = lock(&self.tenants);
        if let Some(handle) = tenants.by_name.get(id).and_then(|entry| entry.handle.upgrade()) {
            return handle;
        }
        let tenant = Arc::new(TenantMetrics {
            id: id.clone(),
            series: ArcSwapOption::empty(),
            is_active: AtomicBool::new(false),
            token: Mutex::default(),
            client_credential: OnceLock::new(),
        });
        let handle = Arc::new(TenantHandle {
            tenant: Arc::clone(&tenant),
            places: Arc::clone(self),
        });
        let entry = Entry {
            tenant,
            handle: Arc::downgrade(&handle),
            has_place: false,
            active_at: None,
        };
        // One that is there already is about to be dropped.
        let before = tenants.by_name.insert(id.clone(), entry);
        tenants.taken -= usize::from(before.is_some_and(|before| before.has_place));
        self.update_room(&tenants);
        handle
    }

    /// Returns what a scrape shows, in the order of the names, and finds the tenants that have been idle.
    pub(super) fn scrape(&self, now: Instant) -> Vec<Sample> {
        let mut tenants = lock(&self.tenants);
        let (mut samples, mut idle, mut waiters) = (Vec::new(), Vec::new(), 0);
        for entry in tenants.by_name.values_mut() {
            if entry.tenant.is_active.swap(false, Ordering::Relaxed) {
                entry.active_at = Some(now);
            }
            let is_idle = entry.active_at.is_none_or(|at| now >= at + IDLE_TIMEOUT);
            if entry.has_place && is_idle {
                idle.push(Arc::clone(&entry.tenant));
            }
            let token = entry.tenant.token().clone();
            match entry.tenant.series.load_full() {
                Some(series) if self.is_own(&series) => samples.push(Sample { series, token }),
                Some(_) | None => waiters += token.waiters.unwrap_or_default(),
            }
        }
        if let Some(series) = self.other.get() {
            samples.push(Sample {
                series: Arc::clone(series),
                token: TokenValues {
                    waiters: Some(waiters),
                    ..TokenValues::default()
                },
            });
        }
        tenants.idle = idle;
        self.update_room(&tenants);
        samples
    }

    /// Gives a place to a tenant if there is one for it: a free one, or after a request that of an idle tenant.
    fn assign(&self, tenant: &Arc<TenantMetrics>, event: TenantEvent) {
        let own = |usage| Arc::new(TenantSeries::new(tenant.id.as_str(), usage));
        // What has no tenant needs no place.
        if tenant.id.name().is_none() {
            return tenant.series.store(Some(own(None)));
        }
        let mut tenants = lock(&self.tenants);
        // Two sets of series with the same label would be one too many.
        let is_free = tenant.id.as_str() != OTHER
            && (tenants.taken < tenants.limit || (event == TenantEvent::Request && tenants.evict()));
        let entry = tenants.by_name.get_mut(&tenant.id);
        // One that is about to be dropped gets no place any more.
        let entry = entry.filter(|entry| Arc::ptr_eq(&entry.tenant, tenant) && is_free && !entry.has_place);
        if let Some(entry) = entry {
            entry.has_place = true;
            tenant.series.store(Some(own(Some(UsageMetrics::default()))));
            tenants.taken += 1;
            if event == TenantEvent::Token {
                tenants.idle.push(Arc::clone(tenant));
            }
        } else if tenant.series.load().is_none() {
            tenant.series.store(Some(Arc::clone(self.other())));
        }
        self.update_room(&tenants);
    }

    /// The series of the tenants without a place.
    pub(super) fn other(&self) -> &Arc<TenantSeries> {
        self.other.get_or_init(|| Arc::new(TenantSeries::new(OTHER, None)))
    }

    fn is_own(&self, series: &Arc<TenantSeries>) -> bool {
        self.other.get().is_none_or(|other| !Arc::ptr_eq(other, series))
    }

    fn update_room(&self, tenants: &Tenants) {
        let free = tenants.limit.saturating_sub(tenants.taken);
        self.room
            .store(free.saturating_add(tenants.idle.len()), Ordering::Relaxed);
    }
}

// === impl Tenants ===

impl Tenants {
    /// Takes the place of a tenant that is still idle, if there is one.
    fn evict(&mut self) -> bool {
        while let Some(tenant) = self.idle.pop() {
            let entry = self.by_name.get_mut(&tenant.id);
            let entry = entry.filter(|entry| entry.has_place && Arc::ptr_eq(&entry.tenant, &tenant));
            if let Some(entry) = entry
                && !tenant.is_active.load(Ordering::Relaxed)
            {
                entry.has_place = false;
                tenant.series.store(None);
                self.taken -= 1;
                return true;
            }
        }
        false
    }
}

// === impl TenantMetrics ===

impl TenantMetrics {
    pub(super) fn token(&self) -> MutexGuard<'_, TokenValues> {
        lock(&self.token)
    }
}

// === impl TenantHandle ===

impl TenantHandle {
    /// Counts something in the tenant's series, or in those of the tenants without a place.
    pub(super) fn count<T>(&self, event: TenantEvent, count: impl FnOnce(&TenantSeries) -> T) {
        if self.tenant.series.load().is_none() {
            self.places.assign(&self.tenant, event);
        }
        if let Some(series) = &*self.tenant.series.load() {
            let _total = count(series);
        }
    }

    /// Notes that the tenant sends requests. Without a place, it takes one as soon as there is one.
    pub(super) fn record_activity(&self) {
        let Self { tenant, places } = self;
        if !tenant.is_active.load(Ordering::Relaxed) {
            tenant.is_active.store(true, Ordering::Relaxed);
        }
        if let Some(other) = places.other.get()
            && places.room.load(Ordering::Relaxed) > 0
            && tenant
                .series
                .load()
                .as_ref()
                .is_some_and(|series| Arc::ptr_eq(series, other))
        {
            places.assign(tenant, TenantEvent::Request);
        }
    }
}

impl Drop for TenantHandle {
    fn drop(&mut self) {
        let mut tenants = lock(&self.places.tenants);
        let is_this = |entry: &Entry| Arc::ptr_eq(&entry.tenant, &self.tenant);
        if tenants.by_name.get(&self.tenant.id).is_some_and(is_this)
            && let Some(entry) = tenants.by_name.remove(&self.tenant.id)
        {
            tenants.taken -= usize::from(entry.has_place);
            self.places.update_room(&tenants);
        }
    }
}
