//! From a configuration to a process whose listeners are bound.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::admin::Admin;
use crate::alert::{AlertSender, Webhook, WebhookSettings, WebhookUrlError};
use crate::config::{AppConfig, BindAddress, Config, HealConfig};
use crate::graph::{Destinations, Origin, OriginError};
use crate::net::tls::{self, TlsError};
use crate::net::{
    CertReloader, Connector, ConnectorConfig, Lifecycle, Listener, ServerCert, ServerCertError, Tasks, TlsMode,
};
use crate::proxy::{
    AllowedHosts, BodyLimits, BufferBudgets, ByteBudget, ConcurrencyLimit, DeadTokenCache, PassthroughHost,
    ProofWarning, Proxy, Spool, Tenant, TunnelHosts, Upstream, UpstreamSettings,
};
use crate::telemetry::metrics::{Metrics, ReplayStorage};
use crate::token::{ProofSettings, RefreshPolicy, Refresher, TokenHandle, TokenProvider, channel};
use crate::types::{Clock, Secret, TenantId};

use super::event_sink::event_sink;
use super::secrets::{self, SecretLoadError};
use super::server::Server;
use super::token_provider::{self, HttpClients, TokenProviderError};

/// The one door for fakes. What is `None`, or empty, is made from the configuration.
#[derive(Debug)]
pub struct Dependencies {
    /// Wall time.
    pub clock: Clock,
    /// The way to the upstream.
    pub connector: Option<Connector>,
    /// Where tokens come from.
    pub token_provider: Option<TokenProvider>,
    /// When the refresher acts.
    pub schedule: RefreshPolicy,
    /// Where the app connects.
    pub proxy: Vec<Listener>,
    /// Where operators connect.
    pub admin_listener: Option<Listener>,
    /// How many requests may be under way.
    pub max_inflight: u32,
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
    Secret(#[from] SecretLoadError),
    /// The token cannot be looked for as it is configured.
    #[error(transparent)]
    TokenProvider(#[from] TokenProviderError),
    /// The webhook's address is none.
    #[error("cannot use alerts.url")]
    Webhook(#[from] WebhookUrlError),
    /// TLS towards the app cannot be set up.
    #[error("cannot use listen.tls")]
    ServerTls(#[from] ServerCertError),
    /// The upstream's origin is none.
    #[error("upstream.origin is no origin")]
    Origin(#[from] OriginError),
}

/// More requests than this at a time are refused: each may hold a body, and Graph would throttle long before.
const MAX_INFLIGHT: u32 = 10_000;
impl Default for Dependencies {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            connector: None,
            token_provider: None,
            schedule: RefreshPolicy::default(),
            proxy: Vec::new(),
            admin_listener: None,
            max_inflight: MAX_INFLIGHT,
        }
    }
}

/// Puts a process together: all listeners are bound when this returns, so a taken port fails the start.
///
/// # Errors
///
/// [`StartError`]; nothing is left listening then.
pub async fn build(config: Config, deps: Dependencies, require_token: bool) -> Result<Server, StartError> {
    let Dependencies {
        clock,
        connector,
        token_provider,
        mut schedule,
        proxy: given_proxy_listeners,
        admin_listener: given_admin,
        max_inflight,
    } = deps;
    let proxy_listeners = bind_all(&config.listen.proxy, given_proxy_listeners).await?;
    let admin_listener = match given_admin {
        Some(listener) => listener,
        None => bind(&config.listen.admin).await?,
    };

    let (tls, cert_reloader) = load_server_cert(&config, clock).await?;
    let tasks = Tasks::default();
    let metrics = Metrics::new();
    let stages = Lifecycle::new();
    let id = TenantId::default();
    let token_metrics = metrics.token(&id);
    let (writer, tokens) = channel();
    let app_secret = secrets::app_secret(&config.app)?;
    let writer = writer.with_proofs(proofs(&config.app, app_secret.as_ref()));
    let destinations = destinations(&config)?;
    let clients = HttpClients::new(&config, connector.clone(), &tasks)?;
    let token_provider = match token_provider {
        Some(supply) => supply,
        None => token_provider::token_provider(&config, app_secret, (&clients, &destinations), clock)?,
    };
    let webhook = build_webhook(&config, &clients, clock, &metrics)?;
    let alert_sender = webhook.as_ref().map(|(bell, _)| bell.clone());
    schedule.renew_before = config.token.renew_before;
    let event_sink = Box::new(event_sink(token_metrics.clone(), alert_sender));
    let refresher = Refresher::new(id.clone(), token_provider, writer, schedule, clock, event_sink);

    let addresses = proxy_listeners.iter().filter_map(Listener::local_addr);
    let addresses: Vec<SocketAddr> = addresses.collect();
    let upstream_deps = UpstreamDeps {
        connector,
        clock,
        tasks: &tasks,
    };
    let tenant = build_tenant(&config, &id, upstream_deps, destinations, tokens.clone(), &metrics)?;
    let concurrency_limit = ConcurrencyLimit::new(metrics.inflight_requests().clone(), max_inflight);
    let proxy = Arc::new(Proxy {
        concurrency_limit: concurrency_limit.clone(),
        allowed_hosts: allowed_hosts(&config, &tenant.destinations, &addresses),
        budgets: replay_budget(&config.heal, &metrics),
        tunnel_hosts: tunnel_hosts(&config, &tenant.destinations),
        tenant: Arc::new(tenant),
    });
    let admin = Arc::new(Admin {
        lifecycle: stages.clone(),
        tenants: vec![(id, tokens.clone(), token_metrics)],
        readiness: config.ready,
        metrics,
        tasks: tasks.clone(),
    });
    Ok(Server {
        proxy: addresses,
        admin_address: admin_listener.local_addr(),
        tokens,
        stages,
        concurrency_limit,
        tasks,
        proxy_service: proxy,
        admin_service: admin,
        refresher,
        webhook,
        proxy_listeners,
        tls,
        cert_reloader,
        admin_listener,
        require_token,
        pause: config.drain_delay,
        grace: config.drain_timeout,
    })
}

/// The names by which we may be called.
fn allowed_hosts(config: &Config, destinations: &Destinations, addresses: &[SocketAddr]) -> AllowedHosts {
    let upstream = destinations.all().map(|to| to.origin.host().to_owned());
    let allowed = config.listen.allowed_hosts.iter().cloned();
    AllowedHosts::new(allowed.chain(upstream), addresses)
}

/// What all requests together may hold.
fn replay_budget(heal: &HealConfig, metrics: &Metrics) -> BufferBudgets {
    BufferBudgets {
        memory: ByteBudget::new(heal.memory_total, metrics.replay_buffer_bytes(ReplayStorage::Memory)),
        disk: ByteBudget::new(heal.disk_total, metrics.replay_buffer_bytes(ReplayStorage::Disk)),
    }
}

/// Who we are to the app, if it may speak TLS.
async fn load_server_cert(config: &Config, clock: Clock) -> Result<(TlsMode, Option<CertReloader>), ServerCertError> {
    let Some(files) = &config.listen.tls else {
        return Ok((TlsMode::Off, None));
    };
    let (cert, key) = (files.cert.clone(), files.key.clone());
    let (identity, reloader) = ServerCert::load(cert, key, clock).await?;
    Ok((TlsMode::Optional(identity), Some(reloader)))
}

/// Where CONNECT may lead.
fn tunnel_hosts(config: &Config, destinations: &Destinations) -> TunnelHosts {
    let upstream = &config.upstream;
    let graph = destinations.all().map(|to| {
        let port = to.origin.authority().port_u16().unwrap_or(443);
        (to.origin.host().to_owned(), port)
    });
    let passthrough = |host: &String| PassthroughHost {
        host: host.clone(),
        address: match upstream.connect_to.get(host) {
            Some(override_address) => override_address.clone(),
            None => format!("{host}:443"),
        },
    };
    TunnelHosts::new(
        graph,
        config.listen.tunnel_hosts.iter().map(passthrough).collect(),
        upstream.connect_timeout,
    )
}

/// Where the app connects: what is given, or else what is configured.
async fn bind_all(addresses: &[BindAddress], given: Vec<Listener>) -> Result<Vec<Listener>, StartError> {
    if !given.is_empty() {
        return Ok(given);
    }
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(bind(address).await?);
    }
    Ok(listeners)
}

async fn bind(address: &BindAddress) -> Result<Listener, StartError> {
    let bound = match address {
        BindAddress::Tcp(address) => Listener::tcp(*address).await,
        BindAddress::Unix(path) => Listener::unix(path).await,
    };
    bound.map_err(|source| StartError::Bind {
        address: address.to_string(),
        source,
    })
}

/// Who is told of notices besides the log, if anybody is.
fn build_webhook(
    config: &Config,
    clients: &HttpClients,
    clock: Clock,
    metrics: &Metrics,
) -> Result<Option<(AlertSender, Webhook)>, StartError> {
    let Some(url) = &config.alerts.url else {
        return Ok(None);
    };
    let settings = WebhookSettings {
        url: secrets::resolve_secret("alerts.url", url)?,
        metrics: metrics.alert_metrics(),
    };
    let webhook = Webhook::new(settings, clients.internal.clone(), clock)?;
    Ok(Some(webhook))
}

/// What makes the proofs, if the app has a secret and wants them.
fn proofs(app: &AppConfig, secret: Option<&Secret>) -> Option<ProofSettings> {
    Some(ProofSettings::new(secret?, app.proof?))
}

/// Graph, and the hosts beside it.
fn destinations(config: &Config) -> Result<Destinations, OriginError> {
    let additional = config.upstream.hosts.iter();
    let additional = additional.map(|host| Origin::parse(&format!("https://{host}")));
    Ok(Destinations::new(
        Origin::parse(&config.upstream.origin)?,
        additional.collect::<Result<Vec<_>, _>>()?,
    ))
}

/// What a tenant has besides its settings.
struct UpstreamDeps<'a> {
    connector: Option<Connector>,
    clock: Clock,
    tasks: &'a Tasks,
}

fn build_tenant(
    config: &Config,
    id: &TenantId,
    deps: UpstreamDeps<'_>,
    destinations: Destinations,
    tokens: TokenHandle,
    metrics: &Metrics,
) -> Result<Tenant, StartError> {
    let (upstream, heal) = (&config.upstream, &config.heal);
    let connector = match deps.connector {
        Some(connector) => connector,
        None => Connector::from_config(ConnectorConfig {
            connect_to: upstream.connect_to.clone(),
            tls: tls::client(upstream.ca_file.as_deref(), upstream.http.alpn())?,
            timeout: upstream.connect_timeout,
            allow_http: false,
        }),
    };
    let settings = UpstreamSettings {
        http: upstream.http,
        connections: upstream.connections.get(),
        head_timeout: upstream.head_timeout,
    };
    Ok(Tenant {
        id: id.clone(),
        tokens,
        clock: deps.clock,
        destinations,
        upstream: Upstream::new(&connector, settings, deps.tasks),
        body_limits: BodyLimits {
            memory_bytes: heal.body_memory,
            disk_bytes: heal.body_disk,
            spool: check_spool(heal.spool.clone()),
            idle_timeout: upstream.idle_timeout,
        },
        client_credentials: heal.client_credentials,
        links: config.links,
        via: upstream.via,
        token_wait: heal.token_wait,
        hold_timeout: heal.hold_timeout,
        dead_token_policy: heal.dead_token,
        dead_token_cache: DeadTokenCache::default(),
        idle_timeout: upstream.idle_timeout,
        access_log: config.log.requests,
        proof_warning: ProofWarning::default(),
        metrics: metrics.path(id),
    })
}

/// Whether a spool can be written is found out now, not when the first large body meets a dead token.
fn check_spool(spool: Spool) -> Spool {
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
