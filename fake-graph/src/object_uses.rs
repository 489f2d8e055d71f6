//! Which token came with which object: counts instead of a log, so that a test can send as many calls as it likes.

use std::collections::BTreeMap;

use serde::Serialize;

/// How many calls with one token named one object. A file counts as the object that it was uploaded to.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ObjectUse {
    /// The token's name, or its fingerprint.
    pub token: String,
    /// The object's id.
    pub object: String,
    /// The number of calls and batch items, whether the token was alive or not.
    pub calls: u64,
}

/// A call with a token that may not act on an object it names.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Violation {
    /// The token's name, or its fingerprint.
    pub token: String,
    /// The object's id.
    pub object: String,
    /// The name of the newest token that may act on it.
    pub owner: Option<String>,
    /// The effective method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The time, in seconds since 1970.
    pub at: i64,
}

/// The counts, and the first violations.
#[derive(Default)]
pub(crate) struct ObjectUseLog {
    calls: BTreeMap<String, BTreeMap<String, u64>>,
    pairs: usize,
    violations: Vec<Violation>,
    violation_count: u64,
}

// === impl ObjectUseLog ===

impl ObjectUseLog {
    /// Counts a call. Past the bound, only the pairs that are known are counted.
    pub(crate) fn count(&mut self, token: &str, object: &str) {
        if let Some(calls) = self.calls.get_mut(token).and_then(|objects| objects.get_mut(object)) {
            *calls += 1;
        } else if self.pairs < MAX_PAIRS {
            self.pairs += 1;
            let objects = self.calls.entry(token.to_owned()).or_default();
            objects.insert(object.to_owned(), 1);
        }
    }

    /// Records a violation. Past the bound, it is only counted.
    pub(crate) fn add_violation(&mut self, violation: Violation) {
        self.violation_count += 1;
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push(violation);
        }
    }

    /// The counts, by token and object.
    pub(crate) fn uses(&self) -> Vec<ObjectUse> {
        let uses = self.calls.iter().flat_map(|(token, objects)| {
            objects.iter().map(|(object, calls)| ObjectUse {
                token: token.clone(),
                object: object.clone(),
                calls: *calls,
            })
        });
        uses.collect()
    }

    pub(crate) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    pub(crate) const fn violation_count(&self) -> u64 {
        self.violation_count
    }
}

/// The number of pairs of token and object that are counted.
const MAX_PAIRS: usize = 200_000;
/// The number of violations that are kept.
const MAX_VIOLATIONS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_and_violations_are_bounded_but_known_pairs_and_the_number_of_violations_are_not() {
        let mut log = ObjectUseLog::default();
        for index in 0..MAX_PAIRS + 5 {
            log.count("a", &index.to_string());
        }
        log.count("a", "0");
        assert_eq!(log.uses().len(), MAX_PAIRS);
        assert_eq!(log.uses()[0].calls, 2);
        for _ in 0..MAX_VIOLATIONS + 5 {
            log.add_violation(Violation {
                token: "a".to_owned(),
                object: "1".to_owned(),
                owner: None,
                method: "GET".to_owned(),
                path: "/1".to_owned(),
                at: 0,
            });
        }
        assert_eq!(log.violations().len(), MAX_VIOLATIONS);
        assert_eq!(log.violation_count(), 1005);
    }
}
