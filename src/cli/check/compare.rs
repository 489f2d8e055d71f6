//! The properties of a token, and the comparison of a candidate with the current one.

use std::collections::BTreeSet;

use super::facts::{FoundObject, TokenFacts};
use super::report::{Finding, Level};
use crate::graph::{TokenKind, explain};
use crate::token::{ErrorKind, ObtainError};
use crate::types::error_chain;

/// What tokens are compared by: the topic, the code and the level of the finding that a candidate lacks something of it, and the
/// code of the finding that it is unknown of the candidate alone.
pub(super) const PROPERTIES: [(&str, &str, Level, &str); 5] = [
    ("kind", "other_kind", Level::Bad, "kind_unknown"),
    ("app", "other_app", Level::Bad, "app_unknown"),
    ("accounts", "other_account", Level::Bad, "accounts_unknown"),
    ("number", "number_lost", Level::Bad, "number_unknown"),
    ("scopes", "scopes_lost", Level::Warning, "scopes_unknown"),
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
            _ if self.numbers.is_empty() => return None,
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
/// The code of the finding that Graph could not be asked about both tokens.
pub(super) const NOT_COMPARED: &str = "not_compared";

/// Compares a candidate with the current token. What is unknown of the current one is not compared, and if nothing is left that
/// tells accounts apart, a finding says so.
pub(super) fn compare(current: &TokenFacts, candidate: &TokenFacts) -> Vec<Finding> {
    let [old, new] = [current, candidate].map(|facts| facts.token.secret.fingerprint());
    if old == new {
        let message = "it is the current token";
        return vec![Finding::new(Level::Note, "token", "same_token", message)];
    }
    let mut findings = vec![Finding::good("token", format!("{new} (current: {old})"))];
    let invalid = candidate.inspection().and_then(|inspection| inspection.error.as_ref());
    if let Some(error) = invalid {
        findings.push(Finding::bad("token", CANDIDATE_INVALID, explain(error).summary));
    }
    if current.inspection().is_none() || candidate.inspection().is_none() {
        let failure =
            |facts: &TokenFacts| Some(format!(": {}", error_chain(facts.inspection.as_ref()?.as_ref().err()?)));
        let reason = failure(current).or_else(|| failure(candidate)).unwrap_or_default();
        let message = format!("Graph could not be asked about both tokens, so they were not compared{reason}");
        findings.push(Finding::new(Level::Warning, "token", NOT_COMPARED, message));
        return findings;
    }
    for (topic, code, level, unknown) in PROPERTIES {
        findings.extend(match (current.property(topic), candidate.property(topic)) {
            (Some(old), Some(new)) if old == new => Some(Finding::good(topic, list(&new))),
            (Some(old), Some(new)) => {
                let message = format!("{} (current: {})", list(&new), list(&old));
                Some(if old.is_subset(&new) {
                    Finding::good(topic, message)
                } else {
                    Finding::new(level, topic, code, message)
                })
            }
            // Graph tells app.id about the current token, and nothing about this one.
            (Some(old), None) if topic == "app" && candidate.is_hidden_from_app && !current.is_hidden_from_app => {
                let message = format!("another one (current: {})", list(&old));
                Some(Finding::new(level, topic, code, message))
            }
            (Some(old), None) if invalid.is_none() => {
                let message = format!("unknown (current: {})", list(&old));
                Some(Finding::new(Level::Warning, topic, unknown, message))
            }
            (Some(_) | None, _) => None,
        });
    }
    let says_little = |finding: &Finding| matches!(finding.topic, "token" | "scopes");
    if invalid.is_none() && findings.iter().all(says_little) {
        let message = "neither kind nor app, accounts or phone numbers are known of both, so they were not compared";
        findings.push(Finding::new(Level::Warning, "token", "nothing_compared", message));
    }
    findings
}

/// Decides whether a candidate of which this was found replaces the current token: returns what the operator should know; or what the
/// operator has to force, because what works now may not work any more, or that is unknown.
pub(super) fn decide(findings: &[Finding]) -> Result<String, String> {
    let is_breaking = |it: &Finding| it.level == Level::Bad && it.code != CANDIDATE_INVALID || it.code == NOT_COMPARED;
    let lines = |is_wanted: fn(&Finding) -> bool| -> String {
        let wanted = findings.iter().filter(|it| is_wanted(it));
        Vec::from_iter(wanted.map(|it| format!("{}: {}", it.topic, it.message))).join("; ")
    };
    match lines(is_breaking) {
        breaking if breaking.is_empty() => Ok(lines(|it| it.level == Level::Warning)),
        breaking => Err(breaking),
    }
}

fn list(values: &BTreeSet<String>) -> String {
    match Vec::from_iter(values.iter().map(String::as_str)).join(", ") {
        list if list.is_empty() => "none".to_owned(),
        list => list,
    }
}
