//! The parts of a process, built from the configuration.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderName;
use tokio::sync::{Notify, Semaphore, watch};

use crate::admin::{
    AccessPolicy, Admin, AdminAddress, AdminTenant, MAX_EVENT_WAITS, TenantRegistry, TokenComparison, UsedCodes,
};
use crate::alert::{AlertSender, Webhook};
use crate::config::{Config, Overrides};
use crate::graph::Destinations;
use crate::net::tls;
use crate::net::{
    CertReloader, Connector, ConnectorConfig, Lifecycle, ListenAddr, Listener, ServerCert, ServerCertError, SocketMode,
    TimeLimit,
};
use crate::proxy::{
    AllowedHosts, BufferBudgets, ByteBudget, ConcurrencyLimit, HealConfig, Proxy, Settings, Spool, SpoolThreads,
    TenantShare, TunnelHosts,
};
use crate::source::TenantTable;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{AuditFile, LineLimit, LogHandle};
use crate::token::TokenProvider;
use crate::types::{Clock, TenantId};
use crate::upstream::Upstream;

use super::context::{BuildContext, UpstreamError};
use super::directory::build_tenants;
use super::error::StartError;
use super::row_tenants::RowTenants;
use super::secrets;
use super::service_manager::ServiceManager;
use super::state::state_dir;
use super::tenants::RunningTenant;
use super::token_provider::{shared_deliveries, source_identity};

/// The parts that tests and benchmarks replace. An absent or empty field is built from the configuration.
#[derive(Debug)]
pub struct Dependencies {
    /// Wall time.
    pub clock: Clock,
    /// All metrics of the process.
    pub metrics: Metrics,
    /// Opens connections to Graph.
    pub connector: Option<Connector>,
    /// Obtains tokens.
    pub token_provider: Option<TokenProvider>,
    /// Has the tokens of many tenants.
    pub tenant_table: Option<Box<dyn TenantTable>>,
    /// The listeners that the app connects to.
    pub proxy: Vec<ProxyListener>,
    /// The listener of the admin endpoint.
    pub admin_listener: Option<Listener>,
    /// The maximum number of requests in flight.
    pub max_inflight: u32,
    /// Compares a new token with the one in use.
    pub comparison: Option<Arc<dyn TokenComparison>>,
    /// Requests reloads of the configuration.
    pub reload: Option<ReloadTrigger>,
    /// Hears how far the process is.
    pub service_manager: ServiceManager,
}

/// What a reload needs from outside: a process without it keeps its configuration.
#[derive(Clone, Debug)]
pub struct ReloadTrigger {
    /// A reload is requested. Requests during a reload are one request.
    pub requested: Arc<Notify>,
    /// The flags of the start, with the configuration file that was read then: a file that is gone is an error, not a reason
    /// to use another one.
    pub overrides: Overrides,
    /// The log, whose format and level may change.
    pub log: LogHandle,
}

/// The default maximum of requests in flight. Each may hold a body, and Graph throttles long before.
const MAX_INFLIGHT: u32 = 10_000;

impl Default for Dependencies {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            metrics: Metrics::new(),
            connector: None,
            token_provider: None,
            tenant_table: None,
            proxy: Vec::new(),
            admin_listener: None,
            max_inflight: MAX_INFLIGHT,
            comparison: None,
            reload: None,
            service_manager: ServiceManager::default(),
        }
    }
}

/// Returns the host names that requests may name.
fn allowed_hosts(config: &Config, destinations: &Destinations, addresses: &[SocketAddr]) -> AllowedHosts {
    let upstream = destinations.all().map(|to| to.origin.host().to_owned());
    let allowed = config.listen.allowed_hosts.iter().cloned();
    AllowedHosts::new(allowed.chain(upstream), addresses, destinations.main().origin.host())
}

/// Returns the limits of what all requests together may buffer.
fn buffer_budgets(heal: &HealConfig, metrics: &Metrics) -> BufferBudgets {
    BufferBudgets {
        memory: ByteBudget::new(heal.memory_total, metrics.replay_buffer_bytes("memory")),
        disk: ByteBudget::new(heal.disk_total, metrics.replay_buffer_bytes("disk")),
        threads: SpoolThreads::default(),
    }
}

/// Loads the certificate for `[listen] tls`, if it is configured.
pub(super) async fn load_server_cert(
    config: &Config,
    clock: Clock,
) -> Result<Option<(Arc<ServerCert>, CertReloader)>, ServerCertError> {
    let Some(files) = &config.listen.tls else {
        return Ok(None);
    };
    ServerCert::load(files.clone(), clock).await.map(Some)
}

