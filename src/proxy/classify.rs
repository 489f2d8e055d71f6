//! Finds out what a response means, without losing a byte of it.
//!
//! # Why
//!
//! What was read becomes a body again: a response is delivered byte for byte. Successes are never read, unless the request
//! asked Graph for status 200 whatever happens: then only the body tells a success from an error. An error envelope
//! is small and arrives at once, so waiting for it costs the app nothing measurable. One that turns out large is delivered
//! unread. One that stalls or breaks off is judged by what came: by a whole envelope, else by `WWW-Authenticate`. Each of
//! them is Graph's explicit word that it rejected the request, whatever became of the connection after it.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Method, Response};
use http_body::Body as _;
use tokio::time::timeout;

use super::body::Body;
use super::outbound::OutboundRequest;
use super::prefix::Prefix;
use super::record::RequestRecord;
use super::refusal::Refusal;
use super::tenant::Authorization;
use crate::graph::encoding;
use crate::graph::verdict::{
    classify, classify_head, classify_with_error, may_be_error, may_be_hidden_error, may_quote_token,
};
use crate::graph::{GraphError, Verdict};
use crate::net::BoxError;
use crate::token::{AttemptStart, Credential, RejectedRequest};
use crate::upstream::ResponseBody;

/// A response and its verdict.
#[derive(Debug)]
pub(crate) struct ClassifiedResponse {
    pub(crate) verdict: Verdict,
    /// Details, if Graph rejected the token.
    pub(crate) token_rejection: Option<Box<TokenRejection>>,
    /// The start of the attempt, if it was a batch: its items say whether Graph accepted the token.
    pub(crate) batch_start: Option<AttemptStart>,
    pub(crate) response: Response<Body>,
}

/// A rejection of the token by Graph.
#[derive(Debug)]
pub(crate) struct TokenRejection {
    pub(crate) error: GraphError,
    /// The body of the response, redacted and without a content coding. `None` if the head alone tells of the rejection.
    pub(crate) envelope: Option<Bytes>,
    /// The rejection as it was reported; `None` until then, and for a credential of the app's own.
    pub(crate) reported: Option<RejectedRequest>,
}

/// How the reading of a response's start ended.
enum PrefixEnd {
    /// The body has ended.
    Whole,
    /// It is larger than an envelope.
    TooLarge,
    /// The rest did not come in time.
    Late,
    /// The upstream ended it early.
    Interrupted(BoxError),
}

// === impl ClassifiedResponse ===

impl ClassifiedResponse {
    /// The rejection of the tenant's token, if it is one.
    pub(crate) fn rejected_request(&self) -> Option<&RejectedRequest> {
        self.token_rejection.as_deref()?.reported.as_ref()
    }
}

