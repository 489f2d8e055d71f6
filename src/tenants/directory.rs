//! The tenants at one moment: found by name, and by the ids that belong to them.
//!
//! # Why
//!
//! An id without a tenant is no sign, so its requests would be those of the default tenant. Rows change one by one: an id is taken
//! out of one row and put into another later, a row is renamed, or is gone for a moment. So an id that a tenant had stays reserved
//! until another one has it: refused for now until a second read of the table finds the same, and for good after that. What a read
//! shows once may be the moment between two statements, and an app that is refused for good drops its message. Rejected: to let an
//! id go after a while, because the app that has it may send at any time.

use std::collections::HashMap;
use std::collections::hash_map;
use std::sync::Arc;

use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::roster::CONFIRMATION_INTERVAL;
use crate::types::TenantId;

/// The tenants at one moment. It does not change: another one replaces it as a whole. `T` is what a tenant has besides its
/// name.
///
/// # Why
///
/// Each request looks up a name and some ids, which are short: the standard library's hash of them costs four times as much as this
/// one. Its key is another one in each process, and what a client sends is only looked up. Rejected: a hash without a key, because
/// a business may choose the name under which the table has it.
#[derive(Debug)]
pub struct Directory<T> {
    by_name: HashMap<TenantId, Arc<Entry<T>>, RandomState>,
    by_object: HashMap<Arc<str>, Holder<T>, RandomState>,
    /// The tenant of requests without a sign, if there is one.
    default_tenant: Option<Arc<Entry<T>>>,
}

/// A tenant.
#[derive(Debug)]
pub struct Entry<T> {
    /// Its name.
    pub id: TenantId,
    /// The ids of the objects that belong to it; none if it is inactive.
    pub object_ids: Arc<[Arc<str>]>,
    /// Whether it may be used.
    pub standing: Standing,
    /// What else it has.
    pub tenant: T,
}

/// Whether a tenant may be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It may.
    Active,
    /// It may, but the last read of the table lacked it, so that an id is that of another tenant if that has it, too.
    Missing,
    /// It was deactivated, withdrawn or removed: its requests are refused.
    Inactive,
}

/// Collects the tenants of a directory.
#[derive(Debug)]
pub struct DirectoryBuilder<T> {
    directory: Directory<T>,
    missing: Vec<Arc<Entry<T>>>,
}

/// Who has an id.
#[derive(Debug)]
pub enum Holder<T> {
    /// One tenant.
    Tenant(Arc<Entry<T>>),
    /// No tenant has it alone.
    Unowned(Box<Unowned>),
}

/// An id that no tenant has alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unowned {
    /// The reason.
    pub reason: UnownedReason,
    /// The tenants that claim it.
    pub claimants: Vec<TenantId>,
    /// Since when it is undecided who has it; `None` once a second read of the table has found the same.
    pub since: Option<Instant>,
}

/// The reason why no tenant has an id alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnownedReason {
    /// Several tenants have it, so it belongs to none of them.
    Shared,
    /// The claimants had it last.
    Former,
    /// A row has it that was read and is not used yet.
    Withheld,
}

// === impl Directory ===

impl<T> Directory<T> {
    /// Returns a builder without tenants.
    #[must_use]
    pub fn builder() -> DirectoryBuilder<T> {
        DirectoryBuilder {
            directory: Self {
                by_name: HashMap::default(),
                by_object: HashMap::default(),
                default_tenant: None,
            },
            missing: Vec::new(),
        }
    }

