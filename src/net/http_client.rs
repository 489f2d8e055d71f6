//! The HTTP client of the control plane: one request, one small response, both bounded.
//!
//! # Why
//!
//! Renewals, inspections, the webhook and the credential service of one token are called a few times a day, or once a minute, so
//! each call opens a connection of its own over HTTP/1.1 and closes it: no pool can go stale. A service that is asked for the
//! tokens of ten thousand tenants has more than a hundred calls a second, and the first request of a tenant waits for one. Its
//! client keeps connections open ([`HttpClientConfig::max_idle`]). The service may close one at the same moment, so a GET that
//! gets no response is sent once more, on a connection of its own. No call shares a connection with the app's requests, and the
//! data path never uses this client.
//!
//! Redirects are not followed, because another host would receive the secrets. An egress proxy sees the host of an https URL
//! and no more. Nothing else is retried: the caller decides that. Secrets travel in a URL's path and query, so an error names the
//! host and the port only.
//!
//! reqwest asks our resolver for a name's addresses, which is how `upstream.connect_to` applies. It takes the port from
//! the URL if the URL names one: the port of a `connect_to` address counts only if it does not.
//!
//! Paused time and real sockets do not mix, so tests of what happens over hours replace the exchange by
//! [`HttpClient::from_fn`].

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::uri::Scheme;
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper_util::client::legacy;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::ClientConfig;
use tokio::time::timeout;

use super::dialer::Dialer;
use super::egress::ProxyServer;
use super::error::BoxError;
use super::host_name::without_brackets;
use super::tls::{self, TlsError};
use crate::types::error_chain;

/// Sends requests of the control plane. Clones share the client.
#[derive(Clone, derive_more::Debug)]
#[debug("HttpClient({timeout:?})")]
pub struct HttpClient {
    exchange: Arc<Exchange>,
    timeout: Duration,
}

type Exchange = dyn Fn(Request<Bytes>) -> BoxFuture<'static, Result<Response<Bytes>, HttpClientError>> + Send + Sync;

/// The settings of an [`HttpClient`]: the way to servers, and the trust in them.
#[derive(Clone, Debug, Default)]
pub struct HttpClientConfig {
    /// The way to hosts. SNI, `Host` and the certificate's name stay the host's.
    pub dialer: Dialer,
    /// A PEM file with roots to trust besides Mozilla's.
    pub ca_file: Option<PathBuf>,
    /// The URLs that may be called.
    pub schemes: AllowedSchemes,
    /// The Unix socket to connect to, whatever host the URL names.
    pub unix_socket: Option<PathBuf>,
    /// The most connections to a host that stay open for the next call, for half a minute.
    pub max_idle: usize,
    /// The longest response body that is read, in bytes, if it is not 64 KiB.
    pub max_response: Option<usize>,
}

/// The schemes of the URLs that may be called.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AllowedSchemes {
    /// `https` alone: tokens never travel to Graph in the clear.
    #[default]
    Https,
    /// `http` as well: for internal services, whose network is the operator's.
    HttpAndHttps,
}

