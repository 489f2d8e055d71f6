//! From a request on the wire to a [`Call`], within bounds.

use std::pin::{Pin, pin};

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Uri};
use http_body::Body;
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};

use crate::call::{Call, ParsedBody, parse_form};
use crate::digest::to_hex;
use crate::hosts;
use crate::multipart::{FilePart, parse_multipart};
use crate::record::RawRequest;

/// A request, read.
pub(crate) struct ParsedRequest {
    pub(crate) call: Call,
    pub(crate) raw: RawRequest,
    /// Whether the body is no longer than one of its kind may be. If it is longer, the call has no body.
    pub(crate) within_limit: bool,
}

/// The client disconnected.
pub(crate) struct ClientDisconnected;

/// Reads a request to its end.
///
/// A body that is no JSON object, or no multipart body although it says so, has no parameters: Graph then names the
/// first one that it misses.
pub(crate) async fn parse_request<B>(request: Request<B>) -> Result<ParsedRequest, ClientDisconnected>
where
    B: Body + Send,
    B::Data: Send,
{
    let (head, body) = request.into_parts();
    let content_type = content_type(&head.headers);
    let kind = BodyKind::new(&head.uri, content_type);
    let mut pieces = Pieces {
        body: pin!(body),
        hash: Sha256::new(),
        length: 0,
        max_bytes: kind.max_bytes(),
        error: None,
    };
    let mut payload = pieces.parse(kind, content_type).await;
    // A malformed body is hashed and counted, too.
    while pieces.next().await.is_some() {}
    let within_limit = match pieces.error {
        None => true,
        Some(BodyError::TooLarge) => false,
        Some(BodyError::Disconnected) => return Err(ClientDisconnected),
    };
    if !within_limit {
        payload = ParsedBody::default();
    }
    let host = hosts::requested_host(&head.uri, &head.headers);
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let raw = RawRequest {
        method: head.method.clone(),
        target: target.to_owned(),
        http: head.version,
        length: pieces.length,
        sha256: to_hex(&pieces.hash.finalize()),
        host: host.clone(),
    };
    let call = Call::new(head, &host, payload);
    Ok(ParsedRequest {
        call,
        raw,
        within_limit,
    })
}

fn content_type(headers: &HeaderMap) -> &str {
    let content_type = headers.get(CONTENT_TYPE);
    content_type.and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// How a body is read.
enum BodyKind {
    /// A form with this boundary.
    Multipart(String),
    /// One file.
    File,
    /// JSON or a form, read whole.
    Buffered,
}

impl BodyKind {
    fn new(uri: &Uri, content_type: &str) -> Self {
        if let Ok(boundary) = multer::parse_boundary(content_type) {
            return Self::Multipart(boundary);
        }
        let mut path = uri.path().split('/');
        if path.any(|segment| segment.starts_with("upload:") || segment == "video-upload") {
            return Self::File;
        }
        Self::Buffered
    }

    /// The largest body of this kind: 100 MB of document and its wrapping, or 1 MiB.
    const fn max_bytes(&self) -> u64 {
        match self {
            Self::Multipart(_) | Self::File => 110 * 1024 * 1024,
            Self::Buffered => 1024 * 1024,
        }
    }
}

/// The pieces of a body, hashed and counted as they pass.
struct Pieces<'a, B> {
    body: Pin<&'a mut B>,
    hash: Sha256,
    length: u64,
    max_bytes: u64,
    error: Option<BodyError>,
}

/// Why a body ends before its end.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum BodyError {
    #[error("the client disconnected")]
    Disconnected,
    #[error("the body is too large")]
    TooLarge,
}

impl<B> Pieces<'_, B>
where
    B: Body + Send,
    B::Data: Send,
{
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        if self.error.is_some() {
            return None;
        }
        let frame = self.body.frame().await?;
        let Ok(frame) = frame else {
            self.error = Some(BodyError::Disconnected);
            return Some(Err(BodyError::Disconnected));
        };
        // Trailers have no bytes.
        let piece = frame.into_data().map_or_else(
            |_trailers| Bytes::new(),
            |mut data| data.copy_to_bytes(data.remaining()),
        );
        self.length = self.length.saturating_add(piece.len() as u64);
        self.hash.update(&piece);
        if self.length > self.max_bytes {
            self.error = Some(BodyError::TooLarge);
            return Some(Err(BodyError::TooLarge));
        }
        Some(Ok(piece))
    }

    async fn parse(&mut self, kind: BodyKind, content_type: &str) -> ParsedBody {
        match kind {
            BodyKind::Multipart(boundary) => {
                let pieces = stream::unfold(self, |pieces| async {
                    let piece = pieces.next().await?;
                    Some((piece, pieces))
                });
                parse_multipart(pieces, boundary).await.unwrap_or_default()
            }
            BodyKind::File => {
                let mut file = FilePart::unnamed(content_type);
                while let Some(Ok(piece)) = self.next().await {
                    file.append(&piece);
                }
                ParsedBody {
                    file: Some(file.into_uploaded_file()),
                    ..ParsedBody::default()
                }
            }
            BodyKind::Buffered => {
                let mut body = BytesMut::new();
                while let Some(Ok(piece)) = self.next().await {
                    body.extend_from_slice(&piece);
                }
                parse_buffered(content_type, &body)
            }
        }
    }
}

fn parse_buffered(content_type: &str, body: &[u8]) -> ParsedBody {
    let mut payload = ParsedBody::default();
    if content_type.contains("json") {
        payload.json = serde_json::from_slice(body).unwrap_or_default();
    } else if let Ok(text) = std::str::from_utf8(body) {
        payload.fields = parse_form(text.trim());
    }
    payload
}
