//! Credentials in the items of a `batch`: `[{"method":"GET","relative_url":"me?access_token=…"}, …]`.
//!
//! An item may hold them in the query of its `relative_url`, in its `body`, which is a form, an object, or a string
//! with either, and among its own members. The rules are those of a request, for each item by itself: its
//! placeholders go, a real token goes, stays or is refused, an app token stays if it is the only real one, and proofs
//! stay with a token that stays. A page's token is a real one: under [`ClientCredentialPolicy::Replace`] it goes. Items without a
//! token use the request's, and its proof proves that. Items that call a token endpoint are left alone.
//!
//! # Why
//!
//! php-graph-sdk puts token and proof into every item, koala where the token differs, and the strings hold strings.
//! So what has to change is noted as places in the outermost text, and every other byte of it stays.

use std::ops::Range;

use http::Uri;

use super::super::credential::ClientCredentialPolicy;
use super::super::lenient_json::{LexEvent, SourceText, lex, unescape};
use super::super::parameter::ParameterKind;
use super::super::target::Target;
use super::edit::{Edit, EditKind, ListRemovals, apply_edits};
use super::member;
use super::state::{ScrubError, ScrubMode, ScrubState};

/// Cleans the decoded value of a `batch`; `None`: nothing had to change. Under [`ScrubMode::Mask`], as `held` says it, the
/// result is as long as the value.
pub(super) fn scrub(
    decoded: &[u8],
    policy: ClientCredentialPolicy,
    scrub_state: &mut ScrubState,
) -> Result<Option<Vec<u8>>, ScrubError> {
    scrub_state.mark_batch();
    let edits = collect_edits(&SourceText::from_slice(decoded, 0), policy, scrub_state)?;
    Ok((!edits.is_empty()).then(|| apply_edits(decoded, &edits)))
}

/// What has to change in the document for the sake of the batch that is its part `batch`. In order.
pub(super) fn collect_edits(
    batch: &SourceText<'_>,
    policy: ClientCredentialPolicy,
    scrub_state: &mut ScrubState,
) -> Result<Vec<Edit>, ScrubError> {
    let mut edits = Vec::new();
    let mut start = None;
    for (event, at) in lex(batch.bytes()) {
        if event == LexEvent::ValueStart {
            start = Some(at);
        }
        if event != LexEvent::ValueEnd {
            continue;
        }
        let Some(start) = start.take() else { continue };
        let item = start..at;
        match batch.slice(item.clone()).first() {
            Some(b'{') => scrub_item(batch, item, policy, scrub_state, &mut edits)?,
            Some(b'"' | b'\'') => {
                let inner = batch.unescape_at(item);
                let whole = 0..inner.bytes().len();
                scrub_item(&inner, whole, policy, scrub_state, &mut edits)?;
            }
            Some(_) | None => {}
        }
    }
    Ok(edits)
}

fn scrub_item(
    text: &SourceText<'_>,
    item: Range<usize>,
    policy: ClientCredentialPolicy,
    scrub_state: &mut ScrubState,
    edits: &mut Vec<Edit>,
) -> Result<(), ScrubError> {
    let mut inspection = BatchScan::new(ScanTask::Inspect);
    inspection.scan_object(text, item.clone(), ObjectLevel::Item);
    if inspection.strongest == ParameterKind::Other {
        return Ok(());
    }
    let keep_token = match (inspection.strongest, policy) {
        _ if inspection.calls_token_endpoint => true,
        (ParameterKind::Token, ClientCredentialPolicy::Refuse) => {
            return Err(ScrubError::ClientCredential);
        }
        (ParameterKind::Token, ClientCredentialPolicy::Keep) | (ParameterKind::AppToken, _) => true,
        (ParameterKind::Token, ClientCredentialPolicy::Replace)
        | (ParameterKind::Placeholder | ParameterKind::Proof | ParameterKind::Other, _) => false,
    };
    if keep_token && inspection.strongest >= ParameterKind::AppToken {
        scrub_state.mark_item_token();
    }
    if inspection.calls_token_endpoint {
        return Ok(());
    }
    let mode = scrub_state.mode();
    let mut scan = BatchScan::new(ScanTask::Scrub { keep_token, mode });
    scan.scan_object(text, item, ObjectLevel::Item);
    scan.edits.sort_by_key(|edit| edit.range.start);
    edits.append(&mut scan.edits);
    Ok(())
}

