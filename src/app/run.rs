//! A process from its start to its exit.

use std::convert::Infallible;
use std::mem;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::build::{self, Dependencies, ProxyDeps, ProxyListener};
use super::context::BuildContext;
use super::error::StartError;
use super::reload::Reloader;
use super::row_tenants::RowTenants;
use super::secret_files::SecretFiles;
use super::serve_config::{admin_serve_config, proxy_serve_config};
use super::signal::{SECOND_STOP_AFTER, StopSignal};
use super::state::prepare_state_dir;
use super::table_reader::TableReader;
use super::tenants::UnstartedTenant;
use super::token_reports::SharedAlertSender;
use crate::admin::Admin;
use crate::config::Config;
use crate::net::{Lifecycle, Listener, ServeConfig, Shutdown, ShutdownPhase, Stage, Tasks, http_server, serve};
use crate::proxy::{FirstRead, Proxy};
use crate::token::TokenHandle;
use crate::types::{TenantId, lock};

/// The reaction if no valid token is found at startup.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum MissingToken {
    /// Serve without one until one appears.
    #[default]
    Wait,
    /// Exit.
    Exit,
}

/// The end of a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RunOutcome {
    /// Stopped by a signal; every request in flight and every change of the operator was completed.
    Drained,
    /// Stopped by a signal; this many requests in flight, tunnels to other hosts and changes of the operator were cut.
    ForceClosed(usize),
    /// No valid token was found, and [`MissingToken::Exit`] was chosen.
    NoToken,
}

impl RunOutcome {
    /// The end of a run that cut so many changes of the operator, too.
    const fn and_cut(self, changes: usize) -> Self {
        match self {
            Self::Drained if changes > 0 => Self::ForceClosed(changes),
            Self::ForceClosed(others) => Self::ForceClosed(others + changes),
            Self::Drained | Self::NoToken => self,
        }
    }

    /// Its name, for the log.
    const fn label(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::ForceClosed(_) => "force_closed",
            Self::NoToken => "no_token",
        }
    }
}

/// A running process, as seen from outside.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    /// The TCP addresses that the app connects to.
    pub proxy: Vec<SocketAddr>,
    /// The TCP address of the admin endpoint.
    pub admin: Option<SocketAddr>,
    /// The current token of each tenant.
    pub tokens: Vec<TokenHandle>,
    /// The stage of the process.
    pub lifecycle: Lifecycle,
}

/// The longest wait for connections, and for changes of the operator, to end before they are closed. With the three limits below, a
/// stop takes 30.5 s at most.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);
/// The longest wait for a renewal or a change in progress when the process stops.
const PENDING_RENEWAL_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest wait for the connections of the admin endpoint when the process stops.
const ADMIN_DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

