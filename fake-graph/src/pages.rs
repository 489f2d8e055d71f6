//! Lists in pages: an account's phone numbers, and its message templates as an edge, in a batch, or nested in it.
//!
//! The URLs of the next and the previous page are absolute and on the effective version, and have the token in them
//! if it came as a parameter.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::call::{Call, CallCredential};
use crate::failure::GraphFailure;
use crate::reply::{Reply, served_version};
use crate::state::State;

/// The edge that can also be nested in its account.
pub(crate) const TEMPLATES_EDGE: &str = "message_templates";

/// A list of an object that is answered in pages.
pub(crate) struct PagedEdge<'a> {
    pub(crate) owner: &'a str,
    pub(crate) name: &'static str,
    pub(crate) length: usize,
    pub(crate) item: &'a dyn Fn(usize) -> Value,
}

/// A requested field: `message_templates.limit(2).after(x){name,status}`.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct FieldSpec<'a> {
    pub(crate) name: &'a str,
    modifiers: &'a str,
    subfields: Option<&'a str>,
}

/// The requested part of the list.
struct PageRequest<'a> {
    limit: Option<String>,
    after: Option<String>,
    before: Option<String>,
    fields: Option<&'a str>,
}

/// `GET /{waba-id}/message_templates`
pub(crate) fn templates(state: &State, call: &Call, id: &str) -> Result<Reply, GraphFailure> {
    let mut page = list(state, call, &PagedEdge::templates(id))?;
    if let (Some(fields), Some(page)) = (call.text("summary"), page.as_object_mut()) {
        page.insert("summary".to_owned(), summary(&fields));
    }
    Ok(Reply::json(&page))
}

/// The page of a list that a call asks for.
pub(crate) fn list(state: &State, call: &Call, edge: &PagedEdge<'_>) -> Result<Value, GraphFailure> {
    let fields = call.text("fields");
    let asked = PageRequest {
        limit: call.text("limit"),
        after: call.text("after"),
        before: call.text("before"),
        fields: fields.as_deref(),
    };
    render_page(state, call, edge, &asked, call.paging_params())
}

/// The same list as a field of the account.
pub(crate) fn nested_templates(
    state: &State,
    call: &Call,
    id: &str,
    field: &FieldSpec<'_>,
) -> Result<Value, GraphFailure> {
    let asked = PageRequest {
        limit: field.modifier("limit"),
        after: field.modifier("after"),
        before: field.modifier("before"),
        fields: field.subfields,
    };
    let kept = field.subfields.map(|inner| ("fields", inner));
    render_page(state, call, &PagedEdge::templates(id), &asked, kept.into_iter())
}

fn render_page<'a>(
    state: &State,
    call: &'a Call,
    edge: &PagedEdge<'_>,
    request: &PageRequest<'_>,
    params: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Value, GraphFailure> {
    let limit = request.limit.as_ref().and_then(|limit| limit.parse().ok());
    let limit: usize = limit.unwrap_or(25).clamp(1, 100);
    let first = match (
        parse_cursor(request.after.as_deref())?,
        parse_cursor(request.before.as_deref())?,
    ) {
        (Some(after), _) => after.saturating_add(1),
        (None, Some(before)) => before.saturating_sub(limit),
        (None, None) => 0,
    };
    let end = first.saturating_add(limit).min(edge.length);
    let data = (first..end).map(|index| select_fields((edge.item)(index), request.fields));
    let mut answer = json!({"data": data.collect::<Vec<_>>()});
    if first >= end {
        return Ok(answer);
    }

    let token = match &call.credential {
        CallCredential::Parameter(token) => Some(("access_token", token.as_str())),
        CallCredential::Header(_) | CallCredential::Missing => None,
    };
    let kept: String = token
        .into_iter()
        .chain(params)
        .map(|(name, value)| format!("{}={}&", percent_encode(name), percent_encode(value)))
        .collect();
    let origin = &state.config.graph_origin;
    let version = served_version(call.version);
    let link = |direction: &str, cursor: &str| {
        let PagedEdge { owner, name, .. } = edge;
        format!("{origin}/{version}/{owner}/{name}?{kept}limit={limit}&{direction}={cursor}")
    };
    let (before, after) = (format!("{CURSOR_PREFIX}{first}"), format!("{CURSOR_PREFIX}{}", end - 1));
    let mut paging = json!({"cursors": {"before": before, "after": after}});
    if let Some(paging) = paging.as_object_mut() {
        if end < edge.length {
            paging.insert("next".to_owned(), link("after", &after).into());
        }
        if first > 0 {
            paging.insert("previous".to_owned(), link("before", &before).into());
        }
    }
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("paging".to_owned(), paging);
    }
    Ok(answer)
}

