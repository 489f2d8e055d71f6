//! A proxy in this process: its own thread, its own runtime, real sockets.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use graphward::app::{self, Exit, Seams, Stop};
use graphward::config::{Config, Overrides};
use graphward::net::Stage;
use tokio::sync::mpsc;

use super::{CA, TOKEN};

/// What is configured besides the way to the origin.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setup<'a> {
    pub(crate) upstream: &'a str,
    pub(crate) heal: &'a str,
    pub(crate) log: &'a str,
    /// `proxy = …`
    pub(crate) proxy: Option<&'a str>,
    pub(crate) listen: &'a str,
    pub(crate) connect_to: &'a str,
}

/// A running proxy; stops when dropped.
pub(crate) struct House {
    pub(crate) proxy: SocketAddr,
    pub(crate) admin: SocketAddr,
    stops: mpsc::Sender<Stop>,
    thread: Option<JoinHandle<Exit>>,
    /// Its directory, which goes with it.
    _place: tempfile::TempDir,
}

impl Setup<'_> {
    /// Writes the configuration, the CA and the token into `place`.
    pub(crate) fn write(&self, place: &Path, port: u16) -> PathBuf {
        let Self {
            upstream,
            heal,
            log,
            proxy,
            listen,
            connect_to,
        } = self;
        let shown = place.display();
        let proxy = proxy.unwrap_or("\"127.0.0.1:0\"");
        std::fs::write(place.join("ca.pem"), CA.pem()).unwrap();
        std::fs::write(place.join("token"), TOKEN).unwrap();
        let text = format!(
            r#"
[listen]
proxy = {proxy}
admin = "127.0.0.1:0"
{listen}
[upstream]
ca_file = "{shown}/ca.pem"
{upstream}
[upstream.connect_to]
"graph.facebook.com" = "127.0.0.1:{port}"
{connect_to}
[token]
source = {{ file = "{shown}/token" }}
# What arrives is counted here, and an origin that follows a script has no answer about a token.
verify = false
[heal]
{heal}
[log]
{log}
"#
        );
        let file = place.join("graphward.toml");
        std::fs::write(&file, text).unwrap();
        file
    }
}

impl House {
    /// A proxy with defaults before the origin at `port`.
    pub(crate) fn before(port: u16) -> Self {
        Self::with(port, Setup::default())
    }

    pub(crate) fn with(port: u16, setup: Setup<'_>) -> Self {
        let place = tempfile::tempdir().unwrap();
        let flags = Overrides {
            config: Some(setup.write(place.path(), port)),
            ..Overrides::default()
        };
        let config = Config::load(flags, &|_name| None).unwrap().config;
        let (told, tell) = std::sync::mpsc::channel();
        let (stops, stopped) = mpsc::channel(2);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let running = app::build(config, Seams::default(), false).await.unwrap();
                let addresses = (running.proxy.first().copied(), running.admin.unwrap());
                let stages = running.stages.clone();
                let serving = async {
                    stages.reached(Stage::Serving).await;
                    told.send(addresses).unwrap();
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    exit = running.run(stopped) => exit,
                    () = serving => unreachable!(),
                }
            })
        });
        let (proxy, admin) = tell.recv().unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            proxy: proxy.unwrap_or(nowhere),
            admin,
            stops,
            thread: Some(thread),
            _place: place,
        }
    }

    /// Asks it to stop.
    pub(crate) fn ask_to_stop(&self) {
        // Full or closed, it has been asked already.
        self.stops.try_send(Stop::Terminate).ok();
    }

    /// How it ended, once it has.
    pub(crate) fn ended(mut self) -> Exit {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // The second one cuts what a test left open.
        self.ask_to_stop();
        self.ask_to_stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the proxy panicked");
        }
    }
}
