//! From a request on the wire to a [`Call`], within bounds.

use std::pin::pin;

use bytes::{Buf, Bytes, BytesMut};
use http::Request;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body::Body;
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};

use super::call::{Call, Payload, form};
use super::calls::Wire;
use super::hosts;
use super::multipart::{File, Multipart, hex};

/// A request, read.
pub(super) struct Arrival {
    pub(super) call: Call,
    pub(super) wire: Wire,
    /// Whether the body is no longer than one of its kind may be. If it is, the call has none.
    pub(super) fits: bool,
}

/// The client went away.
pub(super) struct Gone;

/// Where a body goes, piece by piece.
enum Sink {
    Parts(Box<Multipart>),
    Raw(File),
    Plain(BytesMut),
    /// It is not what it says it is.
    Nothing,
}

/// Reads a request to its end.
///
/// What is no JSON object, or no multipart body although it says so, has no parameters: Graph then names the
/// first one it misses.
pub(super) async fn read<B>(request: Request<B>) -> Result<Arrival, Gone>
where
    B: Body,
{
    let (head, body) = request.into_parts();
    let content_type = head.headers.get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default();
    let mut sink = Sink::new(&head, content_type);
    let most = sink.most();
    let (mut hash, mut length, mut fits) = (Sha256::new(), 0_u64, true);

    let mut body = pin!(body);
    while let Some(frame) = body.frame().await {
        let Ok(mut data) = frame.map_err(|_broken| Gone)?.into_data() else {
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
        if length > most {
            fits = false;
            break;
        }
    }
    let payload = if fits {
        sink.finish(content_type)
    } else {
        Payload::default()
    };
    let host = hosts::name(&head.uri, &head.headers);
    let target = head
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let wire = Wire {
        method: head.method.clone(),
        target: target.to_owned(),
        http: head.version,
        length,
        sha256: hex(&hash.finalize()),
        host: host.clone(),
    };
    let call = Call::new(head, &host, payload);
    Ok(Arrival { call, wire, fits })
}

// === impl Sink ===

impl Sink {
    fn new(head: &Parts, content_type: &str) -> Self {
        if let Some(parts) = Multipart::new(content_type) {
            return Self::Parts(Box::new(parts));
        }
        let mut path = head.uri.path().split('/');
        if path.any(|segment| segment.starts_with("upload:") || segment == "video-upload") {
            return Self::Raw(File::raw(content_type));
        }
        Self::Plain(BytesMut::new())
    }

    /// The most that a body of this kind may have: 100 MB of document and its wrapping, or 1 MiB.
    const fn most(&self) -> u64 {
        match self {
            Self::Parts(_) | Self::Raw(_) => 110 * 1024 * 1024,
            Self::Plain(_) | Self::Nothing => 1024 * 1024,
        }
    }

    fn push(&mut self, piece: &[u8]) {
        match self {
            Self::Parts(parts) => {
                if parts.push(piece).is_err() {
                    *self = Self::Nothing;
                }
            }
            Self::Raw(file) => file.take(piece),
            Self::Plain(whole) => whole.extend_from_slice(piece),
            Self::Nothing => {}
        }
    }

    fn finish(self, content_type: &str) -> Payload {
        match self {
            Self::Parts(parts) => parts.finish().unwrap_or_default(),
            Self::Raw(file) => Payload {
                file: Some(file.upload()),
                ..Payload::default()
            },
            Self::Plain(whole) => plain(content_type, &whole.freeze()),
            Self::Nothing => Payload::default(),
        }
    }
}

fn plain(content_type: &str, whole: &Bytes) -> Payload {
    let mut payload = Payload::default();
    if content_type.contains("json") {
        payload.json = serde_json::from_slice(whole).unwrap_or_default();
    } else if let Ok(text) = std::str::from_utf8(whole) {
        payload.fields = form(text.trim());
    }
    payload
}
