//! The calls of requests that were only observed, by the rule that would allow them.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde::Serialize;

use super::allow::rules_for;
use crate::graph::Calls;
use crate::types::{TenantId, lock};

/// The calls of each tenant so far.
#[derive(Debug, Default)]
pub struct ObservedCalls(Mutex<BTreeMap<TenantId, CallsByRule>>);

/// The calls of a tenant.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CallsByRule {
    /// The calls that each rule would allow, such as `POST /{id}/messages`: a value of `allow`.
    pub rules: BTreeMap<String, CallCounts>,
    /// The calls that no rule describes, or for which there was no room.
    pub others: CallCounts,
}

/// The number of calls, and of what graphward would have done with the requests that they are of.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct CallCounts {
    /// The number of calls.
    pub calls: u64,
    /// The number of those for which graphward would have done this; a word of a closed list.
    pub would: BTreeMap<&'static str, u64>,
}

/// The rule that would allow each call of a request; `None` for a call that no rule describes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RulesOfCalls(Vec<Option<String>>);

/// The most tenants that are recorded; calls of further ones are dropped.
const MAX_TENANTS: usize = 1000;
/// The most rules of a tenant: an app makes a few dozen different calls.
const MAX_RULES: usize = 200;

// === impl RulesOfCalls ===

impl RulesOfCalls {
    /// Finds the rules for the calls of a request. `method` and `path` are its own.
    #[must_use]
    pub fn new(method: &str, path: &str, calls: &Calls) -> Self {
        Self(rules_for(method, path, calls))
    }

    /// A request whose calls are not known: one call that no rule describes.
    #[must_use]
    pub fn unknown() -> Self {
        Self(vec![None])
    }
}

// === impl ObservedCalls ===

impl ObservedCalls {
    /// Adds the calls of a request, and what graphward would have done with it.
    pub fn add(&self, tenant: &TenantId, rules: RulesOfCalls, would: &[&'static str]) {
        let mut tenants = lock(&self.0);
        if tenants.len() >= MAX_TENANTS && !tenants.contains_key(tenant) {
            return;
        }
        let observed = tenants.entry(tenant.clone()).or_default();
        for rule in rules.0 {
            let has_room = observed.rules.len() < MAX_RULES;
            let counts = match rule {
                Some(rule) if has_room || observed.rules.contains_key(&rule) => observed.rules.entry(rule).or_default(),
                Some(_) | None => &mut observed.others,
            };
            counts.calls += 1;
            for would in would {
                *counts.would.entry(would).or_default() += 1;
            }
        }
    }

    /// Returns what was observed of tenants, in the order of their names, up to a limit.
    #[must_use]
    pub fn by_tenant(&self, is_listed: impl Fn(&TenantId) -> bool, limit: usize) -> BTreeMap<TenantId, CallsByRule> {
        let tenants = lock(&self.0);
        let listed = tenants.iter().filter(|(tenant, _)| is_listed(tenant)).take(limit);
        listed.map(|(tenant, calls)| (tenant.clone(), calls.clone())).collect()
    }

    /// Writes the rules of each tenant to the log, ready to paste.
    pub fn log(&self) {
        for (tenant, calls) in self.by_tenant(|_| true, MAX_TENANTS) {
            tracing::info!(
                tenant = tenant.name(),
                rules = calls.to_setting(),
                other_calls = calls.others.calls,
                "observe mode: these rules allow the calls seen so far; `other_calls` match no rule"
            );
        }
    }
}

// === impl CallsByRule ===

impl CallsByRule {
    /// The rules as a setting: `allow = ['GET /{id}', 'POST /{id}/messages']`.
    #[must_use]
    pub fn to_setting(&self) -> String {
        // A line of the log and JSON would escape double quotes, and that is no TOML. No rule has a single quote in it.
        let rules: Vec<_> = self.rules.keys().map(|rule| format!("'{rule}'")).collect();
        format!("allow = [{}]", rules.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenants::AllowRule;

    /// Adds the call of a request without a body.
    fn add(observed: &ObservedCalls, tenant: &TenantId, method: &str, path: &str) {
        observed.add(tenant, RulesOfCalls::new(method, path, &Calls::default()), &["inject"]);
    }

    fn of_default(observed: &ObservedCalls) -> CallsByRule {
        observed.by_tenant(|_| true, 1).remove(&TenantId::default()).unwrap()
    }

    fn observed(requests: &[(&str, &str)]) -> CallsByRule {
        let calls = ObservedCalls::default();
        for (method, path) in requests {
            add(&calls, &TenantId::default(), method, path);
        }
        of_default(&calls)
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
            "allow = ['GET /me', 'GET /{id}', 'POST /{id}/messages']"
        );
        assert_eq!(rules.others.calls, 0);
        assert!(rules.rules.keys().all(|rule| rule.parse::<AllowRule>().is_ok()));
    }

    #[test]
    fn each_rule_has_its_calls_and_what_would_have_been_done_with_them() {
        let (calls, tenant) = (ObservedCalls::default(), TenantId::default());
        for would in [&["inject"][..], &["replace", "heal"], &["replace"]] {
            calls.add(&tenant, RulesOfCalls::new("GET", "/v25.0/me", &Calls::default()), would);
        }
        calls.add(&tenant, RulesOfCalls::unknown(), &["refused_unreadable_body"]);
        let found = of_default(&calls);
        assert_eq!(found.rules.len(), 1);
        assert_eq!(found.rules["GET /me"].calls, 3);
        let would = &found.rules["GET /me"].would;
        assert_eq!(
            would.iter().collect::<Vec<_>>(),
            [(&"heal", &1), (&"inject", &1), (&"replace", &2)]
        );
        assert_eq!((found.others.calls, found.others.would.len()), (1, 1));
    }

    #[test]
    fn what_no_rule_describes_is_counted() {
        let rules = observed(&[
            ("GET", "/v25.0/Some.Name"),
            ("GET", "/v25.0/it's"),
            ("PROPFIND", "/v25.0/me"),
            ("GET", "/v25.0/me"),
        ]);
        assert_eq!(
            (rules.to_setting(), rules.others.calls),
            ("allow = ['GET /me']".to_owned(), 3)
        );
    }

    #[test]
    fn the_items_of_a_batch_are_calls_and_the_batch_is_not() {
        let calls = ObservedCalls::default();
        let mut in_body = Calls::default();
        in_body.add_form(
            br#"batch=[{"method":"GET","relative_url":"v25.0/1"},{"method":"POST","relative_url":"2/messages"}]"#,
        );
        let rules = RulesOfCalls::new("POST", "/v25.0/", &in_body);
        calls.add(&TenantId::default(), rules, &[]);
        let rules = of_default(&calls);
        assert_eq!(rules.to_setting(), "allow = ['GET /{id}', 'POST /{id}/messages']");
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
            add(&calls, &TenantId::default(), "GET", &path);
        }
        let rules = of_default(&calls);
        assert_eq!((rules.rules.len(), rules.others.calls), (MAX_RULES, 7));
        for number in 0..MAX_TENANTS + 7 {
            let tenant = TenantId::new(&format!("t{number}")).unwrap();
            add(&calls, &tenant, "GET", "/me");
        }
        assert_eq!(calls.by_tenant(|_| true, usize::MAX).len(), MAX_TENANTS);
    }
}
