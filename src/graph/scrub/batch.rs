//! Credentials in the items of a `batch`: `[{"method":"GET","relative_url":"me?access_token=…"}, …]`.
//!
//! An item may have them in the query of its `relative_url`, in its `body`, which is a form, an object, or a string
//! with either, and among its own members. The rules are those of a request, applied to each item: placeholders are
//! removed, a real token is removed, kept or refused, an app token is kept if it is the only real one, and proofs are kept
//! with a kept token. A page's token is a real one: the policy `Replace` removes it. Items without a token use the request's
//! token and its proof. Items that call a token endpoint are not changed.
//!
//! # Why
//!
//! php-graph-sdk puts token and proof into every item, koala only where the token differs, and the strings contain strings.
//! So every change is an edit of the outermost text, and all other bytes of it are kept.

use std::ops::Range;

use memchr::memmem;

use super::super::calls::{LIST_BODY, NESTED_BATCH};
use super::super::credential::SignPolicy;
use super::super::edit::{Edit, remove_members, remove_parameters};
use super::super::json::{Member, Token, tokens};
use super::super::parameter::{ParameterKind, ParameterName};
use super::super::path::is_token_endpoint;
use super::super::sign::{TenantSigns, without_origin};
use super::super::text::{SourceText, is_named, unescape_all};
use super::member::{classify_member, parse_name};
use super::state::{Ruling, ScrubError, ScrubReport, ScrubRules};

/// Finds the edits that clean a batch.
///
/// # Errors
///
/// [`ScrubError::ClientCredential`] if the policy refuses a token of an item; [`ScrubError::CannotScrub`] if it is no JSON, such as
/// PHP's `batch[0][relative_url]=…`.
pub(super) fn find_edits(
    batch: &SourceText<'_>,
    rules: ScrubRules,
    report: &mut ScrubReport,
) -> Result<Vec<Edit>, ScrubError> {
    report.has_batch = true;
    let text = batch.bytes().trim_ascii();
    // It may be for another tenant. With one tenant, what Graph makes of it is all the same.
    if rules.signs == SignPolicy::Read && !matches!(text, [] | [b'[' | b'{', ..] | b"null") {
        return Err(ScrubError::CannotScrub("its batch is no list in JSON"));
    }
    let mut edits = Vec::new();
    for Member { value, .. } in tokens(batch.bytes(), 0..batch.bytes().len()).filter_map(Token::member) {
        match batch.slice(value.clone()).first() {
            Some(b'{') => edits.extend(item_edits(batch, value, rules, report)?),
            Some(b'"' | b'\'') => {
                let item = batch.unescape_at(value);
                let whole = 0..item.bytes().len();
                edits.extend(item_edits(&item, whole, rules, report)?);
            }
            Some(_) | None => {}
        }
    }
    Ok(edits)
}

fn item_edits(
    text: &SourceText<'_>,
    item: Range<usize>,
    rules: ScrubRules,
    report: &mut ScrubReport,
) -> Result<Vec<Edit>, ScrubError> {
    let mut scan = ItemScan::new(Ruling::REMOVE_ALL, rules, &mut report.signs);
    scan.scan_object(text, item.clone(), ObjectLevel::Item);
    // What cannot be read may be for another tenant.
    if let (SignPolicy::Read, Some(reason)) = (rules.signs, scan.unreadable) {
        return Err(ScrubError::CannotScrub(reason));
    }
    if scan.calls_token_endpoint {
        report.has_item_tokens |= scan.strongest >= ParameterKind::AppToken;
        return Ok(Vec::new());
    }
    let ruling = Ruling::new(scan.strongest, rules.credentials)?;
    if ruling.keeps_token {
        report.has_item_tokens = true;
        scan = ItemScan::new(ruling, rules, &mut report.signs);
        scan.scan_object(text, item, ObjectLevel::Item);
    }
    Ok(scan.edits)
}

/// One pass through an item.
struct ItemScan<'report> {
    rules: ScrubRules,
    /// The first pass assumes [`Ruling::REMOVE_ALL`].
    ruling: Ruling,
    /// The strongest parameter.
    strongest: ParameterKind,
    calls_token_endpoint: bool,
    /// Why it cannot be known what the item says, if it cannot.
    unreadable: Option<&'static str>,
    signs: &'report mut Option<Box<TenantSigns>>,
    edits: Vec<Edit>,
}

/// The object of an item that is read.
#[derive(Clone, Copy, Eq, PartialEq)]
enum ObjectLevel {
    Item,
    Body,
}

