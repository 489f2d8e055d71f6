//! From a request on the wire to a [`Request`], within bounds.

use std::pin::pin;

use bytes::{Buf, Bytes, BytesMut};
use http::Request;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body::Body;
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};

use crate::call::{Call, ParsedBody, parse_form};
use crate::digest::to_hex;
use crate::hosts;
use crate::multipart::{FilePart, MultipartParser};
use crate::record::RawRequest;

/// A request, read.
pub(crate) struct ParsedRequest {
    pub(crate) call: Call,
    pub(crate) raw: RawRequest,
    /// Whether the body is no longer than one of its kind may be. If it is, the call has none.
    pub(crate) within_limit: bool,
}

/// The client went away.
pub(crate) struct ClientDisconnected;

/// Where a body goes, piece by piece.
enum BodySink {
    Multipart(Box<MultipartParser>),
    File(FilePart),
    Buffered(BytesMut),
    /// It is not what it says it is.
    Discard,
}

/// Reads a request to its end.
///
/// What is no JSON object, or no multipart body although it says so, has no parameters: Graph then names the
/// first one it misses.
pub(crate) async fn parse_request<B>(request: Request<B>) -> Result<ParsedRequest, ClientDisconnected>
where
    B: Body,
{
    let (head, body) = request.into_parts();
    let content_type = head.headers.get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default();
    let mut sink = BodySink::new(&head, content_type);
    let max_bytes = sink.max_bytes();
    let (mut hash, mut length, mut fits) = (Sha256::new(), 0_u64, true);

    let mut body = pin!(body);
    while let Some(frame) = body.frame().await {
        let Ok(mut data) = frame.map_err(|_broken| ClientDisconnected)?.into_data() else {
            continue;
        };
        while data.has_remaining() {
            let piece = data.chunk();
            let size = piece.len();
            length = length.saturating_add(size as u64);
            hash.update(piece);
            sink.push(piece);
            data.advance(size);
        }
        if length > max_bytes {
            fits = false;
            break;
        }
    }
    let payload = if fits {
        sink.finish(content_type)
    } else {
        ParsedBody::default()
    };
    let host = hosts::requested_host(&head.uri, &head.headers);
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let wire = RawRequest {
        method: head.method.clone(),
        target: target.to_owned(),
        http: head.version,
        length,
        sha256: to_hex(&hash.finalize()),
        host: host.clone(),
    };
    let call = Call::new(head, &host, payload);
    Ok(ParsedRequest {
        call,
        raw: wire,
        within_limit: fits,
    })
}

// === impl BodySink ===

impl BodySink {
    fn new(head: &Parts, content_type: &str) -> Self {
        if let Some(parts) = MultipartParser::new(content_type) {
            return Self::Multipart(Box::new(parts));
        }
        let mut path = head.uri.path().split('/');
        if path.any(|segment| segment.starts_with("upload:") || segment == "video-upload") {
            return Self::File(FilePart::unnamed(content_type));
        }
        Self::Buffered(BytesMut::new())
    }

    /// The most that a body of this kind may have: 100 MB of document and its wrapping, or 1 MiB.
    const fn max_bytes(&self) -> u64 {
        match self {
            Self::Multipart(_) | Self::File(_) => 110 * 1024 * 1024,
            Self::Buffered(_) | Self::Discard => 1024 * 1024,
        }
    }

    fn push(&mut self, piece: &[u8]) {
        match self {
            Self::Multipart(parts) => {
                if parts.push(piece).is_err() {
                    *self = Self::Discard;
                }
            }
            Self::File(file) => file.append(piece),
            Self::Buffered(whole) => whole.extend_from_slice(piece),
            Self::Discard => {}
        }
    }

    fn finish(self, content_type: &str) -> ParsedBody {
        match self {
            Self::Multipart(parts) => parts.finish().unwrap_or_default(),
            Self::File(file) => ParsedBody {
                file: Some(file.into_uploaded_file()),
                ..ParsedBody::default()
            },
            Self::Buffered(whole) => parse_buffered(content_type, &whole.freeze()),
            Self::Discard => ParsedBody::default(),
        }
    }
}

fn parse_buffered(content_type: &str, body: &Bytes) -> ParsedBody {
    let mut payload = ParsedBody::default();
    if content_type.contains("json") {
        payload.json = serde_json::from_slice(body).unwrap_or_default();
    } else if let Ok(text) = std::str::from_utf8(body) {
        payload.fields = parse_form(text.trim());
    }
    payload
}