/// Runs the sidecar of a valid configuration until it has stopped. The order of the lines is the order of events.
///
/// `on_start` is called once, when all listeners are bound and served.
///
/// # Errors
///
/// [`StartError`]; nothing is left listening then.
pub async fn run(
    config: Config,
    deps: Dependencies,
    missing_token: MissingToken,
    mut stops: mpsc::Receiver<StopSignal>,
    on_start: impl FnOnce(ServerHandle),
) -> Result<RunOutcome, StartError> {
    // Bind. A port that is in use fails the start before anything runs.
    let (clock, metrics) = (deps.clock, deps.metrics);
    let listeners = build::bind_listeners(&config, deps.proxy, deps.admin_listener).await?;
    let (proxy_addresses, admin_address) = (tcp_addresses(&listeners.proxy), listeners.admin.local_addr());
    let (server_cert, cert_reloader) = build::load_server_cert(&config, clock).await?.unzip();

    // Build the token's side: sources and renewer, the task that refreshes the token, the alerts about it.
    let (tasks, lifecycle) = (Tasks::default(), Lifecycle::default());
    let (shutdown, admin_shutdown) = (Shutdown::default(), Shutdown::default());
    prepare_state_dir(&config);
    let context = BuildContext::new(&config, tasks.clone(), clock, metrics)?;
    context.audit.replace_file(build::open_audit_file(&config)?);
    let audit = context.audit.clone();
    context.check_egress_proxy(&proxy_addresses, admin_address).await?;
    // Watched before they are read: no change in between is missed.
    let secret_files = SecretFiles::watch(&config.secret_files).await;
    let (alert_sender, webhook) = build::build_webhook(&config, &context)?.unzip();
    let alert_sender = SharedAlertSender::new(alert_sender.map(Arc::new).into());
    let mut provider = deps.token_provider;
    let tenants = config.of_tenants().into_iter();
    let tenants = tenants.map(|(id, own)| UnstartedTenant::build(&context, id, own, &alert_sender, provider.take()));
    let tenants = tenants.collect::<Result<Vec<_>, _>>()?;

    let running: Vec<_> = tenants.iter().map(|tenant| &tenant.running).collect();

    // Build the request's side: the proxy with its tenants, and the admin endpoint.
    let proxy_deps = ProxyDeps {
        connector: deps.connector,
        max_inflight: deps.max_inflight,
        context: &context,
        tenants: &running,
        addresses: &proxy_addresses,
    };
    let proxy = Arc::new(build::build_proxy(&config, proxy_deps)?);
    let reader = TableReader::build(deps.tenant_table, &config, &context, &alert_sender, &proxy)?;
    let row_tenants = reader.as_ref().map(TableReader::tenants);
    let admin = build::build_admin(
        &config,
        &context,
        &running,
        row_tenants.clone(),
        &listeners,
        &lifecycle,
        deps.comparison,
    )?;
    let changes = admin.changes.clone();

    // Start. The admin endpoint comes first: probes are answered while the first token is looked for.
    let admin_config = admin_serve_config(&context, &admin_shutdown);
    let proxy_config = proxy_serve_config(&context, &config.listen, server_cert.clone(), &shutdown);
    start_admin(listeners.admin, &admin, admin_config);
    let mut tenants: Vec<_> = tenants.into_iter().map(|tenant| tenant.start(&context)).collect();
    drop(webhook.map(|webhook| tasks.spawn(webhook.run())));
    let first_read = reader.as_ref().map(TableReader::first_read);
    let reader = reader.map(|reader| tasks.spawn(reader.run()));
    let cert_reloader = cert_reloader.map(|reloader| tasks.spawn(reloader.run()));
    log_listeners(&listeners.proxy);
    let reloader = deps.reload.map(|trigger| Reloader {
        trigger,
        config: config.clone(),
        context,
        proxy: Arc::clone(&proxy),
        admin,
        server_cert,
        alert_sender: Arc::clone(&alert_sender),
        service_manager: deps.service_manager.clone(),
        tenants: mem::take(&mut tenants),
        row_tenants: row_tenants.clone(),
        reading: Arc::default(),
    });
    let reloader = reloader.map(|reloader| tasks.spawn(reloader.run(secret_files)));
    let mut serving = Box::pin(serve_proxy(listeners.proxy, &proxy, &proxy_config, changes.clone()));
    on_start(ServerHandle {
        proxy: proxy_addresses,
        admin: admin_address,
        tokens: tokens_of(&proxy),
        lifecycle: lifecycle.clone(),
    });

    drop(tasks.spawn(deps.service_manager.report(lifecycle.clone())));

    // Serve, then drain. Stop signals are received from the start: a source that hangs must not keep the process from stopping.
    let outcome = tokio::select! {
        // If the sender of the signals is gone, only the end of the process stops it.
        Some(stop) = stops.recv() => {
            lifecycle.advance_to(Stage::Draining);
            let (requests, in_progress) = (proxy.concurrency_limit.inflight(), changes.receiver_count());
            tracing::info!(%stop, requests, changes = in_progress, "draining: waiting for requests and changes in flight");
            drain_or_close(stop, stops, config.drain_delay, &proxy, &changes, &shutdown, serving.as_mut()).await
        }
        () = serve_unless_token_missing(tokens_of(&proxy), first_read, missing_token, &lifecycle) => RunOutcome::NoToken,
        never = accept(serving.as_mut()) => match never {},
    };

    // Stop. A renewal in progress is awaited, since its token may be the only valid one, and so is a change of the operator.
    wait_for_renewals_and_changes(&proxy, row_tenants.as_deref(), &changes).await;
    let outcome = outcome.and_cut(changes.receiver_count());
    // From here on a change fails: its log says that the stop cut it.
    lifecycle.advance_to(Stage::Stopped);
    drop(tenants);
    for task in [cert_reloader, reloader, reader].into_iter().flatten() {
        task.abort();
    }
    if let Some(sender) = alert_sender.load_full() {
        sender.close().await;
    }
    // The connection pool goes with the proxy; the tasks of its idle connections would be waited for below.
    drop((serving, proxy, row_tenants));
    admin_shutdown.advance_to(ShutdownPhase::Graceful);
    if timeout(ADMIN_DRAIN_TIMEOUT, tasks.wait()).await.is_err() {
        admin_shutdown.advance_to(ShutdownPhase::Forced);
    }
    audit.close();
    tracing::info!(outcome = outcome.label(), "stopped");
    Ok(outcome)
}

