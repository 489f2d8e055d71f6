//! The order in which a process starts and stops.
//!
//! # Why
//!
//! Everything is put together here and nowhere else, top to bottom, so that "what happens first" has a file to
//! open. All fakes enter by [`Seams`]: a clock, a connector, a supply, listeners. What tests run is what runs.

mod assemble;
mod signal;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;

use crate::admin::Admin;
use crate::config::Config;
use crate::net::{Connector, Listener, ServeSettings, Shutter, Stage, Stages, Tasks, serve};
use crate::proxy::{Budget, Gate, Hosts, Pool, Proxy};
use crate::telemetry::metrics::{Metrics, Place};
use crate::token::{Refresher, Schedule, Supply, Tokens, pair};
use crate::types::{Clock, TenantId};
use assemble::{bind, bind_all, observer, supply_of, tenant};

pub use assemble::StartError;
pub use signal::{Stop, stops};

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
}

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
    gate: Gate,
    tasks: Tasks,
    service: Arc<Proxy>,
    operators: Arc<Admin>,
    refresher: Refresher,
    proxy_listeners: Vec<Listener>,
    admin_listener: Listener,
    require_token: bool,
    pause: Duration,
    grace: Duration,
}

/// More requests than this at a time are refused: each may hold a body, and Graph would throttle long before.
const MOST_INFLIGHT: u32 = 10_000;
/// The longest wait for the operators' connections at the end.
const ADMIN_GRACE: Duration = Duration::from_millis(500);

impl Default for Seams {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            connector: None,
            supply: None,
            schedule: Schedule::default(),
            proxy: Vec::new(),
            admin: None,
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
        schedule,
        proxy: given,
        admin: given_admin,
    } = seams;
    let proxy_listeners = if given.is_empty() {
        bind_all(&config.listen.proxy).await?
    } else {
        given
    };
    let admin_listener = match given_admin {
        Some(listener) => listener,
        None => bind(&config.listen.admin).await?,
    };

    let tasks = Tasks::default();
    let metrics = Metrics::new();
    let stages = Stages::new();
    let id = TenantId::default();
    let token_metrics = metrics.token(&id);
    let (writer, tokens) = pair();
    let supply = supply.unwrap_or_else(|| supply_of(&config.token));
    let observer = Box::new(observer(token_metrics.clone()));
    let refresher = Refresher::new(id.clone(), supply, writer, schedule, clock, observer);

    let addresses: Vec<SocketAddr> = proxy_listeners
        .iter()
        .filter_map(Listener::address)
        .collect();
    let tenant = tenant(&config, &id, connector, tokens.clone(), &metrics, &tasks)?;
    let names = config
        .listen
        .allowed_hosts
        .iter()
        .cloned()
        .chain([tenant.origin.host().to_owned()]);
    let gate = Gate::new(metrics.inflight().clone(), MOST_INFLIGHT);
    let service = Arc::new(Proxy {
        gate: gate.clone(),
        hosts: Hosts::new(names, &addresses),
        budget: Budget {
            memory: Pool::new(
                config.heal.memory_total,
                metrics.replay_bytes(Place::Memory),
            ),
            disk: Pool::new(config.heal.disk_total, metrics.replay_bytes(Place::Disk)),
        },
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
        proxy_listeners,
        admin_listener,
        require_token,
        pause: config.drain_pause,
        grace: config.drain_grace,
    })
}

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

        let admin = serve(
            self.admin_listener,
            self.operators.service(),
            settings(&tasks, &admin_shutter),
        );
        drop(tasks.spawn(admin));
        let refresher = tasks.spawn(self.refresher.run());
        for listener in &self.proxy_listeners {
            tracing::info!(address = %listener, "listening for the app");
        }
        let serving = self
            .proxy_listeners
            .into_iter()
            .map(|listener| serve(listener, self.service.service(), settings(&tasks, &shutter)));
        let mut serving = std::pin::pin!(join_all(serving));

        let asked = async {
            tokens.looked().await;
            if require_token && tokens.current().is_none() {
                return None;
            }
            stages.enter(Stage::Serving);
            // Nobody who could ask is left: then only the end of the process stops it.
            Some(match stops.recv().await {
                Some(stop) => stop,
                None => std::future::pending().await,
            })
        };
        let stop = tokio::select! {
            stop = asked => stop,
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
        refresher.abort();
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

fn settings(tasks: &Tasks, shutter: &Shutter) -> ServeSettings {
    ServeSettings {
        tasks: tasks.clone(),
        shutter: shutter.clone(),
        tls: None,
    }
}