/// Returns the hosts to which CONNECT may open a tunnel.
fn tunnel_hosts(config: &Config, context: &BuildContext) -> TunnelHosts {
    let graph = context.destinations.all().map(|to| {
        let port = to.origin.authority().port_u16().unwrap_or(443);
        (to.origin.host().to_owned(), port)
    });
    TunnelHosts::new(graph, &config.listen, context.dialer.clone())
}

/// The bound listeners.
pub(super) struct Listeners {
    pub(super) proxy: Vec<ProxyListener>,
    pub(super) admin: Listener,
}

/// A listener that the app connects to.
#[derive(Debug)]
pub struct ProxyListener {
    /// The listener.
    pub listener: Listener,
    /// The tenant whose own it is.
    pub tenant: Option<TenantId>,
}

/// Binds the configured addresses, unless listeners are given.
pub(super) async fn bind_listeners(
    config: &Config,
    mut proxy: Vec<ProxyListener>,
    admin: Option<Listener>,
) -> Result<Listeners, StartError> {
    let listen = &config.listen;
    if proxy.is_empty() {
        let shared = listen.proxy.iter().map(|address| (address.clone(), None));
        let own = config.tenants.iter().flat_map(|(id, tenant)| {
            let id = id.clone();
            tenant
                .listen
                .iter()
                .map(move |address| (address.clone(), Some(id.clone())))
        });
        let addresses: Vec<_> = shared.chain(own).collect();
        for (address, tenant) in addresses {
            let own = tenant.as_ref().map(|id| id.setting("listen"));
            let setting = own.unwrap_or_else(|| "listen.proxy, --listen".to_owned());
            let listener = bind(&address, setting, listen.socket_mode).await?;
            proxy.push(ProxyListener { listener, tenant });
        }
    }
    let admin = match admin {
        Some(listener) => listener,
        None => bind(&listen.admin, "listen.admin, --admin".to_owned(), listen.socket_mode).await?,
    };
    Ok(Listeners { proxy, admin })
}

async fn bind(address: &ListenAddr, setting: String, socket_mode: SocketMode) -> Result<Listener, StartError> {
    let bound = match address {
        ListenAddr::Tcp(address) => Listener::tcp(*address).await,
        ListenAddr::Unix(path) => Listener::unix(path, socket_mode).await,
    };
    bound.map_err(|source| StartError::Bind {
        address: address.to_string(),
        setting,
        source,
    })
}

/// Builds the alert webhook, if one is configured.
pub(super) fn build_webhook(
    config: &Config,
    context: &BuildContext,
) -> Result<Option<(AlertSender, Webhook)>, StartError> {
    let Some(url) = &config.alerts.url else {
        return Ok(None);
    };
    let url = secrets::resolve_secret("alerts.url", url)?;
    let (sender, mut webhook) = Webhook::new(
        url,
        &context.internal_client,
        context.clock,
        context.metrics.alert_metrics(),
    )?;
    if let Some(memory) = &context.alert_memory {
        webhook = webhook.with_memory(memory.clone());
    }
    if let Some(deliveries) = shared_deliveries(&config.token, &context.tasks)? {
        webhook = webhook.with_memory(deliveries);
    }
    Ok(Some((sender, webhook)))
}

/// Opens the file of the audit, if one is configured.
pub(super) fn open_audit_file(config: &Config) -> Result<Option<AuditFile>, StartError> {
    let path = config.audit.file.as_deref();
    Ok(path.map(AuditFile::open).transpose()?)
}

/// Builds the admin endpoint.
pub(super) fn build_admin(
    config: &Config,
    context: &BuildContext,
    tenants: &[&RunningTenant],
    table: Option<Arc<RowTenants>>,
    listeners: &Listeners,
    lifecycle: &Lifecycle,
    comparison: Option<Arc<dyn TokenComparison>>,
) -> Result<Arc<Admin>, StartError> {
    let is_exposed = |address: &SocketAddr| !address.ip().to_canonical().is_loopback();
    let url = |listener: &Listener| {
        let address = listener.local_addr().map(ListenAddr::Tcp);
        address.map_or_else(|| listener.to_string(), |address| address.local_url())
    };
    let proxy = listeners.proxy.first();
    Ok(Arc::new(Admin {
        lifecycle: lifecycle.clone(),
        tenants: ArcSwap::from_pointee(admin_tenants(tenants)),
        table: table.map(|table| table as Arc<dyn TenantRegistry>),
        address: AdminAddress {
            url: url(&listeners.admin),
            exposed: listeners.admin.local_addr().filter(is_exposed),
            hosts: config.listen.allowed_hosts.clone(),
        },
        proxy_url: proxy.map_or_else(String::new, |proxy| url(&proxy.listener)),
        access: ArcSwap::from_pointee(admin_access(config)?),
        comparison,
        source_identity: ArcSwap::from_pointee(first_source_identity(tenants)),
        readiness: ArcSwap::from_pointee(config.ready.tokens),
        clock: context.clock,
        audit: context.audit.clone(),
        events: context.events.clone(),
        observed_calls: Arc::clone(&context.observed_calls),
        refusals: LineLimit::default(),
        event_waits: Semaphore::new(MAX_EVENT_WAITS),
        used_codes: Arc::new(UsedCodes::new(state_dir(&config.state))),
        changes: watch::Sender::default(),
        metrics: context.metrics.clone(),
        tasks: context.tasks.clone(),
    }))
}