/// Says where the app connects to.
fn log_listeners(listeners: &[ProxyListener]) {
    for ProxyListener { listener, tenant } in listeners {
        let tenant = tenant.as_ref().map(TenantId::as_str);
        tracing::info!(address = %listener, tenant, "proxy listener started");
    }
}

/// The TCP addresses of listeners.
fn tcp_addresses(listeners: &[ProxyListener]) -> Vec<SocketAddr> {
    let addresses = listeners.iter().filter_map(|proxy| proxy.listener.local_addr());
    addresses.collect()
}

/// The tokens of the tenants that there are now.
fn tokens_of(proxy: &Proxy) -> Vec<TokenHandle> {
    let tenants = proxy.tenants.load();
    let entries = tenants.directory.entries();
    let open = entries.filter_map(|entry| entry.tenant.if_open());
    open.map(|tenant| tenant.tokens.clone()).collect()
}

/// Waits for the renewals in progress, also of tenants of a table that close, and for the changes of the operator.
async fn wait_for_renewals_and_changes(proxy: &Proxy, row_tenants: Option<&RowTenants>, changes: &watch::Sender<()>) {
    let mut tokens = tokens_of(proxy);
    let closing = row_tenants.map(|tenants| lock(&tenants.open).closing_tokens());
    tokens.extend(closing.unwrap_or_default());
    let renewals = join_all(tokens.iter().map(TokenHandle::wait_for_renewal));
    drop(timeout(PENDING_RENEWAL_TIMEOUT, join(renewals, changes.closed())).await);
}

/// Serves the listener of the operators.
fn start_admin(listener: Listener, admin: &Arc<Admin>, config: ServeConfig) {
    tracing::info!(address = %listener, "admin listener started");
    let (admin, tasks) = (Arc::clone(admin), config.tasks.clone());
    let http_server = http_server(
        move |info| admin.service(&info),
        &tasks,
        config.send_timeout,
        &config.cut_floods,
    );
    drop(tasks.spawn(serve(listener, http_server, config)));
}

/// Waits for the first tokens and lets the process serve. Returns only if none comes and the process has to exit.
async fn serve_unless_token_missing(
    tokens: Vec<TokenHandle>,
    first_read: Option<watch::Receiver<FirstRead>>,
    missing_token: MissingToken,
    lifecycle: &Lifecycle,
) {
    join_all(tokens.iter().map(TokenHandle::wait_for_first_check)).await;
    if let Some(mut first_read) = first_read {
        drop(first_read.wait_for(|progress| *progress != FirstRead::Pending).await);
    } else if missing_token == MissingToken::Exit {
        // The token of the sources may have expired, and a renewal may replace it.
        join_all(tokens.iter().map(TokenHandle::wait_for_first_result)).await;
        if tokens.iter().all(|tokens| tokens.current().is_none()) {
            return;
        }
    }
    lifecycle.advance_to(Stage::Serving);
    std::future::pending::<()>().await;
}

