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
use crate::graph::verdict::{classify, classify_head, classify_with_error, may_be_token_error};
use crate::graph::{GraphError, Verdict};
use crate::token::Credential;

/// A response, and what it means.
#[derive(Debug)]
pub(crate) struct ClassifiedResponse {
    pub(crate) verdict: Verdict,
    /// What Graph said, if that was that the token is dead.
    pub(crate) token_rejection: Option<Box<TokenRejection>>,
    pub(crate) response: Response<Body>,
}

/// What Graph said of a dead token.
#[derive(Debug)]
pub(crate) struct TokenRejection {
    pub(crate) error: GraphError,
    /// Its words as any app can read them: redacted, and without a content coding. None came in answer to a HEAD.
    pub(crate) envelope: Option<Bytes>,
}

/// The most that is read of an answer, and that a compressed one may unfold to, in bytes.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// The longest wait for an envelope to be whole.
const ENVELOPE_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads as much of the response to a request of this method as the verdict needs. `idle_timeout` bounds the waits between
/// its later frames. What Graph repeats of the credential is redacted: it quotes the token that it finds malformed.
///
/// # Errors
///
/// [`Refusal::ConnectionTerminated`] if the upstream breaks off within the envelope: what it meant is not known.
pub(crate) async fn classify_response(
    response: Response<Incoming>,
    method: &Method,
    credential: Option<&Credential>,
    idle_timeout: Duration,
) -> Result<ClassifiedResponse, Refusal> {
    let (mut head, mut incoming) = response.into_parts();
    if let (true, Some(credential)) = (head.status.is_client_error(), credential) {
        redact_challenges(&mut head.headers, credential);
    }
    if *method == Method::HEAD {
        return Ok(ClassifiedResponse::from_head(head, incoming, idle_timeout));
    }
    if !may_be_token_error(head.status, &head.headers) || incoming.size_hint().lower() > MAX_ERROR_BYTES as u64 {
        let verdict = classify(head.status, &head.headers, b"");
        return Ok(ClassifiedResponse::from_unread_body(
            verdict,
            head,
            Body::streaming(incoming, idle_timeout),
        ));
    }
    let (prefix, complete) = read_prefix(&mut incoming).await?;
    if !complete {
        let body = Body::with_prefix(prefix, Some(incoming), idle_timeout);
        return Ok(ClassifiedResponse::from_unread_body(Verdict::Opaque, head, body));
    }
    let Some(envelope) = encoding::decode(&head.headers, &prefix, MAX_ERROR_BYTES) else {
        return Ok(ClassifiedResponse::from_unread_body(
            Verdict::Opaque,
            head,
            Body::from(prefix),
        ));
    };
    let (verdict, error) = classify_with_error(head.status, &head.headers, &envelope);
    let redacted = credential.and_then(|credential| credential.redacted(&envelope));
    let is_encoded = matches!(envelope, Cow::Owned(_));
    let token_rejection = match (verdict, error) {
        (Verdict::TokenRejected(_), Some(error)) => {
            let envelope = match &redacted {
                Some(redacted) => redacted.clone(),
                None if is_encoded => Bytes::copy_from_slice(&envelope),
                None => prefix.clone(),
            };
            Some(Box::new(TokenRejection {
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
        None => prefix,
    };
    Ok(ClassifiedResponse {
        verdict,
        token_rejection,
        response: Response::from_parts(head, Body::from(body)),
    })
}

// === impl ClassifiedResponse ===

impl ClassifiedResponse {
    fn from_unread_body(verdict: Verdict, head: Parts, body: Body) -> Self {
        Self {
            verdict,
            token_rejection: None,
            response: Response::from_parts(head, body),
        }
    }

    /// The answer to a HEAD, of which there is only this.
    fn from_head(head: Parts, incoming: Incoming, idle_timeout: Duration) -> Self {
        let verdict = classify_head(head.status, &head.headers);
        let token_rejection = matches!(verdict, Verdict::TokenRejected(_)).then(|| {
            Box::new(TokenRejection {
                error: GraphError::invalid_token(),
                envelope: None,
            })
        });
        Self {
            token_rejection,
            ..Self::from_unread_body(verdict, head, Body::streaming(incoming, idle_timeout))
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
async fn read_prefix(incoming: &mut Incoming) -> Result<(Bytes, bool), Refusal> {
    let deadline = Instant::now() + ENVELOPE_TIMEOUT;
    let mut first = Bytes::new();
    let mut buffer = BytesMut::new();
    loop {
        let frame = match timeout_at(deadline, incoming.frame()).await {
            Err(_elapsed) => return Ok((join(first, buffer), false)),
            Ok(None) => return Ok((join(first, buffer), true)),
            Ok(Some(Err(error))) => {
                tracing::debug!(%error, "an answer broke off");
                return Err(Refusal::ConnectionTerminated);
            }
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        // An envelope is one frame, mostly, and is kept as it came.
        if first.is_empty() && buffer.is_empty() {
            first = data;
        } else {
            buffer.extend_from_slice(&std::mem::take(&mut first));
            buffer.extend_from_slice(&data);
        }
        if first.len() + buffer.len() > MAX_ERROR_BYTES {
            return Ok((join(first, buffer), false));
        }
    }
}

fn join(first: Bytes, buffer: BytesMut) -> Bytes {
    if buffer.is_empty() { first } else { buffer.freeze() }
}