/// One passage through an item.
struct BatchScan {
    task: ScanTask,
    /// The weightiest parameter.
    strongest: ParameterKind,
    /// Whether the item calls a token endpoint.
    calls_token_endpoint: bool,
    edits: Vec<Edit>,
}

/// What a passage is for.
#[derive(Clone, Copy)]
enum ScanTask {
    /// To see what there is.
    Inspect,
    /// To clean it; whether a token stays is known.
    Scrub { keep_token: bool, mode: ScrubMode },
}

/// Where an object stands.
#[derive(Clone, Copy, Eq, PartialEq)]
enum ObjectLevel {
    Item,
    Body,
}

// === impl BatchScan ===

impl BatchScan {
    const fn new(task: ScanTask) -> Self {
        Self {
            task,
            strongest: ParameterKind::Other,
            calls_token_endpoint: false,
            edits: Vec::new(),
        }
    }

    /// The members of an object.
    fn scan_object(&mut self, text: &SourceText<'_>, range: Range<usize>, level: ObjectLevel) {
        let start = range.start;
        let slice = text.slice(range);
        let mut removals = ListRemovals::default();
        let mut comma = None;
        let (mut name, mut value) = (start..start, None);
        for (event, at) in lex(slice) {
            let at = start + at;
            match event {
                LexEvent::Open(_) => removals.reset(),
                LexEvent::NameStart => {
                    removals.begin_element();
                    name = at..at;
                }
                LexEvent::NameEnd => name.end = at,
                LexEvent::ValueStart => {
                    if name.is_empty() {
                        removals.begin_element();
                    }
                    value = Some(at);
                }
                LexEvent::ValueEnd => {
                    let value = value.take().map_or(at..at, |value| value..at);
                    if self.scan_member(text, name.clone(), value, level) {
                        removals.remove(comma, name.start..at);
                    } else {
                        removals.keep_element();
                    }
                    (name, comma) = (at..at, None);
                }
                LexEvent::Comma if removals.end_separator(at) => {}
                LexEvent::Comma => comma = Some(at.saturating_sub(1)),
                LexEvent::Close => {}
            }
        }
        self.push_removals(text, removals);
    }

    /// Whether the member is to be cut.
    fn scan_member(
        &mut self,
        text: &SourceText<'_>,
        name: Range<usize>,
        value: Range<usize>,
        level: ObjectLevel,
    ) -> bool {
        if let Some(known) = member::parse_name(text.slice(name.clone())) {
            let kind = member::classify_member(known, text.slice(value.clone()));
            return match self.decide(kind) {
                ItemDecision::Keep => false,
                ItemDecision::Remove => true,
                ItemDecision::Mask => {
                    self.push_edit(text, Edit::mask_literal(text.bytes(), name));
                    self.push_edit(text, Edit::mask_literal(text.bytes(), value));
                    false
                }
            };
        }
        if level == ObjectLevel::Item {
            self.scan_item_member(text, name, value);
        }
        false
    }

