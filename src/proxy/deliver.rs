//! Delivers Graph's response to the app, with links rewritten to point at graphward where that is configured.
//!
//! # Why
//!
//! Nearly every response body is forwarded unread. graphward reads only those that may contain a link to rewrite (media
//! look-ups, steps of uploads, and all if `links.paging` is on), and those to a batch: its status 200 hides the results of its items, and a
//! rejected item is the only sign of a dead token. Such a response is held until it is complete, up to
//! [`MAX_BUFFERED_BYTES`] and [`READ_TIMEOUT`]. A larger or later one is forwarded unchanged, and so is one larger than
//! [`UNRESERVED_BYTES`] while the budget of all requests together is used up: many large responses at once cannot exhaust
//! the memory.

use std::time::Duration;

use http::Response;
use http::header::CONTENT_LENGTH;
use http_body::Body as _;
use tokio::time::timeout;

use super::body::Body;
use super::byte_budget::{ByteBudget, BytePermit};
use super::classify::ClassifiedResponse;
use super::headers::{strip_representation_headers, strip_response_headers};
use super::outbound::OutboundRequest;
use super::prefix::Prefix;
use super::record::{Outcome, RequestRecord};
use super::refusal::Refusal;
use super::tenant::Authorization;
use crate::graph::batch::{find_batch_rejection, has_accepted_item};
use crate::graph::encoding;
use crate::graph::verdict::is_json_or_javascript;
use crate::token::{AttemptStart, Credential, RejectionReport};

/// The largest response that is read, and the largest size of a decompressed one, in bytes.
const MAX_BUFFERED_BYTES: usize = 8 * 1024 * 1024;
/// The part of each response that may be read regardless of the budget, in bytes: media look-ups have a few hundred.
const UNRESERVED_BYTES: usize = 64 * 1024;

/// The longest time that a response is held in order to be read. A later one is forwarded unchanged.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The facts that the delivery of a response depends on.
#[derive(Debug)]
pub(crate) struct Delivery<'a> {
    pub(crate) outbound: &'a OutboundRequest,
    pub(crate) authorization: &'a Authorization<'a>,
    /// The budget for response bodies that have to be read.
    pub(crate) memory_budget: &'a ByteBudget,
}

// === impl Delivery ===

impl Delivery<'_> {
    /// Turns Graph's response into the app's.
    ///
    /// # Errors
    ///
    /// [`Refusal::ConnectionTerminated`] if Graph ends the connection within a body that has to be read.
    pub(crate) async fn deliver(
        self,
        classified: ClassifiedResponse,
        outcome: Outcome,
        record: &mut RequestRecord,
    ) -> Result<Response<Body>, Refusal> {
        let mut response = classified.response;
        record.set_outcome(outcome, response.status());
        strip_headers(&mut response);
        let must_read = self.outbound.links.as_deref().is_some() || self.batch_credential().is_some();
        if must_read
            && response.status().is_success()
            && is_json_or_javascript(response.headers())
            && !response.body().is_end_stream()
        {
            // Boxed, so that the future of every other request stays small.
            return Box::pin(self.read_and_rewrite(response, classified.batch_start, record)).await;
        }
        Ok(response)
    }

    /// The credential that all items of a batch carried.
    fn batch_credential(&self) -> Option<&Credential> {
        self.authorization.credential().filter(|_| self.outbound.is_batch)
    }

    /// Reads a response, looks for a rejected batch item, and rewrites its links.
    async fn read_and_rewrite(
        &self,
        response: Response<Body>,
        batch_start: Option<AttemptStart>,
        record: &mut RequestRecord,
    ) -> Result<Response<Body>, Refusal> {
        let (mut head, mut body) = response.into_parts();
        if body.size_hint().lower() > MAX_BUFFERED_BYTES as u64 {
            return Ok(Response::from_parts(head, body));
        }
        let mut permit = self.memory_budget.empty_permit();
        let mut prefix = Prefix::default();
        let read = prefix.read(&mut body, |length| within_budget(length, &mut permit));
        let complete = timeout(READ_TIMEOUT, read).await.unwrap_or(Ok(false));
        let complete = complete.map_err(|error| Refusal::response_interrupted(&error))?;
        let original = prefix.into_bytes();
        let forward = |head, body: Body, permit| Response::from_parts(head, body.with_permit(Some(permit)));
        if !complete {
            return Ok(forward(head, body.with_prefix(original), permit));
        }
        let Some(text) = encoding::decode(&head.headers, &original, MAX_BUFFERED_BYTES) else {
            return Ok(forward(head, Body::from(original), permit));
        };
        // Graph quotes a token that it finds malformed, in the item that it rejects or in another.
        let redacted = self
            .batch_credential()
            .and_then(|credential| credential.redacted(&text));
        let batch_rejection = self.batch_credential().and_then(|_| find_batch_rejection(&text));
        if let (Some(credential), Some(start)) = (self.batch_credential(), batch_start)
            && (batch_rejection.is_none() || has_accepted_item(&text))
        {
            let endpoint = self.outbound.target.endpoint_id();
            let tokens = &self.authorization.tenant().tokens;
            tokens.mark_accepted(credential.generation(), endpoint, start);
        }
        if let Some(credential) = self.batch_credential()
            && let Some((rejection, error)) = batch_rejection
        {
            // Reported, not awaited: some items may have taken effect, so the app gets this response, and the next
            // request gets a newer token.
            let generation = credential.generation();
            self.authorization.tenant().tokens.report_rejection(RejectionReport {
                generation,
                proof: self.outbound.proof_of(rejection),
                endpoint: self.outbound.target.endpoint_id(),
                error: &error,
            });
            record.set_rejection(generation, rejection.reason);
            record.error = Some(Box::new(error));
        }
        let links = self.outbound.links.as_deref();
        let rewritten = links.and_then(|links| links.apply(redacted.as_deref().unwrap_or(&text), self.authorization));
        // The body of a compressed response is held decompressed while a slow app reads it.
        let rewritten = rewritten.filter(|text| within_budget(text.len(), &mut permit));
        let Some(changed) = rewritten.or(redacted) else {
            drop(text);
            return Ok(forward(head, Body::from(original), permit));
        };
        strip_representation_headers(&mut head.headers);
        Ok(forward(head, Body::from(changed), permit))
    }
}

/// Removes the headers that must not reach the app.
fn strip_headers(response: &mut Response<Body>) {
    // The length in a response to HEAD, or in a 304, is that of a body that is not sent.
    let length = response.headers().get(CONTENT_LENGTH);
    let length = length.filter(|_| response.body().is_end_stream()).cloned();
    strip_response_headers(response.headers_mut());
    if let Some(length) = length {
        response.headers_mut().insert(CONTENT_LENGTH, length);
    }
}

/// Reserves room for so many bytes of a response; returns whether there was enough.
fn within_budget(bytes: usize, permit: &mut BytePermit) -> bool {
    bytes <= MAX_BUFFERED_BYTES && (bytes <= UNRESERVED_BYTES || permit.try_grow_to(bytes as u64))
}
