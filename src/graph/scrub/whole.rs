//! Credentials among the members of a JSON object, and among the parameters of a form or a query, that is in memory.
//!
//! Of JSON, only the members of the outermost object are looked at; elements of an array, and what is nested, are data.

use std::ops::Range;

use memchr::memchr;

use super::super::credential::ClientCredentialPolicy;
use super::super::edit::{Edit, parameters, remove_members, remove_parameters};
use super::super::json::{Container, Token, tokens};
use super::super::parameter::{ParameterKind, ParameterName};
use super::super::text::SourceText;
use super::batch;
use super::member::{classify_member, parse_name};
use super::state::{Ruling, ScrubError, ScrubReport, check_length};

/// Finds the edits that clean a form, or a query without its `?`.
///
/// # Errors
///
/// [`ScrubError`] if it may not be forwarded.
pub(super) fn form_edits(
    form: &[u8],
    policy: ClientCredentialPolicy,
    report: &mut ScrubReport,
) -> Result<Vec<Edit>, ScrubError> {
    let (mut strongest, mut edits) = (ParameterKind::Other, Vec::new());
    for range in parameters(form, 0..form.len()) {
        let parameter = form.get(range.clone()).unwrap_or_default();
        // Most parameters start otherwise, and go free here.
        if !matches!(parameter.first(), Some(b'a' | b'b' | b'%')) {
            continue;
        }
        let equals = memchr(b'=', parameter).unwrap_or(parameter.len());
        let Some(name) = parameter.get(..equals).and_then(ParameterName::from_encoded) else {
            continue;
        };
        check_length(name, parameter.len())?;
        if name == ParameterName::Batch {
            let value = parameter.get(equals + 1..).unwrap_or_default();
            let batch = SourceText::from_form(value, range.start + equals + 1);
            edits.extend(batch::find_edits(&batch, policy, report)?);
        } else {
            strongest = strongest.max(ParameterKind::from_encoded(parameter));
        }
    }
    report.set_strongest(strongest, policy);
    let ruling = Ruling::new(strongest, policy)?;
    if strongest != ParameterKind::Other {
        let text = SourceText::from_slice(form, 0);
        let is_removed = |parameter: &[u8]| ruling.removes(ParameterKind::from_encoded(parameter));
        edits.extend(remove_parameters(&text, 0..form.len(), is_removed));
    }
    Ok(edits)
}

/// Finds the edits that clean a JSON body.
///
/// # Errors
///
/// [`ScrubError`] if it may not be forwarded.
pub(super) fn json_edits(
    body: &[u8],
    policy: ClientCredentialPolicy,
    report: &mut ScrubReport,
) -> Result<Vec<Edit>, ScrubError> {
    let text = SourceText::from_slice(body, 0);
    let whole = 0..body.len();
    let (mut strongest, mut edits) = (ParameterKind::Other, Vec::new());
    for token in tokens(body, whole.clone()) {
        match token {
            Token::Open(Container::Array, _) => break,
            Token::Member(member) if parse_name(text.slice(member.name.clone())) == Some(ParameterName::Batch) => {
                check_length(ParameterName::Batch, member.value.end - member.name.start)?;
                edits.extend(batch_edits(&text, member.value, policy, report)?);
            }
            Token::Member(member) => strongest = strongest.max(classify_member(&text, &member)),
            Token::Open(Container::Object, _) | Token::Comma(_) | Token::Close => {}
        }
    }
    report.set_strongest(strongest, policy);
    let ruling = Ruling::new(strongest, policy)?;
    if strongest != ParameterKind::Other {
        edits.extend(remove_members(&text, whole, |member| {
            ruling.removes(classify_member(&text, member))
        }));
    }
    Ok(edits)
}

/// The edits in a `batch` that is a string with an array, or an array.
fn batch_edits(
    text: &SourceText<'_>,
    value: Range<usize>,
    policy: ClientCredentialPolicy,
    report: &mut ScrubReport,
) -> Result<Vec<Edit>, ScrubError> {
    let start = value.start;
    match text.slice(value.clone()) {
        [b'"' | b'\'', ..] => batch::find_edits(&text.unescape_at(value), policy, report),
        array => batch::find_edits(&SourceText::from_slice(array, start), policy, report),
    }
}
