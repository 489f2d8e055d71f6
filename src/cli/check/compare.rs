//! The properties of a token, and the comparison of a candidate with the current one.

use std::collections::BTreeSet;

use super::facts::{FoundObject, TokenFacts};
use super::report::{Finding, Level};
use crate::graph::{TokenKind, explain};
use crate::token::{ErrorKind, ObtainError};

/// What tokens are compared by: the topic, and the code and the level of the finding that a candidate lacks something of it.
pub(super) const PROPERTIES: [(&str, &str, Level); 5] = [
    ("kind", "other_kind", Level::Bad),
    ("app", "other_app", Level::Bad),
    ("accounts", "other_account", Level::Bad),
    ("number", "number_lost", Level::Bad),
    ("scopes", "scopes_lost", Level::Warning),
];

impl TokenFacts {
    /// A property of the token; `None` if it is unknown.
    pub(super) fn property(&self, topic: &str) -> Option<BTreeSet<String>> {
        let inspection = self.inspection()?;
        let is_usable = |found: &Result<FoundObject, ObtainError>| match found {
            Ok(FoundObject::Phone(_)) => true,
            Ok(FoundObject::Account(_)) => false,
            Err(error) => error.kind() == ErrorKind::Transient,
        };
        Some(match topic {
            "kind" => BTreeSet::from([kind_name(inspection.kind?).to_owned()]),
            "app" => BTreeSet::from([inspection.app_id.clone()?]),
            "accounts" if inspection.whatsapp_accounts.is_empty() => return None,
            "accounts" => inspection.whatsapp_accounts.iter().cloned().collect(),
            "scopes" => inspection.scopes.clone()?.into_iter().collect(),
            _ => {
                let usable = self.numbers.iter().filter(|number| is_usable(&number.found));
                usable.map(|number| number.id.clone()).collect()
            }
        })
    }
}

pub(super) const fn kind_name(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::User => "user",
        TokenKind::Page => "page",
        TokenKind::App => "app",
        TokenKind::SystemUser => "system user",
    }
}

/// The code of the finding that Graph rejects the candidate, which no `--force` changes.
const CANDIDATE_INVALID: &str = "candidate_invalid";

/// Compares a candidate with the current token. What is unknown of one of them is not compared.
pub(super) fn compare(current: &TokenFacts, candidate: &TokenFacts) -> Vec<Finding> {
    let [old, new] = [current, candidate].map(|facts| facts.token.secret.fingerprint());
    if old == new {
        return vec![Finding::new(
            Level::Note,
            "token",
            "same_token",
            "it is the current token",
        )];
    }
    let mut findings = vec![Finding::good("token", format!("{new} (current: {old})"))];
    if let Some(error) = candidate.inspection().and_then(|inspection| inspection.error.as_ref()) {
        findings.push(Finding::bad("token", CANDIDATE_INVALID, explain(error).summary));
    }
    if current.inspection().is_none() || candidate.inspection().is_none() {
        let message = "Graph could not be asked about both tokens, so they were not compared";
        findings.push(Finding::new(Level::Warning, "token", "not_compared", message));
        return findings;
    }
    for (topic, code, level) in PROPERTIES {
        let (Some(old), Some(new)) = (current.property(topic), candidate.property(topic)) else {
            continue;
        };
        let [was, is] = [&old, &new].map(|values| Vec::from_iter(values.iter().map(String::as_str)).join(", "));
        let message = if old == new {
            is
        } else {
            format!("{is} (current: {was})")
        };
        findings.push(if old.is_subset(&new) {
            Finding::good(topic, message)
        } else {
            Finding::new(level, topic, code, message)
        });
    }
    findings
}

/// Returns what the operator has to force: the differences after which what works now may not work any more.
pub(super) fn breaking(findings: &[Finding]) -> Vec<String> {
    let is_breaking = |finding: &&Finding| finding.level == Level::Bad && finding.code != CANDIDATE_INVALID;
    let breaking = findings.iter().filter(is_breaking);
    breaking
        .map(|finding| format!("{}: {}", finding.topic, finding.message))
        .collect()
}
