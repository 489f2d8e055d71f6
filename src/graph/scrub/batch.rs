//! Credentials in the items of a `batch`: `[{"method":"GET","relative_url":"me?access_token=…"}, …]`.
//!
//! An item may hold them in the query of its `relative_url`, in its `body`, which is a form, an object, or a string
//! with either, and among its own members. The rules are those of a request, for each item by itself: its
//! placeholders go, a real token goes, stays or is refused, an app token stays if it is the only real one, and proofs
//! stay with a token that stays. A page's token is a real one: under [`Presented::Replace`] it goes. Items without a
//! token use the request's, and its proof proves that. Items that call a token endpoint are left alone.
//!
//! # Why
//!
//! php-graph-sdk puts token and proof into every item, koala where the token differs, and the strings hold strings.
//! So what has to change is noted as places in the outermost text, and every other byte of it stays.

use std::ops::Range;

use http::Uri;

use super::super::json::{Event, Text, events, unescape};
use super::super::parameter::Parameter;
use super::super::presented::Presented;
use super::super::target::Target;
use super::edit::{Cuts, Edit, How, edited};
use super::held::{Held, Mode, ScrubError};
use super::member;

/// Cleans the decoded value of a `batch`; `None`: nothing had to change. Under [`Mode::Mask`], as `held` says it, the
/// result is as long as the value.
pub(super) fn clean(
    decoded: &[u8],
    policy: Presented,
    held: &mut Held,
) -> Result<Option<Vec<u8>>, ScrubError> {
    held.note_batch();
    let edits = edits(&Text::plain(decoded, 0), policy, held)?;
    Ok((!edits.is_empty()).then(|| edited(decoded, &edits)))
}

/// What has to change in the document for the sake of the batch that is its part `batch`. In order.
pub(super) fn edits(
    batch: &Text<'_>,
    policy: Presented,
    held: &mut Held,
) -> Result<Vec<Edit>, ScrubError> {
    let mut edits = Vec::new();
    let mut start = None;
    for (event, at) in events(batch.bytes()) {
        if event == Event::ValueStart {
            start = Some(at);
        }
        if event != Event::ValueEnd {
            continue;
        }
        let Some(start) = start.take() else { continue };
        let item = start..at;
        match batch.slice(item.clone()).first() {
            Some(b'{') => clean_item(batch, item, policy, held, &mut edits)?,
            Some(b'"' | b'\'') => {
                let inner = batch.unescaped(item);
                let whole = 0..inner.bytes().len();
                clean_item(&inner, whole, policy, held, &mut edits)?;
            }
            Some(_) | None => {}
        }
    }
    Ok(edits)
}

fn clean_item(
    text: &Text<'_>,
    item: Range<usize>,
    policy: Presented,
    held: &mut Held,
    edits: &mut Vec<Edit>,
) -> Result<(), ScrubError> {
    let mut survey = Sweep::new(Task::Survey);
    survey.object(text, item.clone(), Depth::Item);
    if survey.found == Parameter::Data {
        return Ok(());
    }
    let stays = match (survey.found, policy) {
        _ if survey.mints => true,
        (Parameter::Token, Presented::Refuse) => return Err(ScrubError::Presented),
        (Parameter::Token, Presented::Keep) | (Parameter::AppToken, _) => true,
        (Parameter::Token, Presented::Replace)
        | (Parameter::Placeholder | Parameter::Proof | Parameter::Data, _) => false,
    };
    if stays && survey.found >= Parameter::AppToken {
        held.note_own_item();
    }
    if survey.mints {
        return Ok(());
    }
    let mode = held.mode();
    let mut sweep = Sweep::new(Task::Clean { stays, mode });
    sweep.object(text, item, Depth::Item);
    sweep.edits.sort_by_key(|edit| edit.at.start);
    edits.append(&mut sweep.edits);
    Ok(())
}

/// One passage through an item.
struct Sweep {
    task: Task,
    /// The weightiest parameter.
    found: Parameter,
    /// Whether the item calls a token endpoint.
    mints: bool,
    edits: Vec<Edit>,
}

/// What a passage is for.
#[derive(Clone, Copy)]
enum Task {
    /// To see what there is.
    Survey,
    /// To clean it; whether a token stays is known.
    Clean { stays: bool, mode: Mode },
}

/// Where an object stands.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Depth {
    Item,
    Body,
}

// === impl Sweep ===

impl Sweep {
    const fn new(task: Task) -> Self {
        Self {
            task,
            found: Parameter::Data,
            mints: false,
            edits: Vec::new(),
        }
    }

    /// The members of an object.
    fn object(&mut self, text: &Text<'_>, range: Range<usize>, depth: Depth) {
        let start = range.start;
        let slice = text.slice(range);
        let mut cuts = Cuts::default();
        let mut comma = None;
        let (mut name, mut value) = (start..start, None);
        for (event, at) in events(slice) {
            let at = start + at;
            match event {
                Event::Open(_) => cuts.next(),
                Event::NameStart => {
                    cuts.begin();
                    name = at..at;
                }
                Event::NameEnd => name.end = at,
                Event::ValueStart => {
                    if name.is_empty() {
                        cuts.begin();
                    }
                    value = Some(at);
                }
                Event::ValueEnd => {
                    let value = value.take().map_or(at..at, |value| value..at);
                    if self.member(text, name.clone(), value, depth) {
                        cuts.cut(comma, name.start..at);
                    } else {
                        cuts.leave();
                    }
                    (name, comma) = (at..at, None);
                }
                Event::Comma if cuts.comma(at) => {}
                Event::Comma => comma = Some(at.saturating_sub(1)),
                Event::Close => {}
            }
        }
        self.apply(text, cuts);
    }

