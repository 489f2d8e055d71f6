//! The path and query of a request, as they may leave.

use std::fmt;

use bytes::Bytes;
use http::Uri;
use http::uri::{Parts, PathAndQuery, Scheme};
use percent_encoding::percent_decode;

use super::origin::Origin;
use super::presented::Presented;
use super::proof::Proof;
use super::scrub::{ScrubError, Scrubbed, scrub_query};

/// Path and query of a request as the app sent them, less the credentials.
///
/// # Why
///
/// Nothing is normalised: an upload's id is a path like `/upload:MTphd…?sig=ARZ…`, and `%2F`, `//`, `;`, `&&` and
/// duplicate parameters mean something to Graph. A target without credentials is the app's own
/// buffer, shared; only one that loses a parameter is built anew.
#[derive(Clone, Eq, PartialEq)]
pub struct Target(PathAndQuery);

/// A [`Target`], and what was in the way of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cleaned {
    /// The target.
    pub target: Target,
    /// What the query held.
    pub found: Scrubbed,
}

/// Why a request's target may not leave.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TargetError {
    /// `*`, or an authority without a path: no object of Graph's.
    #[error("the request target is not a path")]
    Form,
    /// A credential in the query, under [`Presented::Refuse`].
    #[error("the query holds an access_token, and heal.presented is \"refuse\"")]
    Presented,
    /// The query has a batch whose items cannot be cleaned.
    #[error("the credentials in the query cannot be taken out: {0}")]
    Unclean(&'static str),
}

/// A target for logs: never the query, and `{id}` for everything that is not a plain word.
#[derive(Clone, Copy)]
pub struct Template<'target>(&'target str);

// === impl Target ===

impl Target {
    /// Takes the app's target and takes its credentials out.
    ///
    /// * Every `access_token` that stands for "no token" goes, under every policy.
    /// * A real one goes, stays or is refused, as `policy` says.
    /// * If app tokens are the only real ones they stay, under every policy.
    /// * `appsecret_proof` and `appsecret_time` go unless a token stays: they prove the app's token, not ours.
    /// * On [token endpoints](Self::is_token_endpoint) everything stays.
    ///
    /// Names are compared percent-decoded (`%61ccess_token`), and whole: `input_token` or `fb_exchange_token` are
    /// data.
    ///
    /// # Errors
    ///
    /// [`TargetError`] if this is no path, or if `policy` refuses what the query holds.
    pub fn from_app(uri: &Uri, policy: Presented) -> Result<Cleaned, TargetError> {
        let target = Self::as_sent(uri)?;
        let query = match target.0.query() {
            Some(query) if !target.is_token_endpoint() => query,
            _ => return Ok(target.with(Scrubbed::default())),
        };
        match scrub_query(query, policy)? {
            (None, found) => Ok(target.with(found)),
            (Some(query), found) => target.with_query(&query).map(|target| target.with(found)),
        }
    }

    /// Takes the app's target whole, for a request that keeps a credential of its own in a header.
    ///
    /// # Errors
    ///
    /// [`TargetError::Form`] if this is no path.
    pub fn as_sent(uri: &Uri) -> Result<Self, TargetError> {
        match uri.path_and_query() {
            Some(path) if path.path().starts_with('/') => Ok(Self(path.clone())),
            _ => Err(TargetError::Form),
        }
    }

    /// The URI to send it to. Copies nothing: three reference counts.
    #[must_use]
    pub fn to_uri(&self, origin: &Origin) -> Uri {
        Self::uri(origin, self.0.clone())
    }

    /// The same with a proof as its last parameters.
    #[must_use]
    pub fn to_proven_uri(&self, origin: &Origin, proof: &Proof) -> Uri {
        let sent = self.0.as_str();
        let mut target = String::with_capacity(sent.len() + 1 + proof.parameters().len());
        target.push_str(sent);
        match self.query() {
            None => target.push('?'),
            Some("") => {}
            Some(_) => target.push('&'),
        }
        target.push_str(proof.parameters());
        #[expect(clippy::expect_used, reason = "parameters behind a valid target")]
        Self::uri(
            origin,
            PathAndQuery::from_maybe_shared(Bytes::from(target)).expect("still valid"),
        )
    }

