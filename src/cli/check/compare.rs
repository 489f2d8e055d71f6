//! The comparison of a candidate with the current token: another kind, app or account breaks what works now.

use std::collections::BTreeSet;

use super::diagnose::{end_of, kind_name};
use super::facts::{NumberAnswer, TokenFacts};
use super::report::{Finding, Level};
use crate::graph::{Expiry, Inspection, explain};
use crate::types::Rfc3339Timestamp;

/// The code of the finding that Graph rejects the candidate, which no `--force` changes.
const CANDIDATE_INVALID: &str = "candidate_invalid";

/// Returns what the operator has to force: the differences after which what works now may not work any more.
pub(in super::super) fn breaking(findings: &[Finding]) -> Vec<String> {
    let is_breaking = |finding: &&Finding| finding.level == Level::Bad && finding.code != CANDIDATE_INVALID;
    let breaking = findings.iter().filter(is_breaking);
    breaking
        .map(|finding| format!("{}: {}", finding.topic, finding.message))
        .collect()
}

/// Compares a candidate with the current token. A finding that is bad needs the operator's `--force`.
pub(in super::super) fn compare(current: &TokenFacts, candidate: &TokenFacts) -> Vec<Finding> {
    let fingerprint = |facts: &TokenFacts| facts.token.secret.fingerprint();
    if fingerprint(current) == fingerprint(candidate) {
        let message = "the candidate is the current token";
        return vec![Finding::new(Level::Note, "token", "same_token", message)];
    }
    let message = format!("{} would replace {}", fingerprint(candidate), fingerprint(current));
    let mut findings = vec![Finding::good("token", message)];
    let inspections = current.inspection().zip(candidate.inspection());
    let Some((old, new)) = inspections else {
        let message = "Graph could not be asked about both tokens, so they were not compared";
        findings.push(Finding::new(Level::Warning, "token", "not_compared", message));
        return findings;
    };
    if let Some(error) = &new.error {
        findings.push(Finding::new(
            Level::Bad,
            "token",
            CANDIDATE_INVALID,
            explain(error).summary,
        ));
    }
    let kinds = [old, new].map(|inspection| inspection.kind.map(kind_name));
    findings.extend(same("kind", "other_kind", kinds));
    findings.extend(same(
        "app",
        "other_app",
        [old, new].map(|inspection| inspection.app_id.as_deref()),
    ));
    findings.extend(owner(old, new));
    findings.extend(accounts(old, new));
    findings.extend(numbers(current, candidate));
    findings.extend(scopes(old, new));
    let end = |facts: &TokenFacts, inspection| match end_of(facts, inspection) {
        Expiry::At(at) => Rfc3339Timestamp(at).to_string(),
        Expiry::Never => "never".to_owned(),
        Expiry::Unknown => "unknown".to_owned(),
    };
    let message = format!("{} (current: {})", end(candidate, new), end(current, old));
    findings.push(Finding::good("end", message));
    findings
}

/// A property that must be the same, where it is known of both.
fn same(topic: &'static str, code: &'static str, [old, new]: [Option<&str>; 2]) -> Option<Finding> {
    let (old, new) = old.zip(new)?;
    if old == new {
        return Some(Finding::good(topic, new));
    }
    let message = format!("{new} (current: {old})");
    Some(Finding::new(Level::Bad, topic, code, message))
}

/// Another person or system user may own the successor of a token.
fn owner(old: &Inspection, new: &Inspection) -> Option<Finding> {
    let (old, new) = old.user_id.as_ref().zip(new.user_id.as_ref())?;
    let message = format!("{new} (current: {old})");
    (old != new).then(|| Finding::new(Level::Note, "user", "other_user", message))
}

/// The accounts that the current token names must be among those of the candidate.
fn accounts(old: &Inspection, new: &Inspection) -> Option<Finding> {
    let [before, after] = [old, new].map(|inspection| inspection.whatsapp_accounts.iter().collect::<BTreeSet<_>>());
    if before.is_empty() || after.is_empty() {
        return None;
    }
    let lost = joined(before.difference(&after).copied());
    if lost.is_empty() {
        return Some(Finding::good("accounts", joined(after.into_iter())));
    }
    let message = format!("the candidate lacks {lost}; it has {}", joined(after.into_iter()));
    Some(Finding::new(Level::Bad, "accounts", "other_account", message))
}

/// The phone numbers that work now must work with the candidate.
fn numbers(current: &TokenFacts, candidate: &TokenFacts) -> Vec<Finding> {
    let is_phone = |answer: &NumberAnswer| matches!(answer, NumberAnswer::Phone(_));
    let works = current.numbers.iter().filter(|number| is_phone(&number.answer));
    let finding = |id: &str| {
        let found = candidate.numbers.iter().find(|number| number.id == id)?;
        Some(match &found.answer {
            NumberAnswer::Phone(_) => Finding::good("number", id),
            NumberAnswer::Refused(refused) if refused.is_transient => {
                let message = format!("Graph could not be asked about {id}: {}", refused.text);
                Finding::new(Level::Warning, "number", "not_asked", message)
            }
            NumberAnswer::Refused(_) | NumberAnswer::Account(_) | NumberAnswer::NoId => {
                let message = format!("the candidate may not use the phone number id {id}");
                Finding::new(Level::Bad, "number", "number_lost", message)
            }
        })
    };
    works.filter_map(|number| finding(&number.id)).collect()
}

fn scopes(old: &Inspection, new: &Inspection) -> Option<Finding> {
    let (old, new) = old.scopes.as_ref().zip(new.scopes.as_ref())?;
    let [before, after] = [old, new].map(|scopes| scopes.iter().collect::<BTreeSet<_>>());
    let lost = joined(before.difference(&after).copied());
    if lost.is_empty() {
        return Some(Finding::good("scopes", joined(after.into_iter())));
    }
    let message = format!("the candidate lacks {lost}");
    Some(Finding::new(Level::Warning, "scopes", "scopes_lost", message))
}

fn joined<T: AsRef<str>>(ids: impl Iterator<Item = T>) -> String {
    let ids: Vec<_> = ids.collect();
    let ids: Vec<_> = ids.iter().map(AsRef::as_ref).collect();
    ids.join(", ")
}
