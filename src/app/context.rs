//! What every part that is built from a configuration is built with, at the start and by a reload.

use std::net::SocketAddr;
use std::time::Duration;

use super::secrets::{SecretLoadError, resolve_text};
use super::state::prepare_state_dir;
use crate::config::Config;
use crate::graph::{Destinations, Origin, OriginError};
use crate::net::tls::{self, TlsError};
use crate::net::{
    AllowedSchemes, Dialer, EgressProxy, EgressProxyError, EgressProxyUrl, HttpClient, HttpClientConfig,
    NO_EGRESS_PROXY, Tasks,
};
use crate::telemetry::metrics::Metrics;
use crate::types::Clock;

/// The clients, the destinations and the resources of the process.
#[derive(Clone, Debug)]
pub(super) struct BuildContext {
    /// For calls of Graph about tokens: https only. No client shares a connection with the app's requests.
    pub(super) graph_client: HttpClient,
    /// For internal services and the webhook.
    pub(super) internal_client: HttpClient,
    /// For connections to Graph and to the hosts of tunnels.
    pub(super) dialer: Dialer,
    pub(super) destinations: Destinations,
    pub(super) tasks: Tasks,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
}

/// The reason why the upstream cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// TLS to Graph cannot be configured.
    #[error("cannot set up TLS to Graph")]
    Tls(#[from] TlsError),
    /// `upstream.origin` is invalid.
    #[error("upstream.origin is not a valid origin")]
    Origin(#[from] OriginError),
    /// The egress proxy's URL cannot be loaded.
    #[error(transparent)]
    EgressProxyUrl(#[from] SecretLoadError),
    /// The egress proxy cannot be used.
    #[error("cannot use the egress proxy")]
    EgressProxy(#[from] EgressProxyError),
}

/// The longest call of Graph: a replica that waits for its turn to renew does not wait much longer.
const GRAPH_CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest call of an internal service, unless the configuration sets another limit.
const INTERNAL_CALL_TIMEOUT: Duration = Duration::from_secs(5);

impl BuildContext {
    /// Builds the clients with the upstream's `connect_to` and roots.
    pub(super) fn new(config: &Config, tasks: Tasks, clock: Clock, metrics: Metrics) -> Result<Self, UpstreamError> {
        prepare_state_dir(&config.state);
        let upstream = &config.upstream;
        let dialer = Dialer {
            connect_to: upstream.connect_to.clone(),
            egress: egress_proxy(config)?,
            timeout: upstream.connect_timeout,
        };
        let client_config = |schemes| HttpClientConfig {
            dialer: dialer.clone(),
            ca_file: upstream.ca_file.clone(),
            schemes,
            unix_socket: None,
        };
        Ok(Self {
            graph_client: HttpClient::new(client_config(AllowedSchemes::Https), GRAPH_CALL_TIMEOUT)?,
            internal_client: HttpClient::new(client_config(AllowedSchemes::HttpAndHttps), INTERNAL_CALL_TIMEOUT)?,
            dialer,
            destinations: destinations(config)?,
            tasks,
            clock,
            metrics,
        })
    }

    /// Checks that the egress proxy is not graphward itself, and logs it.
    pub(super) async fn check_egress_proxy(
        &self,
        proxy: &[SocketAddr],
        admin: Option<SocketAddr>,
    ) -> Result<(), UpstreamError> {
        let egress = &self.dialer.egress;
        let listeners: Vec<_> = proxy.iter().copied().chain(admin).collect();
        Box::pin(egress.check_is_foreign(&listeners)).await?;
        if egress.is_set() {
            tracing::info!(proxy = %egress, "hosts are reached through an egress proxy, unless NO_PROXY excepts them");
        }
        Ok(())
    }
}

/// Returns the egress proxy of the configuration, or else that of the environment.
fn egress_proxy(config: &Config) -> Result<EgressProxy, UpstreamError> {
    const KEY: &str = "upstream.proxy";
    let variables = &config.egress_variables;
    let configured = config.upstream.proxy.as_ref();
    let configured = configured.map(|url| resolve_text(KEY, url)).transpose()?;
    let proxy = match configured {
        Some(url) if url.as_str() == NO_EGRESS_PROXY => None,
        Some(url) => Some(EgressProxyUrl { set_by: KEY, url }),
        None => variables.proxy.clone(),
    };
    let Some(proxy) = proxy else {
        return Ok(EgressProxy::default());
    };
    let tls = tls::client(config.upstream.ca_file.as_deref(), &[b"http/1.1"])?;
    Ok(EgressProxy::new(&proxy, &variables.no_proxy, tls)?)
}

/// Returns Graph's origin and the additional hosts.
fn destinations(config: &Config) -> Result<Destinations, OriginError> {
    let additional = config.upstream.hosts.iter();
    let additional = additional.map(|host| Origin::parse(&format!("https://{host}")));
    let destinations = Destinations::new(
        Origin::parse(&config.upstream.origin)?,
        additional.collect::<Result<Vec<_>, _>>()?,
    );
    Ok(destinations.with_token_family(config.token.family))
}