    fn uri(origin: &Origin, target: PathAndQuery) -> Uri {
        let mut parts = Parts::default();
        parts.scheme = Some(Scheme::HTTPS);
        parts.authority = Some(origin.authority().clone());
        parts.path_and_query = Some(target);
        #[expect(clippy::expect_used, reason = "it fails only if a part is missing")]
        Uri::from_parts(parts).expect("all parts are given")
    }

    /// The path, as sent.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.path()
    }

    /// The query, as it may leave, without its `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.0.query()
    }

    /// Whether this is an endpoint that makes tokens out of the credentials in its query: below `/oauth/`, or
    /// Instagram's and Threads' `/access_token` and `/refresh_access_token`, with or without a version before.
    /// Those credentials are data, and a token of ours has no business there.
    #[must_use]
    pub fn is_token_endpoint(&self) -> bool {
        let mut segments = self.unversioned();
        let (first, alone) = (segments.next(), segments.next().is_none());
        let is = |segment: &str, name: &[u8]| {
            percent_decode(segment.as_bytes())
                .map(|byte| byte.to_ascii_lowercase())
                .eq(name.iter().copied())
        };
        first.is_some_and(|first| {
            is(first, b"oauth")
                || (alone && (is(first, b"access_token") || is(first, b"refresh_access_token")))
        })
    }

    /// Whether this is a resumable upload, `/upload:…?sig=…`: an id that is a path with a query, and is taken only
    /// byte for byte.
    #[must_use]
    pub fn is_upload(&self) -> bool {
        if !self.path().contains("upload") {
            return false;
        }
        let first = self.unversioned().next().unwrap_or_default();
        first.starts_with("upload:") || first.starts_with("upload%3A")
    }

    /// The segments of the path, less empty ones and a version in front.
    fn unversioned(&self) -> impl Iterator<Item = &str> {
        let mut segments = self
            .path()
            .split('/')
            .filter(|segment| !segment.is_empty())
            .peekable();
        segments.next_if(|first| is_version(first));
        segments
    }

    /// What a log may show of it.
    #[must_use]
    pub fn template(&self) -> Template<'_> {
        Template(self.path())
    }

    const fn with(self, found: Scrubbed) -> Cleaned {
        Cleaned {
            target: self,
            found,
        }
    }

    /// The same path with another query, or none.
    fn with_query(&self, query: &[u8]) -> Result<Self, TargetError> {
        let mut target = Vec::with_capacity(self.0.as_str().len());
        target.extend_from_slice(self.path().as_bytes());
        if !query.is_empty() {
            target.push(b'?');
            target.extend_from_slice(query);
        }
        PathAndQuery::from_maybe_shared(Bytes::from(target))
            .map(Self)
            .map_err(|_invalid| TargetError::Form)
    }
}

/// The path template only: a query may hold a signature, or a token that was kept.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.template())
    }
}

// === impl TargetError ===

impl From<ScrubError> for TargetError {
    fn from(error: ScrubError) -> Self {
        match error {
            ScrubError::Presented => Self::Presented,
            ScrubError::Unclean(what) => Self::Unclean(what),
        }
    }
}

// === impl Template ===

impl fmt::Display for Template<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut segments = self.0.strip_prefix('/').unwrap_or(self.0).split('/');
        for segment in segments.by_ref().take(MAX_SEGMENTS) {
            f.write_str("/")?;
            f.write_str(if is_word(segment) || is_version(segment) {
                segment
            } else {
                "{id}"
            })?;
        }
        if segments.next().is_some() {
            f.write_str("/…")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Template<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const MAX_SEGMENTS: usize = 6;

/// Whether a path segment names an edge or an endpoint: those are lower-case words. Tokens, upload ids and
/// signatures have digits, capitals or signs, so none can pass for one.
fn is_word(segment: &str) -> bool {
    const MAX_WORD: usize = 32;
    segment.len() <= MAX_WORD
        && segment
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// `v19.0`
pub(super) fn is_version(segment: &str) -> bool {
    segment.len() <= 8
        && segment
            .strip_prefix('v')
            .and_then(|number| number.split_once('.'))
            .is_some_and(|(major, minor)| is_digits(major) && is_digits(minor))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
