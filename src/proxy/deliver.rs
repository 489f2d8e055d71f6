//! The app's answer: Graph's, less what ends here, and with its links leading here where that is wanted.
//!
//! # Why
//!
//! Nearly every answer passes unread. Read are only those that a link may have to be changed in (a look-up of media,
//! or any if `links.paging` is on), and those to a batch: its 200 hides what became of its items, and an item that
//! was rejected is the only sign there is of a dead token. Such an answer is held back until it is whole, up to
//! [`MAX_BUFFERED_BYTES`]; a larger one passes as it is, and so does one that is longer than [`UNRESERVED_BYTES`] while all requests together
//! hold as much as they may: many long ones at a time are no way to fill the memory.

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, ETAG};
use http::{HeaderMap, HeaderValue, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::body::{Body, BodyError};
use super::byte_budget::{ByteBudget, BytePermit};
use super::classify::ClassifiedResponse;
use super::headers::strip_response_headers;
use super::outbound::{LinkRewrite, OutboundRequest};
use super::record::{Outcome, RequestRecord};
use super::refusal::Refusal;
use super::tenant::Tenant;
use crate::graph::batch::find_batch_rejection;
use crate::graph::encoding;
use crate::graph::host::MEDIA_HOST;
use crate::graph::links::{rewrite_media_link, rewrite_paging_links};
use crate::graph::verdict::is_json_or_javascript;
use crate::token::Credential;

/// The largest answer that is read, in bytes, and that a compressed one may unfold to.
const MAX_BUFFERED_BYTES: usize = 8 * 1024 * 1024;
/// What may be read of each answer, in bytes, whatever the others hold: media look-ups have some hundred.
const UNRESERVED_BYTES: usize = 64 * 1024;

impl Tenant {
    /// What the app gets of an answer to what was stamped with this credential.
    ///
    /// # Errors
    ///
    /// [`Refusal::ConnectionTerminated`] if Graph breaks off within an answer that has to be read.
    pub(crate) async fn deliver(
        &self,
        classified: ClassifiedResponse,
        outcome: Outcome,
        (outbound, memory_budget): (&OutboundRequest, &ByteBudget),
        credential: Option<&Credential>,
        record: &mut RequestRecord,
    ) -> Result<Response<Body>, Refusal> {
        let mut response = classified.response;
        record.set_outcome(outcome, response.status());
        strip_headers(&mut response);
        let must_read = outbound.links().is_some() || (outbound.is_batch() && credential.is_some());
        if must_read
            && response.status().is_success()
            && is_json_or_javascript(response.headers())
            && !response.body().is_end_stream()
        {
            let permit = memory_budget.empty_permit();
            return buffer_and_rewrite(response, (outbound, permit), credential, self, record).await;
        }
        Ok(response)
    }
}

/// Takes out what ends here.
fn strip_headers(response: &mut Response<Body>) {
    let bodiless = response.body().is_end_stream();
    // What a HEAD or a 304 says of a length is about a body that is not here.
    let length = if bodiless {
        response.headers().get(CONTENT_LENGTH).cloned()
    } else {
        None
    };
    strip_response_headers(response.headers_mut());
    if let Some(length) = length {
        response.headers_mut().insert(CONTENT_LENGTH, length);
    }
}

/// Reads an answer, learns from it, and changes its links.
async fn buffer_and_rewrite(
    response: Response<Body>,
    (outbound, mut permit): (&OutboundRequest, BytePermit),
    credential: Option<&Credential>,
    tenant: &Tenant,
    record: &mut RequestRecord,
) -> Result<Response<Body>, Refusal> {
    let (mut head, mut body) = response.into_parts();
    if body.size_hint().lower() > MAX_BUFFERED_BYTES as u64 {
        return Ok(Response::from_parts(head, body));
    }
    let (prefix, complete) = read_within_budget(&mut body, &mut permit).await?;
    if !complete {
        return Ok(Response::from_parts(
            head,
            body.prepend(prefix).with_permit(Some(permit)),
        ));
    }
    let Some(text) = encoding::decode(&head.headers, &prefix, MAX_BUFFERED_BYTES) else {
        return Ok(Response::from_parts(head, Body::from(prefix).with_permit(Some(permit))));
    };
    let mut redacted = None;
    if let (true, Some(credential)) = (outbound.is_batch(), credential)
        && let Some((why, error)) = find_batch_rejection(&text)
    {
        // Told, not awaited: some items may have run, so this answer is theirs, and the next call's token is ours.
        tenant.tokens.mark_rejected(credential.generation(), &error);
        record.set_rejection(credential.generation(), why);
        // Graph quotes a token that it finds malformed, here as elsewhere.
        redacted = credential.redacted(&text);
    }
    let text = redacted.as_deref().unwrap_or(&text);
    let rewritten = rewrite_links(text, outbound, credential, tenant);
    // A compressed answer that its reader is slow to take is held as what it unfolds to.
    let rewritten = rewritten.filter(|text| within_budget(text.len(), &mut permit));
    let Some(changed) = rewritten.or(redacted) else {
        return Ok(Response::from_parts(head, Body::from(prefix).with_permit(Some(permit))));
    };
    strip_representation_headers(&mut head.headers);
    Ok(Response::from_parts(
        head,
        Body::from(changed).with_permit(Some(permit)),
    ))
}

/// The text with its links leading here; `None` if none does that did not before.
fn rewrite_links(
    text: &[u8],
    outbound: &OutboundRequest,
    credential: Option<&Credential>,
    tenant: &Tenant,
) -> Option<Bytes> {
    let LinkRewrite { base, links } = outbound.links()?;
    let is_graph_host = |host: &str| tenant.destinations.find(host).is_some();
    // Where the media host is none of ours, as before a fake Graph, the origin has its downloads.
    let is_media_host = |host: &str| is_graph_host(host) || host.eq_ignore_ascii_case(MEDIA_HOST);
    let is_token =
        |decoded: &mut dyn Iterator<Item = u8>| credential.is_some_and(|credential| credential.matches_token(decoded));
    let media = links.media.then(|| rewrite_media_link(text, base, &is_media_host));
    let media = media.flatten();
    let text = media.as_deref().unwrap_or(text);
    let paging = links
        .paging
        .then(|| rewrite_paging_links(text, base, &is_graph_host, &is_token));
    paging.flatten().or(media)
}

/// What described the bytes that Graph sent does not describe these. Their validator still tells versions apart, so
/// it stays, as a weak one (RFC 9110, section 8.8.1).
pub(crate) fn strip_representation_headers(headers: &mut HeaderMap) {
    headers.remove(CONTENT_ENCODING);
    for digest in ["content-digest", "digest", "content-md5", "repr-digest"] {
        headers.remove(digest);
    }
    let Some(strong) = headers.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\"")) else {
        return;
    };
    let weak = HeaderValue::from_bytes(&[b"W/", strong.as_bytes()].concat());
    if let Ok(weak) = weak {
        headers.insert(ETAG, weak);
    }
}

/// Whether so much may be held of an answer; that it is, is noted.
fn within_budget(bytes: usize, permit: &mut BytePermit) -> bool {
    bytes <= MAX_BUFFERED_BYTES && (bytes <= UNRESERVED_BYTES || permit.try_grow_to(bytes as u64))
}

/// The start of a body, and whether it is all of it.
async fn read_within_budget(body: &mut Body, permit: &mut BytePermit) -> Result<(Bytes, bool), Refusal> {
    let mut buffer = BytesMut::new();
    loop {
        match body.frame().await {
            None => return Ok((buffer.freeze(), true)),
            Some(Err(error)) => return Err(upstream_aborted(&error)),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    buffer.extend_from_slice(&data);
                }
            }
        }
        if !within_budget(buffer.len(), permit) {
            return Ok((buffer.freeze(), false));
        }
    }
}

fn upstream_aborted(error: &BodyError) -> Refusal {
    tracing::debug!(%error, "an answer broke off");
    Refusal::ConnectionTerminated
}
