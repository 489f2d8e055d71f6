//! Credentials in request bodies: found and taken out while a body arrives.
//!
//! A body is a form, a multipart form or JSON; [`Scrubber`] takes one of those in pieces of any size and gives back what may
//! leave, [`scrub`] one that is in memory. What they give does not depend on how the body was cut up. A body without a
//! type is a form, and so is plain text. Bodies of other kinds hold no parameters, as far as Graph goes, and bodies with a
//! `Content-Encoding` none that it reads.
//!
//! The rules are those of a query ([`Target::from_app`](super::target::Target::from_app)): placeholders always go; a real token
//! goes, stays or is refused; app tokens stay if they are the only real ones; proofs go unless a token stays. Two
//! differences: what is found too late to be left in its place is put back at the end of the body, and a body that
//! cannot be received before it is sent is masked ([`ScrubMode::Mask`]) and not cut.
//!
//! # Why
//!
//! A parameter beats the header, so a stale token in a body defeats ours. Parsing a body and writing it anew would be
//! simpler; but Graph is older than most of the rules that a parser would apply, and a file of two gigabytes must
//! flow. So nothing is parsed that need not be: all other bytes leave as they came, in their order, and what
//! nobody could read a token from is left alone.

mod batch;
mod edit;
mod form;
mod json;
mod json_state;
mod member;
mod multipart;
mod output;
mod part;
mod pending;
mod state;

use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use memchr::memmem::Finder;

use super::credential::ClientCredentialPolicy;
pub use state::{ScrubError, ScrubMode, ScrubReport};

use form::FormScrubber;
use json::JsonScrubber;
use multipart::MultipartScrubber;
use output::ScrubOutput;
use state::{InputState, ScrubState};

/// What is done with the body of a request whose head takes our credential, while it arrives.
#[derive(Debug)]
pub struct Scrubber {
    body_format: BodyFormat,
    state: ScrubState,
    changed: bool,
}

#[derive(Debug)]
enum BodyFormat {
    Form(FormScrubber),
    Json(JsonScrubber),
    Multipart(Box<MultipartScrubber>),
}

/// What the names of credentials, their proofs and batches have in common.
static CREDENTIAL_NAME_FINDERS: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| ["access_token", "appsecret_", "batch"].map(Finder::new));

/// Cleans a body that is in memory. No bytes: nothing had to change, and nothing was copied.
///
/// # Errors
///
/// [`ScrubError`] if the body may not leave.
pub fn scrub(
    headers: &HeaderMap,
    policy: ClientCredentialPolicy,
    body: &[u8],
) -> Result<(Option<Bytes>, ScrubReport), ScrubError> {
    let mut first = BodyFormat::from_headers(headers).filter(|format| format.may_contain_credentials(body));
    if first.is_none() {
        return Ok((None, ScrubReport::default()));
    }
    output::scrub_in_memory(body, policy, ScrubMode::Remove, |scrub_state, out| {
        // A second reading begins anew.
        let format = first.take().or_else(|| BodyFormat::from_headers(headers));
        format.map_or(Ok(()), |mut format| {
            format.feed(body, InputState::End, scrub_state, out)
        })
    })
}

/// Cleans a query, which is a form: without its `?`.
///
/// # Errors
///
/// [`ScrubError`] if it may not leave.
pub fn scrub_query(query: &str, policy: ClientCredentialPolicy) -> Result<(Option<Bytes>, ScrubReport), ScrubError> {
    let query = query.as_bytes();
    output::scrub_in_memory(query, policy, ScrubMode::Remove, |scrub_state, out| {
        FormScrubber::default().feed(query, InputState::End, scrub_state, out)
    })
}

// === impl Scrubber ===

impl Scrubber {
    /// For a body of this kind; `None`: it holds no parameters.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap, policy: ClientCredentialPolicy, mode: ScrubMode) -> Option<Self> {
        Some(Self {
            body_format: BodyFormat::from_headers(headers)?,
            state: ScrubState::new(policy, mode),
            changed: false,
        })
    }

    /// Takes the next bytes, and appends to `out` what may leave.
    ///
    /// # Errors
    ///
    /// [`ScrubError`] if the body may not leave. This is not to be called again then.
    pub fn push(&mut self, data: &[u8], out: &mut BytesMut) -> Result<(), ScrubError> {
        self.feed(data, InputState::More, out)
    }

    /// The end: appends what was held back, and says what was found. To be called once.
    ///
    /// # Errors
    ///
    /// [`ScrubError`] if the body may not leave.
    pub fn finish(&mut self, out: &mut BytesMut) -> Result<ScrubReport, ScrubError> {
        self.feed(&[], InputState::End, out)?;
        Ok(self.state.report(self.changed))
    }

    fn feed(&mut self, data: &[u8], input_state: InputState, out: &mut BytesMut) -> Result<(), ScrubError> {
        let mut out = ScrubOutput::stream(out);
        let result = self.body_format.feed(data, input_state, &mut self.state, &mut out);
        self.changed |= out.is_changed();
        result
    }
}

// === impl BodyFormat ===

impl BodyFormat {
    fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let is_identity = |coding: &[u8]| {
            let coding = coding.trim_ascii();
            coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")
        };
        let mut codings = headers.get_all(CONTENT_ENCODING).iter();
        if !codings.all(|coding| is_identity(coding.as_bytes())) {
            return None;
        }
        // fbgraph (npm) sends its forms so, and Graph reads them.
        let Some(content_type) = headers.get(CONTENT_TYPE) else {
            return Some(Self::Form(FormScrubber::default()));
        };
        let content_type = content_type.as_bytes();
        let end = memchr::memchr2(b';', b',', content_type).unwrap_or(content_type.len());
        let (kind, parameters) = content_type.split_at_checked(end)?;
        let kind = kind.trim_ascii();
        if kind.eq_ignore_ascii_case(b"application/json") {
            Some(Self::Json(JsonScrubber::default()))
        } else if kind.eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
            // HHVM reads these as forms, too, and it is what `fetch` calls a string.
            || kind.eq_ignore_ascii_case(b"text/plain")
        {
            Some(Self::Form(FormScrubber::default()))
        } else if kind.eq_ignore_ascii_case(b"multipart/form-data") {
            Some(Self::Multipart(Box::new(MultipartScrubber::from_parameters(
                parameters,
            )?)))
        } else {
            None
        }
    }

    /// Whether a body of this format may have anything to clean. Nearly all are JSON, and short messages; one without
    /// a backslash, and without the words, has none of the names, however it is read.
    fn may_contain_credentials(&self, body: &[u8]) -> bool {
        match self {
            Self::Form(_) | Self::Multipart(_) => true,
            Self::Json(_) => {
                memchr::memchr(b'\\', body).is_some()
                    || CREDENTIAL_NAME_FINDERS.iter().any(|name| name.find(body).is_some())
            }
        }
    }

    fn feed(
        &mut self,
        data: &[u8],
        input_state: InputState,
        scrub_state: &mut ScrubState,
        out: &mut ScrubOutput<'_>,
    ) -> Result<(), ScrubError> {
        match self {
            Self::Form(form) => form.feed(data, input_state, scrub_state, out),
            Self::Json(json) => json.feed(data, input_state, scrub_state, out),
            Self::Multipart(multipart) => multipart.feed(data, input_state, scrub_state, out),
        }
    }
}

#[cfg(test)]
mod tests;
