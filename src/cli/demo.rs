//! `graphward demo`: the sidecar, the fake Graph and a small load in one process, and what happens between them.
//!
//! # Why
//!
//! Nothing here is staged. The sidecar is the one that `serve` runs, put together by `app` from a configuration
//! file; it reaches the fake Graph over TLS on a loopback port, and knows of new tokens only by a dropped file.
//! What the lines tell was told by the sidecar's own log, what the totals count was counted by its `/metrics`,
//! by the clients and by the fake Graph, so the three have to agree.

mod client;
mod ear;
mod keeper;
mod load;
mod story;
mod totals;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

use self::keeper::Keeper;
use self::load::Load;
use self::story::Story;
use self::totals::Totals;
use super::exit::{Exit, print_error};
use super::serve::build_runtime;
use crate::app::{self, Dependencies, MissingToken, ServerHandle, StartError, StopSignal};
use crate::config::units::parse_duration;
use crate::config::{Config, ConfigError, Overrides};
use crate::net::ca::{CertAuthority, CertSpec, CertificateError};
use crate::net::{BoxError, HttpVersion, Tasks};
use crate::telemetry::LogError;
use crate::types::Clock;
use fake_graph::{FakeGraph, FakeGraphConfig, RunningServer};

/// The flags of `demo`.
#[derive(Args, Clone, Debug, Eq, PartialEq)]
pub struct DemoArgs {
    /// How long it goes on, from 1s to 30m
    #[arg(long = "for", value_name = "TIME", default_value = "30s", value_parser = length)]
    pub length: Duration,
}