/// Reads who may use the admin endpoint, and for what.
pub(super) fn admin_access(config: &Config) -> Result<AccessPolicy, StartError> {
    Ok(AccessPolicy {
        key: secrets::admin_key(&config.admin)?,
        writes: config.admin.writes,
    })
}

/// What the admin endpoint reports of the tenants.
pub(super) fn admin_tenants(tenants: &[&RunningTenant]) -> Vec<Arc<AdminTenant>> {
    tenants.iter().map(|tenant| Arc::clone(&tenant.admin)).collect()
}

/// Identifies the sources of the first tenant's token.
pub(super) fn first_source_identity(tenants: &[&RunningTenant]) -> String {
    let first = tenants.first();
    first.map_or_else(String::new, |first| {
        source_identity(&first.config.token, &first.sources)
    })
}

/// The parts that a proxy is built from, besides its settings.
pub(super) struct ProxyDeps<'a> {
    pub(super) connector: Option<Connector>,
    pub(super) max_inflight: u32,
    pub(super) context: &'a BuildContext,
    pub(super) tenants: &'a [&'a RunningTenant],
    pub(super) addresses: &'a [SocketAddr],
}

/// Builds the proxy with its tenants.
pub(super) fn build_proxy(config: &Config, deps: ProxyDeps<'_>) -> Result<Proxy, StartError> {
    let (upstream, context) = (&config.upstream, deps.context);
    let BuildContext {
        destinations, metrics, ..
    } = context;
    let connector = match deps.connector {
        Some(connector) => connector,
        None => Connector::from_config(ConnectorConfig {
            dialer: context.dialer.clone(),
            tls: tls::client(upstream.ca_file.as_deref(), upstream.settings.http.alpn())
                .map_err(UpstreamError::from)?,
        }),
    };
    let settings = Settings {
        clock: context.clock,
        destinations: destinations.clone().with_token_family(None),
        upstream: Arc::new(Upstream::new(connector, upstream.settings.http, context.tasks.clone())),
        head_timeout: TimeLimit::new(upstream.settings.head_timeout),
        heal: checked_heal(&config.heal),
        links: config.links,
        removed_headers: header_names(&upstream.remove_headers),
        via: upstream.via,
        idle_timeout: upstream.idle_timeout,
    };
    let concurrency_limit = ConcurrencyLimit::new(metrics.inflight_requests().clone(), deps.max_inflight);
    let budgets = buffer_budgets(&config.heal, metrics);
    let new_share = || TenantShare::new(&concurrency_limit, &budgets);
    let tenants = build_tenants(config, context, &Arc::new(settings), deps.tenants, None, new_share);
    Ok(Proxy {
        concurrency_limit,
        allowed_hosts: allowed_hosts(config, destinations, deps.addresses),
        budgets,
        tunnel_hosts: tunnel_hosts(config, context),
        tenants: ArcSwap::from_pointee(tenants),
        observed_calls: Arc::clone(&context.observed_calls),
    })
}

/// Returns the settings of a reloaded configuration, with the connections of a running process.
pub(super) fn reloaded_settings(config: &Config, running: &Settings) -> Settings {
    Settings {
        heal: checked_heal(&config.heal),
        links: config.links,
        removed_headers: header_names(&config.upstream.remove_headers),
        ..running.clone()
    }
}

/// The configured names, which have been checked.
fn header_names(configured: &[String]) -> Arc<[HeaderName]> {
    configured.iter().filter_map(|name| name.parse().ok()).collect()
}

/// Checks that the spool is writable now, rather than when the first large body meets an expired token.
fn checked_heal(heal: &HealConfig) -> HealConfig {
    let mut heal = heal.clone();
    if let Spool::Directory(directory) = &heal.spool
        && let Err(error) = tempfile::tempfile_in(directory)
    {
        tracing::warn!(
            %error,
            directory = %directory.display(),
            "spool directory is not writable: bodies larger than heal.body_memory are streamed and cannot be replayed; set \
             heal.spool_dir to a writable directory"
        );
        heal.spool = Spool::Off;
    }
    heal
}
