//! The egress proxy: its configuration, and the hosts that are reached through it.
//!
//! # Why
//!
//! Networks that let traffic out only through a proxy announce it by `HTTPS_PROXY` and `NO_PROXY`, in capitals or, if there is
//! none, in small letters. `ALL_PROXY` is ignored. hyper-util's matcher applies `NO_PROXY`, to the requests of the app and to
//! the control plane alike.
//!
//! Only https goes through the proxy, which then sees the names of hosts and no tokens. Calls of internal services over plain
//! http are direct, because the proxy could read them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use rustls::ClientConfig;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::host_name::{bracketed, host_name};
use super::resolve::resolve;

/// The URL of an egress proxy, which may hold a password, and the name of what sets it.
#[derive(Clone, Eq, PartialEq, derive_more::Debug)]
#[debug("EgressProxyUrl({set_by})")]
pub struct EgressProxyUrl {
    /// The environment variable or the configuration key that set it.
    pub set_by: &'static str,
    /// The URL.
    pub url: Zeroizing<String>,
}

/// The variables of the environment about egress proxies.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EgressVariables {
    /// The proxy.
    pub proxy: Option<EgressProxyUrl>,
    /// The hosts that are reached without it.
    pub no_proxy: String,
}

/// The egress proxy, if there is one, and the hosts that are reached without it.
#[derive(Clone, Default, derive_more::Debug)]
#[debug("EgressProxy({self})")]
pub struct EgressProxy(Option<Arc<ProxyServer>>);

#[derive(derive_more::Display)]
#[display("the egress proxy {} of {set_by}", self.address())]
pub(super) struct ProxyServer {
    matcher: Matcher,
    server: Intercept,
    set_by: &'static str,
    /// For a proxy that is reached by https.
    pub(super) tls: Arc<ClientConfig>,
}

/// The reason why an egress proxy cannot be used. The URL is not repeated: it may hold a password.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EgressProxyError {
    /// Not a URL of a proxy for CONNECT.
    #[error("{0} is not the http:// or https:// URL of an egress proxy; fix or unset it")]
    Url(&'static str),
    /// One of the process's own listeners.
    #[error(
        "{set_by} names {listener}, where graphward itself listens. Set HTTPS_PROXY only in the app's environment, or set \
         upstream.proxy = \"none\""
    )]
    OwnListener {
        /// The variable or the key.
        set_by: &'static str,
        /// The address of the listener.
        listener: SocketAddr,
    },
}

/// The variables of the environment that are read, each in both spellings.
pub const EGRESS_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"];
/// The text in place of a URL that means that no proxy is used, whatever the environment says.
pub const NO_EGRESS_PROXY: &str = "none";
/// The longest look-up of the proxy's name at the start.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(2);

// === impl EgressVariables ===

impl EgressVariables {
    /// Reads the variables by a function that does not return empty ones.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let [upper, lower, no_upper, no_lower] = EGRESS_VARIABLES;
        let proxy = |set_by| {
            let url = Zeroizing::new(variable(set_by)?);
            Some(EgressProxyUrl { set_by, url })
        };
        Self {
            proxy: proxy(upper).or_else(|| proxy(lower)),
            no_proxy: variable(no_upper).or_else(|| variable(no_lower)).unwrap_or_default(),
        }
    }
}

// === impl EgressProxy ===

impl EgressProxy {
    /// Takes the URL of a proxy, `NO_PROXY`, and the TLS settings for a proxy that is reached by https.
    ///
    /// # Errors
    ///
    /// [`EgressProxyError::Url`]
    pub fn new(proxy: &EgressProxyUrl, no_proxy: &str, tls: Arc<ClientConfig>) -> Result<Self, EgressProxyError> {
        let server = proxy_server(&proxy.url).ok_or(EgressProxyError::Url(proxy.set_by))?;
        // The matcher applies a star to names alone, curl to addresses, too.
        if no_proxy.split(',').any(|entry| entry.trim() == "*") {
            return Ok(Self(None));
        }
        let matcher = Matcher::builder().https(proxy.url.as_str()).no(no_proxy).build();
        Ok(Self(Some(Arc::new(ProxyServer {
            matcher,
            server,
            set_by: proxy.set_by,
            tls,
        }))))
    }