    /// A member of an item that may hold parameters.
    fn scan_item_member(&mut self, text: &SourceText<'_>, name: Range<usize>, value: Range<usize>) {
        let is_named = |wanted: &[u8]| {
            let name = text.slice(name.clone());
            name == wanted || unescape(name).map(|(byte, _)| byte).eq(wanted.iter().copied())
        };
        let first = text.slice(value.clone()).first();
        let is_string = matches!(first, Some(b'"' | b'\''));
        if is_string && is_named(b"relative_url") {
            let url = text.unescape_at(value);
            self.calls_token_endpoint |= is_token_endpoint(url.bytes());
            let query = url.bytes().iter().position(|byte| *byte == b'?');
            if let Some(query) = query {
                self.scan_parameters(&url, query + 1);
            }
        } else if is_string && is_named(b"body") {
            let body = text.unescape_at(value);
            let end = body.bytes().len();
            match body.bytes().trim_ascii_start().first() {
                Some(b'{') => self.scan_object(&body, 0..end, ObjectLevel::Body),
                Some(_) | None => self.scan_parameters(&body, 0),
            }
        } else if first == Some(&b'{') && is_named(b"body") {
            self.scan_object(text, value, ObjectLevel::Body);
        }
    }

    /// The parameters of a form or a query, from `base_offset` to the end of the text.
    fn scan_parameters(&mut self, text: &SourceText<'_>, start: usize) {
        let mut removals = ListRemovals::default();
        let mut at = start;
        for parameter in text.slice(start..text.bytes().len()).split(|byte| *byte == b'&') {
            let range = at..at + parameter.len();
            at = range.end + 1;
            match self.decide(ParameterKind::from_encoded(parameter)) {
                ItemDecision::Keep => removals.keep_element(),
                ItemDecision::Remove => removals.remove(range.start.checked_sub(1), range.clone()),
                ItemDecision::Mask => {
                    let equals = parameter.iter().position(|byte| *byte == b'=');
                    let name = range.start..range.start + equals.unwrap_or(parameter.len());
                    let value = range.end.min(name.end + 1)..range.end;
                    for at in [name, value] {
                        self.push_edit(
                            text,
                            Edit {
                                range: at,
                                kind: EditKind::MaskString,
                            },
                        );
                    }
                    removals.keep_element();
                }
            }
            if at <= text.bytes().len() {
                removals.end_separator(at);
            }
        }
        // With the last parameter goes the question mark.
        if let (false, Some(first), Some(before)) =
            (removals.has_kept, removals.ranges.first_mut(), start.checked_sub(1))
        {
            first.start = before;
        }
        self.push_removals(text, removals);
    }

    /// What becomes of a parameter.
    fn decide(&mut self, kind: ParameterKind) -> ItemDecision {
        self.strongest = self.strongest.max(kind);
        match (self.task, kind) {
            (ScanTask::Inspect, _) | (_, ParameterKind::Other) => ItemDecision::Keep,
            (ScanTask::Scrub { keep_token: true, .. }, what) if what != ParameterKind::Placeholder => {
                ItemDecision::Keep
            }
            (ScanTask::Scrub { mode, .. }, _) => match mode {
                ScrubMode::Remove => ItemDecision::Remove,
                ScrubMode::Mask => ItemDecision::Mask,
            },
        }
    }

    fn push_edit(&mut self, text: &SourceText<'_>, Edit { range: at, kind: how }: Edit) {
        let at = text.place(at.start)..text.place(at.end);
        self.edits.push(Edit { range: at, kind: how });
    }

    fn push_removals(&mut self, text: &SourceText<'_>, removals: ListRemovals) {
        for at in removals.ranges {
            self.push_edit(
                text,
                Edit {
                    range: at,
                    kind: EditKind::Remove,
                },
            );
        }
    }
}

/// What becomes of one parameter.
enum ItemDecision {
    Keep,
    Remove,
    Mask,
}

/// Less the scheme and the host that some give.
fn is_token_endpoint(url: &[u8]) -> bool {
    let text = String::from_utf8_lossy(url);
    let path = text.find("://").and_then(|at| text.get(at + 3..));
    let path = path.and_then(|behind| behind.find('/').and_then(|at| behind.get(at..)));
    let path = path.unwrap_or(&text).trim_ascii().trim_start_matches('/');
    let uri = format!("/{path}").parse::<Uri>().ok();
    uri.and_then(|uri| Target::from_uri(&uri).ok())
        .is_some_and(|target| target.is_token_endpoint())
}

#[cfg(test)]
mod tests;
