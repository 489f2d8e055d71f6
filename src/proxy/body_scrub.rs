//! A request's body, cleaned of the app's credentials while it is received.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::refusal::Refusal;
use crate::graph::scrub::{self, ScrubError, ScrubMode, ScrubReport, Scrubber};
use crate::graph::{ClientCredentialPolicy, ParameterCredential};
use crate::telemetry::metrics::RequestMetrics;

/// What a body has to be known by to be cleaned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScrubConfig<'head> {
    /// The request's fields: what kind of body it is.
    pub(crate) headers: &'head HeaderMap,
    /// What becomes of credentials.
    pub(crate) client_credentials: ClientCredentialPolicy,
    /// Where they are counted.
    pub(crate) metrics: &'head RequestMetrics,
}

/// A body being cleaned piece by piece.
#[derive(Debug)]
pub(crate) struct BodyScrubber {
    scrubber: Scrubber,
    mode: ScrubMode,
    metrics: RequestMetrics,
}

// === impl ScrubConfig ===

impl ScrubConfig<'_> {
    /// Cleans a body that is here whole. What had to go is gone, and what had not to is the same buffer.
    pub(crate) fn scrub_buffer(&self, body: Bytes) -> Result<(Bytes, ScrubReport), Refusal> {
        let (cleaned, found) = scrub::scrub(self.headers, self.client_credentials, &body)?;
        count_client_credential(&found, self.metrics);
        Ok((cleaned.unwrap_or(body), found))
    }

    /// Cleans a body piece by piece; `None` if this kind of body has nothing to clean.
    pub(crate) fn start_streaming(&self, mode: ScrubMode) -> Option<BodyScrubber> {
        let scrubber = Scrubber::from_headers(self.headers, self.client_credentials, mode)?;
        Some(BodyScrubber {
            scrubber,
            mode,
            metrics: self.metrics.clone(),
        })
    }
}

// === impl BodyScrubber ===

impl BodyScrubber {
    /// What may leave of this piece and the ones before it.
    pub(crate) fn push(&mut self, data: &[u8]) -> Result<Bytes, ScrubError> {
        let mut out = BytesMut::with_capacity(data.len());
        self.scrubber.push(data, &mut out)?;
        Ok(out.freeze())
    }

    /// What may leave of the last piece and the ones before it.
    pub(crate) fn push_last(&mut self, data: &[u8]) -> Result<Bytes, ScrubError> {
        let mut out = BytesMut::with_capacity(data.len());
        self.scrubber.push(data, &mut out)?;
        let found = self.scrubber.finish(&mut out)?;
        count_client_credential(&found, &self.metrics);
        Ok(out.freeze())
    }

    /// The rest, and what was found in all.
    pub(crate) fn finish(&mut self) -> Result<(Bytes, ScrubReport), ScrubError> {
        let mut out = BytesMut::new();
        let found = self.scrubber.finish(&mut out)?;
        count_client_credential(&found, &self.metrics);
        Ok((out.freeze(), found))
    }

    /// Whether as much comes out as goes in.
    pub(crate) fn preserves_length(&self) -> bool {
        self.mode == ScrubMode::Mask
    }
}

/// What streams is found out about only when it has left, so this is not left to who waits for the body.
fn count_client_credential(findings: &ScrubReport, metrics: &RequestMetrics) {
    if findings.credential == ParameterCredential::Removed {
        metrics.count_client_credential("body");
    }
}

impl From<ScrubError> for Refusal {
    fn from(error: ScrubError) -> Self {
        match error {
            ScrubError::ClientCredential => Self::ClientCredential("body"),
            ScrubError::CannotScrub(what) => Self::ScrubFailed(what),
        }
    }
}
