//! The order in which a process starts and stops.
//!
//! # Why
//!
//! Everything is put together here and nowhere else, top to bottom, so that "what happens first" has a file to
//! open. All fakes enter by [`Seams`]: a clock, a connector, a supply, listeners. What tests run is what runs.

mod signal;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::join_all;
use tokio::sync::mpsc;

use crate::admin::Admin;
use crate::config::{Address, Config, TokenSource};
use crate::graph::{Origin, OriginError};
use crate::net::tls::{self, TlsError};
use crate::net::{
    Connector, Dial, Listener, ServeSettings, Shutter, Stage, Stages, Tasks, connector, serve,
};
use crate::proxy::{
    Budget, Gate, Hosts, Limits, Pool, Proxy, Spool, Tenant, Upstream, UpstreamSettings,
};
use crate::source::{EnvSource, FileSource};
use crate::telemetry::metrics::{Metrics, Place, TokenMetrics};
use crate::token::{ObtainError, Refresher, Report, Schedule, Supply, Tokens, pair};
use crate::types::{Clock, TenantId};

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

        tracing::info!(address = %self.admin_listener, "listening for operators");
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
        // The listeners have it. With the last of them it goes, and takes the idle connections to Graph along.
        drop(self.service);

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

async fn bind_all(addresses: &[Address]) -> Result<Vec<Listener>, StartError> {
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

fn supply_of(source: &TokenSource) -> Supply {
    match source {
        TokenSource::File { path, format } => {
            Supply::of(FileSource::new(path.clone(), format.clone()))
        }
        TokenSource::Env { name } => Supply::of(EnvSource::new(name.clone())),
    }
}

fn tenant(
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
fn observer(metrics: TokenMetrics) -> impl Fn(&Report<'_>) + Send {
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
