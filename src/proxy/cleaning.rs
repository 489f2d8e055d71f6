//! A request's body, cleaned of the app's credentials while it is received.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::refusal::Refusal;
use crate::graph::scrub::{self, Mode, ScrubError, Scrubbed, Scrubber};
use crate::graph::{Presented, QueryCredential};
use crate::telemetry::metrics::PathMetrics;

/// What a body has to be known by to be cleaned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cleaning<'head> {
    /// The request's fields: what kind of body it is.
    pub(crate) headers: &'head HeaderMap,
    /// What becomes of credentials.
    pub(crate) presented: Presented,
    /// Where they are counted.
    pub(crate) metrics: &'head PathMetrics,
}

/// A body being cleaned piece by piece.
#[derive(Debug)]
pub(crate) struct Cleaner {
    scrubber: Scrubber,
    mode: Mode,
    metrics: PathMetrics,
}

// === impl Cleaning ===

impl Cleaning<'_> {
    /// Cleans a body that is here whole. What had to go is gone, and what had not to is the same buffer.
    pub(crate) fn whole(&self, body: Bytes) -> Result<(Bytes, Scrubbed), Refusal> {
        let (cleaned, found) = scrub::scrub(self.headers, self.presented, &body)?;
        count(&found, self.metrics);
        Ok((cleaned.unwrap_or(body), found))
    }

    /// Cleans a body piece by piece; `None` if this kind of body has nothing to clean.
    pub(crate) fn begin(&self, mode: Mode) -> Option<Cleaner> {
        let scrubber = Scrubber::of(self.headers, self.presented, mode)?;
        Some(Cleaner {
            scrubber,
            mode,
            metrics: self.metrics.clone(),
        })
    }
}

// === impl Cleaner ===

impl Cleaner {
    /// What may leave of this piece and the ones before it.
    pub(crate) fn push(&mut self, data: &[u8]) -> Result<Bytes, ScrubError> {
        let mut out = BytesMut::with_capacity(data.len());
        self.scrubber.push(data, &mut out)?;
        Ok(out.freeze())
    }

    /// What may leave of the last piece and the ones before it.
    pub(crate) fn last(&mut self, data: &[u8]) -> Result<Bytes, ScrubError> {
        let mut out = BytesMut::with_capacity(data.len());
        self.scrubber.push(data, &mut out)?;
        let found = self.scrubber.finish(&mut out)?;
        count(&found, &self.metrics);
        Ok(out.freeze())
    }

    /// The rest, and what was found in all.
    pub(crate) fn finish(&mut self) -> Result<(Bytes, Scrubbed), ScrubError> {
        let mut out = BytesMut::new();
        let found = self.scrubber.finish(&mut out)?;
        count(&found, &self.metrics);
        Ok((out.freeze(), found))
    }

    /// Whether as much comes out as goes in.
    pub(crate) fn keeps_length(&self) -> bool {
        self.mode == Mode::Mask
    }
}

/// What streams is found out about only when it has left, so this is not left to who waits for the body.
fn count(found: &Scrubbed, metrics: &PathMetrics) {
    if found.credential == QueryCredential::Stale {
        metrics.presented("body");
    }
}

impl From<ScrubError> for Refusal {
    fn from(error: ScrubError) -> Self {
        match error {
            ScrubError::Presented => Self::Presented("body"),
            ScrubError::Unclean(what) => Self::Unclean(what),
        }
    }
}
