//! Credentials in request bodies, found and removed, and what the bodies say about the tenant.
//!
//! A body is a form, a multipart form or JSON. [`scrub`] cleans one that is in memory; [`Scrubber`] cleans a multipart
//! form that streams, in chunks of any size, and its output does not depend on the chunks. A body without a type is a
//! form, and so is plain text. Graph reads no parameters from bodies of other kinds. A body with a `Content-Encoding`
//! is not searched, although Graph reads it: Meta's mobile SDKs compress forms.
//!
//! The rules are those of a query ([`Target::from_app`](super::target::Target::from_app)): placeholders are always removed;
//! a real token is removed, kept or refused; app tokens are kept if they are the only real ones; proofs are removed unless
//! a token is kept. A form that streams differs in two points: a part that was removed, and turns out to be one to
//! keep, is put back at the end, and a form whose length was declared is masked ([`ScrubMode::Mask`]), not shortened.
//!
//! # Why
//!
//! A parameter overrides the header, so a stale token in a body defeats graphward's token. Parsing a body and serializing
//! it again would be simpler, but Graph is older than most of the rules that a parser would apply. So only what is needed
//! is parsed: all other bytes are forwarded unchanged and in order, and what no known parser reads a token from is not
//! changed.
//!
//! JSON and forms are read whole: apps send a few kilobytes of them, and one reader of a whole text replaces a state
//! machine that could stop at any byte. Files come as multipart forms, and a file of two gigabytes must stream.

mod batch;
mod boundary;
mod member;
mod multipart;
mod output;
mod part;
mod state;
mod whole;

use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use memchr::memchr;
use memchr::memmem::Finder;

use super::calls::Calls;
use super::credential::{ClientCredentialPolicy, SignPolicy};
use super::edit::{apply, apply_in_place};
use super::hints::RequestHints;
use super::parameter::parse_hex;
use super::sign::TenantSigns;
pub use state::{ScrubError, ScrubMode, ScrubReport, ScrubRules};

use multipart::MultipartScrubber;
use output::ScrubOutput;
use state::{InputState, ScrubState};

/// The largest JSON body or form that is read whole in order to be cleaned, in bytes.
pub const MAX_WHOLE_BYTES: u64 = 8 * 1024 * 1024;

/// A kind of body that may have parameters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BodyFormat {
    /// `application/x-www-form-urlencoded`
    Form,
    /// `application/json`
    Json,
    /// `multipart/form-data`
    Multipart {
        /// The line between two parts, without its dashes.
        boundary: Box<[u8]>,
    },
}

/// Cleans a multipart form while it streams.
#[derive(Debug)]
pub struct Scrubber {
    multipart: MultipartScrubber,
    state: ScrubState,
}

/// Substrings, one of which is in each name of a credential, a proof or a batch.
static CREDENTIAL_NAME_FINDERS: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| ["_token", "appsecret_", "batch"].map(Finder::new));
/// A part of each name of a parameter with ids.
static ID_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("id"));

/// Cleans a body that is in memory. A body that need not change is returned as it is.
///
/// # Errors
///
/// [`ScrubError`] if the body may not be forwarded.
pub fn scrub(format: &BodyFormat, rules: ScrubRules, body: Bytes) -> Result<(Bytes, ScrubReport), ScrubError> {
    let hints = RequestHints::from_body(&body);
    let mut report = ScrubReport {
        hints,
        ..ScrubReport::default()
    };
    let edits = match format {
        BodyFormat::Form => whole::form_edits(&body, rules, &mut report)?,
        BodyFormat::Json if may_contain_parameters(&body, rules) => whole::json_edits(&body, rules, &mut report)?,
        BodyFormat::Json => Vec::new(),
        BodyFormat::Multipart { boundary } => {
            let (edited, report) = multipart::scrub_in_memory(boundary, rules, &body)?;
            return Ok((edited.unwrap_or(body), ScrubReport { hints, ..report }));
        }
    };
    if edits.is_empty() {
        return Ok((body, report));
    }
    report.is_changed = true;
    Ok((apply_in_place(body, edits), report))
}

/// Finds the calls that a body in memory makes.
///
/// # Errors
///
/// [`ScrubError`] if a field of a multipart form is too long to be read.
pub fn find_calls(format: &BodyFormat, body: &[u8]) -> Result<Calls, ScrubError> {
    let mut calls = Calls::default();
    match format {
        BodyFormat::Form => calls.add_form(body),
        BodyFormat::Json => calls.add_json(body),
        BodyFormat::Multipart { boundary } => {
            let rules = ScrubRules::new(ClientCredentialPolicy::Keep, SignPolicy::Ignore);
            let mut scrubber = Scrubber::new(boundary, rules, ScrubMode::Mask).finding_calls();
            let mut discarded = BytesMut::new();
            scrubber.push(body, &mut discarded)?;
            calls = scrubber
                .finish(&mut discarded)?
                .calls
                .map(|calls| *calls)
                .unwrap_or_default();
        }
    }
    Ok(calls)
}

/// Cleans a query, which is a form: without its `?`.
///
/// # Errors
///
/// [`ScrubError`] if it may not be forwarded.
pub fn scrub_query(query: &str, rules: ScrubRules) -> Result<(Option<Bytes>, ScrubReport), ScrubError> {
    let mut report = ScrubReport::default();
    let edits = whole::form_edits(query.as_bytes(), rules, &mut report)?;
    if edits.is_empty() {
        return Ok((None, report));
    }
    report.is_changed = true;
    Ok((Some(apply(query.as_bytes(), edits).into()), report))
}

