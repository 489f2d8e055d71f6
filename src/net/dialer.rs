//! Connections to hosts, directly or through the egress proxy.
//!
//! # Why
//!
//! The tunnel is opened by hyper's client: that of hyper-util does not tell the status with which a proxy refuses.

use std::collections::HashMap;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::{HOST, PROXY_AUTHORIZATION, VIA};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::dial::{ConnectFailure, ConnectFailureKind, connect_tcp};
use super::egress::{EgressProxy, ProxyServer};
use super::host_name::{bracketed, without_brackets};

/// Opens connections to hosts.
#[derive(Clone, Debug)]
pub struct Dialer {
    /// Host name -> `host:port` to connect to instead, without the egress proxy.
    pub connect_to: HashMap<String, String>,
    /// The proxy for the other hosts.
    pub egress: EgressProxy,
    /// The limit for DNS, TCP and the egress proxy together.
    pub timeout: Duration,
}

/// An open connection to a host.
#[derive(Debug)]
pub enum Dialed {
    /// Without a proxy.
    Direct(TcpStream),
    /// Through the egress proxy.
    Tunneled(TokioIo<Upgraded>),
}

/// The reason why the proxy opened no tunnel.
#[derive(Debug, thiserror::Error)]
enum TunnelError {
    #[error("it answered 407: check the user and the password in its URL")]
    Unauthorized,
    #[error("it answered CONNECT with {0}")]
    Refused(StatusCode),
    #[error("{0}")]
    Interrupted(#[from] hyper::Error),
}

impl TunnelError {
    fn kind(&self) -> ConnectFailureKind {
        match self {
            Self::Unauthorized => ConnectFailureKind::EgressDenied,
            Self::Refused(StatusCode::FORBIDDEN) => ConnectFailureKind::EgressDenied,
            Self::Refused(_) | Self::Interrupted(_) => ConnectFailureKind::Refused,
        }
    }
}

/// The name of graphward in `Via`, by which it knows a request of its own.
pub const VIA_GRAPHWARD: HeaderValue = HeaderValue::from_static("1.1 graphward");

// === impl Dialer ===

impl Default for Dialer {
    fn default() -> Self {
        Self {
            connect_to: HashMap::new(),
            egress: EgressProxy::default(),
            timeout: Duration::from_secs(5),
        }
    }
}

impl Dialer {
    /// Returns the egress proxy for an https host, which has no brackets if it is an IPv6 address.
    pub(super) fn proxy_for(&self, host: &str) -> Option<&ProxyServer> {
        let is_direct = self.connect_to.contains_key(host);
        self.egress.for_host(host).filter(|_| !is_direct)
    }

    /// Returns the `host:port` to connect to for a host, which has no brackets if it is an IPv6 address.
    pub(super) fn address_of(&self, host: &str, port: u16) -> String {
        let own = || format!("{}:{port}", bracketed(host));
        self.connect_to.get(host).cloned().unwrap_or_else(own)
    }

    /// Opens a connection to a host, which has no brackets if it is an IPv6 address.
    ///
    /// # Errors
    ///
    /// [`ConnectFailure`] with the host that could not be reached: that of the egress proxy, if it is at fault.
    pub async fn dial(&self, host: &str, port: u16) -> Result<Dialed, ConnectFailure> {
        let address = self.address_of(host, port);
        match self.proxy_for(host) {
            Some(proxy) => {
                let tunnel = Box::pin(open_tunnel(proxy, &address, self.timeout));
                tunnel.await.map(Dialed::Tunneled)
            }
            None => connect_tcp(host, &address, self.timeout).await.map(Dialed::Direct),
        }
    }
}

/// Opens a tunnel to `host:port`.
async fn open_tunnel(proxy: &ProxyServer, target: &str, limit: Duration) -> Result<TokioIo<Upgraded>, ConnectFailure> {
    let address = proxy.address();
    let opening = async {
        let tcp = connect_tcp(&address, &address, limit).await?;
        let requested = if proxy.is_https() {
            let host = proxy.uri().host().unwrap_or_default();
            let tls = start_tls(tcp, without_brackets(host), &address, &proxy.tls).await?;
            request_tunnel(tls, target, proxy.authorization()).await
        } else {
            request_tunnel(tcp, target, proxy.authorization()).await
        };
        requested.map(TokioIo::new).map_err(|error| ConnectFailure {
            host: address.clone(),
            kind: error.kind(),
            cause: error.to_string(),
        })
    };
    let opened = timeout(limit, opening).await;
    let opened =
        opened.unwrap_or_else(|_elapsed| Err(ConnectFailure::timed_out(&address, "there is no answer to CONNECT")));
    opened.map_err(|failure| ConnectFailure {
        cause: format!("{} ({proxy}, for {target})", failure.cause),
        host: address.clone(),
        ..failure
    })
}

/// Performs a TLS handshake with a host, which was reached at this address.
pub(super) async fn start_tls<I>(
    io: I,
    host: &str,
    address: &str,
    tls: &Arc<ClientConfig>,
) -> Result<TlsStream<I>, ConnectFailure>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let failure = |error| ConnectFailure::tls(host, address, &error);
    let name = ServerName::try_from(host.to_owned()).map_err(|error| failure(io::Error::other(error)))?;
    let handshake = TlsConnector::from(Arc::clone(tls)).connect(name, io);
    handshake.await.map_err(failure)
}

/// Requests a tunnel to `host:port` on a connection to a proxy.
async fn request_tunnel<I>(io: I, target: &str, authorization: Option<&HeaderValue>) -> Result<Upgraded, TunnelError>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = target.parse().unwrap_or_default();
    let headers = request.headers_mut();
    headers.extend(HeaderValue::from_str(target).ok().map(|target| (HOST, target)));
    headers.extend(authorization.cloned().map(|value| (PROXY_AUTHORIZATION, value)));
    headers.insert(VIA, VIA_GRAPHWARD);
    let exchange = pin!(async {
        let response = sender.send_request(request).await?;
        match response.status() {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Err(TunnelError::Unauthorized),
            status if status.is_success() => Ok(hyper::upgrade::on(response).await?),
            status => Err(TunnelError::Refused(status)),
        }
    });
    match select(exchange, pin!(connection.with_upgrades())).await {
        Either::Left((tunnel, _connection)) => tunnel,
        Either::Right((_ended, exchange)) => exchange.await,
    }
}
