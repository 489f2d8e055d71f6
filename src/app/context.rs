//! The clients and resources that the parts of a process share, at the start and on a reload.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::secrets::{SecretLoadError, check_variable, resolve_text};
use super::state::state_dir;
use crate::alert::AlertMemory;
use crate::config::Config;
use crate::graph::{Destinations, Origin, OriginError};
use crate::net::tls::{self, TlsError};
use crate::net::{
    AllowedSchemes, Dialer, EgressProxy, EgressProxyError, EgressProxyUrl, HttpClient, HttpClientConfig,
    NO_EGRESS_PROXY, Tasks,
};
use crate::renew::RejectedApps;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{AuditLog, EventLog};
use crate::tenants::ObservedCalls;
use crate::types::Clock;

/// The clients, the destinations and the resources of the process.
#[derive(Clone, Debug)]
pub(super) struct BuildContext {
    /// For calls of Graph about tokens: https only. No client shares a connection with the app's requests.
    pub(super) graph_client: HttpClient,
    /// For internal services and the webhook.
    pub(super) internal_client: HttpClient,
    /// Its settings.
    pub(super) internal_client_config: HttpClientConfig,
    /// For connections to Graph and to the hosts of tunnels.
    pub(super) dialer: Dialer,
    /// The URL of the egress proxy that the start has found.
    egress_url: Option<EgressProxyUrl>,
    pub(super) destinations: Destinations,
    pub(super) tasks: Tasks,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    pub(super) audit: AuditLog,
    /// The apps of which the log says that Graph rejects them.
    pub(super) rejected_apps: RejectedApps,
    /// The last events, for the operators.
    pub(super) events: EventLog,
    /// The calls of the requests that were only observed.
    pub(super) observed_calls: Arc<ObservedCalls>,
    /// Remembers which alerts were delivered, if there is a directory for state.
    pub(super) alert_memory: Option<AlertMemory>,
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

/// The key of the egress proxy's URL.
pub(super) const EGRESS_KEY: &str = "upstream.proxy";
/// The longest call of Graph: a replica that waits for its turn to renew does not wait much longer.
const GRAPH_CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest call of an internal service, unless the configuration sets another limit.
const INTERNAL_CALL_TIMEOUT: Duration = Duration::from_secs(5);

impl BuildContext {
    /// Builds the clients, the dialer and the destinations of `[upstream]`.
    pub(super) fn new(config: &Config, tasks: Tasks, clock: Clock, metrics: Metrics) -> Result<Self, UpstreamError> {
        let upstream = &config.upstream;
        let egress_url = egress_url(config)?;
        metrics.set_tenant_label(config.metrics.tenant_label);
        let dialer = Dialer {
            connect_to: upstream.connect_to.clone(),
            egress: egress_proxy(config, egress_url.as_ref())?,
            timeout: upstream.connect_timeout,
        };
        let client_config = |schemes| HttpClientConfig {
            dialer: dialer.clone(),
            ca_file: upstream.ca_file.clone(),
            schemes,
            ..HttpClientConfig::default()
        };
        let internal_client_config = client_config(AllowedSchemes::HttpAndHttps);
        Ok(Self {
            graph_client: HttpClient::new(client_config(AllowedSchemes::Https), GRAPH_CALL_TIMEOUT)?,
            internal_client: HttpClient::new(internal_client_config.clone(), INTERNAL_CALL_TIMEOUT)?,
            internal_client_config,
            dialer,
            egress_url,
            destinations: destinations(config)?,
            tasks,
            clock,
            metrics,
            audit: AuditLog::new(clock),
            rejected_apps: RejectedApps::default(),
            events: EventLog::new(clock),
            observed_calls: Arc::default(),
            alert_memory: state_dir(&config.state).map(|directory| AlertMemory::new(&directory)),
        })
    }

    /// Returns whether a configuration now has another egress proxy than at the start. Its URL may be in a file.
    pub(super) fn is_egress_changed(&self, config: &Config) -> Result<bool, UpstreamError> {
        Ok(egress_url(config)? != self.egress_url)
    }

    /// Checks that the egress proxy is not graphward itself, and logs it.
    pub(super) async fn check_egress_proxy(
        &self,
        proxy: &[SocketAddr],
        admin: Option<SocketAddr>,
    ) -> Result<(), UpstreamError> {
        let egress = &self.dialer.egress;
        let listeners: Vec<_> = proxy.iter().copied().chain(admin).collect();
        Box::pin(egress.check_not_own_listener(&listeners)).await?;
        if egress.is_set() {
            tracing::info!(proxy = %egress, "using an egress proxy for https, except for hosts in NO_PROXY and upstream.connect_to");
        }
        Ok(())
    }
}

/// Returns the URL of the egress proxy in the configuration, or else that in the environment.
fn egress_url(config: &Config) -> Result<Option<EgressProxyUrl>, UpstreamError> {
    let configured = config.upstream.proxy.as_ref();
    let configured = configured.map(|url| resolve_text(EGRESS_KEY, url)).transpose()?;
    Ok(match configured {
        Some(url) if url.as_str() == NO_EGRESS_PROXY => None,
        Some(url) => Some(EgressProxyUrl {
            set_by: EGRESS_KEY,
            url,
        }),
        None => {
            let proxy = config.egress_variables.proxy.as_ref();
            proxy
                .map(|proxy| check_variable(proxy.set_by, &proxy.url))
                .transpose()?;
            proxy.cloned()
        }
    })
}

fn egress_proxy(config: &Config, url: Option<&EgressProxyUrl>) -> Result<EgressProxy, UpstreamError> {
    let Some(url) = url else {
        return Ok(EgressProxy::default());
    };
    let tls = tls::client(config.upstream.ca_file.as_deref(), &[b"http/1.1"])?;
    Ok(EgressProxy::new(url, &config.egress_variables.no_proxy, tls)?)
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