    /// Returns whether there is a proxy.
    #[must_use]
    pub const fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the user and password for the proxy.
    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.0.as_ref()?.authorization()
    }

    /// Returns the proxy for an https host.
    pub(super) fn for_host(&self, host: &str) -> Option<&ProxyServer> {
        let proxy = self.0.as_deref()?;
        let uri: Uri = format!("https://{}", bracketed(host)).parse().ok()?;
        proxy.matcher.intercept(&uri).map(|_same| proxy)
    }

    /// Checks that the proxy is not one of the process's own listeners: the environment that recipes export for the app may be
    /// that of graphward, too. A name that cannot be resolved now is checked no further.
    ///
    /// # Errors
    ///
    /// [`EgressProxyError::OwnListener`]
    pub async fn check_not_own_listener(&self, listeners: &[SocketAddr]) -> Result<(), EgressProxyError> {
        let Some(proxy) = self.0.as_deref() else {
            return Ok(());
        };
        if !listeners.iter().any(|listener| listener.port() == proxy.port()) {
            return Ok(());
        }
        let Ok(Ok(addresses)) = timeout(LOOK_UP_TIMEOUT, resolve(&proxy.address())).await else {
            return Ok(());
        };
        let own = |listener: &&SocketAddr| addresses.iter().any(|address| is_reached_by(*address, **listener));
        match listeners.iter().find(own) {
            Some(listener) => Err(EgressProxyError::OwnListener {
                set_by: proxy.set_by,
                listener: *listener,
            }),
            None => Ok(()),
        }
    }
}

/// The address of the proxy and what sets it, for the log.
impl fmt::Display for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(proxy) => proxy.fmt(f),
            None => f.write_str("no egress proxy"),
        }
    }
}

/// Returns whether a text is the URL of a proxy for CONNECT.
#[must_use]
pub fn is_proxy_url(text: &str) -> bool {
    proxy_server(text).is_some()
}

fn proxy_server(url: &str) -> Option<Intercept> {
    let any = Uri::from_static("https://any.example");
    let server = Matcher::builder().https(url).build().intercept(&any)?;
    let is_http = [Some("http"), Some("https")].contains(&server.uri().scheme_str());
    let is_host = |authority: &Authority| {
        let host = authority.host();
        host_name(host).is_ok() && (authority.as_str() == host || authority.port_u16().is_some())
    };
    (is_http && server.uri().authority().is_some_and(is_host)).then_some(server)
}

/// Returns whether a connection to an address reaches a listener of this process.
fn is_reached_by(address: SocketAddr, listener: SocketAddr) -> bool {
    let ip = match address.ip().to_canonical() {
        // A client that connects to no address in particular reaches this machine.
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    // Only addresses of this machine can be bound.
    let is_local = || ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok();
    let own = listener.ip().to_canonical();
    address.port() == listener.port() && (ip == own || (own.is_unspecified() && is_local()))
}

// === impl ProxyServer ===

impl ProxyServer {
    pub(super) fn uri(&self) -> &Uri {
        self.server.uri()
    }

    /// The user and password for it.
    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.server.basic_auth()
    }

    fn port(&self) -> u16 {
        let default = if self.is_https() { 443 } else { 80 };
        self.uri().port_u16().unwrap_or(default)
    }

    pub(super) fn is_https(&self) -> bool {
        self.uri().scheme() == Some(&Scheme::HTTPS)
    }

    /// `host:port`
    pub(super) fn address(&self) -> String {
        format!("{}:{}", self.uri().host().unwrap_or_default(), self.port())
    }
}

#[cfg(test)]
mod tests;
