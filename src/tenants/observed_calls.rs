//! The calls of requests that were only observed, as the rules that would allow them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::allow::rules_for;
use crate::graph::Calls;
use crate::types::TenantId;

/// The rules that would allow the calls of each tenant so far.
#[derive(Debug, Default)]
pub struct ObservedCalls(Mutex<BTreeMap<TenantId, ObservedRules>>);

/// The rules that would allow the calls of a tenant.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ObservedRules {
    /// The rules, such as `POST /{id}/messages`: values of `allow`.
    pub allow: BTreeSet<String>,
    /// The number of calls that no rule describes, or for which there was no room.
    pub others: u64,
}

/// The most tenants …
const MAX_TENANTS: usize = 1000;
/// … and the most rules of one. An app makes a few dozen different calls; what makes more is no app.
const MAX_RULES: usize = 200;

// === impl ObservedCalls ===

impl ObservedCalls {
    /// Adds the calls of a request. `method` and `path` are its own.
    pub fn add(&self, tenant: &TenantId, method: &str, path: &str, calls: &Calls) {
        let rules = rules_for(method, path, calls);
        let mut tenants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.len() >= MAX_TENANTS && !tenants.contains_key(tenant) {
            return;
        }
        let observed = tenants.entry(tenant.clone()).or_default();
        for rule in rules {
            match rule {
                Some(rule) if observed.allow.contains(&rule) => {}
                Some(rule) if observed.allow.len() < MAX_RULES => _ = observed.allow.insert(rule),
                Some(_) | None => observed.others += 1,
            }
        }
    }

    /// Returns what was observed of each tenant.
    #[must_use]
    pub fn by_tenant(&self) -> BTreeMap<TenantId, ObservedRules> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes the rules of each tenant to the log, ready to paste.
    pub fn log(&self) {
        for (tenant, rules) in self.by_tenant() {
            tracing::info!(
                tenant = tenant.name(),
                rules = rules.to_setting(),
                other_calls = rules.others,
                "the calls that were observed: these rules allow them"
            );
        }
    }
}

// === impl ObservedRules ===

impl ObservedRules {
    /// The rules as a setting: `allow = ["GET /{id}", "POST /{id}/messages"]`.
    #[must_use]
    pub fn to_setting(&self) -> String {
        // No rule has a quote or a backslash in it.
        let rules: Vec<_> = self.allow.iter().map(|rule| format!("\"{rule}\"")).collect();
        format!("allow = [{}]", rules.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenants::AllowRule;

    fn observed(requests: &[(&str, &str)]) -> ObservedRules {
        let calls = ObservedCalls::default();
        let tenant = TenantId::default();
        for (method, path) in requests {
            calls.add(&tenant, method, path, &Calls::default());
        }
        calls.by_tenant().remove(&tenant).unwrap()
    }

    #[test]
    fn each_rule_is_valid_and_has_no_version_and_no_id() {
        let rules = observed(&[
            ("POST", "/v25.0/106540352242922/messages"),
            ("POST", "/v26.0/102290129340398/messages"),
            ("GET", "/106540352242922"),
            ("HEAD", "/v25.0/me"),
        ]);
        assert_eq!(
            rules.to_setting(),
            r#"allow = ["GET /me", "GET /{id}", "POST /{id}/messages"]"#
        );
        assert_eq!(rules.others, 0);
        assert!(rules.allow.iter().all(|rule| rule.parse::<AllowRule>().is_ok()));
    }

    #[test]
    fn what_no_rule_describes_is_counted() {
        let rules = observed(&[
            ("GET", "/v25.0/Some.Name"),
            ("PROPFIND", "/v25.0/me"),
            ("GET", "/v25.0/me"),
        ]);
        assert_eq!(
            (rules.to_setting(), rules.others),
            (r#"allow = ["GET /me"]"#.to_owned(), 2)
        );
    }

    #[test]
    fn the_items_of_a_batch_are_calls_and_the_batch_is_not() {
        let calls = ObservedCalls::default();
        let mut in_body = Calls::default();
        in_body.add_form(
            br#"batch=[{"method":"GET","relative_url":"v25.0/1"},{"method":"POST","relative_url":"2/messages"}]"#,
        );
        calls.add(&TenantId::default(), "POST", "/v25.0/", &in_body);
        let rules = calls.by_tenant().remove(&TenantId::default()).unwrap();
        assert_eq!(rules.to_setting(), r#"allow = ["GET /{id}", "POST /{id}/messages"]"#);
    }

    #[test]
    fn memory_is_bounded() {
        let calls = ObservedCalls::default();
        let word = |number: usize| -> String {
            (0..3)
                .map(|digit| char::from(b'a' + (number / 10_usize.pow(digit) % 10) as u8))
                .collect()
        };
        for number in 0..MAX_RULES + 7 {
            let path = format!("/v25.0/{}", word(number));
            calls.add(&TenantId::default(), "GET", &path, &Calls::default());
        }
        let rules = calls.by_tenant().remove(&TenantId::default()).unwrap();
        assert_eq!((rules.allow.len(), rules.others), (MAX_RULES, 7));
        for number in 0..MAX_TENANTS + 7 {
            let tenant = TenantId::new(&format!("t{number}")).unwrap();
            calls.add(&tenant, "GET", "/me", &Calls::default());
        }
        assert_eq!(calls.by_tenant().len(), MAX_TENANTS);
    }
}