/// The most that is read of a response, and the largest size of a decompressed one, in bytes.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// The longest wait for a complete envelope.
const ENVELOPE_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads as much of a response as the verdict needs, and records the error in it. The idle timeout bounds the waits between
/// later frames. The credential is redacted, because Graph quotes a token that it finds malformed.
///
/// # Errors
///
/// [`Refusal::ConnectionTerminated`] if the upstream ends the connection within the envelope, and what came does not tell its
/// meaning.
pub(crate) async fn classify_response(
    response: Response<ResponseBody<Body>>,
    outbound: &OutboundRequest,
    authorization: &Authorization<'_>,
    record: &mut RequestRecord,
) -> Result<ClassifiedResponse, Refusal> {
    let (credential, idle_timeout) = (authorization.credential(), authorization.tenant().settings.idle_timeout);
    let (mut head, mut incoming) = response.into_parts();
    if let (false, Some(credential)) = (head.status.is_success(), credential) {
        redact_headers(&mut head.headers, credential);
    }
    let hides_status = outbound.hints.hides_status && may_be_hidden_error(head.status, &head.headers);
    if outbound.method == Method::HEAD {
        let mut classified = classify_head_response(head, Body::response(incoming, idle_timeout));
        if hides_status && classified.verdict == Verdict::Success {
            classified.verdict = Verdict::Opaque;
        }
        return Ok(classified);
    }
    let may_be_error = hides_status || may_be_error(head.status, &head.headers);
    let is_read = may_be_error || (credential.is_some() && may_quote_token(head.status, &head.headers));
    if !is_read || incoming.size_hint().lower() > MAX_ERROR_BYTES as u64 {
        let verdict = classify(head.status, &head.headers, b"");
        return Ok(unread(verdict, head, Body::response(incoming, idle_timeout)));
    }
    let mut prefix = Prefix::default();
    let read = prefix.read(&mut incoming, |length| length <= MAX_ERROR_BYTES);
    let end = match timeout(ENVELOPE_TIMEOUT, read).await {
        Ok(Ok(true)) => PrefixEnd::Whole,
        Ok(Ok(false)) => PrefixEnd::TooLarge,
        Ok(Err(error)) => PrefixEnd::Interrupted(error),
        Err(_elapsed) => PrefixEnd::Late,
    };
    let prefix = prefix.into_bytes();
    let is_too_large = matches!(end, PrefixEnd::TooLarge);
    let is_readable = match end {
        PrefixEnd::Whole => true,
        PrefixEnd::TooLarge => false,
        PrefixEnd::Late | PrefixEnd::Interrupted(_) => may_be_error && is_envelope(&head.headers, &prefix),
    };
    if !is_readable {
        let head_verdict = classify_head(head.status, &head.headers);
        let head_rejects = !is_too_large && matches!(head_verdict, Verdict::TokenRejected(_));
        let body = match end {
            PrefixEnd::Interrupted(error) if !head_rejects => return Err(Refusal::response_interrupted(&error)),
            PrefixEnd::Interrupted(error) => Body::interrupted(error, idle_timeout),
            PrefixEnd::Whole | PrefixEnd::TooLarge | PrefixEnd::Late => Body::response(incoming, idle_timeout),
        };
        let body = body.with_prefix(prefix);
        if head_rejects {
            return Ok(classify_head_response(head, body));
        }
        let verdict = match may_be_error {
            // No envelope is that large.
            true if hides_status && is_too_large => Verdict::Success,
            true => Verdict::Opaque,
            false => classify(head.status, &head.headers, b""),
        };
        return Ok(unread(verdict, head, body));
    }
    let Some(envelope) = encoding::decode(&head.headers, &prefix, MAX_ERROR_BYTES) else {
        return Ok(unread(Verdict::Opaque, head, Body::from(prefix)));
    };
    let (verdict, error) = if may_be_error {
        classify_with_error(head.status, &head.headers, &envelope)
    } else {
        (classify(head.status, &head.headers, b""), None)
    };
    if let Some(error) = &error {
        record.error = Some(Box::new(error.clone()));
    }
    let redacted = credential.and_then(|credential| credential.redacted(&envelope));
    let token_rejection = match (verdict, error) {
        (Verdict::TokenRejected(_), Some(error)) => {
            let envelope = match (&redacted, envelope) {
                (Some(redacted), _) => redacted.clone(),
                (None, Cow::Owned(decoded)) => Bytes::from(decoded),
                (None, Cow::Borrowed(_)) => prefix.clone(),
            };
            Some(Box::new(TokenRejection {
                error,
                envelope: Some(envelope),
                reported: None,
            }))
        }
        (_, _) => None,
    };
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
        batch_start: None,
        response: Response::from_parts(head, Body::from(body)),
    })
}

/// Returns whether what came of a body is a whole error envelope.
fn is_envelope(headers: &HeaderMap, prefix: &[u8]) -> bool {
    encoding::decode(headers, prefix, MAX_ERROR_BYTES).is_some_and(|text| GraphError::parse(&text).is_some())
}

/// A response of which no error was read.
fn unread(verdict: Verdict, head: Parts, body: Body) -> ClassifiedResponse {
    ClassifiedResponse {
        verdict,
        token_rejection: None,
        batch_start: None,
        response: Response::from_parts(head, body),
    }
}

/// A response whose verdict comes from the head alone: to a HEAD, or with a body that does not come.
fn classify_head_response(head: Parts, body: Body) -> ClassifiedResponse {
    let verdict = classify_head(head.status, &head.headers);
    let token_rejection = matches!(verdict, Verdict::TokenRejected(_)).then(|| {
        Box::new(TokenRejection {
            error: GraphError::invalid_token(),
            envelope: None,
            reported: None,
        })
    });
    ClassifiedResponse {
        verdict,
        token_rejection,
        batch_start: None,
        response: Response::from_parts(head, body),
    }
}

/// Redacts the token in all headers: Graph repeats its error message in `WWW-Authenticate`, and a proxy before it may repeat
/// the request in any other.
fn redact_headers(headers: &mut HeaderMap, credential: &Credential) {
    for value in headers.values_mut() {
        if let Some(redacted) = credential.redacted(value.as_bytes())
            && let Ok(redacted) = HeaderValue::from_maybe_shared(redacted)
        {
            *value = redacted;
        }
    }
}
