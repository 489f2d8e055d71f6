//! The sidecar of a test: its process and its configuration file.

use std::fs;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::serve_process::ServeProcess;
use super::{Client, Graph, TIMEOUT, fingerprint, get, wait_until};

/// A running sidecar.
pub(crate) struct Sidecar {
    pub(crate) proxy: SocketAddr,
    /// Unspecified if the admin endpoint is a Unix socket.
    pub(crate) admin: SocketAddr,
    process: ServeProcess,
}

/// A graphward command in a directory, with an empty environment.
pub(crate) fn graphward_command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graphward"));
    // Without a terminal, whatever runs the tests.
    command.args(args).current_dir(dir).env_clear().stdin(Stdio::null());
    command
}

/// A configuration: free ports, this Graph, this source, and additional lines.
pub(crate) fn settings(graph: &Graph, source: &str, extra: &str) -> String {
    let network = network_settings(graph);
    format!("{network}[token]\nsource = {{ {source} }}\n{extra}\n")
}

/// Free ports, and this Graph with its media host.
pub(crate) fn network_settings(graph: &Graph) -> String {
    format!(
        r#"
[listen]
proxy = "127.0.0.1:0"
admin = "127.0.0.1:0"
[upstream]
ca_file = "{0}"
connect_to = {{ "graph.facebook.com" = "{1}", "lookaside.fbsbx.com" = "{1}" }}
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

/// Creates a certificate in a folder; returns the settings with it.
pub(crate) fn tls_settings(dir: &Path) -> String {
    let made = graphward_command(dir, &["ca", "--out", "pki"]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let pki = dir.join("pki").display().to_string();
    format!("[listen.tls]\ncert = \"{pki}/cert.pem\"\nkey = \"{pki}/key.pem\"\n")
}

impl Sidecar {
    /// Starts it and waits until it listens.
    pub(crate) async fn start(dir: &Path, settings: &str) -> Self {
        Self::start_with(dir, settings, &mut graphward_command(dir, &["serve"])).await
    }

    pub(crate) async fn start_with(dir: &Path, settings: &str, command: &mut Command) -> Self {
        fs::write(dir.join("graphward.toml"), settings).unwrap();
        let process = ServeProcess::spawn(command, dir);
        let started = Instant::now();
        let (admin, proxy) = loop {
            let addresses =
                ["admin", "proxy"].map(|name| process.listen_addresses(&format!("{name} listener started")));
            if let [[admin, ..], [proxy, ..]] = addresses.each_ref().map(Vec::as_slice) {
                break (admin.clone(), proxy.clone());
            }
            let (stdout, stderr) = (process.stdout(), process.stderr());
            assert!(started.elapsed() < TIMEOUT, "it does not listen: {stdout} {stderr}");
            sleep(Duration::from_millis(2)).await;
        };
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        let tcp = |address: String| address.strip_prefix("http://")?.parse().ok();
        Self {
            proxy: tcp(proxy).unwrap_or(unspecified),
            admin: tcp(admin).unwrap_or(unspecified),
            process,
        }
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

    /// Waits until it sends this token to Graph.
    pub(crate) async fn wait_until_uses(&self, graph: &Graph, token: &str) {
        let mut client = Client::connect(self.proxy).await;
        wait_until("the token is in use", async || {
            client.text("hello").await.status == 200 && graph.last_fingerprint() == Some(fingerprint(token))
        })
        .await;
    }

    /// Fails if its output, its metrics, its events or its status contain one of these.
    pub(crate) async fn assert_reveals_none_of(&self, secrets: &[&str]) {
        let mut output = self.stdout() + &self.stderr() + &self.metrics().await;
        for path in ["/admin/events", "/admin/token-status?limit=1000"] {
            let answer = get(self.admin, path).await;
            // With a key, the answer is that one is needed.
            assert!(matches!(answer.status, 200 | 401), "{path}: {}", answer.status);
            output += &String::from_utf8_lossy(&answer.body);
        }
        let revealed = secrets.iter().find(|secret| output.contains(**secret));
        assert_eq!(revealed, None, "{output}");
    }

    /// Waits until it exits.
    pub(crate) async fn wait_exit(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait() {
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
        let table = self.proc("net/tcp");
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
}

impl Deref for Sidecar {
    type Target = ServeProcess;

    fn deref(&self) -> &ServeProcess {
        &self.process
    }
}

/// The sum of all series with this prefix, or 0.
pub(crate) fn sample(metrics: &str, series: &str) -> u64 {
    let lines = metrics.lines().filter(|line| line.starts_with(series));
    let values = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
    values.map(|value| value as u64).sum()
}
