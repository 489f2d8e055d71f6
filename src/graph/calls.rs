//! The calls that a request makes besides its own: another method in its parameters, and the items of its batch.
//!
//! # Why
//!
//! Rules about calls are worth nothing if one spelling leads around them. Graph's own reading of parameters is not published:
//! it descends from PHP's. So a name counts if any known parser reads it, each method and each path that is found must be
//! allowed, and what cannot be read is refused. A spelling too many costs an unusual request, one too few an account.

use std::borrow::Cow;
use std::ops::Range;

use super::json::{Member, tokens};
use super::parameter::{form_decode, is_spelling, split_parameter};
use super::path::PathTemplate;
use super::text::{SourceText, unescape};

/// What the parameters of a request say about its calls.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Calls {
    /// The methods that stand among its parameters.
    pub methods: Vec<Box<str>>,
    /// The items of its batch.
    pub items: Vec<ItemCall>,
    /// Whether it has `ids`, which may say what it acts on.
    pub has_ids: bool,
    /// Why it cannot be known what it does, if it cannot.
    pub unreadable: Option<&'static str>,
}

/// The call of a batch item. It may name several methods and paths, of which Graph takes one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ItemCall {
    /// Its methods.
    pub methods: Vec<Box<str>>,
    /// Its paths.
    pub paths: Vec<Box<str>>,
}

/// A method that HTTP does not have. Only a rule for all methods allows it.
pub const UNKNOWN_METHOD: &str = "?";
/// The headers that some servers take for the method.
pub const METHOD_HEADERS: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

pub(super) const NESTED_BATCH: &str = "an item of its batch has a batch";
pub(super) const LIST_BODY: &str = "an item of its batch has a list as its body";
const NO_ITEM: &str = "its batch has an item that is not an object";

/// The names that decide what a request does.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Meaning {
    Method,
    Batch,
    Ids,
}

