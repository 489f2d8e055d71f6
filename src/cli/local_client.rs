//! A client of a listener on this machine.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use serde_json::Value;

use crate::net::tls::TlsError;
use crate::net::{AllowedSchemes, HttpClient, HttpClientConfig, HttpClientError, ListenAddr, ListenAddrError};

/// A client of one listener on this machine.
pub(super) struct LocalClient {
    /// The authority in request URLs: `IP:PORT`, or `localhost` for a Unix socket.
    authority: String,
    client: HttpClient,
}

/// The longest answer that is read: fifty reports of tokens, each with long errors.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// Reads the address of a listener, which may be written as its URL.
pub(super) fn parse_local_url(text: &str) -> Result<ListenAddr, ListenAddrError> {
    let address = text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    address.unwrap_or(text).parse()
}

// === impl LocalClient ===

impl LocalClient {
    /// Creates a client whose requests take no longer than this.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if TLS cannot be set up.
    pub(super) fn new(address: &ListenAddr, timeout: Duration) -> Result<Self, TlsError> {
        let (authority, unix_socket) = match address {
            ListenAddr::Tcp(address) => (address.to_string(), None),
            ListenAddr::Unix(path) => ("localhost".to_owned(), Some(path.clone())),
        };
        let config = HttpClientConfig {
            schemes: AllowedSchemes::HttpAndHttps,
            unix_socket,
            max_response: Some(MAX_RESPONSE_BYTES),
            ..HttpClientConfig::default()
        };
        let client = HttpClient::new(config, timeout)?;
        Ok(Self { authority, client })
    }

    /// Posts JSON to a path.
    pub(super) async fn post(&self, path: &str, json: &Value) -> Result<Response<Bytes>, HttpClientError> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        self.send(Method::POST, path, headers, json.to_string().into()).await
    }

    /// Sends a request to a path, which may have a query.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Bytes>, HttpClientError> {
        let uri = format!("http://{}{path}", self.authority).parse::<Uri>();
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri.map_err(|error| HttpClientError::InvalidUrl(error.into()))?;
        *request.headers_mut() = headers;
        self.client.send(request).await
    }
}