    /// Finds a tenant by its name. Case counts.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Entry<T>>> {
        self.by_name.get(name)
    }

    /// Returns whether there is a tenant of this name that may be used.
    #[must_use]
    pub fn has_usable(&self, name: &TenantId) -> bool {
        self.by_name
            .get(name)
            .is_some_and(|entry| entry.standing != Standing::Inactive)
    }

    /// Finds out who has an object: a phone number, a business account, a page.
    #[must_use]
    pub fn holder_of(&self, object_id: &str) -> Option<&Holder<T>> {
        self.by_object.get(object_id)
    }

    /// Finds the tenant to which an object belongs.
    #[must_use]
    pub fn owner_of(&self, object_id: &str) -> Option<&Arc<Entry<T>>> {
        match self.holder_of(object_id)? {
            Holder::Tenant(entry) => Some(entry),
            Holder::Unowned(_) => None,
        }
    }

    /// The default tenant: that of requests without a sign, if there is one.
    #[must_use]
    pub const fn default_tenant(&self) -> Option<&Arc<Entry<T>>> {
        self.default_tenant.as_ref()
    }

    /// The ids that no tenant has alone, in no order.
    pub fn unowned(&self) -> impl Iterator<Item = (&Arc<str>, &Unowned)> {
        self.by_object.iter().filter_map(|(id, holder)| match holder {
            Holder::Tenant(_) => None,
            Holder::Unowned(unowned) => Some((id, &**unowned)),
        })
    }

    /// All tenants, in no order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Arc<Entry<T>>> {
        self.by_name.values()
    }

    /// Reserves an id that no tenant has.
    pub fn reserve(&mut self, object_id: &Arc<str>, unowned: Unowned) {
        let holder = self.by_object.entry(Arc::clone(object_id));
        holder.or_insert_with(|| Holder::Unowned(Box::new(unowned)));
    }

    /// Carries over from the directory `before` the ids that tenants had there and no tenant has now: they are reserved, unless they
    /// are released. An id of a row that no row has any more, or that two have, is undecided since `now`; `None` if there is no table,
    /// which would be read again.
    pub fn carry_over(
        &mut self,
        before: &Self,
        now: Option<Instant>,
        is_released: impl Fn(&Entry<T>) -> bool,
        is_of_table: impl Fn(&Entry<T>) -> bool,
    ) {
        // Only rows are read again: between tenants of the configuration, a claim is decided at once.
        let undecided_since = |by_name: &HashMap<_, Arc<Entry<T>>, _>, claimants: &[TenantId]| {
            let entries = claimants.iter().filter_map(|claimant| by_name.get(claimant));
            let mut rows = entries.filter(|entry| entry.standing != Standing::Inactive && is_of_table(entry));
            now.filter(|_| rows.next().is_some())
        };
        for (object_id, holder) in &mut self.by_object {
            if let Holder::Unowned(shared) = holder {
                shared.since = match before.holder_of(object_id) {
                    Some(Holder::Unowned(other)) if other.reason == shared.reason => other.since,
                    Some(Holder::Tenant(_) | Holder::Unowned(_)) | None => {
                        undecided_since(&self.by_name, &shared.claimants)
                    }
                };
            }
        }
        for (object_id, holder) in &before.by_object {
            if self.by_object.contains_key(object_id) {
                continue;
            }
            let (claimants, may_move) = match holder {
                Holder::Tenant(entry) if is_released(entry) => continue,
                Holder::Tenant(entry) => (vec![entry.id.clone()], is_of_table(entry)),
                Holder::Unowned(unowned) if unowned.reason == UnownedReason::Shared => {
                    (unowned.claimants.clone(), true)
                }
                Holder::Unowned(unowned) => {
                    self.reserve(object_id, (**unowned).clone());
                    continue;
                }
            };
            let since = undecided_since(&self.by_name, &claimants).filter(|_| may_move);
            self.reserve(object_id, Unowned::former(claimants, since));
        }
    }

    /// Forgets the ids of rows that were not used.
    pub fn forget_withheld(&mut self) {
        self.by_object.retain(
            |_, holder| !matches!(holder, Holder::Unowned(unowned) if unowned.reason == UnownedReason::Withheld),
        );
    }

    /// Decides what a read of the table that began at `read_at` has confirmed.
    pub fn confirm(&mut self, read_at: Instant) {
        for holder in self.by_object.values_mut() {
            if let Holder::Unowned(unowned) = holder {
                unowned.since = unowned.since.filter(|since| read_at < *since + CONFIRMATION_INTERVAL);
            }
        }
    }

    /// Returns when a read of the table decides what is undecided.
    #[must_use]
    pub fn confirm_at(&self) -> Option<Instant> {
        let since = self.unowned().filter_map(|(_, unowned)| unowned.since).max()?;
        Some(since + CONFIRMATION_INTERVAL)
    }
}