/// Where parameters stand.
enum Parameters<'calls> {
    Request(&'calls mut Calls),
    Item(&'calls mut ItemCall, &'calls mut Option<&'static str>),
}

// === impl Calls ===

impl Calls {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what was found elsewhere in the request.
    pub fn add(&mut self, other: Self) {
        self.methods.extend(other.methods);
        self.items.extend(other.items);
        self.has_ids |= other.has_ids;
        self.unreadable = self.unreadable.or(other.unreadable);
    }

    /// Adds a method that may stand in the place of the request's own.
    pub fn add_method(&mut self, method: impl Iterator<Item = u8>) {
        self.methods.push(normalized_method(method));
    }

    /// Adds what a form or a query says.
    pub fn add_form(&mut self, form: &[u8]) {
        Parameters::Request(self).read_form(form);
    }

    /// Adds what a JSON body says.
    pub fn add_json(&mut self, body: &[u8]) {
        let text = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii_start();
        match text.first() {
            None => {}
            Some(b'{') => Parameters::Request(self).read_object(&SourceText::from_slice(body, 0), 0..body.len()),
            Some(_) => self.unreadable = Some("its body is not a JSON object"),
        }
    }

    /// Adds a field of a multipart form. Its value is read only if it is a batch with that very name.
    pub(super) fn add_field_name(&mut self, name: &[u8]) {
        match meaning(name.iter().copied()) {
            Some(Meaning::Method) => self.methods.push(UNKNOWN_METHOD.into()),
            Some(Meaning::Batch) if name != b"batch" => self.unreadable = Some("its batch has an unusual name"),
            Some(Meaning::Ids) => self.has_ids = true,
            Some(Meaning::Batch) | None => {}
        }
    }

    /// Adds the items of a batch.
    pub(super) fn add_batch(&mut self, batch: &SourceText<'_>) {
        if !matches!(batch.bytes().trim_ascii_start().first(), Some(b'[' | b'{')) {
            self.unreadable = Some("its batch is not a list");
        }
        for member in tokens(batch.bytes(), 0..batch.bytes().len()).filter_map(|token| token.member()) {
            let value = member.value;
            match batch.slice(value.clone()).first() {
                Some(b'{') => self.add_item(batch, value),
                Some(b'"' | b'\'') => {
                    let item = batch.unescape_at(value);
                    match item.bytes().trim_ascii_start().first() {
                        Some(b'{') => self.add_item(&item, 0..item.bytes().len()),
                        Some(_) | None => self.unreadable = Some(NO_ITEM),
                    }
                }
                Some(_) | None => self.unreadable = Some(NO_ITEM),
            }
        }
    }

    fn add_item(&mut self, text: &SourceText<'_>, range: Range<usize>) {
        let mut item = ItemCall::default();
        for Member { name, value } in members(text, range) {
            let parameters = &mut Parameters::Item(&mut item, &mut self.unreadable);
            match (
                &*decoded_name(text.slice(name.clone())),
                text.slice(value.clone()).first(),
            ) {
                (b"relative_url", Some(b'"' | b'\'')) => {
                    let url = text.unescape_at(value);
                    parameters.read_url(&String::from_utf8_lossy(url.bytes()));
                }
                (b"relative_url", _) => {
                    self.unreadable = Some("an item of its batch has a relative_url that is no string");
                }
                (b"body", Some(b'"' | b'\'')) => {
                    let body = text.unescape_at(value);
                    match body.bytes().trim_ascii_start().first() {
                        Some(b'{') => parameters.read_object(&body, 0..body.bytes().len()),
                        Some(_) | None => parameters.read_form(body.bytes()),
                    }
                }
                (b"body", Some(b'{')) => parameters.read_object(text, value),
                (b"body", Some(b'[')) => self.unreadable = Some(LIST_BODY),
                _ => parameters.read_member(text, &Member { name, value }),
            }
        }
        if item.methods.is_empty() {
            item.methods.push(UNKNOWN_METHOD.into());
        }
        if item.paths.is_empty() {
            item.paths.push("/".into());
        }
        self.items.push(item);
    }
}

// === impl Parameters ===

impl Parameters<'_> {
    fn read_form(&mut self, form: &[u8]) {
        for parameter in form.split(|byte| matches!(byte, b'&' | b';')) {
            let (name, value) = split_parameter(parameter);
            match meaning(form_decode(name)) {
                Some(Meaning::Method) => self.add_method(normalized_method(form_decode(value))),
                Some(Meaning::Batch) => {
                    let is_plain = !form_decode(name).any(|byte| byte == b'[');
                    self.read_batch(is_plain.then(|| SourceText::from_form(value, 0)));
                }
                Some(Meaning::Ids) => self.set_ids(),
                None => {}
            }
        }
    }

    fn read_object(&mut self, text: &SourceText<'_>, range: Range<usize>) {
        for member in members(text, range) {
            self.read_member(text, &member);
        }
    }

    fn read_member(&mut self, text: &SourceText<'_>, member: &Member) {
        let name = decoded_name(text.slice(member.name.clone()));
        let literal = text.slice(member.value.clone());
        match (meaning(name.iter().copied()), literal.first()) {
            (Some(Meaning::Method), Some(b'"' | b'\'')) => {
                self.add_method(normalized_method(unescape(literal).map(|(byte, _)| byte)));
            }
            (Some(Meaning::Method), _) => self.add_method(UNKNOWN_METHOD.into()),
            (Some(Meaning::Batch), Some(b'"' | b'\'')) => self.read_batch(Some(text.unescape_at(member.value.clone()))),
            (Some(Meaning::Batch), _) => self.read_batch(Some(SourceText::from_slice(literal, 0))),
            (Some(Meaning::Ids), _) => self.set_ids(),
            (None, _) => {}
        }
    }

    /// Reads the batch of a request; an item has none.
    fn read_batch(&mut self, batch: Option<SourceText<'_>>) {
        match (self, batch) {
            (Self::Request(calls), Some(batch)) => calls.add_batch(&batch),
            (Self::Request(calls), None) => calls.unreadable = Some("its batch is not a list"),
            (Self::Item(_, unreadable), _) => **unreadable = Some(NESTED_BATCH),
        }
    }

    /// Reads the `relative_url` of an item, which may be absolute.
    fn read_url(&mut self, url: &str) {
        let is_padding = |letter: char| letter.is_ascii_whitespace() || letter.is_control();
        let url = url.trim_matches(is_padding);
        let rest = match url.split_once("://") {
            Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
            }
            Some(_) | None => url,
        };
        let (target, _fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        self.read_form(query.as_bytes());
        if let Self::Item(item, unreadable) = self {
            if path.starts_with("//") || path.contains('\\') || path.contains(is_padding) {
                **unreadable = Some("an item of its batch has a relative_url that can be read in more ways than one");
            }
            item.paths.push(path.into());
        }
    }

    fn add_method(&mut self, method: Box<str>) {
        match self {
            Self::Request(calls) => calls.methods.push(method),
            Self::Item(item, _) => item.methods.push(method),
        }
    }

    /// An item acts on `ids` only through its own path.
    const fn set_ids(&mut self) {
        if let Self::Request(calls) = self {
            calls.has_ids = true;
        }
    }
}

/// The name of a path in messages: ids are not shown.
#[must_use]
pub fn shown_path(path: &str) -> String {
    PathTemplate(path).to_string()
}

/// A method as rules write it: HEAD reads as GET does.
#[must_use]
pub fn normalized_method(method: impl Iterator<Item = u8>) -> Box<str> {
    let bytes: Vec<u8> = method.take(32).collect();
    let method = String::from_utf8_lossy(bytes.trim_ascii()).to_ascii_uppercase();
    match &*method {
        "HEAD" => "GET".into(),
        "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" => method.into_boxed_str(),
        _ => UNKNOWN_METHOD.into(),
    }
}

/// The meaning of a decoded name, in each of its [spellings](is_spelling), and in any case.
pub(super) fn meaning(name: impl Iterator<Item = u8> + Clone) -> Option<Meaning> {
    let name = name.map(|byte| byte.to_ascii_lowercase());
    let all: [(&[u8], _); 3] = [
        (b"method", Meaning::Method),
        (b"batch", Meaning::Batch),
        (b"ids", Meaning::Ids),
    ];
    let found = all.into_iter().find(|(known, _)| is_spelling(name.clone(), known));
    found.map(|(_, meaning)| meaning)
}

fn members(text: &SourceText<'_>, range: Range<usize>) -> impl Iterator<Item = Member> {
    tokens(text.bytes(), range).filter_map(|token| token.member())
}

/// The name of a member without quotes and escapes.
fn decoded_name(literal: &[u8]) -> Cow<'_, [u8]> {
    match literal.first() {
        Some(b'"' | b'\'') => unescape(literal).map(|(byte, _)| byte).collect::<Vec<_>>().into(),
        Some(_) | None => literal.into(),
    }
}

#[cfg(test)]
mod tests;