/// Why there was no demo.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("the system refuses what a demo needs")]
    System(#[from] io::Error),
    #[error("cannot write to standard output")]
    Screen(#[source] io::Error),
    #[error("cannot make a certificate")]
    Certificate(#[from] CertificateError),
    #[error("the sidecar's configuration is wrong")]
    Config(#[from] ConfigError),
    #[error("the sidecar cannot start")]
    Start(#[from] StartError),
    #[error("cannot follow the sidecar's log")]
    Log(#[from] LogError),
    #[error("the sidecar's metrics cannot be read")]
    Metrics(#[source] BoxError),
    #[error("the sidecar ended before it was asked to")]
    Ended,
    #[error("stopped before the last requests were answered")]
    Impatient,
}

/// Runs until the time is over, or somebody presses Ctrl-C.
pub(super) fn run(args: &DemoArgs) -> ExitCode {
    let ended = build_runtime()
        .map_err(DemoError::from)
        .and_then(|runtime| runtime.block_on(Box::pin(perform(args.length))));
    match ended {
        Ok(exit) => exit.into(),
        Err(error) => print_error(&error, Exit::Failed).into(),
    }
}

async fn perform(length: Duration) -> Result<Exit, DemoError> {
    let tasks = Tasks::default();
    let mut stops = app::stop_signals(&tasks)?;
    let (teller, mut story) = Story::new();
    ear::follow_log(teller.clone())?;

    let place = tempfile::Builder::new().prefix("graphward-demo-").tempdir()?;
    let sim = FakeGraph::new(FakeGraphConfig::new(fake_graph::Clock::system()));
    let graph = start_graph(&sim, &place).await?;
    let mut keeper = Keeper::start(sim.clone(), place.path(), teller.clone())?;
    let sidecar = Sidecar::start(&place, graph.address, &tasks).await?;

    story.open(sidecar.proxy).map_err(DemoError::Screen)?;
    let (end, ending) = watch::channel(false);
    let load = Load::new(sidecar.proxy, tasks.clone(), teller, ending);
    let over = async {
        tokio::select! {
            () = sleep(length) => {}
            _stop = stops.recv() => {}
        }
        end.send_replace(true);
        // A second signal does not wait for the last answers.
        stops.recv().await;
    };
    // The keeper goes on until the load has its last answer: a request may be waiting for the next token.
    tokio::select! {
        () = load.run() => {}
        kept = keeper.run() => return Err(kept.into()),
        told = story.tell(&load) => return Err(DemoError::Screen(told)),
        () = over => return Err(DemoError::Impatient),
    }
    story.finish(&load).map_err(DemoError::Screen)?;

    let metrics = client::get(sidecar.admin, "/metrics", &tasks).await;
    let metrics = metrics.map_err(DemoError::Metrics)?;
    sidecar.stop().await?;
    let totals = Totals::new(&load, &sim, &keeper, &story, &metrics);
    story.close(&totals).map_err(DemoError::Screen)?;
    graph.stop().await;
    place.close()?;
    Ok(if totals.are_good() { Exit::Success } else { Exit::Failed })
}

/// The fake Graph on a port of its own, over TLS; its authority's certificate is in `ca.pem`.
async fn start_graph(sim: &FakeGraph, place: &TempDir) -> Result<RunningServer, DemoError> {
    let clock = Clock::system();
    let authority = CertAuthority::new(&clock)?;
    std::fs::write(place.path().join("ca.pem"), authority.pem())?;
    let acceptor = authority.acceptor(&CertSpec::for_graph(&clock), HttpVersion::Auto.alpn())?;
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    Ok(sim.start(listener, Some(acceptor))?)
}

/// The sidecar, running.
struct Sidecar {
    proxy: SocketAddr,
    admin: SocketAddr,
    stop: mpsc::Sender<StopSignal>,
    exit: oneshot::Receiver<Result<app::RunOutcome, StartError>>,
}

impl Sidecar {
    async fn start(place: &TempDir, graph: SocketAddr, tasks: &Tasks) -> Result<Self, DemoError> {
        let file = place.path().join("graphward.toml");
        std::fs::write(&file, configuration(place, graph))?;
        let flags = Overrides {
            config: Some(file),
            ..Overrides::default()
        };
        // Nothing of the user's: no variable, and no file but this one.
        let config = Config::load(flags, &|_name| None)?.config;
        let (stop, stops) = mpsc::channel(1);
        let (start, started) = oneshot::channel();
        let (ended, mut exit) = oneshot::channel();
        let on_start = |handle: ServerHandle| drop(start.send(handle));
        let run = app::run(config, Dependencies::default(), MissingToken::Exit, stops, on_start);
        drop(tasks.spawn(async move { ended.send(run.await) }));
        let Ok(handle) = started.await else {
            return Err(match exit.try_recv() {
                Ok(Err(error)) => error.into(),
                Ok(Ok(_)) | Err(_) => DemoError::Ended,
            });
        };
        let proxy = handle.proxy.first().copied().ok_or(DemoError::Ended)?;
        let admin = handle.admin.ok_or(DemoError::Ended)?;
        Ok(Self {
            proxy,
            admin,
            stop,
            exit,
        })
    }

    async fn stop(self) -> Result<(), DemoError> {
        // If it is gone already, its exit says so.
        let _gone = self.stop.send(StopSignal::Terminate).await;
        match self.exit.await {
            Ok(Ok(app::RunOutcome::Drained | app::RunOutcome::ForceClosed(_))) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(app::RunOutcome::NoToken)) | Err(_) => Err(DemoError::Ended),
        }
    }
}

/// What a user would write, with ports that are free.
fn configuration(place: &TempDir, graph: SocketAddr) -> String {
    // A JSON string is a TOML string.
    let path = |name: &str| Value::from(place.path().join(name).to_string_lossy());
    format!(
        r#"
[listen]
proxy = "127.0.0.1:0"
admin = "127.0.0.1:0"
[upstream]
ca_file = {ca}
[upstream.connect_to]
"graph.facebook.com" = "{graph}"
[token]
source = {{ file = {token} }}
[heal]
spool_dir = {spool}
"#,
        ca = path("ca.pem"),
        token = path("token"),
        spool = path(""),
    )
}

fn length(text: &str) -> Result<Duration, String> {
    let length = parse_duration(text).map_err(|error| error.to_string())?;
    if length < Duration::from_secs(1) || length > Duration::from_secs(30 * 60) {
        return Err("must be from 1s to 30m".to_owned());
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_from_a_second_to_half_an_hour() {
        assert_eq!(length("9s"), Ok(Duration::from_secs(9)));
        assert_eq!(length("30m"), Ok(Duration::from_secs(1800)));
        for wrong in ["", "9", "999ms", "0", "31m", "1.5s"] {
            assert!(length(wrong).is_err(), "{wrong}");
        }
    }
}