/// The reason why a call brought no response. No variant holds the URL's path or query, or what was sent.
#[derive(Debug, thiserror::Error)]
pub enum HttpClientError {
    /// The URL has a scheme that may not be called.
    #[error("the URL cannot be called")]
    InvalidUrl(#[source] BoxError),
    /// There is no connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// The URL's host, its port if it names one, and the address to dial instead if there is one.
        address: String,
        /// The cause: DNS, TCP or TLS.
        source: BoxError,
    },
    /// The connection broke before the response was complete.
    #[error("the connection closed before the response was complete")]
    Interrupted(#[source] BoxError),
    /// The response is longer than this number of bytes.
    #[error("the response is larger than {} KiB", .0 / 1024)]
    ResponseTooLarge(usize),
    /// The time is over.
    #[error("no complete response within {0:?}")]
    TimedOut(Duration),
}

/// How long a connection stays open for the next call. Services close theirs after five seconds, a minute or more.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest response body that is read, unless the settings say otherwise.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// Resolves names by `connect_to`, and otherwise as the system does.
struct ConnectToResolver(HashMap<String, String>);

// === impl HttpClientConfig ===

impl HttpClientConfig {
    /// Builds a client that keeps so many connections open.
    fn client(&self, tls: &ClientConfig, dialer: &Arc<Dialer>, max_idle: usize) -> Result<reqwest::Client, TlsError> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .https_only(self.schemes == AllowedSchemes::Https)
            .connect_timeout(dialer.timeout)
            .dns_resolver(ConnectToResolver(dialer.connect_to.clone()))
            .http1_only()
            .pool_max_idle_per_host(max_idle)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy();
        if let Some(path) = self.unix_socket.clone() {
            builder = builder.unix_socket(path);
        }
        if dialer.egress.is_set() {
            builder = builder.proxy(egress_proxy(Arc::clone(dialer)));
        }
        builder.build().map_err(|error| TlsError::HttpClient(root_cause(error)))
    }
}

// === impl HttpClient ===

impl HttpClient {
    /// A client whose calls each take at most `timeout`, from the name look-up to the last byte of the response.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the CA file cannot be used.
    pub fn new(config: HttpClientConfig, timeout: Duration) -> Result<Self, TlsError> {
        let tls = tls::client(config.ca_file.as_deref(), &[b"http/1.1"])?;
        let dialer = Arc::new(config.dialer.clone());
        let single = config.client(&tls, &dialer, 0)?;
        let limit = config.max_response.unwrap_or(MAX_RESPONSE_BYTES);
        let pooled = match config.max_idle {
            0 => single.clone(),
            max_idle => config.client(&tls, &dialer, max_idle)?,
        };
        let call = move |request: Request<Bytes>| {
            let (pooled, single, dialer) = (pooled.clone(), single.clone(), Arc::clone(&dialer));
            async move {
                let may_be_stale = config.max_idle > 0 && request.method() == Method::GET;
                let again = may_be_stale.then(|| request.clone());
                match (execute(pooled, Arc::clone(&dialer), request, limit).await, again) {
                    (Err(HttpClientError::Interrupted(_)), Some(again)) => execute(single, dialer, again, limit).await,
                    (result, _) => result,
                }
            }
        };
        Ok(Self::from_fn(call, timeout))
    }

    /// A client whose calls this function answers.
    pub fn from_fn<F, O>(exchange: F, timeout: Duration) -> Self
    where
        F: Fn(Request<Bytes>) -> O + Send + Sync + 'static,
        O: Future<Output = Result<Response<Bytes>, HttpClientError>> + Send + 'static,
    {
        Self {
            exchange: Arc::new(move |request| Box::pin(exchange(request))),
            timeout,
        }
    }

    /// The same client with another time limit.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self {
            exchange: Arc::clone(&self.exchange),
            timeout,
        }
    }

    /// Sends one request to the absolute URI that it has, and reads the whole response, whatever its status.
    ///
    /// # Errors
    ///
    /// [`HttpClientError`]; the server may have acted, unless it is [`HttpClientError::InvalidUrl`] or
    /// [`HttpClientError::Connect`].
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpClientError> {
        timeout(self.timeout, (self.exchange)(request))
            .await
            .unwrap_or(Err(HttpClientError::TimedOut(self.timeout)))
    }
}

/// Applies the egress proxy to https.
fn egress_proxy(dialer: Arc<Dialer>) -> reqwest::Proxy {
    let authorization = dialer.egress.authorization().cloned();
    let proxy = reqwest::Proxy::custom(move |url| {
        let host = url.host_str().filter(|_| url.scheme() == "https")?;
        let proxy = dialer.proxy_for(without_brackets(host))?;
        Some(proxy.uri().to_string())
    });
    match authorization {
        Some(authorization) => proxy.custom_http_auth(authorization),
        None => proxy,
    }
}

