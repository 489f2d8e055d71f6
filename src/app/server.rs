//! A process that serves, and how it stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;

use crate::admin::Admin;
use crate::alert::{AlertSender, Webhook};
use crate::net::{CertReloader, Lifecycle, Listener, ServeConfig, Shutdown, Stage, Tasks, TlsMode, serve};
use crate::proxy::{ConcurrencyLimit, Proxy};
use crate::token::{Refresher, TokenHandle};

use super::signal::StopSignal;

/// How a run ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RunOutcome {
    /// Asked to stop; every request that had begun was finished.
    Drained,
    /// Asked to stop; so many connections had to be cut.
    ForceClosed(usize),
    /// There was no usable token, and one was required.
    NoToken,
}

/// A process whose listeners are bound.
#[derive(Debug)]
pub struct Server {
    /// Where the app connects, by TCP.
    pub proxy: Vec<SocketAddr>,
    /// Where operators connect, by TCP.
    pub admin_address: Option<SocketAddr>,
    /// The live credential.
    pub tokens: TokenHandle,
    /// Where the process is in its life.
    pub stages: Lifecycle,
    pub(super) concurrency_limit: ConcurrencyLimit,
    pub(super) tasks: Tasks,
    pub(super) proxy_service: Arc<Proxy>,
    pub(super) admin_service: Arc<Admin>,
    pub(super) refresher: Refresher,
    pub(super) webhook: Option<(AlertSender, Webhook)>,
    pub(super) proxy_listeners: Vec<Listener>,
    pub(super) tls: TlsMode,
    pub(super) cert_reloader: Option<CertReloader>,
    pub(super) admin_listener: Listener,
    pub(super) require_token: bool,
    pub(super) pause: Duration,
    pub(super) grace: Duration,
}

/// The longest wait for a token that is being minted.
const PENDING_RENEWAL_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest wait for the operators' connections at the end.
const ADMIN_DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

// === impl Running ===

impl Server {
    /// Serves until asked to stop, then drains. The order of the lines is the order of events.
    pub async fn run(self, mut stops: mpsc::Receiver<StopSignal>) -> RunOutcome {
        let Self {
            tokens,
            stages,
            concurrency_limit,
            tasks,
            require_token,
            pause,
            grace,
            ..
        } = self;
        let (shutdown, admin_shutdown) = (Shutdown::new(), Shutdown::new());

        tracing::info!(address = %self.admin_listener, "listening for operators");
        let admin_service = self.admin_service.service();
        let admin_server = serve(
            self.admin_listener,
            move |_line| admin_service.clone(),
            serve_settings(&tasks, &admin_shutdown, TlsMode::Off),
        );
        drop(tasks.spawn(admin_server));
        let refresher = tasks.spawn(self.refresher.run());
        let alert_sender = spawn_webhook(self.webhook, &tasks);
        let cert_reloader = self.cert_reloader.map(|keeper| tasks.spawn(keeper.run()));
        for listener in &self.proxy_listeners {
            tracing::info!(address = %listener, "listening for the app");
        }
        let mut serving = std::pin::pin!(serve_proxy(
            self.proxy_listeners,
            &self.proxy_service,
            &serve_settings(&tasks, &shutdown, self.tls),
        ));

        let startup_check = async {
            wait_for_first_token(&tokens, require_token).await;
            if !require_token || tokens.current().is_some() {
                stages.advance_to(Stage::Serving);
                std::future::pending::<()>().await;
            }
        };
        let stop = tokio::select! {
            // Heard from the start: a source that hangs must not keep the process from stopping.
            stop = stop_requested(&mut stops) => Some(stop),
            () = startup_check => None,
            _ = &mut serving => None,
        };

        let mut exit = RunOutcome::NoToken;
        if let Some(stop) = stop {
            stages.advance_to(Stage::Draining);
            tracing::info!(?stop, "draining: requests that have begun are finished");
            exit = drain(
                Draining {
                    shutdown,
                    concurrency_limit,
                    pause,
                    grace,
                },
                serving,
                &mut stops,
            )
            .await;
        }
        // A token that is being minted may be the only one there will be.
        drop(tokio::time::timeout(PENDING_RENEWAL_TIMEOUT, tokens.wait_for_renewal()).await);
        refresher.abort();
        if let Some(keeper) = cert_reloader {
            keeper.abort();
        }
        if let Some(bell) = alert_sender {
            bell.close().await;
        }
        // With it goes the pool, whose idle connections are tasks that would be waited for.
        drop(self.proxy_service);
        stages.advance_to(Stage::Stopped);
        admin_shutdown.close();
        if tokio::time::timeout(ADMIN_DRAIN_TIMEOUT, tasks.wait()).await.is_err() {
            admin_shutdown.force();
        }
        tracing::info!(?exit, "stopped");
        exit
    }
}

/// Until it is known whether there is a token; where one is required, whether there will be one in a moment, too: what the
/// sources show may be dead, and renewed.
async fn wait_for_first_token(tokens: &TokenHandle, required: bool) {
    tokens.wait_for_first_check().await;
    if required {
        tokens.wait_for_first_result().await;
    }
}

/// The first wish to stop. If nobody who could ask is left, only the end of the process stops it.
async fn stop_requested(stops: &mut mpsc::Receiver<StopSignal>) -> StopSignal {
    match stops.recv().await {
        Some(stop) => stop,
        None => std::future::pending().await,
    }
}

/// Lets the webhook be told of notices, if there is one.
fn spawn_webhook(webhook: Option<(AlertSender, Webhook)>, tasks: &Tasks) -> Option<AlertSender> {
    let (alert_sender, webhook) = webhook?;
    drop(tasks.spawn(webhook.run()));
    Some(alert_sender)
}

/// Serves every listener of the app.
fn serve_proxy(
    listeners: Vec<Listener>,
    proxy: &Arc<Proxy>,
    settings: &ServeConfig,
) -> impl Future<Output = Vec<usize>> + use<> {
    join_all(listeners.into_iter().map(|listener| {
        let proxy = Arc::clone(proxy);
        serve(listener, move |connection| proxy.service(connection), settings.clone())
    }))
}

struct Draining {
    shutdown: Shutdown,
    concurrency_limit: ConcurrencyLimit,
    pause: Duration,
    grace: Duration,
}

/// Stops accepting, waits for connections, cuts what is left; a second signal does so at once.
async fn drain(
    Draining {
        shutdown,
        concurrency_limit,
        pause,
        grace,
    }: Draining,
    mut serving: std::pin::Pin<&mut impl Future<Output = Vec<usize>>>,
    stops: &mut mpsc::Receiver<StopSignal>,
) -> RunOutcome {
    let graceful = async {
        // Still accepting, so that whoever routes to us has noticed.
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = &mut serving => {}
        }
        concurrency_limit.close();
        shutdown.close();
        tokio::time::timeout(grace, &mut serving).await.ok()
    };
    let ended = tokio::select! {
        ended = graceful => ended,
        Some(_second) = stops.recv() => None,
    };
    if ended.is_some() {
        return RunOutcome::Drained;
    }
    shutdown.close();
    shutdown.force();
    let force_closed = serving.await.into_iter().sum();
    tracing::warn!(connections = force_closed, "cut what was left");
    RunOutcome::ForceClosed(force_closed)
}

fn serve_settings(tasks: &Tasks, shutdown: &Shutdown, tls: TlsMode) -> ServeConfig {
    ServeConfig {
        tasks: tasks.clone(),
        shutdown: shutdown.clone(),
        tls,
    }
}
