//! What every part that is built from a configuration is built with, at the start and by a reload.

use std::time::Duration;

use super::state::report_state_dir;
use crate::config::Config;
use crate::graph::{Destinations, Origin, OriginError};
use crate::net::tls::TlsError;
use crate::net::{AllowedSchemes, HttpClient, HttpClientConfig, Tasks};
use crate::telemetry::metrics::Metrics;
use crate::types::Clock;

/// The clients, the destinations and the resources of the process.
#[derive(Clone, Debug)]
pub(super) struct BuildContext {
    /// For calls of Graph about tokens: https only. No client shares a connection with the app's requests.
    pub(super) graph_client: HttpClient,
    /// For internal services and the webhook.
    pub(super) internal_client: HttpClient,
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
}

/// The longest call of Graph: a replica that waits for its turn to renew does not wait much longer.
const GRAPH_CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest call of an internal service, unless the configuration sets another limit.
const INTERNAL_CALL_TIMEOUT: Duration = Duration::from_secs(5);

impl BuildContext {
    /// Builds the clients with the upstream's `connect_to` and roots.
    pub(super) fn new(config: &Config, tasks: Tasks, clock: Clock, metrics: Metrics) -> Result<Self, UpstreamError> {
        report_state_dir(&config.state);
        let upstream = &config.upstream;
        let client_config = |schemes| HttpClientConfig {
            connect_to: upstream.connect_to.clone(),
            ca_file: upstream.ca_file.clone(),
            connect_timeout: upstream.connect_timeout,
            schemes,
            unix_socket: None,
        };
        Ok(Self {
            graph_client: HttpClient::new(client_config(AllowedSchemes::Https), GRAPH_CALL_TIMEOUT)?,
            internal_client: HttpClient::new(client_config(AllowedSchemes::HttpAndHttps), INTERNAL_CALL_TIMEOUT)?,
            destinations: destinations(config)?,
            tasks,
            clock,
            metrics,
        })
    }
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
