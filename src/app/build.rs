//! From a configuration to a process whose listeners are bound.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::admin::Admin;
use crate::alert::{AddressError, Bell, Webhook, WebhookSettings};
use crate::config::{Address, App, Config, Heal};
use crate::graph::{Destinations, Origin, OriginError};
use crate::net::tls::{self, TlsError};
use crate::net::{Connector, Dial, Identity, IdentityError, Keeper, Listener, Stages, Tasks, Tls};
use crate::proxy::{
    Advice, Budget, Far, Gate, Hosts, Limits, Pool, Proxy, Spool, Suspicion, Tenant, TunnelHosts,
    Upstream, UpstreamSettings,
};
use crate::telemetry::metrics::{Metrics, Place};
use crate::token::{Proofs, Refresher, Schedule, Supply, Tokens, pair};
use crate::types::{Clock, Secret, TenantId};

use super::observer::observer;
use super::running::Running;
use super::secrets::{self, SecretFault};
use super::supply::{self, Callers, SupplyError};

/// The one door for fakes. What is `None`, or empty, is made from the configuration.
#[derive(Debug)]
pub struct Seams {
    /// Wall time.
    pub clock: Clock,
    /// The way to the upstream.
    pub connector: Option<Connector>,
    /// Where tokens come from.
    pub supply: Option<Supply>,
    /// When the refresher acts.
    pub schedule: Schedule,
    /// Where the app connects.
    pub proxy: Vec<Listener>,
    /// Where operators connect.
    pub admin: Option<Listener>,
    /// How many requests may be under way.
    pub most_inflight: u32,
}

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
    /// A secret cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretFault),
    /// The token cannot be looked for as it is configured.
    #[error(transparent)]
    Supply(#[from] SupplyError),
    /// The webhook's address is none.
    #[error("cannot use alerts.url")]
    Webhook(#[from] AddressError),
    /// TLS towards the app cannot be set up.
    #[error("cannot use listen.tls")]
    Identity(#[from] IdentityError),
    /// The upstream's origin is none.
    #[error("upstream.origin is no origin")]
    Origin(#[from] OriginError),
}

/// More requests than this at a time are refused: each may hold a body, and Graph would throttle long before.
const MOST_INFLIGHT: u32 = 10_000;
impl Default for Seams {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            connector: None,
            supply: None,
            schedule: Schedule::default(),
            proxy: Vec::new(),
            admin: None,
            most_inflight: MOST_INFLIGHT,
        }
    }
}

/// Puts a process together: all listeners are bound when this returns, so a taken port fails the start.
///
/// # Errors
///
/// [`StartError`]; nothing is left listening then.
pub async fn build(
    config: Config,
    seams: Seams,
    require_token: bool,
) -> Result<Running, StartError> {
    let Seams {
        clock,
        connector,
        supply,
        mut schedule,
        proxy: given,
        admin: given_admin,
        most_inflight,
    } = seams;
    let proxy_listeners = bind_all(&config.listen.proxy, given).await?;
    let admin_listener = match given_admin {
        Some(listener) => listener,
        None => bind(&config.listen.admin).await?,
    };

    let (tls, keeper) = identity(&config, clock).await?;
    let tasks = Tasks::default();
    let metrics = Metrics::new();
    let stages = Stages::new();
    let id = TenantId::default();
    let token_metrics = metrics.token(&id);
    let (writer, tokens) = pair();
    let app_secret = secrets::app_secret(&config.app)?;
    let writer = writer.proving(proofs(&config.app, app_secret.as_ref()));
    let destinations = destinations(&config)?;
    let callers = Callers::new(&config, connector.clone(), &tasks)?;
    let supply = match supply {
        Some(supply) => supply,
        None => supply::supply(&config, app_secret, (&callers, &destinations), clock)?,
    };
    let webhook = webhook(&config, &callers, clock, &metrics)?;
    let bell = webhook.as_ref().map(|(bell, _)| bell.clone());
    schedule.early = config.token.early;
    let observer = Box::new(observer(token_metrics.clone(), bell));
    let refresher = Refresher::new(id.clone(), supply, writer, schedule, clock, observer);

    let addresses = proxy_listeners.iter().filter_map(Listener::address);
    let addresses: Vec<SocketAddr> = addresses.collect();
    let dial = Way {
        connector,
        clock,
        tasks: &tasks,
    };
    let tenant = tenant(&config, &id, dial, destinations, tokens.clone(), &metrics)?;
    let gate = Gate::new(metrics.inflight().clone(), most_inflight);
    let service = Arc::new(Proxy {
        gate: gate.clone(),
        hosts: hosts(&config, &tenant.destinations, &addresses),
        budget: budget(&config.heal, &metrics),
        tunnels: tunnels(&config, &tenant.destinations),
        tenant: Arc::new(tenant),
    });
    let operators = Arc::new(Admin {
        stages: stages.clone(),
        tenants: vec![(id, tokens.clone(), token_metrics)],
        ready: config.ready,
        metrics,
        tasks: tasks.clone(),
    });
    Ok(Running {
        proxy: addresses,
        admin: admin_listener.address(),
        tokens,
        stages,
        gate,
        tasks,
        service,
        operators,
        refresher,
        webhook,
        proxy_listeners,
        tls,
        keeper,
        admin_listener,
        require_token,
        pause: config.drain_pause,
        grace: config.drain_grace,
    })
}

/// The names by which we may be called.
fn hosts(config: &Config, destinations: &Destinations, addresses: &[SocketAddr]) -> Hosts {
    let upstream = destinations.all().map(|to| to.origin.host().to_owned());
    let allowed = config.listen.allowed_hosts.iter().cloned();
    Hosts::new(allowed.chain(upstream), addresses)
}

/// What all requests together may hold.
fn budget(heal: &Heal, metrics: &Metrics) -> Budget {
    Budget {
        memory: Pool::new(heal.memory_total, metrics.replay_bytes(Place::Memory)),
        disk: Pool::new(heal.disk_total, metrics.replay_bytes(Place::Disk)),
    }
}

/// Who we are to the app, if it may speak TLS.
async fn identity(config: &Config, clock: Clock) -> Result<(Tls, Option<Keeper>), IdentityError> {
    let Some(files) = &config.listen.tls else {
        return Ok((Tls::Off, None));
    };
    let (cert, key) = (files.cert.clone(), files.key.clone());
    let (identity, keeper) = Identity::load(cert, key, clock).await?;
    Ok((Tls::Offered(identity), Some(keeper)))
}

/// Where CONNECT may lead.
fn tunnels(config: &Config, destinations: &Destinations) -> TunnelHosts {
    let upstream = &config.upstream;
    let graph = destinations.all().map(|to| {
        let port = to.origin.authority().port_u16().unwrap_or(443);
        (to.origin.host().to_owned(), port)
    });
    let far = |host: &String| Far {
        host: host.clone(),
        address: match upstream.connect_to.get(host) {
            Some(instead) => instead.clone(),
            None => format!("{host}:443"),
        },
    };
    TunnelHosts::new(
        graph,
        config.listen.tunnel_hosts.iter().map(far).collect(),
        upstream.connect_timeout,
    )
}

/// Where the app connects: what is given, or else what is configured.
async fn bind_all(
    addresses: &[Address],
    given: Vec<Listener>,
) -> Result<Vec<Listener>, StartError> {
    if !given.is_empty() {
        return Ok(given);
    }
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(bind(address).await?);
    }
    Ok(listeners)
}

