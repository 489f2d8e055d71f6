//! A process that serves, and how it stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;

use crate::admin::Admin;
use crate::alert::{Bell, Webhook};
use crate::net::{Keeper, Listener, ServeSettings, Shutter, Stage, Stages, Tasks, Tls, serve};
use crate::proxy::{Gate, Proxy};
use crate::token::{Refresher, Tokens};

use super::signal::Stop;

/// How a run ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// Asked to stop; every request that had begun was finished.
    Drained,
    /// Asked to stop; so many connections had to be cut.
    Cut(usize),
    /// There was no usable token, and one was required.
    NoToken,
}

/// A process whose listeners are bound.
#[derive(Debug)]
pub struct Running {
    /// Where the app connects, by TCP.
    pub proxy: Vec<SocketAddr>,
    /// Where operators connect, by TCP.
    pub admin: Option<SocketAddr>,
    /// The live credential.
    pub tokens: Tokens,
    /// Where the process is in its life.
    pub stages: Stages,
    pub(super) gate: Gate,
    pub(super) tasks: Tasks,
    pub(super) service: Arc<Proxy>,
    pub(super) operators: Arc<Admin>,
    pub(super) refresher: Refresher,
    pub(super) webhook: Option<(Bell, Webhook)>,
    pub(super) proxy_listeners: Vec<Listener>,
    pub(super) tls: Tls,
    pub(super) keeper: Option<Keeper>,
    pub(super) admin_listener: Listener,
    pub(super) require_token: bool,
    pub(super) pause: Duration,
    pub(super) grace: Duration,
}

/// The longest wait for a token that is being minted.
const MINTING_GRACE: Duration = Duration::from_secs(3);
/// The longest wait for the operators' connections at the end.
const ADMIN_GRACE: Duration = Duration::from_millis(500);

// === impl Running ===

impl Running {
    /// Serves until asked to stop, then drains. The order of the lines is the order of events.
    pub async fn run(self, mut stops: mpsc::Receiver<Stop>) -> Exit {
        let Self {
            tokens,
            stages,
            gate,
            tasks,
            require_token,
            pause,
            grace,
            ..
        } = self;
        let (shutter, admin_shutter) = (Shutter::new(), Shutter::new());

        tracing::info!(address = %self.admin_listener, "listening for operators");
        let operators = self.operators.service();
        let admin = serve(
            self.admin_listener,
            move |_line| operators.clone(),
            settings(&tasks, &admin_shutter, Tls::Off),
        );
        drop(tasks.spawn(admin));
        let refresher = tasks.spawn(self.refresher.run());
        let bell = told(self.webhook, &tasks);
        let keeper = self.keeper.map(|keeper| tasks.spawn(keeper.run()));
        for listener in &self.proxy_listeners {
            tracing::info!(address = %listener, "listening for the app");
        }
        let mut serving = std::pin::pin!(serve_app(
            self.proxy_listeners,
            &self.service,
            &settings(&tasks, &shutter, self.tls),
        ));

        let looked = async {
            first_look(&tokens, require_token).await;
            if !require_token || tokens.current().is_some() {
                stages.enter(Stage::Serving);
                std::future::pending::<()>().await;
            }
        };
        let stop = tokio::select! {
            // Heard from the start: a source that hangs must not keep the process from stopping.
            stop = asked(&mut stops) => Some(stop),
            () = looked => None,
            _ = &mut serving => None,
        };

        let mut exit = Exit::NoToken;
        if let Some(stop) = stop {
            stages.enter(Stage::Draining);
            tracing::info!(?stop, "draining: requests that have begun are finished");
            exit = drain(
                Draining {
                    shutter,
                    gate,
                    pause,
                    grace,
                },
                serving,
                &mut stops,
            )
            .await;
        }
        // A token that is being minted may be the only one there will be.
        drop(tokio::time::timeout(MINTING_GRACE, tokens.minted()).await);
        refresher.abort();
        if let Some(keeper) = keeper {
            keeper.abort();
        }
        if let Some(bell) = bell {
            bell.close().await;
        }
        // With it goes the pool, whose idle connections are tasks that would be waited for.
        drop(self.service);
        stages.enter(Stage::Stopped);
        admin_shutter.close();
        if tokio::time::timeout(ADMIN_GRACE, tasks.joined())
            .await
            .is_err()
        {
            admin_shutter.cut();
        }
        tracing::info!(?exit, "stopped");
        exit
    }
}

/// Until it is known whether there is a token; where one is required, whether there will be one in a moment, too: what the
/// sources show may be dead, and renewed.
async fn first_look(tokens: &Tokens, required: bool) {
    tokens.looked().await;
    if required {
        tokens.settled().await;
    }
}

/// The first wish to stop. If nobody who could ask is left, only the end of the process stops it.
async fn asked(stops: &mut mpsc::Receiver<Stop>) -> Stop {
    match stops.recv().await {
        Some(stop) => stop,
        None => std::future::pending().await,
    }
}

/// Lets the webhook be told of notices, if there is one.
fn told(webhook: Option<(Bell, Webhook)>, tasks: &Tasks) -> Option<Bell> {
    let (bell, webhook) = webhook?;
    drop(tasks.spawn(webhook.run()));
    Some(bell)
}

/// Serves every listener of the app.
fn serve_app(
    listeners: Vec<Listener>,
    proxy: &Arc<Proxy>,
    settings: &ServeSettings,
) -> impl Future<Output = Vec<usize>> + use<> {
    join_all(listeners.into_iter().map(|listener| {
        let proxy = Arc::clone(proxy);
        serve(listener, move |line| proxy.service(line), settings.clone())
    }))
}

struct Draining {
    shutter: Shutter,
    gate: Gate,
    pause: Duration,
    grace: Duration,
}

/// Stops accepting, waits for connections, cuts what is left; a second signal does so at once.
async fn drain(
    Draining {
        shutter,
        gate,
        pause,
        grace,
    }: Draining,
    mut serving: std::pin::Pin<&mut impl Future<Output = Vec<usize>>>,
    stops: &mut mpsc::Receiver<Stop>,
) -> Exit {
    let politely = async {
        // Still accepting, so that whoever routes to us has noticed.
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = &mut serving => {}
        }
        gate.close();
        shutter.close();
        tokio::time::timeout(grace, &mut serving).await.ok()
    };
    let ended = tokio::select! {
        ended = politely => ended,
        Some(_second) = stops.recv() => None,
    };
    if ended.is_some() {
        return Exit::Drained;
    }
    shutter.close();
    shutter.cut();
    let cut = serving.await.into_iter().sum();
    tracing::warn!(connections = cut, "cut what was left");
    Exit::Cut(cut)
}

fn settings(tasks: &Tasks, shutter: &Shutter, tls: Tls) -> ServeSettings {
    ServeSettings {
        tasks: tasks.clone(),
        shutter: shutter.clone(),
        tls,
    }
}
