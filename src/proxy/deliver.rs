//! The app's answer: Graph's, less what ends here, and with its links leading here where that is wanted.
//!
//! # Why
//!
//! Nearly every answer passes unread. Read are only those that a link may have to be changed in (a look-up of media,
//! or any if `links.paging` is on), and those to a batch: its 200 hides what became of its items, and an item that
//! was rejected is the only sign there is of a dead token. Such an answer is held back until it is whole, up to
//! [`MOST`]; a larger one passes as it is, and so does one that is longer than [`SMALL`] while all requests together
//! hold as much as they may: many long ones at a time are no way to fill the memory.

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, ETAG};
use http::{HeaderMap, HeaderValue, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::body::{Body, BodyError};
use super::headers::clean_response;
use super::judge::Judged;
use super::outbound::{Outbound, Rewriting};
use super::pool::{Permit, Pool};
use super::record::{Outcome, Record};
use super::refusal::Refusal;
use super::tenant::Tenant;
use crate::graph::batch::batch_rejection;
use crate::graph::encoding;
use crate::graph::host::MEDIA_HOST;
use crate::graph::links::{media, paging};
use crate::graph::verdict::is_script;
use crate::token::Credential;

/// The largest answer that is read, in bytes, and that a compressed one may unfold to.
const MOST: usize = 8 * 1024 * 1024;
/// What may be read of each answer, in bytes, whatever the others hold: media look-ups have some hundred.
const SMALL: usize = 64 * 1024;

impl Tenant {
    /// What the app gets of an answer to what was stamped with this credential.
    ///
    /// # Errors
    ///
    /// [`Refusal::Broken`] if Graph breaks off within an answer that has to be read.
    pub(crate) async fn deliver(
        &self,
        judged: Judged,
        outcome: Outcome,
        (outbound, memory): (&Outbound, &Pool),
        credential: Option<&Credential>,
        record: &mut Record,
    ) -> Result<Response<Body>, Refusal> {
        let mut response = judged.response;
        record.ended(outcome, response.status());
        clean(&mut response);
        let read = outbound.links().is_some() || (outbound.is_batch() && credential.is_some());
        if read
            && response.status().is_success()
            && is_script(response.headers())
            && !response.body().is_end_stream()
        {
            let held = memory.none();
            return open(response, (outbound, held), credential, self, record).await;
        }
        Ok(response)
    }
}

/// Takes out what ends here.
fn clean(response: &mut Response<Body>) {
    let bodiless = response.body().is_end_stream();
    // What a HEAD or a 304 says of a length is about a body that is not here.
    let length = if bodiless {
        response.headers().get(CONTENT_LENGTH).cloned()
    } else {
        None
    };
    clean_response(response.headers_mut());
    if let Some(length) = length {
        response.headers_mut().insert(CONTENT_LENGTH, length);
    }
}

/// Reads an answer, learns from it, and changes its links.
async fn open(
    response: Response<Body>,
    (outbound, mut held): (&Outbound, Permit),
    credential: Option<&Credential>,
    tenant: &Tenant,
    record: &mut Record,
) -> Result<Response<Body>, Refusal> {
    let (mut head, mut wire) = response.into_parts();
    if wire.size_hint().lower() > MOST as u64 {
        return Ok(Response::from_parts(head, wire));
    }
    let (read, whole) = collect(&mut wire, &mut held).await?;
    if !whole {
        return Ok(Response::from_parts(
            head,
            wire.after(read).holding(Some(held)),
        ));
    }
    let Some(text) = encoding::decode(&head.headers, &read, MOST) else {
        return Ok(Response::from_parts(
            head,
            Body::from(read).holding(Some(held)),
        ));
    };
    let mut redacted = None;
    if let (true, Some(credential)) = (outbound.is_batch(), credential)
        && let Some((why, error)) = batch_rejection(&text)
    {
        // Told, not awaited: some items may have run, so this answer is theirs, and the next call's token is ours.
        tenant.tokens.reject(credential.generation(), &error);
        record.rejected(credential.generation(), why);
        // Graph quotes a token that it finds malformed, here as elsewhere.
        redacted = credential.redacted(&text);
    }
    let text = redacted.as_deref().unwrap_or(&text);
    let relinked = relinked(text, outbound, credential, tenant);
    // A compressed answer that its reader is slow to take is held as what it unfolds to.
    let relinked = relinked.filter(|text| fits(text.len(), &mut held));
    let Some(changed) = relinked.or(redacted) else {
        return Ok(Response::from_parts(
            head,
            Body::from(read).holding(Some(held)),
        ));
    };
    describe_anew(&mut head.headers);
    Ok(Response::from_parts(
        head,
        Body::from(changed).holding(Some(held)),
    ))
}

/// The text with its links leading here; `None` if none does that did not before.
fn relinked(
    text: &[u8],
    outbound: &Outbound,
    credential: Option<&Credential>,
    tenant: &Tenant,
) -> Option<Bytes> {
    let Rewriting { base, links } = outbound.links()?;
    let is_ours = |host: &str| tenant.destinations.named(host).is_some();
    // Where the media host is none of ours, as before a fake Graph, the origin has its downloads.
    let is_media_host = |host: &str| is_ours(host) || host.eq_ignore_ascii_case(MEDIA_HOST);
    let is_token = |decoded: &mut dyn Iterator<Item = u8>| {
        credential.is_some_and(|credential| credential.is_token(decoded))
    };
    let media = links.media.then(|| media(text, base, &is_media_host));
    let media = media.flatten();
    let text = media.as_deref().unwrap_or(text);
    let paging = links
        .paging
        .then(|| paging(text, base, &is_ours, &is_token));
    paging.flatten().or(media)
}

/// What described the bytes that Graph sent does not describe these. Their validator still tells versions apart, so
/// it stays, as a weak one (RFC 9110, section 8.8.1).
pub(crate) fn describe_anew(headers: &mut HeaderMap) {
    headers.remove(CONTENT_ENCODING);
    for digest in ["content-digest", "digest", "content-md5", "repr-digest"] {
        headers.remove(digest);
    }
    let Some(strong) = headers
        .get(ETAG)
        .filter(|tag| tag.as_bytes().starts_with(b"\""))
    else {
        return;
    };
    let weak = HeaderValue::from_bytes(&[b"W/", strong.as_bytes()].concat());
    if let Ok(weak) = weak {
        headers.insert(ETAG, weak);
    }
}

/// Whether so much may be held of an answer; that it is, is noted.
fn fits(bytes: usize, held: &mut Permit) -> bool {
    bytes <= MOST && (bytes <= SMALL || held.covers(bytes as u64))
}

/// The start of a body, and whether it is all of it.
async fn collect(wire: &mut Body, held: &mut Permit) -> Result<(Bytes, bool), Refusal> {
    let mut all = BytesMut::new();
    loop {
        match wire.frame().await {
            None => return Ok((all.freeze(), true)),
            Some(Err(error)) => return Err(broken(&error)),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    all.extend_from_slice(&data);
                }
            }
        }
        if !fits(all.len(), held) {
            return Ok((all.freeze(), false));
        }
    }
}

fn broken(error: &BodyError) -> Refusal {
    tracing::debug!(%error, "an answer broke off");
    Refusal::Broken
}