/// Returns whether a JSON body may contain parameters that mean something. Nearly all bodies are short JSON messages. One without
/// these substrings, and without an escape that may spell a letter of a name, contains none of the names, even for a tolerant
/// parser.
fn may_contain_parameters(body: &[u8], rules: ScrubRules) -> bool {
    may_spell_a_letter(body)
        || CREDENTIAL_NAME_FINDERS.iter().any(|name| name.find(body).is_some())
        || (rules.signs == SignPolicy::Read && may_contain_ids(body))
}

/// Returns whether a JSON text has `id`, `ids` or `phone_number_id` as a word, other than as the first name of a nested object: many
/// messages have `"image":{"id":"…"}`, and need not be read for that.
fn may_contain_ids(text: &[u8]) -> bool {
    ID_FINDER.find_iter(text).any(|at| {
        let (before, after) = text.split_at_checked(at).unwrap_or_default();
        let after = after.get(2..).unwrap_or_default();
        let after = after.strip_prefix(b"s").unwrap_or(after);
        let is_end = after.first().is_none_or(|byte| !is_name_byte(*byte));
        let before = before.strip_suffix(b"phone_number_").unwrap_or(before);
        let is_nested = matches!(before, [b'{', .., b'{', b'"']);
        is_end && !is_nested && before.last().is_none_or(|byte| !is_name_byte(*byte))
    })
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Returns whether an escape in a JSON text may stand for a letter, a digit or `_`: one of ASCII's, or one that JSON does not
/// have. Line breaks, quotation marks, umlauts and emojis do not, and nearly every message has one of those.
fn may_spell_a_letter(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some((_before, escape)) = memchr(b'\\', rest).and_then(|at| rest.split_at_checked(at + 1)) {
        let length = match escape {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 1,
            [b'u', digits @ ..] => match digits.get(..4).and_then(parse_hex) {
                Some(code) if !u8::try_from(code).is_ok_and(is_name_byte) => 5,
                Some(_) | None => return true,
            },
            _ => return true,
        };
        rest = escape.get(length..).unwrap_or_default();
    }
    false
}

/// Returns whether a body has a content coding.
fn is_encoded(headers: &HeaderMap) -> bool {
    let is_identity = |coding: &[u8]| {
        let coding = coding.trim_ascii();
        coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")
    };
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    !codings.all(|coding| is_identity(coding.as_bytes()))
}

// === impl BodyFormat ===

impl BodyFormat {
    /// The format of a body with these headers; `None` if it has no parameters, or none that can be read.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        Self::of_type(headers).filter(|_| !is_encoded(headers))
    }

    /// Returns whether a body with these headers has parameters that cannot be read, because it is compressed.
    #[must_use]
    pub fn is_hidden(headers: &HeaderMap) -> bool {
        is_encoded(headers) && Self::of_type(headers).is_some()
    }

    fn of_type(headers: &HeaderMap) -> Option<Self> {
        // fbgraph (npm) sends its forms without a type, and Graph reads them.
        let Some(content_type) = headers.get(CONTENT_TYPE) else {
            return Some(Self::Form);
        };
        let content_type = content_type.as_bytes();
        let end = memchr::memchr2(b';', b',', content_type).unwrap_or(content_type.len());
        let (kind, parameters) = content_type.split_at_checked(end)?;
        let kind = kind.trim_ascii();
        if kind.eq_ignore_ascii_case(b"application/json") {
            Some(Self::Json)
        } else if kind.eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
            // HHVM reads plain text as a form, too, and it is the type that `fetch` gives to a string.
            || kind.eq_ignore_ascii_case(b"text/plain")
        {
            Some(Self::Form)
        } else if kind.eq_ignore_ascii_case(b"multipart/form-data") {
            let boundary = part::parameter_value(parameters.get(1..)?, b"boundary")?;
            (!boundary.is_empty()).then(|| Self::Multipart {
                boundary: boundary.into(),
            })
        } else {
            None
        }
    }
}

// === impl Scrubber ===

impl Scrubber {
    /// Cleans a multipart form with this boundary.
    #[must_use]
    pub fn new(boundary: &[u8], rules: ScrubRules, mode: ScrubMode) -> Self {
        Self {
            multipart: MultipartScrubber::new(boundary),
            state: ScrubState::new(rules, mode),
        }
    }

    /// Finds the calls that the form makes, too.
    #[must_use]
    pub fn finding_calls(mut self) -> Self {
        self.state.report.calls = Some(Box::default());
        self
    }

    /// Takes the next bytes, and appends to `out` what may be forwarded.
    ///
    /// # Errors
    ///
    /// [`ScrubError`] if the form may not be forwarded. This must not be called again then.
    pub fn push(&mut self, data: &[u8], out: &mut BytesMut) -> Result<(), ScrubError> {
        self.feed(data, InputState::More, out)
    }

    /// Appends what was held back, and reports what was found. Must be called once, at the end.
    ///
    /// # Errors
    ///
    /// [`ScrubError`] if the form may not be forwarded.
    pub fn finish(&mut self, out: &mut BytesMut) -> Result<ScrubReport, ScrubError> {
        self.feed(&[], InputState::End, out)?;
        Ok(self.state.report())
    }

    /// Takes what the fields say about the tenant that have been read since this was called.
    pub const fn take_signs(&mut self) -> Option<Box<TenantSigns>> {
        self.state.report.signs.take()
    }

    /// The calls that the fields so far make, if they are looked for.
    #[must_use]
    pub fn calls(&self) -> Option<&Calls> {
        self.state.report.calls.as_deref()
    }

    fn feed(&mut self, data: &[u8], input_state: InputState, out: &mut BytesMut) -> Result<(), ScrubError> {
        let mut out = ScrubOutput::stream(out);
        let result = self.multipart.feed(data, input_state, &mut self.state, &mut out);
        self.state.report.is_changed |= out.is_changed;
        result
    }
}

#[cfg(test)]
mod tests;
