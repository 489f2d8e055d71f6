//! Credentials and signs among the members of a JSON object, and among the parameters of a form or a query, that is in memory.
//!
//! Of JSON, only the members of the outermost object are looked at; elements of an array, and what is nested, are data.

use super::super::edit::{Edit, remove_members, remove_parameters};
use super::super::json::{Container, Member, Token, tokens};
use super::super::parameter::{ParameterKind, ParameterName, form_decode};
use super::super::text::SourceText;
use super::batch;
use super::member::{classify_member, parse_name};
use super::state::{Ruling, ScrubError, ScrubReport, ScrubRules, check_length};

/// Finds the edits that clean a form, or a query without its `?`.
///
/// # Errors
///
/// [`ScrubError`] if it may not be forwarded.
pub(super) fn form_edits(form: &[u8], rules: ScrubRules, report: &mut ScrubReport) -> Result<Vec<Edit>, ScrubError> {
    let text = SourceText::from_slice(form, 0);
    let (mut strongest, mut batches, mut checked) = (ParameterKind::Other, Vec::new(), Ok(()));
    let mut edits = remove_parameters(&text, 0..form.len(), |range| {
        let parameter = text.slice(range.clone());
        let Some((name, value)) = rules.read_encoded(parameter, &mut report.signs) else {
            return false;
        };
        checked = checked.and_then(|()| check_length(name, parameter.len()));
        if name == ParameterName::Batch {
            batches.push(range.end - value.len()..range.end);
            return false;
        }
        let kind = rules.classify(name, form_decode(value), &mut report.signs);
        strongest = strongest.max(kind);
        Ruling::REMOVE_ALL.removes(kind)
    });
    checked?;
    report.set_strongest(strongest, rules.credentials);
    let ruling = Ruling::new(strongest, rules.credentials)?;
    if ruling.keeps_token {
        edits = remove_parameters(&text, 0..form.len(), |range| {
            ruling.removes(rules.classify_encoded(text.slice(range), &mut report.signs))
        });
    }
    for value in batches {
        let batch = SourceText::from_form(text.slice(value.clone()), value.start);
        edits.extend(batch::find_edits(&batch, rules, report)?);
    }
    report.check_signs()?;
    Ok(edits)
}

/// Finds the edits that clean a JSON body.
///
/// # Errors
///
/// [`ScrubError`] if it may not be forwarded.
pub(super) fn json_edits(body: &[u8], rules: ScrubRules, report: &mut ScrubReport) -> Result<Vec<Edit>, ScrubError> {
    let text = SourceText::from_slice(body, 0);
    let whole = 0..body.len();
    if let Some(Token::Open(Container::Array, _)) = tokens(body, whole.clone()).next() {
        return Ok(Vec::new());
    }
    let (mut strongest, mut batches) = (ParameterKind::Other, Vec::new());
    let mut edits = remove_members(&text, whole.clone(), |member| {
        if parse_name(text.slice(member.name.clone())) == Some(ParameterName::Batch) {
            batches.push(member.clone());
        }
        let kind = classify_member(&text, member, rules, &mut report.signs);
        strongest = strongest.max(kind);
        Ruling::REMOVE_ALL.removes(kind)
    });
    report.set_strongest(strongest, rules.credentials);
    let ruling = Ruling::new(strongest, rules.credentials)?;
    if ruling.keeps_token {
        edits = remove_members(&text, whole, |member| {
            ruling.removes(classify_member(&text, member, rules, &mut report.signs))
        });
    }
    for Member { name, value } in batches {
        check_length(ParameterName::Batch, value.end - name.start)?;
        let start = value.start;
        let batch = match text.slice(value.clone()) {
            [b'"' | b'\'', ..] => text.unescape_at(value),
            array => SourceText::from_slice(array, start),
        };
        edits.extend(batch::find_edits(&batch, rules, report)?);
    }
    report.check_signs()?;
    Ok(edits)
}
