//! `graphward demo`: graphward, a fake Graph and some clients in one process.
//!
//! # Why
//!
//! Nothing here is staged. graphward is the one that `serve` runs, started by `app` from a configuration file. It reaches
//! the fake Graph over TLS on a loopback port, and learns of new tokens only from the file. The clients, the fake Graph and
//! the operator who replaces the token count on their own, and their numbers have to agree.

mod load;
mod rotation;
mod screen;
mod summary;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use fake_graph::{FakeGraph, FakeGraphConfig, RunningServer};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use self::load::{CLIENTS, Load};
use self::rotation::{Rotation, put_token};
use self::screen::line;
use super::exit::{Exit, print_error};
use super::fake_graph::{FakeGraphError, tls_acceptor};
use super::runtime::build_runtime;
use super::table::Tone;
use crate::app::{self, Dependencies, MissingToken, RunOutcome, ServerHandle, StartError, StopSignal};
use crate::config::{Config, ConfigError, EnvVars, Overrides};
use crate::net::Tasks;
use crate::net::tls::TlsError;
use crate::types::parse_duration;

/// The flags of `demo`.
#[derive(Args, Clone, Debug, Eq, PartialEq)]
pub(super) struct DemoArgs {
    /// How long to run, from 1s to 30m
    #[arg(long = "for", value_name = "TIME", default_value = "30s", value_parser = length)]
    pub(super) length: Duration,
}

/// The reason why the demo failed.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("a file, a port or standard output failed")]
    Io(#[from] io::Error),
    #[error(transparent)]
    FakeGraph(#[from] FakeGraphError),
    #[error("graphward's configuration is invalid")]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Client(#[from] TlsError),
    #[error("graphward cannot start")]
    Start(#[from] StartError),
    #[error("graphward stopped too early")]
    StoppedEarly,
    #[error("interrupted before the last requests were answered")]
    Interrupted,
}

/// Runs until the time is over, or until the user presses Ctrl-C.
pub(super) fn run(args: &DemoArgs) -> Exit {
    let ended = build_runtime()
        .map_err(DemoError::from)
        .and_then(|runtime| runtime.block_on(Box::pin(run_demo(args.length))));
    ended.unwrap_or_else(|error| print_error(&error, Exit::Failed))
}

async fn run_demo(length: Duration) -> Result<Exit, DemoError> {
    let tasks = Tasks::default();
    let mut interrupts = app::stop_signals(&tasks, None)?;
    let dir = tempfile::Builder::new().prefix("graphward-demo-").tempdir()?;
    let graph = FakeGraph::new(FakeGraphConfig::new(fake_graph::Clock::system()));
    let graph_server = start_graph(&graph, &dir).await?;
    let token = put_token(&graph, dir.path())?;

    let config = load_config(&dir, graph_server.address)?;
    let (stop, stops) = mpsc::channel(1);
    let (start, started) = oneshot::channel();
    let on_start = |handle: ServerHandle| drop(start.send(handle));
    let sidecar = app::run(config, Dependencies::default(), MissingToken::Exit, stops, on_start);
    let mut sidecar = Box::pin(sidecar);
    let handle = tokio::select! {
        outcome = &mut sidecar => return Err(early_end(outcome)),
        handle = started => handle.map_err(|_closed| DemoError::StoppedEarly)?,
    };

    let proxy = handle.proxy.first().copied().ok_or(DemoError::StoppedEarly)?;
    let load = Load::new(proxy)?;
    line(Tone::Plain, &introduction(proxy))?;
    let tokens = handle.tokens.into_iter().next().ok_or(DemoError::StoppedEarly)?;
    let mut rotation = Rotation::new(&graph, dir.path(), token, tokens, &load);
    let stopped = async {
        // The time is over, or the user presses Ctrl-C.
        drop(timeout(length, interrupts.recv()).await);
        load.stop();
        // A second signal does not wait for the last answers.
        interrupts.recv().await;
    };
    // Tokens are replaced until the last request is answered: graphward may hold it for the next token.
    tokio::select! {
        outcome = &mut sidecar => return Err(early_end(outcome)),
        Err(error) = rotation.run() => return Err(error.into()),
        () = stopped => return Err(DemoError::Interrupted),
        () = load.run() => {}
    }

    stop.try_send(StopSignal::Terminate)
        .map_err(|_closed| DemoError::StoppedEarly)?;
    sidecar.await?;
    graph_server.stop().await;
    let exit = summary::print(&load, &rotation, &graph)?;
    dir.close()?;
    line(Tone::Plain, &next_steps())?;
    Ok(exit)
}

fn early_end(outcome: Result<RunOutcome, StartError>) -> DemoError {
    outcome.map_or_else(DemoError::Start, |_stopped| DemoError::StoppedEarly)
}

fn introduction(proxy: SocketAddr) -> String {
    format!(
        "graphward demo: {CLIENTS} clients send WhatsApp messages to a fake Graph, through\n\
         graphward. Each token lives for 4 s. The clients have no token: they call\n\
         http://{proxy} instead of https://graph.facebook.com.\n\
         Everything runs in this process. Ctrl-C ends it.\n"
    )
}

/// The three lines with which a user continues with a token of their own.
fn next_steps() -> String {
    // As the user called it, for instance target/debug/graphward, unless that is too long for the line.
    let program = std::env::args().next().filter(|path| path.len() <= 50);
    let program = program.as_deref().unwrap_or("graphward");
    format!(
        "\nYour own token:\n  \
         install -m 600 /dev/stdin new && mv new token   # paste it, Enter, Ctrl-D\n  \
         {program} serve --token-file token\n  \
         curl http://127.0.0.1:8080/v25.0/me   # in another terminal"
    )
}

/// Starts the fake Graph on a port of its own, over TLS. The certificate of its CA is in `ca.pem`.
async fn start_graph(graph: &FakeGraph, dir: &TempDir) -> Result<RunningServer, DemoError> {
    let acceptor = tls_acceptor(Some(&dir.path().join("ca.pem")))?;
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    Ok(graph.start(listener, Some(acceptor))?)
}

/// Loads a configuration as a user writes it, with free ports and a hold that a busy machine does not exceed.
fn load_config(dir: &TempDir, graph: SocketAddr) -> Result<Config, DemoError> {
    // A JSON string is a TOML string.
    let path = |name: &str| Value::from(dir.path().join(name).to_string_lossy());
    let text = format!(
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
hold_timeout = "10s"
spool_dir = {spool}
"#,
        ca = path("ca.pem"),
        token = path("token"),
        spool = path(""),
    );
    let file = dir.path().join("graphward.toml");
    std::fs::write(&file, text)?;
    let flags = Overrides {
        config: Some(file),
        ..Overrides::default()
    };
    // Neither the user's environment nor another file counts.
    Ok(Config::load(flags, &EnvVars::new())?.config)
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