async fn execute(
    client: reqwest::Client,
    dialer: Arc<Dialer>,
    request: Request<Bytes>,
    limit: usize,
) -> Result<Response<Bytes>, HttpClientError> {
    let (address, uri) = (shown_address(request.uri(), &dialer), request.uri().clone());
    let is_https = uri.scheme() == Some(&Scheme::HTTPS);
    let host = uri.host().filter(|_| is_https).map(without_brackets);
    let proxy = host.and_then(|host| dialer.proxy_for(host));
    let failed = |error| HttpClientError::from_reqwest(error, &address, proxy);
    let request = request.try_into().map_err(failed)?;
    let response = match client.execute(request).await {
        Ok(response) => response,
        // reqwest does not tell what the proxy answered. It is asked again; if it opens the tunnel now, so be it.
        Err(error)
            if proxy.is_some()
                && error.is_connect()
                && !error.is_timeout()
                && let Some(host) = host =>
        {
            let again = dialer.dial(host, uri.port_u16().unwrap_or(443)).await;
            return Err(again.map_or_else(
                |failure| HttpClientError::Connect {
                    address: address.clone(),
                    source: failure.into(),
                },
                |_tunnel| failed(error),
            ));
        }
        Err(error) => return Err(failed(error)),
    };
    let (head, body) = Response::<reqwest::Body>::from(response).into_parts();
    let body = Limited::new(body, limit).collect().await;
    let body = body.map_err(|error| match error.downcast::<reqwest::Error>() {
        Ok(error) => failed(*error),
        Err(error) if error.is::<LengthLimitError>() => HttpClientError::ResponseTooLarge(limit),
        Err(error) => HttpClientError::Interrupted(error),
    })?;
    Ok(Response::from_parts(head, body.to_bytes()))
}

/// The part of a URI that an error may show (no user, no password, no path, no query), and the address to dial instead if there
/// is one.
fn shown_address(uri: &Uri, dialer: &Dialer) -> String {
    let host = uri.host().unwrap_or_default();
    let port = uri.port().map_or_else(String::new, |port| format!(":{port}"));
    let dialed = dialer.connect_to.get(without_brackets(host));
    let dialed = dialed.map_or_else(String::new, |address| format!(" at {address}"));
    format!("{host}{port}{dialed}")
}

/// The causes of an error on one line, without the URL, and without the outer layers, whose words ("error sending request",
/// "client error (Connect)") tell an operator nothing.
fn root_cause(error: reqwest::Error) -> BoxError {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source()
        && (cause.is::<reqwest::Error>() || cause.is::<legacy::Error>())
    {
        cause = inner;
    }
    format!("{}{}", error_chain(cause), tls::handshake_advice(cause)).into()
}

impl Resolve for ConnectToResolver {
    fn resolve(&self, name: Name) -> Resolving {
        // reqwest replaces port 0 by that of the URL or of its scheme.
        let address = match self.0.get(name.as_str()) {
            Some(address) => address.clone(),
            None => format!("{}:0", name.as_str()),
        };
        Box::pin(async move {
            let addresses: Vec<_> = tokio::net::lookup_host(address).await?.collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

// === impl HttpClientError ===

impl HttpClientError {
    fn from_reqwest(error: reqwest::Error, address: &str, proxy: Option<&ProxyServer>) -> Self {
        if error.is_builder() {
            Self::InvalidUrl(root_cause(error))
        } else if error.is_connect() {
            Self::Connect {
                address: address.to_owned(),
                source: match proxy {
                    Some(proxy) => format!("{} (through {proxy})", root_cause(error)).into(),
                    None => root_cause(error),
                },
            }
        } else {
            Self::Interrupted(root_cause(error))
        }
    }

    /// The value of a metric label.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::InvalidUrl(_) => "invalid_url",
            Self::Connect { .. } => "connect_failed",
            Self::Interrupted(_) => "connection_closed",
            Self::ResponseTooLarge(_) => "too_large",
            Self::TimedOut(_) => "timeout",
        }
    }
}
