//! Removes client credentials from a request body while it is received, and compares what it says about the tenant.

use std::fmt;

use bytes::{Bytes, BytesMut};

use super::body_error::BodyError;
use super::refusal::Refusal;
use crate::graph::scrub::{
    self, BodyFormat, MAX_WHOLE_BYTES, ScrubError, ScrubMode, ScrubReport, ScrubRules, Scrubber,
};
use crate::graph::{Calls, ParameterCredential, SignPolicy, TenantSigns};
use crate::telemetry::metrics::RequestMetrics;
use crate::tenants::RouteError;

/// The facts about a body that the scrubber needs.
#[derive(Clone, Debug)]
pub(crate) struct ScrubConfig<'tenant> {
    /// The format of the parameters in the body.
    pub(crate) format: BodyFormat,
    /// Why the body may not be forwarded unsearched, if it may not.
    pub(crate) must_search: Option<MustSearch>,
    /// Whether the calls that it makes are looked for, because rules may not allow them.
    pub(crate) finds_calls: bool,
    /// The treatment of client credentials and signs.
    pub(crate) rules: ScrubRules,
    /// The metrics that count client credentials.
    pub(crate) metrics: &'tenant RequestMetrics,
}

/// Why a body may not be forwarded unsearched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum MustSearch {
    /// It may be a batch: its items may have tokens of their own, and what their rejections mean would be unknown.
    Batch,
    /// Nothing else of the request names its tenant.
    Tenant,
}

/// Compares what a body says about the tenant with the rest of its request.
pub(crate) trait SignCheck: fmt::Debug + Send + Sync {
    /// Checks what the body has said since this was called.
    ///
    /// # Errors
    ///
    /// [`RouteError`] if it is for another tenant, or for one that does not exist.
    fn check(&self, in_body: TenantSigns) -> Result<(), RouteError>;
}

/// Scrubs a multipart form chunk by chunk.
#[derive(Debug)]
pub(crate) struct BodyScrubber {
    scrubber: Scrubber,
    mode: ScrubMode,
    metrics: RequestMetrics,
    /// The tenant that it may name, once the request has one.
    sign_check: Option<Box<dyn SignCheck>>,
    /// Whether it may make no call besides that of its head.
    forbids_calls: bool,
}

/// The reason why a JSON body or a form is forwarded without being searched for credentials.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unsearched {
    /// The body is too large to be buffered.
    TooLarge,
    /// The memory budget of all requests together is used up.
    NoMemory,
}

// === impl ScrubConfig ===

impl ScrubConfig<'_> {
    /// Returns whether the body has to be in memory before it can be scrubbed.
    pub(crate) const fn needs_whole_body(&self) -> bool {
        match self.format {
            BodyFormat::Form | BodyFormat::Json => true,
            BodyFormat::Multipart { .. } => false,
        }
    }

    /// The largest body that is received into memory, where `replayable` is the largest that may be kept there.
    pub(crate) fn memory_limit(&self, replayable: u64) -> u64 {
        if self.needs_whole_body() {
            replayable.max(MAX_WHOLE_BYTES)
        } else {
            replayable
        }
    }

    /// Scrubs a body that is in memory. An unchanged body stays the same buffer.
    pub(crate) fn scrub_buffer(&self, body: Bytes) -> Result<(Bytes, ScrubReport), Refusal> {
        let calls = match self.finds_calls {
            true => Some(Box::new(scrub::find_calls(&self.format, &body)?)),
            false => None,
        };
        let (body, findings) = scrub::scrub(&self.format, self.rules, body)?;
        count_client_credential(&findings, self.metrics);
        Ok((body, ScrubReport { calls, ..findings }))
    }

    /// Scrubs a body chunk by chunk; `None` if it has to be in memory for that.
    pub(crate) fn start_streaming(&self, mode: ScrubMode) -> Option<BodyScrubber> {
        let BodyFormat::Multipart { boundary } = &self.format else {
            return None;
        };
        let mut scrubber = Scrubber::new(boundary, self.rules, mode);
        if self.finds_calls {
            scrubber = scrubber.finding_calls();
        }
        Some(BodyScrubber {
            scrubber,
            mode,
            metrics: self.metrics.clone(),
            sign_check: None,
            forbids_calls: false,
        })
    }

    /// Counts and logs that the body is forwarded unchanged.
    ///
    /// # Errors
    ///
    /// [`Refusal::ScrubFailed`], [`Refusal::Unsearchable`] or [`Refusal::MemoryInUse`] if it must be searched.
    pub(crate) fn forward_unsearched(&self, reason: Unsearched) -> Result<(), Refusal> {
        match (self.must_search, reason) {
            (Some(MustSearch::Batch), Unsearched::TooLarge) => {
                return Err(Refusal::ScrubFailed("the batch is longer than 8 MiB"));
            }
            (Some(MustSearch::Tenant), Unsearched::TooLarge) => return Err(Refusal::Unsearchable),
            (Some(MustSearch::Batch | MustSearch::Tenant), Unsearched::NoMemory) => return Err(Refusal::MemoryInUse),
            (None, Unsearched::TooLarge) if self.finds_calls => return Err(Refusal::CallsUnsearched),
            // It may name another tenant.
            (None, Unsearched::NoMemory) if self.finds_calls || self.rules.signs == SignPolicy::Read => {
                return Err(Refusal::MemoryInUse);
            }
            (None, _) => {}
        }
        let reason = reason.label();
        tracing::warn!(reason, "forwarding a request body without searching it for credentials");
        self.metrics.count_unsearched_body(reason);
        Ok(())
    }
}

