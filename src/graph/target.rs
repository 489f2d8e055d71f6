//! The path and query of a request, as graphward forwards them.

use bytes::Bytes;
use http::Uri;
use http::uri::PathAndQuery;

use super::credential::{ClientCredentialPolicy, SignPolicy};
use super::path::{self, EndpointId, PathTemplate};
use super::proof::AppSecretProof;
use super::scrub::{ScrubError, ScrubReport, ScrubRules, scrub_query};

/// Path and query of a request as the app sent them, without the credentials.
///
/// # Why
///
/// Nothing is normalized: an upload's id is a path like `/upload:MTphd…?sig=ARZ…`, and `%2F`, `//`, `;`, `&&` and
/// duplicate parameters mean something to Graph. A target without credentials shares the app's own buffer; only one that
/// loses a parameter is copied.
#[derive(Clone, Eq, PartialEq, derive_more::Debug)]
// The path template only: a query may hold a signature, or a token that was kept.
#[debug("Target({})", self.path_template())]
pub struct Target(PathAndQuery);

/// A [`Target`], and what was found in the app's query.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ScrubbedTarget {
    /// The target.
    pub target: Target,
    /// The credentials that were found in the query.
    pub report: ScrubReport,
}

/// The reason why a request's target may not be forwarded.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TargetError {
    /// `*`, or an authority without a path.
    #[error("the request target must be a path that starts with `/`")]
    NotAPath,
    /// The query must not be forwarded.
    #[error(transparent)]
    Scrub(#[from] ScrubError),
}

// === impl Target ===

impl Target {
    /// Removes the credentials from the app's target.
    ///
    /// * Every `access_token` that stands for "no token" is removed, under every policy.
    /// * A real one is removed, kept or refused, as `rules` say.
    /// * If app tokens are the only real ones they are kept, under every policy.
    /// * `appsecret_proof` and `appsecret_time` are removed unless a token is kept: they prove the app's token, not the
    ///   tenant's.
    /// * On [token endpoints](Self::is_token_endpoint) everything is kept but the names of tenants, and placeholders beside
    ///   them.
    ///
    /// Names are compared percent-decoded (`%61ccess_token`), in each spelling that PHP reads (`+access.token`), and whole:
    /// `input_token` or `fb_exchange_token` are data, and stay.
    ///
    /// # Errors
    ///
    /// [`TargetError`] if this is not a path, or if `rules` refuse a credential of the query.
    pub fn from_app(uri: &Uri, rules: ScrubRules) -> Result<ScrubbedTarget, TargetError> {
        let target = Self::from_uri(uri)?;
        let (query, rules) = match target.0.query() {
            Some(query) if !target.is_token_endpoint() => (query, rules),
            Some(query) if rules.signs == SignPolicy::Read => {
                (query, ScrubRules::new(ClientCredentialPolicy::KeepAll, rules.signs))
            }
            _ => return Ok(target.with_report(ScrubReport::default())),
        };
        match scrub_query(query, rules)? {
            (None, found) => Ok(target.with_report(found)),
            (Some(query), found) => target.with_query(&query).map(|target| target.with_report(found)),
        }
    }

    /// Keeps the app's target unchanged, for a request whose header keeps the app's credential.
    ///
    /// # Errors
    ///
    /// [`TargetError::NotAPath`] if this is not a path.
    pub fn from_uri(uri: &Uri) -> Result<Self, TargetError> {
        match uri.path_and_query() {
            Some(path) if path.path().starts_with('/') => Ok(Self(path.clone())),
            _ => Err(TargetError::NotAPath),
        }
    }

    /// The origin-form URI. Copies nothing: a reference count.
    #[must_use]
    pub fn to_uri(&self) -> Uri {
        Uri::from(self.0.clone())
    }

    /// The same with a proof as its last parameters.
    #[must_use]
    pub fn to_uri_with_proof(&self, proof: &AppSecretProof) -> Uri {
        let sent = self.0.as_str();
        let mut target = String::with_capacity(sent.len() + 1 + proof.as_query().len());
        target.push_str(sent);
        match self.query() {
            None => target.push('?'),
            Some("") => {}
            Some(_) => target.push('&'),
        }
        target.push_str(proof.as_query());
        #[expect(clippy::expect_used, reason = "parameters after a valid target")]
        let target = PathAndQuery::from_maybe_shared(Bytes::from(target)).expect("still valid");
        Uri::from(target)
    }

    /// The path, as sent.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.path()
    }

    /// The query, as it is forwarded, without its `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.0.query()
    }

    /// Returns whether this is a token endpoint. The credentials in its query are data, and the tenant's token does not
    /// belong there.
    #[must_use]
    pub fn is_token_endpoint(&self) -> bool {
        path::is_token_endpoint(self.path())
    }

    /// Returns whether this is the root, with or without a version, where Graph takes batches.
    #[must_use]
    pub fn is_batch_endpoint(&self) -> bool {
        path::segments_without_version(self.path()).next().is_none()
    }

    /// Returns whether this is a resumable upload, `/upload:…?sig=…`: an id that is a path with a query, and is taken
    /// only byte for byte.
    #[must_use]
    pub fn is_upload(&self) -> bool {
        path::is_upload_session(self.path())
    }

    /// The endpoint that the path names.
    #[must_use]
    pub fn endpoint_id(&self) -> EndpointId {
        EndpointId::of_path(self.path())
    }

    /// The form of the path that a log may show.
    #[must_use]
    pub fn path_template(&self) -> PathTemplate<'_> {
        PathTemplate(self.path())
    }

    /// Adds what was found in the query.
    #[must_use]
    pub fn with_report(self, report: ScrubReport) -> ScrubbedTarget {
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

#[cfg(test)]
mod tests;