    /// Whether the member is to be cut.
    fn member(
        &mut self,
        text: &Text<'_>,
        name: Range<usize>,
        value: Range<usize>,
        depth: Depth,
    ) -> bool {
        if let Some(known) = member::named(text.slice(name.clone())) {
            let what = member::judged(known, text.slice(value.clone()));
            return match self.goes(what) {
                Fate::Stays => false,
                Fate::Cut => true,
                Fate::Masked => {
                    self.mask(text, Edit::masked(text.bytes(), name));
                    self.mask(text, Edit::masked(text.bytes(), value));
                    false
                }
            };
        }
        if depth == Depth::Item {
            self.part(text, name, value);
        }
        false
    }

    /// A member of an item that may hold parameters.
    fn part(&mut self, text: &Text<'_>, name: Range<usize>, value: Range<usize>) {
        let is = |wanted: &[u8]| {
            let name = text.slice(name.clone());
            name == wanted
                || unescape(name)
                    .map(|(byte, _)| byte)
                    .eq(wanted.iter().copied())
        };
        let first = text.slice(value.clone()).first();
        let is_string = matches!(first, Some(b'"' | b'\''));
        if is_string && is(b"relative_url") {
            let url = text.unescaped(value);
            self.mints |= is_token_endpoint(url.bytes());
            let query = url.bytes().iter().position(|byte| *byte == b'?');
            if let Some(query) = query {
                self.parameters(&url, query + 1);
            }
        } else if is_string && is(b"body") {
            let body = text.unescaped(value);
            let end = body.bytes().len();
            match body.bytes().trim_ascii_start().first() {
                Some(b'{') => self.object(&body, 0..end, Depth::Body),
                Some(_) | None => self.parameters(&body, 0),
            }
        } else if first == Some(&b'{') && is(b"body") {
            self.object(text, value, Depth::Body);
        }
    }

    /// The parameters of a form or a query, from `start` to the end of the text.
    fn parameters(&mut self, text: &Text<'_>, start: usize) {
        let mut cuts = Cuts::default();
        let mut at = start;
        for parameter in text
            .slice(start..text.bytes().len())
            .split(|byte| *byte == b'&')
        {
            let place = at..at + parameter.len();
            at = place.end + 1;
            match self.goes(Parameter::of(parameter)) {
                Fate::Stays => cuts.leave(),
                Fate::Cut => cuts.cut(place.start.checked_sub(1), place.clone()),
                Fate::Masked => {
                    let equals = parameter.iter().position(|byte| *byte == b'=');
                    let name = place.start..place.start + equals.unwrap_or(parameter.len());
                    let value = place.end.min(name.end + 1)..place.end;
                    for at in [name, value] {
                        self.mask(text, Edit { at, how: How::Text });
                    }
                    cuts.leave();
                }
            }
            if at <= text.bytes().len() {
                cuts.comma(at);
            }
        }
        // With the last parameter goes the question mark.
        if let (false, Some(first), Some(before)) =
            (cuts.left, cuts.cuts.first_mut(), start.checked_sub(1))
        {
            first.start = before;
        }
        self.apply(text, cuts);
    }

    /// What becomes of a parameter.
    fn goes(&mut self, what: Parameter) -> Fate {
        self.found = self.found.max(what);
        match (self.task, what) {
            (Task::Survey, _) | (_, Parameter::Data) => Fate::Stays,
            (Task::Clean { stays: true, .. }, what) if what != Parameter::Placeholder => {
                Fate::Stays
            }
            (Task::Clean { mode, .. }, _) => match mode {
                Mode::Cut => Fate::Cut,
                Mode::Mask => Fate::Masked,
            },
        }
    }

    fn mask(&mut self, text: &Text<'_>, Edit { at, how }: Edit) {
        let at = text.place(at.start)..text.place(at.end);
        self.edits.push(Edit { at, how });
    }

    fn apply(&mut self, text: &Text<'_>, cuts: Cuts) {
        for at in cuts.cuts {
            self.mask(text, Edit { at, how: How::Cut });
        }
    }
}

/// What becomes of one parameter.
enum Fate {
    Stays,
    Cut,
    Masked,
}

/// Less the scheme and the host that some give.
fn is_token_endpoint(url: &[u8]) -> bool {
    let text = String::from_utf8_lossy(url);
    let path = text.find("://").and_then(|at| text.get(at + 3..));
    let path = path.and_then(|behind| behind.find('/').and_then(|at| behind.get(at..)));
    let path = path.unwrap_or(&text).trim_ascii().trim_start_matches('/');
    let uri = format!("/{path}").parse::<Uri>().ok();
    uri.and_then(|uri| Target::as_sent(&uri).ok())
        .is_some_and(|target| target.is_token_endpoint())
}

#[cfg(test)]
mod tests;
