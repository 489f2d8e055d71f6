//! The endpoint of an internal credential service: a URL, and the headers that every request to it has.
//!
//! # Why
//!
//! Secrets travel to it in headers and in the query, so only the scheme, the host, the port and the path are shown. A user
//! and password in the URL are dropped: credentials belong in `headers`, where they are treated as secrets.

use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, IF_NONE_MATCH};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};

use super::host_name::without_brackets;
use super::http_client::{HttpClient, HttpClientError};

/// A URL, the headers of every request to it, and the client that sends them.
#[derive(Clone, derive_more::Debug)]
#[debug("HttpEndpoint({self})")]
pub struct HttpEndpoint {
    uri: Uri,
    headers: HeaderMap,
    client: HttpClient,
}

/// The reason why an endpoint gave no usable response. No variant holds more of the URL than [`HttpEndpoint`] shows.
#[derive(Debug, thiserror::Error)]
pub enum HttpEndpointError {
    /// There is no response.
    #[error(transparent)]
    Request(#[from] HttpClientError),
    /// 401 or 403.
    #[error("{0}: not authorized; fix the configured headers")]
    Unauthorized(StatusCode),
    /// 410, or 404 with a JSON document: the service was reached, and says that there is nothing.
    #[error("{0}: not found; add the tenant to the service, or fix the URL")]
    Absent(StatusCode),
    /// Any other 404: a gateway without a backend answers like this, too.
    #[error("{0}: not found, and not by the service itself (no JSON); fix the URL, or see that the service is up")]
    NotFound(StatusCode),
    /// 3xx.
    #[error(
        "{0}: redirects are not followed, because the next host would receive the secrets; configure the redirect's \
         target URL instead"
    )]
    Redirect(StatusCode),
    /// 5xx, or a status that asks for a later try.
    #[error("{0}: server error or rate limit; graphward will retry")]
    Unavailable(StatusCode),
    /// Any other status.
    #[error("{0}: unexpected status; check the URL")]
    UnexpectedStatus(StatusCode),
}

// === impl HttpEndpoint ===

impl HttpEndpoint {
    /// An endpoint with these headers, all of which are treated as secrets.
    #[must_use]
    pub fn new(uri: Uri, headers: HeaderMap, client: HttpClient) -> Self {
        let endpoint = Self::of_known_service(uri, headers, client);
        if endpoint.is_plaintext() {
            tracing::warn!(
                url = %endpoint,
                "the credential service uses plain http: tokens are readable on the network; use https"
            );
        }
        endpoint
    }

    /// The same without the warning about plain http: an endpoint of that service was created before.
    #[must_use]
    pub fn of_known_service(uri: Uri, mut headers: HeaderMap, client: HttpClient) -> Self {
        for value in headers.values_mut() {
            value.set_sensitive(true);
        }
        let json = HeaderValue::from_static("application/json");
        headers.entry(ACCEPT).or_insert(json);
        Self {
            uri: without_userinfo(uri),
            headers,
            client,
        }
    }

    /// Sends a GET. With the entity tag of a known response, the answer may be 304, which is `None`.
    ///
    /// # Errors
    ///
    /// [`HttpEndpointError`] for everything but 2xx, and 304 if there was a tag.
    pub async fn get(&self, etag: Option<&HeaderValue>) -> Result<Option<Response<Bytes>>, HttpEndpointError> {
        let mut request = self.request(Method::GET, Bytes::new());
        if let Some(tag) = etag {
            request.headers_mut().insert(IF_NONE_MATCH, tag.clone());
        }
        let response = self.client.send(request).await?;
        if etag.is_some() && response.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        check_status(response).map(Some)
    }

    /// Sends a POST with a JSON document.
    ///
    /// # Errors
    ///
    /// [`HttpEndpointError`] for everything but 2xx.
    pub async fn post(&self, document: Bytes) -> Result<Response<Bytes>, HttpEndpointError> {
        let mut request = self.request(Method::POST, document);
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        check_status(self.client.send(request).await?)
    }

    fn request(&self, method: Method, body: Bytes) -> Request<Bytes> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    fn is_plaintext(&self) -> bool {
        let host = self.uri.host().unwrap_or_default();
        let address = without_brackets(host);
        let is_loopback = address
            .parse()
            .map_or(host == "localhost", |address: IpAddr| address.is_loopback());
        self.uri.scheme_str() == Some("http") && !is_loopback
    }
}

/// Scheme, host and port. The path is left out, because some services expect a secret in it.
impl fmt::Display for HttpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        let host = self.uri.authority().map_or("", Authority::as_str);
        write!(f, "{scheme}://{host}")
    }
}

