//! What the scripted Graph answers.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};

use super::bodies::TestBody;
use super::{EXPIRED_ERROR, error_envelope};
use graphward::net::BoxError;

/// An answer, and how it comes.
#[derive(Clone, Debug)]
pub(crate) struct ScriptedResponse {
    pub(crate) status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    pub(crate) delay: Duration,
    /// The size of its chunks and the pause between them; none is one chunk of known length.
    chunks: Option<(usize, Duration)>,
    end: BodyEnd,
    /// Whether it comes before the request's body is read.
    pub(crate) early: bool,
    pub(crate) head: HeadOutcome,
}

/// Whether there is a head at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum HeadOutcome {
    Sent,
    /// The connection, or the stream, is lost instead.
    ConnectionLost,
    /// Nothing happens instead.
    Never,
    /// HTTP/2 refuses the stream with REFUSED_STREAM; HTTP/1.1 loses the connection.
    StreamRefused,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum BodyEnd {
    Complete,
    ConnectionLost,
    Never,
}

impl ScriptedResponse {
    pub(crate) fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let reply = Self {
            status: StatusCode::from_u16(status).unwrap(),
            headers: Vec::new(),
            body: body.into(),
            delay: Duration::ZERO,
            chunks: None,
            end: BodyEnd::Complete,
            early: false,
            head: HeadOutcome::Sent,
        };
        if content_type.is_empty() {
            reply
        } else {
            reply.with("content-type", content_type)
        }
    }

    pub(crate) fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status, "application/json; charset=UTF-8", body)
    }

    /// An error envelope.
    pub(crate) fn error(status: u16, code: i64) -> Self {
        Self::json(status, error_envelope(code))
    }

    /// What a dead token hears.
    pub(crate) fn expired() -> Self {
        Self::json(401, EXPIRED_ERROR).with(
            "www-authenticate",
            r#"OAuth "Facebook Platform" "invalid_token" "Error validating access token""#,
        )
    }

    /// The connection is lost before the head.
    pub(crate) fn connection_lost() -> Self {
        Self {
            head: HeadOutcome::ConnectionLost,
            ..Self::json(200, "")
        }
    }

    /// No head ever comes.
    pub(crate) fn no_response() -> Self {
        Self {
            head: HeadOutcome::Never,
            ..Self::json(200, "")
        }
    }

    /// Graph refuses the stream instead of a head.
    pub(crate) fn stream_refused() -> Self {
        Self {
            head: HeadOutcome::StreamRefused,
            ..Self::json(200, "")
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.parse().unwrap(), value.parse().unwrap()));
        self
    }

    pub(crate) fn delayed(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    pub(crate) fn before_request_body(self) -> Self {
        Self { early: true, ..self }
    }

    /// In chunks, so of unknown length.
    pub(crate) fn chunked(self, chunk_size: usize, delay: Duration) -> Self {
        Self {
            chunks: Some((chunk_size, delay)),
            ..self
        }
    }

    /// The connection is lost at the end of what there is of a body.
    pub(crate) fn truncated(self) -> Self {
        Self {
            end: BodyEnd::ConnectionLost,
            chunks: self.chunks.or(Some((usize::MAX, Duration::ZERO))),
            ..self
        }
    }

    /// The end of the body never comes.
    pub(crate) fn stalled(self) -> Self {
        Self {
            end: BodyEnd::Never,
            chunks: self.chunks.or(Some((usize::MAX, Duration::ZERO))),
            ..self
        }
    }

    pub(crate) fn gzipped(self) -> Self {
        let body = gzip(&self.body);
        Self { body, ..self }.with("content-encoding", "gzip")
    }

    pub(crate) fn bytes(&self) -> Bytes {
        self.body.clone()
    }

    pub(crate) fn into_response(self) -> Response<TestBody> {
        let (end, body) = (self.end, self.body);
        let body = match self.chunks {
            None => Full::new(body).map_err(|never| match never {}).boxed_unsync(),
            Some((step, gap)) => {
                let frames = stream::unfold(Some(body), move |left| async move {
                    let mut left = left?;
                    if left.is_empty() {
                        return match end {
                            BodyEnd::Complete => None,
                            BodyEnd::Never => std::future::pending().await,
                            BodyEnd::ConnectionLost => {
                                // Late enough for what there is to be on its way.
                                tokio::time::sleep(Duration::from_millis(1)).await;
                                Some((Err(BoxError::from("lost on purpose")), None))
                            }
                        };
                    }
                    if !gap.is_zero() {
                        tokio::time::sleep(gap).await;
                    }
                    let chunk = left.split_to(step.min(left.len()));
                    Some((Ok(Frame::data(chunk)), Some(left)))
                });
                StreamBody::new(frames).boxed_unsync()
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        response
    }
}

pub(crate) fn gzip(plain: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap().into()
}