async fn bind(address: &Address) -> Result<Listener, StartError> {
    let bound = match address {
        Address::Tcp(address) => Listener::tcp(*address).await,
        Address::Unix(path) => Listener::unix(path).await,
    };
    bound.map_err(|source| StartError::Bind {
        address: address.to_string(),
        source,
    })
}

/// Who is told of notices besides the log, if anybody is.
fn webhook(
    config: &Config,
    callers: &Callers,
    clock: Clock,
    metrics: &Metrics,
) -> Result<Option<(Bell, Webhook)>, StartError> {
    let Some(url) = &config.alerts.url else {
        return Ok(None);
    };
    let settings = WebhookSettings {
        url: secrets::wording("alerts.url", url)?,
        metrics: metrics.alerts(),
    };
    let webhook = Webhook::new(settings, callers.house.clone(), clock)?;
    Ok(Some(webhook))
}

/// What makes the proofs, if the app has a secret and wants them.
fn proofs(app: &App, secret: Option<&Secret>) -> Option<Proofs> {
    Some(Proofs::new(secret?, app.proof?))
}

/// Graph, and the hosts beside it.
fn destinations(config: &Config) -> Result<Destinations, OriginError> {
    let beside = config.upstream.hosts.iter();
    let beside = beside.map(|host| Origin::parse(&format!("https://{host}")));
    Ok(Destinations::new(
        Origin::parse(&config.upstream.origin)?,
        beside.collect::<Result<Vec<_>, _>>()?,
    ))
}

/// What a tenant has besides its settings.
struct Way<'a> {
    connector: Option<Connector>,
    clock: Clock,
    tasks: &'a Tasks,
}

fn tenant(
    config: &Config,
    id: &TenantId,
    way: Way<'_>,
    destinations: Destinations,
    tokens: Tokens,
    metrics: &Metrics,
) -> Result<Tenant, StartError> {
    let (upstream, heal) = (&config.upstream, &config.heal);
    let connector = match way.connector {
        Some(connector) => connector,
        None => Connector::real(Dial {
            connect_to: upstream.connect_to.clone(),
            tls: tls::client(upstream.ca_file.as_deref(), upstream.http.alpn())?,
            timeout: upstream.connect_timeout,
            plain: false,
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
        clock: way.clock,
        destinations,
        upstream: Upstream::new(&connector, settings, way.tasks),
        limits: Limits {
            memory: heal.body_memory,
            disk: heal.body_disk,
            spool: usable_spool(heal.spool.clone()),
            idle: upstream.idle_timeout,
        },
        presented: heal.presented,
        links: config.links,
        via: upstream.via,
        token_wait: heal.token_wait,
        hold: heal.hold,
        dead_token: heal.dead_token,
        suspicion: Suspicion::default(),
        idle: upstream.idle_timeout,
        requests: config.log.requests,
        advice: Advice::default(),
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
