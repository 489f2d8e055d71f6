//! The sidecar of a test: the process, its configuration file, and its output.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{Graph, TIMEOUT, get};

/// A running sidecar; killed when dropped.
pub(crate) struct Sidecar {
    pub(crate) proxy: SocketAddr,
    /// Unspecified if the admin endpoint is a Unix socket.
    pub(crate) admin: SocketAddr,
    child: Child,
    dir: PathBuf,
}

/// A graphward command in a directory, with an empty environment.
pub(crate) fn graphward_command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graphward"));
    command.args(args).current_dir(dir).env_clear();
    command
}

/// A configuration: free ports, this Graph, this source, and additional lines.
pub(crate) fn settings(graph: &Graph, source: &str, extra: &str) -> String {
    format!(
        r#"
[listen]
proxy = "127.0.0.1:0"
admin = "127.0.0.1:0"
[upstream]
ca_file = "{}"
connect_to = {{ "graph.facebook.com" = "{}" }}
[token]
source = {{ {source} }}
{extra}
"#,
        graph.ca().display(),
        graph.running.address,
    )
}

/// The secret of the fake's app.
pub(crate) const APP_SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The additional lines for renewals by exchange; the app's secret is written to a file beside the configuration.
pub(crate) fn exchange_config(dir: &Path) -> String {
    fs::write(dir.join("secret"), APP_SECRET).unwrap();
    let app = "[app]\nid = \"1234567890123456\"\nsecret = { file = \"secret\" }\n";
    format!("renew = {{ exchange = {{}} }}\n{app}")
}

impl Sidecar {
    /// Starts it and waits until it listens.
    pub(crate) async fn start(dir: &Path, settings: &str) -> Self {
        Self::start_with(dir, settings, &mut graphward_command(dir, &["serve"])).await
    }

    pub(crate) async fn start_with(dir: &Path, settings: &str, command: &mut Command) -> Self {
        fs::write(dir.join("graphward.toml"), settings).unwrap();
        let child = command
            .stdout(File::create(dir.join("stdout")).unwrap())
            .stderr(File::create(dir.join("stderr")).unwrap())
            .process_group(0)
            .spawn()
            .unwrap();
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut sidecar = Self {
            proxy: unspecified,
            admin: unspecified,
            child,
            dir: dir.to_path_buf(),
        };
        let started = Instant::now();
        let (admin, proxy) = loop {
            let events = sidecar.log_events();
            let address = |message| {
                let line = events.iter().find(|line| line["message"] == message)?;
                Some(line["address"].as_str().unwrap().to_owned())
            };
            if let (Some(admin), Some(proxy)) = (address("admin listener started"), address("proxy listener started")) {
                break (admin, proxy);
            }
            assert!(
                started.elapsed() < TIMEOUT,
                "it does not listen: {} {}",
                sidecar.stdout(),
                sidecar.stderr()
            );
            sleep(Duration::from_millis(2)).await;
        };
        let tcp = |address: String| address.strip_prefix("http://")?.parse().ok();
        sidecar.proxy = tcp(proxy).unwrap_or(unspecified);
        sidecar.admin = tcp(admin).unwrap_or(unspecified);
        sidecar
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its log so far, without an incomplete last line.
    pub(crate) fn log_events(&self) -> Vec<Value> {
        let text = self.stdout();
        let lines = text.lines().map(serde_json::from_str);
        lines.filter_map(Result::ok).collect()
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(fs::read(self.dir.join("stdout")).unwrap()).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(fs::read(self.dir.join("stderr")).unwrap()).unwrap()
    }

    pub(crate) async fn metrics(&self) -> String {
        let response = get(self.admin, "/metrics").await;
        assert_eq!(response.status, 200);
        String::from_utf8(response.body.to_vec()).unwrap()
    }

    /// The value of a metric.
    pub(crate) async fn metric(&self, series: &str) -> u64 {
        sample(&self.metrics().await, series)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = Pid::from_child(&self.child);
        kill_process(id, signal).unwrap();
    }

    /// Waits until it exits.
    pub(crate) async fn wait_exit(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < TIMEOUT, "it does not exit");
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// The number of its open connections to this address.
    pub(crate) fn connections_to(&self, address: SocketAddr) -> usize {
        // `sl local remote state … inode`: addresses in hexadecimal, 01 for open.
        let port = format!(":{:04X}", address.port());
        let table = fs::read_to_string(format!("/proc/{}/net/tcp", self.id())).unwrap();
        let open: Vec<_> = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|row| row.len() > 9 && row[2].ends_with(&port) && row[3] == "01")
            .map(|row| format!("socket:[{}]", row[9]))
            .collect();
        let files = fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap();
        let links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        links
            .filter(|link| open.iter().any(|socket| link.as_os_str() == socket.as_str()))
            .count()
    }

    /// A figure of `/proc/PID/status`, in KiB.
    pub(crate) fn memory_kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The sum of all series with this prefix, or 0.
pub(crate) fn sample(metrics: &str, series: &str) -> u64 {
    let values = metrics.lines().filter(|line| line.starts_with(series));
    values
        .map(|line| {
            line.rsplit(' ')
                .next()
                .unwrap()
                .parse::<f64>()
                .map(|value| value as u64)
                .unwrap()
        })
        .sum()
}
