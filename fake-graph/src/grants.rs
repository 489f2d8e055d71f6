//! Which objects a token may act on.
//!
//! # Why
//!
//! An object that no token lists is open to every token, so that a test with one token configures nothing. As soon as a
//! token lists it, only the tokens that list it may act on it, and those that list nothing. A business account stands for
//! its phone numbers, as in Graph's granular scopes.

use std::collections::HashMap;
use std::sync::Arc;

/// The name of a token, and the objects it may act on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grant {
    /// The name that records show instead of the token's fingerprint.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) targets: Targets,
}

/// The ids of objects. An empty list is all objects.
pub(crate) type Targets = Arc<[String]>;

/// Which objects the tokens list, and which phone numbers an account has. A lookup does not depend on the number of tokens.
#[derive(Default)]
pub(crate) struct ObjectOwners {
    listings: HashMap<String, Listing>,
    phone_numbers: HashMap<String, Vec<String>>,
    accounts: HashMap<String, String>,
}

/// The tokens that list an object.
struct Listing {
    tokens: usize,
    newest: Grant,
}

/// Returns whether a text can be the id of an object.
pub(crate) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

// === impl Grant ===

impl Grant {
    /// Whether the token lists this object.
    pub(crate) fn lists(&self, id: &str) -> bool {
        self.targets.iter().any(|target| target == id)
    }
}

// === impl ObjectOwners ===

impl ObjectOwners {
    /// Adds the grant of a token.
    pub(crate) fn add(&mut self, grant: &Grant) {
        for id in &*grant.targets {
            let listing = self.listings.entry(id.clone()).or_insert_with(|| Listing {
                tokens: 0,
                newest: grant.clone(),
            });
            listing.tokens += 1;
            listing.newest = grant.clone();
        }
    }

    /// Removes the grant of a token.
    pub(crate) fn remove(&mut self, grant: &Grant) {
        for id in &*grant.targets {
            let Some(listing) = self.listings.get_mut(id) else {
                continue;
            };
            listing.tokens -= 1;
            if listing.tokens == 0 {
                self.listings.remove(id);
            }
        }
    }

    /// Whether a token with this grant may act on an object.
    pub(crate) fn may_act_on(&self, grant: &Grant, id: &str) -> bool {
        let account = self.accounts.get(id).map(String::as_str);
        let mut owners = [Some(id), account].into_iter().flatten();
        grant.targets.is_empty()
            || owners.clone().any(|owner| grant.lists(owner))
            || !owners.any(|owner| self.listings.contains_key(owner))
    }

    /// The newest grant that lists an object or its account.
    pub(crate) fn newest_grant(&self, id: &str) -> Option<&Grant> {
        let listing = self.listings.get(id);
        let listing = listing.or_else(|| self.listings.get(self.accounts.get(id)?));
        listing.map(|listing| &listing.newest)
    }

    /// Sets the phone numbers of a business account.
    pub(crate) fn set_phone_numbers(&mut self, account: String, ids: Vec<String>) {
        self.accounts.retain(|_, owner| *owner != account);
        for id in &ids {
            self.accounts.insert(id.clone(), account.clone());
        }
        self.phone_numbers.insert(account, ids);
    }

    /// The phone numbers of a business account, if they were set.
    pub(crate) fn phone_numbers(&self, account: &str) -> Option<&[String]> {
        self.phone_numbers.get(account).map(Vec::as_slice)
    }

    /// The business account of a phone number, if it was set.
    pub(crate) fn account(&self, phone: &str) -> Option<&str> {
        self.accounts.get(phone).map(String::as_str)
    }

    /// The targets as granular scopes show them: business accounts instead of their phone numbers.
    pub(crate) fn scope_targets(&self, targets: &Targets) -> Vec<String> {
        let mut shown: Vec<String> = Vec::new();
        for target in &**targets {
            let id = self.account(target).unwrap_or(target);
            if !shown.iter().any(|seen| seen == id) {
                shown.push(id.to_owned());
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(name: &str, targets: &[&str]) -> Grant {
        Grant {
            name: Some(name.into()),
            targets: targets.iter().map(|id| (*id).to_owned()).collect(),
        }
    }

    #[test]
    fn an_object_is_open_until_a_token_lists_it_and_again_when_the_last_one_does_not() {
        let (a, b, all) = (grant("a", &["1"]), grant("b", &["2"]), grant("all", &[]));
        let mut owners = ObjectOwners::default();
        owners.add(&b);
        assert!(owners.may_act_on(&b, "1"));
        for _renewal in 0..2 {
            owners.add(&a);
        }
        assert!(owners.may_act_on(&a, "1") && owners.may_act_on(&all, "1"));
        owners.remove(&a);
        assert!(!owners.may_act_on(&b, "1"));
        owners.remove(&a);
        assert!(owners.may_act_on(&b, "1"));
        assert!(owners.newest_grant("1").is_none());
    }

    #[test]
    fn an_account_stands_for_its_phone_numbers_until_they_move() {
        let (a, b) = (grant("a", &["10"]), grant("b", &["20"]));
        let mut owners = ObjectOwners::default();
        owners.add(&a);
        owners.add(&b);
        owners.set_phone_numbers("10".to_owned(), vec!["1".to_owned(), "2".to_owned()]);
        assert!(owners.may_act_on(&a, "1") && !owners.may_act_on(&b, "1"));
        assert_eq!(owners.newest_grant("2").unwrap().name.as_deref(), Some("a"));
        let listed = grant("c", &["1", "2", "3"]).targets;
        assert_eq!(owners.scope_targets(&listed), ["10", "3"]);
        owners.set_phone_numbers("10".to_owned(), vec!["1".to_owned()]);
        assert!(owners.may_act_on(&b, "2"));
        owners.set_phone_numbers("20".to_owned(), vec!["1".to_owned()]);
        assert!(owners.may_act_on(&b, "1") && !owners.may_act_on(&a, "1"));
        owners.set_phone_numbers("10".to_owned(), Vec::new());
        assert_eq!(owners.account("1"), Some("20"));
    }
}
