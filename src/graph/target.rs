//! The path and query of a request, as they may leave.

use std::fmt;

use bytes::Bytes;
use http::Uri;
use http::uri::{Parts, PathAndQuery, Scheme};
use percent_encoding::percent_decode;

use super::credential::ClientCredentialPolicy;
use super::origin::Origin;
use super::proof::AppSecretProof;
use super::scrub::{ScrubError, ScrubReport, scrub_query};

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
pub struct ScrubbedTarget {
    /// The target.
    pub target: Target,
    /// What the query held.
    pub report: ScrubReport,
}

/// Why a request's target may not leave.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TargetError {
    /// `*`, or an authority without a path: no object of Graph's.
    #[error("the request target is not a path")]
    NotAPath,
    /// A credential in the query, under [`ClientCredentialPolicy::Refuse`].
    #[error("the query holds an access_token, and heal.client_credentials is \"refuse\"")]
    ClientCredential,
    /// The query has a batch whose items cannot be cleaned.
    #[error("the credentials in the query cannot be taken out: {0}")]
    CannotScrub(&'static str),
}

/// A target for logs: never the query, and `{id}` for everything that is not a plain word.
#[derive(Clone, Copy)]
pub struct PathTemplate<'target>(&'target str);

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
    pub fn from_app(uri: &Uri, policy: ClientCredentialPolicy) -> Result<ScrubbedTarget, TargetError> {
        let target = Self::from_uri(uri)?;
        let query = match target.0.query() {
            Some(query) if !target.is_token_endpoint() => query,
            _ => return Ok(target.with_report(ScrubReport::default())),
        };
        match scrub_query(query, policy)? {
            (None, found) => Ok(target.with_report(found)),
            (Some(query), found) => target.with_query(&query).map(|target| target.with_report(found)),
        }
    }

    /// Takes the app's target whole, for a request that keeps a credential of its own in a header.
    ///
    /// # Errors
    ///
    /// [`TargetError::NotAPath`] if this is no path.
    pub fn from_uri(uri: &Uri) -> Result<Self, TargetError> {
        match uri.path_and_query() {
            Some(path) if path.path().starts_with('/') => Ok(Self(path.clone())),
            _ => Err(TargetError::NotAPath),
        }
    }

    /// The URI to send it to. Copies nothing: three reference counts.
    #[must_use]
    pub fn to_uri(&self, origin: &Origin) -> Uri {
        Self::build_uri(origin, self.0.clone())
    }

    /// The same with a proof as its last parameters.
    #[must_use]
    pub fn to_uri_with_proof(&self, origin: &Origin, proof: &AppSecretProof) -> Uri {
        let sent = self.0.as_str();
        let mut target = String::with_capacity(sent.len() + 1 + proof.as_query().len());
        target.push_str(sent);
        match self.query() {
            None => target.push('?'),
            Some("") => {}
            Some(_) => target.push('&'),
        }
        target.push_str(proof.as_query());
        #[expect(clippy::expect_used, reason = "parameters behind a valid target")]
        Self::build_uri(
            origin,
            PathAndQuery::from_maybe_shared(Bytes::from(target)).expect("still valid"),
        )
    }

    fn build_uri(origin: &Origin, target: PathAndQuery) -> Uri {
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
        let mut segments = self.segments_without_version();
        let (first, is_last) = (segments.next(), segments.next().is_none());
        let matches_decoded = |segment: &str, name: &[u8]| {
            percent_decode(segment.as_bytes())
                .map(|byte| byte.to_ascii_lowercase())
                .eq(name.iter().copied())
        };
        first.is_some_and(|first| {
            matches_decoded(first, b"oauth")
                || (is_last
                    && (matches_decoded(first, b"access_token") || matches_decoded(first, b"refresh_access_token")))
        })
    }

    /// Whether this is a resumable upload, `/upload:…?sig=…`: an id that is a path with a query, and is taken only
    /// byte for byte.
    #[must_use]
    pub fn is_upload(&self) -> bool {
        if !self.path().contains("upload") {
            return false;
        }
        let first = self.segments_without_version().next().unwrap_or_default();
        first.starts_with("upload:") || first.starts_with("upload%3A")
    }

    /// The segments of the path, less empty ones and a version in front.
    fn segments_without_version(&self) -> impl Iterator<Item = &str> {
        let mut segments = self.path().split('/').filter(|segment| !segment.is_empty()).peekable();
        segments.next_if(|first| is_version(first));
        segments
    }

    /// What a log may show of it.
    #[must_use]
    pub fn path_template(&self) -> PathTemplate<'_> {
        PathTemplate(self.path())
    }

    const fn with_report(self, report: ScrubReport) -> ScrubbedTarget {
        ScrubbedTarget { target: self, report }
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
            .map_err(|_invalid| TargetError::NotAPath)
    }
}

/// The path template only: a query may hold a signature, or a token that was kept.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.path_template())
    }
}

// === impl TargetError ===

impl From<ScrubError> for TargetError {
    fn from(error: ScrubError) -> Self {
        match error {
            ScrubError::ClientCredential => Self::ClientCredential,
            ScrubError::CannotScrub(what) => Self::CannotScrub(what),
        }
    }
}

// === impl PathTemplate ===

impl fmt::Display for PathTemplate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut segments = self.0.strip_prefix('/').unwrap_or(self.0).split('/');
        for segment in segments.by_ref().take(MAX_TEMPLATE_SEGMENTS) {
            f.write_str("/")?;
            f.write_str(if is_edge_name(segment) || is_version(segment) {
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

impl fmt::Debug for PathTemplate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const MAX_TEMPLATE_SEGMENTS: usize = 6;

/// Whether a path segment names an edge or an endpoint: those are lower-case words. Tokens, upload ids and
/// signatures have digits, capitals or signs, so none can pass for one.
fn is_edge_name(segment: &str) -> bool {
    const MAX_EDGE_NAME_BYTES: usize = 32;
    segment.len() <= MAX_EDGE_NAME_BYTES && segment.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
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