/// The number of templates.
const TEMPLATE_COUNT: usize = 57;
/// The first letters of a cursor. After it comes an index, which clients must not use.
const CURSOR_PREFIX: &str = "QVFIUmxZA";

/// The index in a cursor.
fn parse_cursor(cursor: Option<&str>) -> Result<Option<usize>, GraphFailure> {
    let Some(cursor) = cursor else {
        return Ok(None);
    };
    let index = cursor.strip_prefix(CURSOR_PREFIX).unwrap_or("none");
    index
        .parse()
        .map(Some)
        .map_err(|_number| GraphFailure::new(100, "(#100) Invalid cursors values."))
}

fn template_at(index: usize) -> Value {
    json!({
        "name": format!("fake_template_{index}"),
        "language": "en_US",
        "status": "APPROVED",
        "category": "UTILITY",
        "parameter_format": "POSITIONAL",
        "components": [{"type": "BODY", "text": "Your code is {{1}}."}],
        "id": (900_000_000_000_000_usize + index).to_string(),
    })
}

/// The summary of all templates, in the requested fields.
fn summary(fields: &str) -> Value {
    let mut summary = json!({
        "total_count": TEMPLATE_COUNT,
        "message_template_count": TEMPLATE_COUNT,
        "message_template_limit": 250,
        "are_translations_complete": true,
    });
    if let Some(summary) = summary.as_object_mut() {
        summary.retain(|name, _| fields.split(',').any(|field| field.trim() == name));
    }
    summary
}

fn percent_encode(text: &str) -> String {
    const KEEP: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, &KEEP).to_string()
}

/// Keeps the requested fields and the id.
pub(crate) fn select_fields(mut object: Value, requested: Option<&str>) -> Value {
    if let (Some(asked), Some(object)) = (requested, object.as_object_mut()) {
        object.retain(|name, _| name == "id" || parse_fields(asked).any(|field| field.name == name));
    }
    object
}

/// Splits a list of fields at the commas outside of brackets.
pub(crate) fn parse_fields(text: &str) -> impl Iterator<Item = FieldSpec<'_>> {
    let mut depth = 0_usize;
    let between = move |letter: char| {
        match letter {
            '{' | '(' => depth += 1,
            '}' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    };
    text.split(between).map(FieldSpec::new)
}

// === impl PagedEdge ===

impl<'a> PagedEdge<'a> {
    /// The message templates of an account.
    const fn templates(owner: &'a str) -> Self {
        Self {
            owner,
            name: TEMPLATES_EDGE,
            length: TEMPLATE_COUNT,
            item: &template_at,
        }
    }
}

// === impl FieldSpec ===

impl<'a> FieldSpec<'a> {
    fn new(text: &'a str) -> Self {
        let text = text.trim();
        let (outer, subfields) = match text.split_once('{') {
            Some((outer, rest)) => (outer, Some(rest.strip_suffix('}').unwrap_or(rest))),
            None => (text, None),
        };
        let (name, modifiers) = outer.split_once('.').unwrap_or((outer, ""));
        Self {
            name,
            modifiers,
            subfields,
        }
    }

    /// `limit(2)` of `limit(2).after(x)`.
    fn modifier(&self, name: &str) -> Option<String> {
        self.modifiers.split('.').find_map(|modifier| {
            let value = modifier.strip_prefix(name)?.strip_prefix('(')?;
            Some(value.strip_suffix(')')?.to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_modifiers_and_fields_of_their_own() {
        let found: Vec<_> = parse_fields("id, message_templates.limit(2).after(a,b){name,status},name").collect();
        assert_eq!(found.len(), 3);
        assert_eq!(found[1].name, TEMPLATES_EDGE);
        assert_eq!(found[1].modifier("limit").unwrap(), "2");
        assert_eq!(found[1].modifier("after").unwrap(), "a,b");
        assert_eq!(found[1].subfields, Some("name,status"));
        assert_eq!((found[2].name, found[2].subfields), ("name", None));
    }
}
