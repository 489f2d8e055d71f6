//! The program as a process that can be limited, inspected and stopped.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::{ProxyConfig, wait_until};

/// A running `graphward serve`; killed when dropped.
pub(crate) struct ProxyProcess {
    pub(crate) proxy: SocketAddr,
    pub(crate) log: Arc<Mutex<String>>,
    pub(crate) dir: tempfile::TempDir,
    child: Child,
}

impl ProxyProcess {
    /// `graphward serve` before the origin at `port`; `limits` is run by the shell first.
    pub(crate) fn start(port: u16, proxy_config: ProxyConfig<'_>, limits: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = proxy_config.write(dir.path(), port);
        let mut child = Command::new("/bin/sh")
            .arg("-c")
            .arg(format!("{limits} exec \"$0\" \"$@\""))
            .arg(env!("CARGO_BIN_EXE_graphward"))
            .args(["serve", "--config"])
            .arg(file)
            .current_dir(dir.path())
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, log_writer) = (child.stdout.take().unwrap(), Arc::clone(&log));
        thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                let mut log = log_writer.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        assert!(
            wait_until(15, || proxy_address(&log.lock().unwrap()).is_some()),
            "{}",
            log.lock().unwrap()
        );
        let proxy = proxy_address(&log.lock().unwrap()).unwrap();
        Self { proxy, log, dir, child }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// A file about this process in `/proc`.
    pub(crate) fn proc(&self, name: &str) -> String {
        let bytes = std::fs::read(format!("/proc/{}/{name}", self.id())).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Its resident memory, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        line.unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Its CPU time so far, in hundredths of a second.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = self.proc("stat");
        let (_name, rest) = stat.rsplit_once(") ").unwrap();
        let mut fields = rest.split(' ').skip(11);
        let mut ticks = || fields.next().unwrap().parse::<u64>().unwrap();
        ticks() + ticks()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let pid = Pid::from_raw(i32::try_from(self.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
    }

    /// Waits for its end, at most `seconds`.
    pub(crate) fn wait_exit(&mut self, seconds: u64) -> ExitStatus {
        let mut ended = None;
        wait_until(seconds, || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.expect("it ends")
    }
}

impl Drop for ProxyProcess {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The listen address in its log.
fn proxy_address(log: &str) -> Option<SocketAddr> {
    let mut lines = log.lines().filter(|line| line.contains("proxy listener started"));
    let (_before, rest) = lines.find_map(|line| line.split_once("http://"))?;
    rest.split('"').next()?.parse().ok()
}
