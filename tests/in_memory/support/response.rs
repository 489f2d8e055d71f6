//! What the app gets.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub(crate) struct TestResponse {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether the body ended as it should.
    pub(crate) complete: bool,
    pub(crate) trailers: bool,
}

/// The names of these fields, sorted.
pub(crate) fn sorted_names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<&str> = headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

impl TestResponse {
    pub(crate) async fn read(response: Response<Incoming>) -> Self {
        let (head, mut incoming) = response.into_parts();
        let (mut body, mut complete, mut trailers) = (BytesMut::new(), true, false);
        while let Some(frame) = incoming.frame().await {
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => body.extend_from_slice(&data),
                Ok(Err(_trailers)) => trailers = true,
                Err(_broken) => {
                    complete = false;
                    break;
                }
            }
        }
        Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.freeze(),
            complete,
            trailers,
        }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The first value of a field, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The code of the error envelope that this is.
    pub(crate) fn code(&self) -> i64 {
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        body["error"]["code"].as_i64().unwrap()
    }

    /// Fails unless this is graphward's own answer: its status, and its word of RFC 9209.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, error: &str) {
        assert_eq!(self.status, status, "{self:?}");
        let proxy_status = self.header("proxy-status");
        let expected = format!("graphward; error={error}");
        assert!(
            proxy_status == expected || proxy_status.starts_with(&format!("{expected}; details=\"")),
            "{proxy_status}"
        );
        assert!(self.code() > 990_000, "{self:?}");
        assert_eq!(self.header("cache-control"), "no-store");
    }
}
