//! The tenants at one moment: found by name, and by the ids that belong to them.

use std::collections::HashMap;
use std::collections::hash_map;
use std::sync::Arc;

use foldhash::fast::RandomState;

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
    by_object: HashMap<Arc<str>, Owner<T>, RandomState>,
    /// The tenant of requests without a sign.
    fallback: Option<Arc<Entry<T>>>,
    /// The ids that two tenants claim, with their names.
    claimants: HashMap<Arc<str>, Vec<TenantId>>,
}

/// A tenant.
#[derive(Debug)]
pub struct Entry<T> {
    /// Its name.
    pub id: TenantId,
    /// The ids of the objects that belong to it.
    pub object_ids: Box<[Arc<str>]>,
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
    /// It was deactivated, withdrawn or removed: its requests are refused.
    Inactive,
}

/// Collects the tenants of a directory.
#[derive(Debug)]
pub struct DirectoryBuilder<T> {
    directory: Directory<T>,
}

/// The owner of an id.
#[derive(Debug)]
enum Owner<T> {
    One(Arc<Entry<T>>),
    /// Two tenants claim it, so it belongs to neither.
    Disputed,
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
                fallback: None,
                claimants: HashMap::new(),
            },
        }
    }

    /// Finds a tenant by its name. Case counts.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Entry<T>>> {
        self.by_name.get(name)
    }

    /// Finds the tenant to which an object belongs: a phone number, a business account, a page.
    #[must_use]
    pub fn owner_of(&self, object_id: &str) -> Option<&Arc<Entry<T>>> {
        match self.by_object.get(object_id)? {
            Owner::One(entry) => Some(entry),
            Owner::Disputed => None,
        }
    }

    /// The tenant of requests without a sign, if there is one.
    #[must_use]
    pub const fn fallback(&self) -> Option<&Arc<Entry<T>>> {
        self.fallback.as_ref()
    }

    /// The ids that two or more tenants claim, with their names.
    #[must_use]
    pub const fn claimants(&self) -> &HashMap<Arc<str>, Vec<TenantId>> {
        &self.claimants
    }

    /// All tenants, in no order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Arc<Entry<T>>> {
        self.by_name.values()
    }
}

// === impl DirectoryBuilder ===

impl<T> DirectoryBuilder<T> {
    /// Adds a tenant. Of two with the same name, the first stays: the second is returned. An id that an inactive tenant had is that of the active one that has it now.
    ///
    /// # Errors
    ///
    /// The tenant that was not added.
    pub fn add(&mut self, entry: Arc<Entry<T>>) -> Result<(), Arc<Entry<T>>> {
        let hash_map::Entry::Vacant(vacant) = self.directory.by_name.entry(entry.id.clone()) else {
            return Err(entry);
        };
        vacant.insert(Arc::clone(&entry));
        self.add_objects(&entry);
        Ok(())
    }

    /// Adds a tenant that was removed, after all others. Another one may have its name now; its ids stay its own, unless another one
    /// has them.
    pub fn add_removed(&mut self, entry: &Arc<Entry<T>>) {
        let by_name = self.directory.by_name.entry(entry.id.clone());
        by_name.or_insert_with(|| Arc::clone(entry));
        self.add_objects(entry);
    }

    fn add_objects(&mut self, entry: &Arc<Entry<T>>) {
        for object_id in &entry.object_ids {
            let owner = self.directory.by_object.entry(Arc::clone(object_id));
            let owner = owner.or_insert_with(|| Owner::One(Arc::clone(entry)));
            let Owner::One(other) = owner else {
                if let Some(claimants) = self.directory.claimants.get_mut(object_id)
                    && entry.standing == Standing::Active
                {
                    claimants.push(entry.id.clone());
                }
                continue;
            };
            match (other.standing, entry.standing) {
                _ if other.id == entry.id => {}
                // Of inactive ones, any will do: their requests are refused.
                (Standing::Active | Standing::Inactive, Standing::Inactive) => {}
                (Standing::Inactive, Standing::Active) => *owner = Owner::One(Arc::clone(entry)),
                (Standing::Active, Standing::Active) => {
                    let claimants = vec![other.id.clone(), entry.id.clone()];
                    self.directory.claimants.insert(Arc::clone(object_id), claimants);
                    *owner = Owner::Disputed;
                }
            }
        }
    }

    /// Makes a tenant that was added that of requests without a sign.
    pub fn serve_unnamed(&mut self, id: &TenantId) {
        self.directory.fallback = self.directory.by_name.get(id).cloned();
    }

