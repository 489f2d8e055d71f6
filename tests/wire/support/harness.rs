//! A proxy in this process: its own thread, its own runtime, real sockets.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use graphward::app::{self, Dependencies, MissingToken, RunOutcome, ServerHandle, StopSignal};
use graphward::config::{Config, EnvVars, Overrides};
use graphward::net::Stage;
use tokio::sync::{mpsc, oneshot};

use super::{CA, TOKEN};

/// The configuration besides the origin.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProxyConfig<'a> {
    pub(crate) upstream: &'a str,
    pub(crate) heal: &'a str,
    pub(crate) log: &'a str,
    /// `proxy = …`
    pub(crate) proxy: Option<&'a str>,
    pub(crate) listen: &'a str,
    pub(crate) connect_to: &'a str,
}

/// A running proxy; stops when dropped.
pub(crate) struct TestProxy {
    pub(crate) proxy: SocketAddr,
    pub(crate) admin: SocketAddr,
    stop_signals: mpsc::Sender<StopSignal>,
    thread: Option<JoinHandle<RunOutcome>>,
    /// Its directory, removed with it.
    _dir: tempfile::TempDir,
}

impl<'a> ProxyConfig<'a> {
    const DEFAULT: Self = Self {
        upstream: "",
        heal: "",
        log: "",
        proxy: None,
        listen: "",
        connect_to: "",
    };

    /// These lines in `[upstream]`.
    pub(crate) const fn upstream(upstream: &'a str) -> Self {
        Self {
            upstream,
            ..Self::DEFAULT
        }
    }

    /// These lines in `[heal]`.
    pub(crate) const fn heal(heal: &'a str) -> Self {
        Self { heal, ..Self::DEFAULT }
    }

    /// These lines in `[listen]`.
    pub(crate) const fn listen(listen: &'a str) -> Self {
        Self {
            listen,
            ..Self::DEFAULT
        }
    }

    /// Writes the configuration, the CA and the token into `dir`.
    pub(crate) fn write(&self, dir: &Path, port: u16) -> PathBuf {
        let Self {
            upstream,
            heal,
            log,
            proxy,
            listen,
            connect_to,
        } = self;
        let dir_path = dir.display();
        let proxy = proxy.unwrap_or("\"127.0.0.1:0\"");
        std::fs::write(dir.join("ca.pem"), CA.pem()).unwrap();
        std::fs::write(dir.join("token"), TOKEN).unwrap();
        let text = format!(
            r#"
[listen]
proxy = {proxy}
admin = "127.0.0.1:0"
{listen}
[upstream]
ca_file = "{dir_path}/ca.pem"
{upstream}
[upstream.connect_to]
"graph.facebook.com" = "127.0.0.1:{port}"
{connect_to}
[token]
source = {{ file = "{dir_path}/token" }}
# A scripted origin counts requests and cannot inspect tokens.
verify = false
[heal]
{heal}
[log]
{log}
"#
        );
        let file = dir.join("graphward.toml");
        std::fs::write(&file, text).unwrap();
        file
    }
}

impl TestProxy {
    /// A proxy with defaults before the origin at `port`.
    pub(crate) fn start(port: u16) -> Self {
        Self::start_with(port, ProxyConfig::default())
    }

    pub(crate) fn start_with(port: u16, proxy_config: ProxyConfig<'_>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let flags = Overrides {
            config: Some(proxy_config.write(dir.path(), port)),
            ..Overrides::default()
        };
        let config = Config::load(flags, &EnvVars::new()).unwrap().config;
        let (ready_sender, ready_receiver) = std::sync::mpsc::channel();
        let (stop_signals, stop_receiver) = mpsc::channel(2);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let (start_sender, started) = oneshot::channel();
                let on_start = |handle: ServerHandle| start_sender.send(handle).unwrap();
                let deps = Dependencies::default();
                let run = app::run(config, deps, MissingToken::Wait, stop_receiver, on_start);
                let serving = async {
                    let handle = started.await.unwrap();
                    handle.lifecycle.wait_for(Stage::Serving).await;
                    let addresses = (handle.proxy.first().copied(), handle.admin.unwrap());
                    ready_sender.send(addresses).unwrap();
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    outcome = run => outcome.unwrap(),
                    () = serving => unreachable!(),
                }
            })
        });
        let (proxy, admin) = ready_receiver.recv().unwrap();
        let unspecified = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            proxy: proxy.unwrap_or(unspecified),
            admin,
            stop_signals,
            thread: Some(thread),
            _dir: dir,
        }
    }

    /// Sends a stop signal.
    pub(crate) fn request_stop(&self) {
        // If the channel is full or closed, a stop has been requested already.
        self.stop_signals.try_send(StopSignal::Terminate).ok();
    }

    /// Waits for its end.
    pub(crate) fn wait_exit(mut self) -> RunOutcome {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for TestProxy {
    fn drop(&mut self) {
        // The second signal force-closes what the test left open.
        self.request_stop();
        self.request_stop();
        if let Some(thread) = self.thread.take() {
            let outcome = thread.join();
            assert!(outcome.is_ok() || thread::panicking(), "the proxy panicked");
        }
    }
}
