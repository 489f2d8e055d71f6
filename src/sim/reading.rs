//! From a request on the wire to a [`Call`], within bounds.

use std::pin::pin;

use bytes::{Buf, BytesMut};
use http::Request;
use http::header::CONTENT_TYPE;
use http_body::Body;
use http_body_util::BodyExt as _;

use super::call::{Call, Payload, form};
use super::multipart::{Malformed, Multipart};

/// Why there is no call.
pub(super) enum Unread {
    /// The client went away.
    Gone,
    /// More than a body of its kind may have. The rest of the call is there.
    TooLarge(Box<Call>),
}

/// Why there is no payload.
enum Unusable {
    Gone,
    TooLarge,
    Malformed,
}

/// Reads a request to its end.
///
/// What is no JSON object, or no multipart body although it says so, has no parameters: Graph then names the
/// first one it misses.
pub(super) async fn read<B>(request: Request<B>) -> Result<Call, Unread>
where
    B: Body,
{
    let (head, body) = request.into_parts();
    let content_type = head.headers.get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default();
    let payload = match Multipart::new(content_type) {
        Some(parts) => multipart(parts, body).await,
        None => plain(content_type, body).await,
    };
    let call = |payload| Call::new(head.method, &head.uri, &head.headers, payload);
    match payload {
        Ok(payload) => Ok(call(payload)),
        Err(Unusable::Malformed) => Ok(call(Payload::default())),
        Err(Unusable::TooLarge) => Err(Unread::TooLarge(Box::new(call(Payload::default())))),
        Err(Unusable::Gone) => Err(Unread::Gone),
    }
}

/// The longest body that is not multipart.
const PLAIN: usize = 1024 * 1024;
/// The longest multipart body: 100 MB of document, and its wrapping.
const MULTIPART: usize = 110 * 1024 * 1024;

async fn multipart<B: Body>(mut parts: Multipart, body: B) -> Result<Payload, Unusable> {
    let mut body = pin!(body);
    let mut total = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_broken| Unusable::Gone)?;
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        total = total.saturating_add(data.remaining());
        if total > MULTIPART {
            return Err(Unusable::TooLarge);
        }
        while data.has_remaining() {
            let piece = data.chunk();
            let length = piece.len();
            parts.push(piece)?;
            data.advance(length);
        }
    }
    Ok(parts.finish()?)
}

async fn plain<B: Body>(content_type: &str, body: B) -> Result<Payload, Unusable> {
    let mut body = pin!(body);
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_broken| Unusable::Gone)?;
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        if whole.len().saturating_add(data.remaining()) > PLAIN {
            return Err(Unusable::TooLarge);
        }
        whole.extend_from_slice(&data.copy_to_bytes(data.remaining()));
    }
    let mut payload = Payload::default();
    if content_type.contains("json") {
        payload.json = serde_json::from_slice(&whole).unwrap_or_default();
    } else if let Ok(text) = std::str::from_utf8(&whole) {
        payload.fields = form(text.trim());
    }
    Ok(payload)
}

impl From<Malformed> for Unusable {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}
