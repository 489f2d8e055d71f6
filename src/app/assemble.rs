//! The parts that [`super::build`] puts together, each made from what the configuration says.

use std::io;
use std::time::UNIX_EPOCH;

use crate::config::{Address, Config, TokenSource};
use crate::graph::{Origin, OriginError};
use crate::net::tls::{self, TlsError};
use crate::net::{Connector, Dial, Listener, Tasks, connector};
use crate::proxy::{Limits, Spool, Tenant, Upstream, UpstreamSettings};
use crate::source::{EnvSource, FileSource};
use crate::telemetry::metrics::{Metrics, TokenMetrics};
use crate::token::{ObtainError, Report, Supply, Tokens};
use crate::types::TenantId;

/// Why the process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// Where.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// TLS towards the upstream cannot be set up.
    #[error("cannot set up TLS towards Graph")]
    Tls(#[from] TlsError),
    /// The upstream's origin is none.
    #[error("upstream.origin is no origin")]
    Origin(#[from] OriginError),
}

/// Binds all of them, or none is left listening.
pub(super) async fn bind_all(addresses: &[Address]) -> Result<Vec<Listener>, StartError> {
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(bind(address).await?);
    }
    Ok(listeners)
}

pub(super) async fn bind(address: &Address) -> Result<Listener, StartError> {
    let bound = match address {
        Address::Tcp(address) => Listener::tcp(*address).await,
        Address::Unix(path) => Listener::unix(path).await,
    };
    bound.map_err(|source| StartError::Bind {
        address: address.to_string(),
        source,
    })
}

/// What a source in the configuration is at run time.
pub(super) fn supply_of(source: &TokenSource) -> Supply {
    match source {
        TokenSource::File { path, format } => {
            Supply::of(FileSource::new(path.clone(), format.clone()))
        }
        TokenSource::Env { name } => Supply::of(EnvSource::new(name.clone())),
    }
}

/// The tenant as its requests see it.
pub(super) fn tenant(
    config: &Config,
    id: &TenantId,
    given: Option<Connector>,
    tokens: Tokens,
    metrics: &Metrics,
    tasks: &Tasks,
) -> Result<Tenant, StartError> {
    let (upstream, heal) = (&config.upstream, &config.heal);
    let connector = match given {
        Some(connector) => connector,
        None => connector(Dial {
            connect_to: upstream.connect_to.clone(),
            tls: tls::client(upstream.ca_file.as_deref(), upstream.http.alpn())?,
            timeout: upstream.connect_timeout,
        }),
    };
    let settings = UpstreamSettings {
        http: upstream.http,
        lanes: upstream.lanes.get(),
        head_timeout: upstream.head_timeout,
    };
    Ok(Tenant {
        id: id.clone(),
        tokens,
        origin: Origin::parse(&upstream.origin)?,
        upstream: Upstream::new(&connector, settings, tasks),
        limits: Limits {
            memory: heal.body_memory,
            disk: heal.body_disk,
            spool: usable_spool(heal.spool.clone()),
            idle: upstream.idle_timeout,
        },
        presented: heal.presented,
        via: upstream.via,
        token_wait: heal.token_wait,
        hold: heal.hold,
        idle: upstream.idle_timeout,
        requests: config.log.requests,
        metrics: metrics.path(id),
    })
}

/// Whether a spool can be written is found out now, not when the first large body meets a dead token.
fn usable_spool(spool: Spool) -> Spool {
    let Spool::Directory(directory) = &spool else {
        return Spool::Off;
    };
    match tempfile::tempfile_in(directory) {
        Ok(_probe) => spool,
        Err(error) => {
            tracing::warn!(
                %error,
                directory = %directory.display(),
                "nothing can be spooled here: bodies past heal.body_memory stream and cannot be replayed; \
                 set heal.spool_dir to a directory that can be written"
            );
            Spool::Off
        }
    }
}

/// Counts what a refresher does.
pub(super) fn observer(metrics: TokenMetrics) -> impl Fn(&Report<'_>) + Send {
    move |report| {
        let result = match &report.outcome {
            Ok(Some(_)) => "obtained",
            Ok(None) | Err(ObtainError::NothingNew) => "nothing_new",
            Err(ObtainError::Transient { .. }) => "failed",
            Err(ObtainError::Permanent { reason, .. }) => {
                metrics.refused_drop(reason);
                "refused"
            }
        };
        metrics.attempt(report.errand.label(), result, report.took.as_secs_f64());
        if let Ok(Some(credential)) = report.outcome {
            let seconds = |at: std::time::SystemTime| {
                at.duration_since(UNIX_EPOCH)
                    .unwrap_or_default()
                    .as_secs_f64()
            };
            metrics.live(
                credential.generation().get(),
                credential.expires_at().map(seconds),
            );
        }
    }
}
