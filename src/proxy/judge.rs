//! A response whose verdict is known and whose bytes are whole.
//!
//! # Why
//!
//! What was looked at is a body again, and nothing was lost: an answer that is delivered is delivered byte for
//! byte. Successes are never read. An error envelope is small and comes whole, so waiting for it costs the app
//! nothing that can be measured; what turns out large or slow is passed on unread.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::body::Body;
use super::refusal::Refusal;
use crate::graph::Verdict;
use crate::graph::encoding;
use crate::graph::verdict::{classify, suspicious};

/// A response, and what it means.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) verdict: Verdict,
    pub(crate) response: Response<Body>,
}

/// The most that is read of an answer, and that a compressed one may unfold to, in bytes.
const MOST: usize = 64 * 1024;
/// The longest wait for an envelope to be whole.
const LONGEST: Duration = Duration::from_secs(5);

/// Reads as much of the response as the verdict needs. `idle` bounds the waits between its later frames.
///
/// # Errors
///
/// [`Refusal::Broken`] if the upstream breaks off within the envelope: what it meant is not known.
pub(crate) async fn judge(response: Response<Incoming>, idle: Duration) -> Result<Judged, Refusal> {
    let (head, mut wire) = response.into_parts();
    if !suspicious(head.status, &head.headers) || wire.size_hint().lower() > MOST as u64 {
        let verdict = classify(head.status, &head.headers, b"");
        let body = Body::streaming(wire, idle);
        return Ok(Judged {
            verdict,
            response: Response::from_parts(head, body),
        });
    }
    let (read, whole) = peek(&mut wire).await?;
    let verdict = if whole {
        let envelope = encoding::decode(&head.headers, &read, MOST);
        envelope.map_or(Verdict::Opaque, |envelope| {
            classify(head.status, &head.headers, &envelope)
        })
    } else {
        Verdict::Opaque
    };
    let body = if whole {
        Body::from(read)
    } else {
        Body::chained(read, wire, idle)
    };
    Ok(Judged {
        verdict,
        response: Response::from_parts(head, body),
    })
}

/// The start of a body, and whether it is all of it.
async fn peek(wire: &mut Incoming) -> Result<(Bytes, bool), Refusal> {
    let by = Instant::now() + LONGEST;
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    loop {
        let frame = match timeout_at(by, wire.frame()).await {
            Err(_elapsed) => return Ok((whole_of(first, all), false)),
            Ok(None) => return Ok((whole_of(first, all), true)),
            Ok(Some(Err(error))) => {
                tracing::debug!(%error, "an answer broke off");
                return Err(Refusal::Broken);
            }
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        // An envelope is one frame, mostly, and is kept as it came.
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&data);
        }
        if first.len() + all.len() > MOST {
            return Ok((whole_of(first, all), false));
        }
    }
}

fn whole_of(first: Bytes, all: BytesMut) -> Bytes {
    if all.is_empty() { first } else { all.freeze() }
}