// === impl Unsearched ===

impl Unsearched {
    /// The label for logs and metrics.
    const fn label(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::NoMemory => "no_memory",
        }
    }
}

// === impl BodyScrubber ===

impl BodyScrubber {
    /// Takes a chunk, and returns what may be forwarded of it and the chunks before it.
    pub(crate) fn push(&mut self, data: &[u8]) -> Result<Bytes, BodyError> {
        let mut out = BytesMut::with_capacity(data.len());
        self.scrubber.push(data, &mut out)?;
        self.check_signs()?;
        self.check_calls(self.scrubber.calls())?;
        Ok(out.freeze())
    }

    /// Takes the last chunk, and returns the rest.
    pub(crate) fn push_last(&mut self, data: &[u8]) -> Result<Bytes, BodyError> {
        let mut out = BytesMut::with_capacity(data.len());
        self.scrubber.push(data, &mut out)?;
        self.finish_into(out).map(|(rest, _findings)| rest)
    }

    /// Returns the rest, and what was found in all.
    pub(crate) fn finish(&mut self) -> Result<(Bytes, ScrubReport), BodyError> {
        self.finish_into(BytesMut::new())
    }

    fn finish_into(&mut self, mut out: BytesMut) -> Result<(Bytes, ScrubReport), BodyError> {
        let findings = self.scrubber.finish(&mut out)?;
        self.check_signs()?;
        self.check_calls(findings.calls.as_deref())?;
        count_client_credential(&findings, &self.metrics);
        Ok((out.freeze(), findings))
    }

    /// Compares what it says about the tenant, from the start of the body on: the rest of the request has its tenant already, and
    /// may soon be on its way.
    ///
    /// # Errors
    ///
    /// [`RouteError`] if it has named another one.
    pub(crate) fn compare_signs(&mut self, with: Box<dyn SignCheck>) -> Result<(), RouteError> {
        self.sign_check = Some(with);
        self.check_signs()
    }

    fn check_signs(&mut self) -> Result<(), RouteError> {
        if let Some(sign_check) = &self.sign_check
            && let Some(signs) = self.scrubber.take_signs()
        {
            sign_check.check(*signs)?;
        }
        Ok(())
    }

    /// Forbids every call besides that of the head, from the start of the body on.
    ///
    /// # Errors
    ///
    /// [`ScrubError::CannotScrub`] if the body has made one.
    pub(crate) fn forbid_calls(&mut self) -> Result<(), ScrubError> {
        self.forbids_calls = true;
        self.check_calls(self.scrubber.calls())
    }

    fn check_calls(&self, calls: Option<&Calls>) -> Result<(), ScrubError> {
        if self.forbids_calls && calls.is_some_and(|calls| !calls.is_empty()) {
            return Err(ScrubError::CannotScrub(
                "it has a batch, ids or another method, and is too large to be checked against the rules of `allow`",
            ));
        }
        Ok(())
    }

    /// Returns whether the scrubbed body is as long as the original.
    pub(crate) fn preserves_length(&self) -> bool {
        self.mode == ScrubMode::Mask
    }
}

/// Counts here and not at the receiver, because the report on a streamed body exists only after it has been sent.
fn count_client_credential(findings: &ScrubReport, metrics: &RequestMetrics) {
    if findings.credential == ParameterCredential::Removed {
        metrics.count_client_credential("body");
    }
}