    /// Returns the directory.
    #[must_use]
    pub fn build(self) -> Directory<T> {
        self.directory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, object_ids: &[&str]) -> Arc<Entry<()>> {
        Arc::new(Entry {
            id: TenantId::new(name).unwrap(),
            object_ids: object_ids.iter().copied().map(Arc::from).collect(),
            standing: Standing::Active,
            tenant: (),
        })
    }

    #[test]
    fn an_id_that_two_tenants_claim_belongs_to_neither_and_is_named() {
        let mut builder = Directory::builder();
        builder.add(entry("acme", &["1", "2", "1"])).unwrap();
        builder.add(entry("shop", &["2", "3"])).unwrap();
        builder.add(entry("third", &["2"])).unwrap();
        let directory = builder.build();
        let [(object, claimants)] = *directory.claimants().iter().collect::<Vec<_>>() else {
            panic!("{directory:?}");
        };
        let names: Vec<_> = claimants.iter().map(TenantId::as_str).collect();
        assert_eq!((&**object, &*names), ("2", &["acme", "shop", "third"][..]));
        let owner = |id| directory.owner_of(id).map(|entry| entry.id.as_str());
        assert_eq!(
            (owner("1"), owner("2"), owner("3"), owner("4")),
            (Some("acme"), None, Some("shop"), None)
        );
    }

    #[test]
    fn an_id_that_an_inactive_tenant_had_is_that_of_the_active_one_that_has_it_now() {
        let inactive = |name| {
            let mut gone = entry(name, &["1", "2"]);
            Arc::get_mut(&mut gone).unwrap().standing = Standing::Inactive;
            gone
        };
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut builder = Directory::builder();
            let entries = [inactive("gone"), inactive("gone-too"), entry("shop", &["1"])];
            order
                .into_iter()
                .for_each(|at| builder.add(Arc::clone(&entries[at])).unwrap());
            let directory = builder.build();
            assert!(directory.claimants().is_empty(), "{order:?}");
            let owner = |id| directory.owner_of(id).unwrap();
            assert_eq!(owner("1").id.as_str(), "shop", "{order:?}");
            assert_eq!(owner("2").standing, Standing::Inactive, "{order:?}");
        }
    }

    #[test]
    fn a_removed_tenant_gives_its_name_and_its_ids_to_those_that_have_them_now_and_keeps_the_others() {
        let mut builder = Directory::builder();
        builder.add(entry("acme", &["1"])).unwrap();
        builder.add(entry("shop", &["2"])).unwrap();
        for name in ["acme", "gone"] {
            let mut removed = entry(name, &["1", "2", name]);
            Arc::get_mut(&mut removed).unwrap().standing = Standing::Inactive;
            builder.add_removed(&removed);
        }
        let directory = builder.build();
        let owner = |id| directory.owner_of(id).map(|entry| (entry.id.as_str(), entry.standing));
        let name = |name| directory.find(name).map(|entry| (entry.id.as_str(), entry.standing));
        assert_eq!(owner("1"), Some(("acme", Standing::Active)));
        assert_eq!(owner("2"), Some(("shop", Standing::Active)));
        assert_eq!(owner("acme"), Some(("acme", Standing::Inactive)));
        assert_eq!(owner("gone"), Some(("gone", Standing::Inactive)));
        assert_eq!(name("acme"), Some(("acme", Standing::Active)));
        assert_eq!(name("gone"), Some(("gone", Standing::Inactive)));
        assert!(directory.claimants().is_empty());
    }

    #[test]
    fn a_name_is_taken_once_and_a_tenant_serves_requests_without_a_sign_if_it_is_told_to() {
        let mut builder = Directory::builder();
        builder.add(entry("acme", &["1"])).unwrap();
        assert_eq!(builder.add(entry("acme", &["2"])).unwrap_err().id.as_str(), "acme");
        assert!(builder.directory.fallback.is_none());
        builder.add(entry("default", &[])).unwrap();
        assert!(builder.directory.fallback.is_none(), "its name alone makes it nothing");
        builder.serve_unnamed(&TenantId::default());
        let directory = builder.build();
        assert_eq!(directory.fallback().unwrap().id, TenantId::default());
        assert!(directory.find("Acme").is_none(), "case counts");
        assert!(directory.owner_of("2").is_none());
        assert_eq!(directory.entries().len(), 2);
    }
}