/// Drops the user and password of a URI.
fn without_userinfo(uri: Uri) -> Uri {
    let mut parts = uri.clone().into_parts();
    let host = parts
        .authority
        .as_ref()
        .and_then(|authority| Some(authority.as_str().rsplit_once('@')?.1));
    let Some(host) = host.and_then(|host| host.parse().ok()) else {
        return uri;
    };
    parts.authority = Some(host);
    Uri::from_parts(parts).unwrap_or(uri)
}

fn check_status(response: Response<Bytes>) -> Result<Response<Bytes>, HttpEndpointError> {
    let status = response.status();
    match status.as_u16() {
        200..=299 => Ok(response),
        300..=399 => Err(HttpEndpointError::Redirect(status)),
        401 | 403 => Err(HttpEndpointError::Unauthorized(status)),
        410 => Err(HttpEndpointError::Absent(status)),
        404 if is_json(&response) => Err(HttpEndpointError::Absent(status)),
        404 => Err(HttpEndpointError::NotFound(status)),
        408 | 425 | 429 | 500.. => Err(HttpEndpointError::Unavailable(status)),
        _ => Err(HttpEndpointError::UnexpectedStatus(status)),
    }
}

/// Returns whether the body is a JSON document, and not declared to be something else.
fn is_json(response: &Response<Bytes>) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE);
    let is_declared = content_type.is_none_or(|value| {
        let value = value.as_bytes().to_ascii_lowercase();
        let media_type = value.split(|byte| *byte == b';').next().unwrap_or_default();
        let media_type = media_type.trim_ascii();
        media_type == b"application/json" || media_type.ends_with(b"+json")
    });
    is_declared && serde_json::from_slice::<serde::de::IgnoredAny>(response.body()).is_ok()
}

// === impl HttpEndpointError ===

impl HttpEndpointError {
    /// The value of a metric label.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Request(error) => error.reason(),
            Self::Unauthorized(_) => "unauthorized",
            Self::Absent(_) | Self::NotFound(_) => "not_found",
            Self::Redirect(_) => "redirect",
            Self::Unavailable(_) | Self::UnexpectedStatus(_) => "unexpected_status",
        }
    }

    /// Reports whether a later request may succeed without an operator's help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Request(HttpClientError::ResponseTooLarge(_) | HttpClientError::InvalidUrl(_))
            | Self::Unauthorized(_)
            | Self::Absent(_)
            | Self::NotFound(_)
            | Self::Redirect(_)
            | Self::UnexpectedStatus(_) => false,
            Self::Request(_) | Self::Unavailable(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn endpoint(uri: &'static str) -> HttpEndpoint {
        let client = HttpClient::from_fn(|_request| std::future::pending(), Duration::from_secs(1));
        HttpEndpoint::new(Uri::from_static(uri), HeaderMap::new(), client)
    }

    #[test]
    fn a_url_is_shown_without_its_user_path_and_query() {
        for (uri, shown) in [
            ("http://tenants:3007/a/b?key=s3cret", "http://tenants:3007"),
            ("https://me:s3cret@tenants/a", "https://tenants"),
            ("https://s3cret@[::1]:8443", "https://[::1]:8443"),
        ] {
            let endpoint = endpoint(uri);
            assert_eq!(endpoint.to_string(), shown);
            let all = format!("{endpoint:?} {}", endpoint.request(Method::GET, Bytes::new()).uri());
            assert_eq!(all.contains("s3cret"), uri.contains("key="), "{all}");
            assert!(!format!("{endpoint:?}").contains("s3cret"));
        }
    }

    #[test]
    fn an_endpoint_is_plaintext_if_it_has_no_tls_and_is_not_on_loopback() {
        for (uri, plaintext) in [
            ("http://tenant-service:3007/x", true),
            ("http://10.0.0.1/x", true),
            ("http://localhost.example/x", true),
            ("http://localhost/x", false),
            ("http://127.1.2.3:80/x", false),
            ("http://[::1]:80/x", false),
            ("https://tenant-service/x", false),
        ] {
            assert_eq!(endpoint(uri).is_plaintext(), plaintext, "{uri}");
        }
    }

    #[test]
    fn every_header_is_taken_for_a_secret() {
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", HeaderValue::from_static("s3cret"));
        let endpoint = endpoint("https://tenants/");
        let endpoint = HttpEndpoint::new(endpoint.uri, headers, endpoint.client);
        let request = endpoint.request(Method::GET, Bytes::new());
        assert!(request.headers()["x-api-key"].is_sensitive());
        assert!(!format!("{endpoint:?} {:?}", request.headers()).contains("s3cret"));
    }
}