// === impl Unowned ===

impl Unowned {
    /// An id that these tenants had.
    #[must_use]
    pub const fn former(claimants: Vec<TenantId>, since: Option<Instant>) -> Self {
        Self {
            reason: UnownedReason::Former,
            claimants,
            since,
        }
    }

    /// An id in a row that was read and is not used yet.
    #[must_use]
    pub fn withheld(claimant: TenantId) -> Self {
        Self {
            reason: UnownedReason::Withheld,
            claimants: vec![claimant],
            since: None,
        }
    }

    /// Returns whether a later read of the table decides who has it.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        self.since.is_some() || self.reason == UnownedReason::Withheld
    }
}

// === impl DirectoryBuilder ===

impl<T> DirectoryBuilder<T> {
    /// Makes room for tenants that will be added, so that no map has to grow: it would need twice its memory meanwhile.
    pub fn make_room_for(&mut self, entries: &[Arc<Entry<T>>]) {
        self.directory.by_name.reserve(entries.len());
        let objects = entries.iter().map(|entry| entry.object_ids.len()).sum();
        self.directory.by_object.reserve(objects);
    }

    /// Adds a tenant. Of two with the same name, the first stays: the second is returned.
    ///
    /// # Errors
    ///
    /// The tenant that was not added.
    pub fn add(&mut self, entry: Arc<Entry<T>>) -> Result<(), Arc<Entry<T>>> {
        let hash_map::Entry::Vacant(vacant) = self.directory.by_name.entry(entry.id.clone()) else {
            return Err(entry);
        };
        vacant.insert(Arc::clone(&entry));
        if entry.standing == Standing::Missing {
            self.missing.push(entry);
        } else {
            self.add_objects(&entry);
        }
        Ok(())
    }

    fn add_objects(&mut self, entry: &Arc<Entry<T>>) {
        for object_id in &*entry.object_ids {
            let holder = match self.directory.by_object.entry(Arc::clone(object_id)) {
                hash_map::Entry::Vacant(vacant) => {
                    vacant.insert(Holder::Tenant(Arc::clone(entry)));
                    continue;
                }
                hash_map::Entry::Occupied(occupied) => occupied.into_mut(),
            };
            match holder {
                Holder::Tenant(other) if other.id == entry.id => {}
                // Those that are missing come after all others.
                Holder::Tenant(other) if other.standing != entry.standing => {}
                Holder::Tenant(other) => {
                    *holder = Holder::Unowned(Box::new(Unowned {
                        reason: UnownedReason::Shared,
                        claimants: vec![other.id.clone(), entry.id.clone()],
                        since: None,
                    }));
                }
                Holder::Unowned(shared) => {
                    let first = shared.claimants.first().and_then(|id| self.directory.by_name.get(id));
                    if first.is_some_and(|first| first.standing == entry.standing) {
                        shared.claimants.push(entry.id.clone());
                    }
                }
            }
        }
    }

    /// Makes a tenant that was added the default tenant.
    pub fn set_default_tenant(&mut self, id: &TenantId) {
        self.directory.default_tenant = self.directory.by_name.get(id).cloned();
    }

    /// Returns the directory.
    #[must_use]
    pub fn build(mut self) -> Directory<T> {
        for entry in std::mem::take(&mut self.missing) {
            self.add_objects(&entry);
        }
        self.directory
    }
}

#[cfg(test)]
mod tests;
