//! The tenants at one moment: found by name, and by the ids that belong to them.

use std::collections::HashMap;
use std::collections::hash_map;
use std::sync::Arc;

use crate::types::TenantId;

/// The tenants at one moment. It does not change: another one replaces it as a whole. `T` is what a tenant has besides its
/// name.
#[derive(Debug)]
pub struct Directory<T> {
    by_name: HashMap<TenantId, Arc<Entry<T>>>,
    by_object: HashMap<Box<str>, Owner<T>>,
    /// The tenant of requests without a sign.
    fallback: Option<Arc<Entry<T>>>,
}

/// A tenant.
#[derive(Debug)]
pub struct Entry<T> {
    /// Its name.
    pub id: TenantId,
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
    /// It was deactivated or withdrawn: its requests are refused.
    Inactive,
}

/// Collects the tenants of a directory.
#[derive(Debug)]
pub struct DirectoryBuilder<T> {
    directory: Directory<T>,
    /// The ids that two tenants claim, with their names.
    shared_objects: Vec<(Box<str>, TenantId, TenantId)>,
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
                by_name: HashMap::new(),
                by_object: HashMap::new(),
                fallback: None,
            },
            shared_objects: Vec::new(),
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

    /// All tenants, in no order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Arc<Entry<T>>> {
        self.by_name.values()
    }
}

// === impl DirectoryBuilder ===

impl<T> DirectoryBuilder<T> {
    /// Adds a tenant with the ids of its objects; the tenant `default` is also that of requests without a sign. Of two with the
    /// same name, the first stays: the second is returned.
    ///
    /// # Errors
    ///
    /// The tenant that was not added.
    pub fn add(&mut self, entry: Entry<T>, object_ids: impl IntoIterator<Item = Box<str>>) -> Result<(), Entry<T>> {
        let hash_map::Entry::Vacant(vacant) = self.directory.by_name.entry(entry.id.clone()) else {
            return Err(entry);
        };
        let entry = Arc::clone(vacant.insert(Arc::new(entry)));
        for object_id in object_ids {
            match self.directory.by_object.entry(object_id) {
                hash_map::Entry::Vacant(vacant) => {
                    vacant.insert(Owner::One(Arc::clone(&entry)));
                }
                hash_map::Entry::Occupied(mut occupied) => {
                    if let Owner::One(other) = occupied.get()
                        && other.id != entry.id
                    {
                        let claim = (occupied.key().clone(), other.id.clone(), entry.id.clone());
                        self.shared_objects.push(claim);
                        occupied.insert(Owner::Disputed);
                    }
                }
            }
        }
        if entry.id == TenantId::default() {
            self.directory.fallback = Some(entry);
        }
        Ok(())
    }

    /// The ids that two tenants claim, each with the names of the first two.
    #[must_use]
    pub fn shared_objects(&self) -> &[(Box<str>, TenantId, TenantId)] {
        &self.shared_objects
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

    fn entry(name: &str) -> Entry<()> {
        Entry {
            id: TenantId::new(name).unwrap(),
            standing: Standing::Active,
            tenant: (),
        }
    }

    fn ids(ids: &[&str]) -> Vec<Box<str>> {
        ids.iter().copied().map(Box::from).collect()
    }

    #[test]
    fn an_id_that_two_tenants_claim_belongs_to_neither_and_is_named() {
        let mut builder = Directory::builder();
        builder.add(entry("acme"), ids(&["1", "2", "1"])).unwrap();
        builder.add(entry("shop"), ids(&["2", "3"])).unwrap();
        builder.add(entry("third"), ids(&["2"])).unwrap();
        let [(object, first, second)] = builder.shared_objects() else {
            panic!("{builder:?}");
        };
        assert_eq!((&**object, first.as_str(), second.as_str()), ("2", "acme", "shop"));
        let directory = builder.build();
        let owner = |id| directory.owner_of(id).map(|entry| entry.id.as_str());
        assert_eq!(
            (owner("1"), owner("2"), owner("3"), owner("4")),
            (Some("acme"), None, Some("shop"), None)
        );
    }

    #[test]
    fn a_name_is_taken_once_and_default_is_for_requests_without_a_sign() {
        let mut builder = Directory::builder();
        builder.add(entry("acme"), ids(&["1"])).unwrap();
        assert_eq!(builder.add(entry("acme"), ids(&["2"])).unwrap_err().id.as_str(), "acme");
        assert!(builder.directory.fallback.is_none());
        builder.add(entry("default"), []).unwrap();
        let directory = builder.build();
        assert_eq!(directory.fallback().unwrap().id, TenantId::default());
        assert!(directory.find("Acme").is_none(), "case counts");
        assert!(directory.owner_of("2").is_none());
        assert_eq!(directory.entries().len(), 2);
    }
}