/// Accepts connections, which ends only after a stop.
async fn accept(serving: Pin<&mut impl Future<Output = Vec<usize>>>) -> Infallible {
    drop(serving.await);
    std::future::pending().await
}

/// Serves every listener of the app. At a stop that is done when the changes of the operator are done, too.
fn serve_proxy(
    listeners: Vec<ProxyListener>,
    proxy: &Arc<Proxy>,
    config: &ServeConfig,
    changes: watch::Sender<()>,
) -> impl Future<Output = Vec<usize>> + use<> {
    let shutdown = config.shutdown.clone();
    let serving = join_all(listeners.into_iter().map(|ProxyListener { listener, tenant }| {
        let proxy = Arc::clone(proxy);
        let http_server = http_server(
            move |info| proxy.service(info, tenant.as_ref()),
            &config.tasks,
            config.send_timeout,
            &config.cut_floods,
        );
        serve(listener, http_server, config.clone())
    }));
    async move {
        let tunnels = serving.await;
        tokio::select! {
            () = changes.closed() => {}
            () = shutdown.wait_for(ShutdownPhase::Forced) => {}
        }
        tunnels
    }
}

/// Refuses new requests, and completes those in flight and the changes of the operator. A second stop signal closes them, and so
/// does the end of the time for them.
async fn drain_or_close(
    first_stop: StopSignal,
    mut stops: mpsc::Receiver<StopSignal>,
    delay: Duration,
    proxy: &Proxy,
    changes: &watch::Sender<()>,
    shutdown: &Shutdown,
    mut serving: Pin<&mut impl Future<Output = Vec<usize>>>,
) -> RunOutcome {
    let drained = async {
        // Still accepting during the delay, until load balancers have noticed.
        drop(timeout(delay, &mut serving).await);
        proxy.concurrency_limit.start_draining();
        shutdown.advance_to(ShutdownPhase::Graceful);
        timeout(DRAIN_TIMEOUT, &mut serving).await.is_ok()
    };
    let is_drained = tokio::select! {
        is_drained = drained => is_drained,
        Some(_second) = stops.recv() => false,
        () = announce_second_stop(first_stop, proxy, changes) => false,
    };
    let outcome = if is_drained {
        // Only connections from during the drain are left; their requests are refused anyway.
        shutdown.advance_to(ShutdownPhase::Forced);
        RunOutcome::Drained
    } else {
        force_close(proxy, shutdown, serving).await
    };
    proxy.observed_calls.log();
    outcome
}

/// Says what a second stop signal does, once it counts. Never returns.
async fn announce_second_stop(first_stop: StopSignal, proxy: &Proxy, changes: &watch::Sender<()>) {
    sleep(SECOND_STOP_AFTER).await;
    let (requests, changes) = (proxy.concurrency_limit.inflight(), changes.receiver_count());
    let how = first_stop.repetition();
    tracing::info!(requests, changes, "still draining: {how} to cut what is left");
    std::future::pending::<()>().await;
}

/// Closes the connections that are still open. A connection without a request is no loss.
async fn force_close(
    proxy: &Proxy,
    shutdown: &Shutdown,
    serving: Pin<&mut impl Future<Output = Vec<usize>>>,
) -> RunOutcome {
    let requests = proxy.concurrency_limit.start_closing();
    shutdown.advance_to(ShutdownPhase::Forced);
    let tunnels: usize = serving.await.into_iter().sum();
    if requests + tunnels == 0 {
        return RunOutcome::Drained;
    }
    tracing::warn!(requests, tunnels, "closed the remaining requests and tunnels");
    RunOutcome::ForceClosed(requests + tunnels)
}
