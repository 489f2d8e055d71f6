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
//! cannot be received before it is sent is masked ([`Mode::Mask`]) and not cut.
//!
//! # Why
//!
//! A parameter beats the header, so a stale token in a body defeats ours. Parsing a body and writing it anew would be
//! simpler; but Graph is older than most of the rules that a parser would apply, and a file of two gigabytes must
//! flow. So nothing is parsed that need not be: all other bytes leave as they came, in their order, and what
//! nobody could read a token from is left alone.

mod batch;
mod carried;
mod edit;
mod form;
mod held;
mod json;
mod member;
mod multipart;
mod out;
mod part;

use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use memchr::memmem::Finder;

use super::presented::Presented;
pub use held::{Mode, ScrubError, Scrubbed};

use form::Form;
use held::{Held, Rest};
use json::Json;
use multipart::Multipart;
use out::Out;

/// What is done with the body of a request whose head takes our credential, while it arrives.
#[derive(Debug)]
pub struct Scrubber {
    format: Format,
    held: Held,
    changed: bool,
}

#[derive(Debug)]
enum Format {
    Form(Form),
    Json(Json),
    Multipart(Box<Multipart>),
}

/// What the names of credentials, their proofs and batches have in common.
static NAMES: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| ["access_token", "appsecret_", "batch"].map(Finder::new));

/// Cleans a body that is in memory. No bytes: nothing had to change, and nothing was copied.
///
/// # Errors
///
/// [`ScrubError`] if the body may not leave.
pub fn scrub(
    headers: &HeaderMap,
    policy: Presented,
    body: &[u8],
) -> Result<(Option<Bytes>, Scrubbed), ScrubError> {
    let mut first = Format::of(headers).filter(|format| format.may_hold(body));
    if first.is_none() {
        return Ok((None, Scrubbed::default()));
    }
    out::whole(body, policy, Mode::Cut, |held, out| {
        // A second reading begins anew.
        let format = first.take().or_else(|| Format::of(headers));
        format.map_or(Ok(()), |mut format| {
            format.step(body, Rest::Nothing, held, out)
        })
    })
}

/// Cleans a query, which is a form: without its `?`.
///
/// # Errors
///
/// [`ScrubError`] if it may not leave.
pub fn scrub_query(
    query: &str,
    policy: Presented,
) -> Result<(Option<Bytes>, Scrubbed), ScrubError> {
    let query = query.as_bytes();
    out::whole(query, policy, Mode::Cut, |held, out| {
        Form::default().step(query, Rest::Nothing, held, out)
    })
}

// === impl Scrubber ===

impl Scrubber {
    /// For a body of this kind; `None`: it holds no parameters.
    #[must_use]
    pub fn of(headers: &HeaderMap, policy: Presented, mode: Mode) -> Option<Self> {
        Some(Self {
            format: Format::of(headers)?,
            held: Held::new(policy, mode),
            changed: false,
        })
    }

    /// Takes the next bytes, and appends to `out` what may leave.
    ///
    /// # Errors
    ///
    /// [`ScrubError`] if the body may not leave. This is not to be called again then.
    pub fn push(&mut self, data: &[u8], out: &mut BytesMut) -> Result<(), ScrubError> {
        self.step(data, Rest::ToCome, out)
    }

    /// The end: appends what was held back, and says what was found. To be called once.
    ///
    /// # Errors
    ///
    /// [`ScrubError`] if the body may not leave.
    pub fn finish(&mut self, out: &mut BytesMut) -> Result<Scrubbed, ScrubError> {
        self.step(&[], Rest::Nothing, out)?;
        Ok(self.held.scrubbed(self.changed))
    }

    fn step(&mut self, data: &[u8], rest: Rest, out: &mut BytesMut) -> Result<(), ScrubError> {
        let mut out = Out::wire(out);
        let result = self.format.step(data, rest, &mut self.held, &mut out);
        self.changed |= out.is_changed();
        result
    }
}

// === impl Format ===

impl Format {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let plain = |coding: &[u8]| {
            let coding = coding.trim_ascii();
            coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")
        };
        let mut codings = headers.get_all(CONTENT_ENCODING).iter();
        if !codings.all(|coding| plain(coding.as_bytes())) {
            return None;
        }
        // fbgraph (npm) sends its forms so, and Graph reads them.
        let Some(content_type) = headers.get(CONTENT_TYPE) else {
            return Some(Self::Form(Form::default()));
        };
        let content_type = content_type.as_bytes();
        let end = memchr::memchr2(b';', b',', content_type).unwrap_or(content_type.len());
        let (kind, parameters) = content_type.split_at_checked(end)?;
        let kind = kind.trim_ascii();
        if kind.eq_ignore_ascii_case(b"application/json") {
            Some(Self::Json(Json::default()))
        } else if kind.eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
            // HHVM reads these as forms, too, and it is what `fetch` calls a string.
            || kind.eq_ignore_ascii_case(b"text/plain")
        {
            Some(Self::Form(Form::default()))
        } else if kind.eq_ignore_ascii_case(b"multipart/form-data") {
            Some(Self::Multipart(Box::new(Multipart::of(parameters)?)))
        } else {
            None
        }
    }

    /// Whether a body of this format may have anything to clean. Nearly all are JSON, and short messages; one without
    /// a backslash, and without the words, has none of the names, however it is read.
    fn may_hold(&self, body: &[u8]) -> bool {
        match self {
            Self::Form(_) | Self::Multipart(_) => true,
            Self::Json(_) => {
                memchr::memchr(b'\\', body).is_some()
                    || NAMES.iter().any(|name| name.find(body).is_some())
            }
        }
    }

    fn step(
        &mut self,
        data: &[u8],
        rest: Rest,
        held: &mut Held,
        out: &mut Out<'_>,
    ) -> Result<(), ScrubError> {
        match self {
            Self::Form(form) => form.step(data, rest, held, out),
            Self::Json(json) => json.step(data, rest, held, out),
            Self::Multipart(multipart) => multipart.step(data, rest, held, out),
        }
    }
}

#[cfg(test)]
mod tests;
