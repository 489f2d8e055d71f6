//! A response whose verdict is known and whose bytes are whole.
//!
//! # Why
//!
//! What was looked at is a body again, and nothing was lost: an answer that is delivered is delivered byte for
//! byte. Successes are never read. An error envelope is small and comes whole, so waiting for it costs the app
//! nothing that can be measured; what turns out large or slow is passed on unread.

use std::borrow::Cow;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, Entry, WWW_AUTHENTICATE};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Method, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::body::Body;
use super::refusal::Refusal;
use crate::graph::encoding;
use crate::graph::verdict::{classify, classify_bodiless, read, suspicious};
use crate::graph::{GraphError, Verdict};
use crate::token::Credential;

/// A response, and what it means.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) verdict: Verdict,
    /// What Graph said, if that was that the token is dead.
    pub(crate) rejected: Option<Box<Rejected>>,
    pub(crate) response: Response<Body>,
}

/// What Graph said of a dead token.
#[derive(Debug)]
pub(crate) struct Rejected {
    pub(crate) error: GraphError,
    /// Its words as any app can read them: redacted, and without a content coding. None came in answer to a HEAD.
    pub(crate) envelope: Option<Bytes>,
}

/// The most that is read of an answer, and that a compressed one may unfold to, in bytes.
const MOST: usize = 64 * 1024;
/// The longest wait for an envelope to be whole.
const LONGEST: Duration = Duration::from_secs(5);

/// Reads as much of the response to a request of this method as the verdict needs. `idle` bounds the waits between
/// its later frames. What Graph repeats of the credential is redacted: it quotes the token that it finds malformed.
///
/// # Errors
///
/// [`Refusal::Broken`] if the upstream breaks off within the envelope: what it meant is not known.
pub(crate) async fn judge(
    response: Response<Incoming>,
    method: &Method,
    credential: Option<&Credential>,
    idle: Duration,
) -> Result<Judged, Refusal> {
    let (mut head, mut wire) = response.into_parts();
    if let (true, Some(credential)) = (head.status.is_client_error(), credential) {
        redact_challenges(&mut head.headers, credential);
    }
    if *method == Method::HEAD {
        return Ok(Judged::bodiless(head, wire, idle));
    }
    if !suspicious(head.status, &head.headers) || wire.size_hint().lower() > MOST as u64 {
        let verdict = classify(head.status, &head.headers, b"");
        return Ok(Judged::unread(verdict, head, Body::streaming(wire, idle)));
    }
    let (start, whole) = peek(&mut wire).await?;
    if !whole {
        let body = Body::chained(start, wire, idle);
        return Ok(Judged::unread(Verdict::Opaque, head, body));
    }
    let Some(envelope) = encoding::decode(&head.headers, &start, MOST) else {
        return Ok(Judged::unread(Verdict::Opaque, head, Body::from(start)));
    };
    let (verdict, error) = read(head.status, &head.headers, &envelope);
    let redacted = credential.and_then(|credential| credential.redacted(&envelope));
    let coded = matches!(envelope, Cow::Owned(_));
    let rejected = match (verdict, error) {
        (Verdict::TokenRejected(_), Some(error)) => {
            let envelope = match &redacted {
                Some(redacted) => redacted.clone(),
                None if coded => Bytes::copy_from_slice(&envelope),
                None => start.clone(),
            };
            Some(Box::new(Rejected {
                error,
                envelope: Some(envelope),
            }))
        }
        (_, _) => None,
    };
    drop(envelope);
    let body = match redacted {
        Some(redacted) => {
            head.headers.remove(CONTENT_ENCODING);
            redacted
        }
        None => start,
    };
    Ok(Judged {
        verdict,
        rejected,
        response: Response::from_parts(head, Body::from(body)),
    })
}

// === impl Judged ===

impl Judged {
    fn unread(verdict: Verdict, head: Parts, body: Body) -> Self {
        Self {
            verdict,
            rejected: None,
            response: Response::from_parts(head, body),
        }
    }

    /// The answer to a HEAD, of which there is only this.
    fn bodiless(head: Parts, wire: Incoming, idle: Duration) -> Self {
        let verdict = classify_bodiless(head.status, &head.headers);
        let rejected = matches!(verdict, Verdict::TokenRejected(_)).then(|| {
            Box::new(Rejected {
                error: GraphError::dead_token(),
                envelope: None,
            })
        });
        Self {
            rejected,
            ..Self::unread(verdict, head, Body::streaming(wire, idle))
        }
    }
}

/// Takes the token out of `WWW-Authenticate`, where Graph's message stands once more.
fn redact_challenges(headers: &mut HeaderMap, credential: &Credential) {
    let Entry::Occupied(mut challenges) = headers.entry(WWW_AUTHENTICATE) else {
        return;
    };
    for challenge in challenges.iter_mut() {
        if let Some(redacted) = credential.redacted(challenge.as_bytes())
            && let Ok(redacted) = HeaderValue::from_maybe_shared(redacted)
        {
            *challenge = redacted;
        }
    }
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
