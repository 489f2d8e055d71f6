//! Answers with the headers of recorded ones.

use std::io::Write as _;
use std::sync::LazyLock;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{self, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, VARY, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use crate::body::ResponseBody;
use crate::call::{Call, Version};
use crate::digest::sha256_hex;
use crate::failure::GraphFailure;
use crate::random;

/// An answer, before it is written for one client.
pub(crate) struct Reply {
    status: StatusCode,
    kind: ReplyKind,
    headers: HeaderMap,
    body: Bytes,
    trace: String,
}

/// Which headers an answer has.
#[derive(Clone, Copy, Eq, PartialEq)]
enum ReplyKind {
    /// An answer of Graph.
    Json,
    /// An error of Graph.
    Error,
    /// A page of the edge, or a file.
    NotGraph,
}

// === impl Reply ===

impl Reply {
    pub(crate) fn json(value: &impl Serialize) -> Self {
        Self::new(StatusCode::OK, ReplyKind::Json, to_php_json(value).into())
    }

    pub(crate) fn success() -> Self {
        Self::json(&json!({"success": true}))
    }

    pub(crate) fn failure(failure: &GraphFailure) -> Self {
        let trace = random::trace_id();
        let body = to_php_json(&failure.envelope(&trace)).into();
        let mut reply = Self::new(failure.status, ReplyKind::Error, body);
        reply.trace = trace;
        let challenge = HeaderValue::from_bytes(failure.challenge().as_bytes());
        if let Ok(challenge) = challenge {
            reply.headers.insert(WWW_AUTHENTICATE, challenge);
        }
        reply
    }

    /// The error page of Meta's edge.
    pub(crate) fn error_page(status: StatusCode) -> Self {
        const PAGE: &str = "<!DOCTYPE html><html lang=\"en\"><head><title>Error</title></head><body><h1>Sorry, \
            something went wrong.</h1><p>We're working on getting this fixed as soon as we can.</p></body></html>\n";
        let reply = Self::new(status, ReplyKind::NotGraph, Bytes::from_static(PAGE.as_bytes()));
        reply.with_header(CONTENT_TYPE, "text/html; charset=\"utf-8\"")
    }

    pub(crate) fn file(status: StatusCode, mime: &str, body: Bytes) -> Self {
        Self::new(status, ReplyKind::NotGraph, body).with_header(CONTENT_TYPE, mime)
    }

    pub(crate) fn redirect(location: &str) -> Self {
        let reply = Self::new(StatusCode::FOUND, ReplyKind::Json, Bytes::new());
        reply.with_header(header::LOCATION, location)
    }

    /// The same, with another status.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// A batch's answer with `null` as its first item.
    pub(crate) fn without_first_item(mut self) -> Self {
        if let Ok(mut items) = serde_json::from_slice::<Vec<Value>>(&self.body)
            && let Some(first) = items.first_mut()
        {
            *first = Value::Null;
            self.body = to_php_json(&items).into();
        }
        self
    }

    /// Adds a header, if the value is valid in one.
    pub(crate) fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            self.headers.insert(name, value);
        }
        self
    }

    fn new(status: StatusCode, kind: ReplyKind, body: Bytes) -> Self {
        Self {
            status,
            kind,
            headers: HeaderMap::new(),
            body,
            trace: random::trace_id(),
        }
    }

    /// The answer as an item of a batch: status, headers, body as text.
    pub(crate) fn to_batch_item(&self, version: Option<Version>) -> (u16, Value, String) {
        let reply_headers = self.headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            json!({"name": header_case(name.as_str()), "value": value})
        });
        let standard_headers = [
            json!({"name": "Content-Type", "value": "text/javascript; charset=UTF-8"}),
            json!({"name": "Facebook-API-Version", "value": served_version(version)}),
        ];
        let headers = reply_headers.chain(standard_headers).collect();
        let body = String::from_utf8_lossy(&self.body).into_owned();
        (self.status.as_u16(), headers, body)
    }

    /// Makes the answer to this call, with these headers about usage.
    pub(crate) fn into_response(self, call: &Call, usage: HeaderMap) -> Response<ResponseBody> {
        let mut headers = HeaderMap::new();
        let mut body = self.body;
        // The client looks for errors in the body only.
        let hides_status = self.kind == ReplyKind::Error && call.text("suppress_http_code").is_some();
        let mut status = if hides_status { StatusCode::OK } else { self.status };
        if self.kind != ReplyKind::NotGraph {
            add_graph_headers(&mut headers, self.kind, &self.trace, call);
            headers.extend(usage);
            if call.method == Method::GET && self.kind == ReplyKind::Json {
                let etag = etag(&body);
                if call.preferences.if_none_match.as_deref() == Some(&etag) {
                    status = StatusCode::NOT_MODIFIED;
                    body.clear();
                    headers.remove(CONTENT_TYPE);
                }
                insert_header(&mut headers, ETAG, &etag);
            }
            let compressed = (call.preferences.gzip && body.len() > MIN_GZIP_BYTES).then(|| gzip(&body));
            if let Some(gzipped) = compressed.flatten() {
                body = gzipped;
                insert_header(&mut headers, CONTENT_ENCODING, "gzip");
            }
        }
        headers.extend(self.headers);
        if status != StatusCode::NOT_MODIFIED {
            headers.insert(CONTENT_LENGTH, body.len().into());
        }
        if call.method == Method::HEAD {
            // hyper omits it on HTTP/1 but sends it on HTTP/2, where it breaks the stream.
            body.clear();
        }
        let mut response = Response::new(ResponseBody::full(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// Smaller answers are not compressed.
const MIN_GZIP_BYTES: usize = 128;

/// Adds the headers of all answers of Graph.
fn add_graph_headers(head: &mut HeaderMap, kind: ReplyKind, trace: &str, call: &Call) {
    const JSON: &str = "application/json; charset=UTF-8";
    const SCRIPT: &str = "text/javascript; charset=UTF-8";
    insert_header(head, CONTENT_TYPE, if call.preferences.json { JSON } else { SCRIPT });
    for (name, value) in COMMON_HEADERS {
        head.append(name, HeaderValue::from_static(value));
    }
    let cache = match kind {
        ReplyKind::Error => "no-store",
        ReplyKind::Json | ReplyKind::NotGraph => "private, no-cache, no-store, must-revalidate",
    };
    insert_header(head, header::CACHE_CONTROL, cache);
    insert_header(head, FACEBOOK_API_VERSION, served_version(call.version));
    if let Some(old) = call.version.filter(|version| *version < OLDEST_VERSION) {
        let (major, minor) = old;
        let warning = format!(
            "The call has been auto-upgraded to {} as v{major}.{minor} has been deprecated.",
            served_version(Some(old))
        );
        insert_header(head, X_AD_API_VERSION_WARNING, &warning);
    }
    for name in [X_FB_REQUEST_ID, X_FB_TRACE_ID, X_FB_DEBUG] {
        insert_header(head, name, trace);
    }
    if kind == ReplyKind::Error {
        for value in PROXY_STATUS_VALUES.iter() {
            head.append(PROXY_STATUS_HEADER, value.clone());
        }
    }
}

const FACEBOOK_API_VERSION: HeaderName = HeaderName::from_static("facebook-api-version");
const X_AD_API_VERSION_WARNING: HeaderName = HeaderName::from_static("x-ad-api-version-warning");
const X_FB_REQUEST_ID: HeaderName = HeaderName::from_static("x-fb-request-id");
const X_FB_TRACE_ID: HeaderName = HeaderName::from_static("x-fb-trace-id");
const X_FB_DEBUG: HeaderName = HeaderName::from_static("x-fb-debug");
const PROXY_STATUS_HEADER: HeaderName = HeaderName::from_static("proxy-status");

const COMMON_HEADERS: [(HeaderName, &str); 11] = [
    // Two headers, not one with a list, as Graph sends them.
    (VARY, "Origin"),
    (VARY, "Accept-Encoding"),
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=15552000; preload"),
    (header::PRAGMA, "no-cache"),
    (header::EXPIRES, "Sat, 01 Jan 2000 00:00:00 GMT"),
    (header::ALT_SVC, "h3=\":443\"; ma=86400"),
    (HeaderName::from_static("x-fb-rev"), "1027344510"),
    (HeaderName::from_static("x-fb-aed"), "3"),
    (
        HeaderName::from_static("x-fb-connection-quality"),
        "EXCELLENT; q=0.9, rtt=16, rtx=0, c=10, mss=1380, tbw=3397, tp=-1, tpl=-1, uplat=61, ullat=0",
    ),
    (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
];

/// Errors have two of these, of several kilobytes each.
static PROXY_STATUS_VALUES: LazyLock<[HeaderValue; 2]> = LazyLock::new(|| {
    ["http_request_error", "proxy_internal_response"].map(|error| {
        let value = format!(
            "{error}; e_fb_configversion=\"{}\"; e_clientaddr=\"{}\"; e_fb_binaryversion=\"{}\"; \
             e_fb_hostheader=\"{}\"; e_proxy=\"{}\"; e_upip=\"{}\"",
            random::alphanumeric(180),
            random::alphanumeric(420),
            random::alphanumeric(640),
            random::alphanumeric(520),
            random::alphanumeric(380),
            random::alphanumeric(540),
        );
        HeaderValue::try_from(value).unwrap_or_else(|_never| HeaderValue::from_static("error"))
    })
});

/// The oldest version that is still served. Older calls are served by it.
const OLDEST_VERSION: Version = (24, 0);
/// The newest version.
const LATEST_VERSION: Version = (26, 0);

/// The version that serves a call.
pub(crate) const fn served_version(version: Option<Version>) -> &'static str {
    match version {
        Some((25, _)) => "v25.0",
        Some((26.., _)) => "v26.0",
        Some((..25, _)) | None => "v24.0",
    }
}

/// Returns whether this version exists or existed.
pub(crate) fn is_known_version(version: Option<Version>) -> bool {
    version.is_none_or(|version| version <= LATEST_VERSION)
}

fn insert_header(head: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        head.insert(name, value);
    }
}

/// JSON as PHP writes it: ASCII only, slashes, percent and at signs escaped.
fn to_php_json(value: &impl Serialize) -> String {
    let plain = serde_json::to_string(value).unwrap_or_default();
    let mut text = String::with_capacity(plain.len() + plain.len() / 8);
    for letter in plain.chars() {
        match letter {
            '/' => text.push_str("\\/"),
            '%' => text.push_str("\\u0025"),
            '@' => text.push_str("\\u0040"),
            '\0'..='\x7f' => text.push(letter),
            _ => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    text
}

fn etag(body: &[u8]) -> String {
    let digest = sha256_hex(body);
    format!("\"{}\"", digest.chars().take(40).collect::<String>())
}

fn gzip(body: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).ok()?;
    Some(encoder.finish().ok()?.into())
}

/// `www-authenticate` → `WWW-Authenticate`, `location` → `Location`.
fn header_case(name: &str) -> String {
    if name == WWW_AUTHENTICATE {
        return "WWW-Authenticate".to_owned();
    }
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
        first.to_ascii_uppercase() + rest
    });
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_escaped_as_php_does() {
        let text = to_php_json(&json!({"url": "https://x/?a=%7C@ü😀\""}));
        assert_eq!(
            text,
            "{\"url\":\"https:\\/\\/x\\/?a=\\u00257C\\u0040\\u00fc\\ud83d\\ude00\\\"\"}"
        );
        let back: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["url"], "https://x/?a=%7C@ü😀\"");
    }

    #[test]
    fn old_versions_are_served_by_the_oldest_living_one() {
        assert_eq!(served_version(None), "v24.0");
        assert_eq!(served_version(Some((19, 0))), "v24.0");
        assert_eq!(served_version(Some((25, 0))), "v25.0");
        assert!(is_known_version(Some((26, 0))) && !is_known_version(Some((99, 0))));
    }
}