// === impl ItemScan ===

impl<'report> ItemScan<'report> {
    const fn new(ruling: Ruling, rules: ScrubRules, signs: &'report mut Option<Box<TenantSigns>>) -> Self {
        Self {
            rules,
            ruling,
            strongest: ParameterKind::Other,
            calls_token_endpoint: false,
            unreadable: None,
            signs,
            edits: Vec::new(),
        }
    }

    fn scan_object(&mut self, text: &SourceText<'_>, range: Range<usize>, level: ObjectLevel) {
        let edits = remove_members(text, range, |member| {
            let kind = match (level, parse_name(text.slice(member.name.clone()))) {
                (ObjectLevel::Item, None) => {
                    self.scan_item_member(text, member);
                    ParameterKind::Other
                }
                // An item has no ids besides those of its URL and its body.
                (ObjectLevel::Item, Some(ParameterName::ObjectIds)) => ParameterKind::Other,
                (ObjectLevel::Item | ObjectLevel::Body, name) => {
                    self.forbid_batch(name);
                    classify_member(text, member, self.rules, self.signs)
                }
            };
            self.is_removed(kind)
        });
        self.edits.extend(edits);
    }

    /// Looks for parameters in the value of a member of an item.
    fn scan_item_member(&mut self, text: &SourceText<'_>, member: &Member) {
        let (name, value) = (text.slice(member.name.clone()), member.value.clone());
        let first = text.slice(value.clone()).first();
        match first {
            Some(b'"' | b'\'') if is_named(name, b"relative_url") => {
                let url = text.unescape_at(value);
                self.calls_token_endpoint |= is_token_endpoint_url(url.bytes());
                self.add_relative_url(url.bytes());
                if let Some(mark) = memchr::memchr(b'?', url.bytes()) {
                    self.scan_parameters(&url, mark + 1);
                }
            }
            Some(b'"' | b'\'') if is_named(name, b"body") => {
                let body = text.unescape_at(value);
                match body.bytes().trim_ascii_start().first() {
                    Some(b'{') => self.scan_object(&body, 0..body.bytes().len(), ObjectLevel::Body),
                    Some(_) | None => self.scan_parameters(&body, 0),
                }
            }
            Some(_) if is_named(name, b"relative_url") => self.add_relative_url(text.slice(value)),
            Some(b'{') if is_named(name, b"body") => self.scan_object(text, value, ObjectLevel::Body),
            Some(b'[') if is_named(name, b"body") => self.unreadable = Some(LIST_BODY),
            Some(_) if is_named(name, b"headers") && has_credentials(text.slice(value)) => {
                self.unreadable = Some("an item of its batch has credentials among its headers");
            }
            Some(_) | None => {}
        }
    }

    fn forbid_batch(&mut self, name: Option<ParameterName>) {
        if name == Some(ParameterName::Batch) {
            self.unreadable = Some(NESTED_BATCH);
        }
    }

    fn add_relative_url(&mut self, url: &[u8]) {
        if self.rules.signs == SignPolicy::Read {
            self.signs.get_or_insert_default().add_relative_url(url);
        }
    }

    /// The parameters from `start` to the end of the text.
    fn scan_parameters(&mut self, text: &SourceText<'_>, start: usize) {
        let edits = remove_parameters(text, start..text.bytes().len(), |parameter| {
            let parameter = text.slice(parameter);
            self.forbid_batch(ParameterName::of_parameter(parameter).map(|(name, _)| name));
            let kind = self.rules.classify_encoded(parameter, self.signs);
            self.is_removed(kind)
        });
        self.edits.extend(edits);
    }

    fn is_removed(&mut self, kind: ParameterKind) -> bool {
        self.strongest = self.strongest.max(kind);
        self.ruling.removes(kind)
    }
}

/// Returns whether the headers of an item have one such as `Authorization`.
fn has_credentials(headers: &[u8]) -> bool {
    let headers: Vec<u8> = unescape_all(headers)
        .map(|(byte, _)| byte.to_ascii_lowercase())
        .collect();
    memmem::find(&headers, b"authorization").is_some()
}

/// Returns whether a relative URL, or an absolute one, is that of a token endpoint.
fn is_token_endpoint_url(url: &[u8]) -> bool {
    let text = String::from_utf8_lossy(url);
    let path = without_origin(&text).split(['?', '#']).next();
    path.is_some_and(is_token_endpoint)
}

#[cfg(test)]
mod tests;
