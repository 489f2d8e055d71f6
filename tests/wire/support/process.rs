//! The program as a process that can be limited, inspected and stopped.

use std::net::SocketAddr;
use std::ops::Deref;
use std::process::{Command, ExitStatus};

use rustix::process::Signal;

use super::serve_process::ServeProcess;
use super::{ProxyConfig, wait_until};

/// A running `graphward serve`.
pub(crate) struct ProxyProcess {
    pub(crate) proxy: SocketAddr,
    pub(crate) dir: tempfile::TempDir,
    process: ServeProcess,
}

impl ProxyProcess {
    /// `graphward serve` before the origin at `port`; `limits` is run by the shell first.
    pub(crate) fn start(port: u16, proxy_config: ProxyConfig<'_>, limits: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(format!("{limits} exec \"$0\" \"$@\""))
            .arg(env!("CARGO_BIN_EXE_graphward"))
            .args(["serve", "--config"])
            .arg(proxy_config.write(dir.path(), port))
            .current_dir(dir.path())
            .env_clear();
        let process = ServeProcess::spawn(&mut command, dir.path());
        let mut proxy = None;
        wait_until(|| {
            let addresses = process.listen_addresses("proxy listener started");
            proxy = addresses
                .iter()
                .find_map(|address| address.strip_prefix("http://")?.parse().ok());
            proxy.is_some()
        });
        let (stdout, stderr) = (process.stdout(), process.stderr());
        assert!(proxy.is_some(), "it does not listen: {stdout} {stderr}");
        Self {
            proxy: proxy.unwrap(),
            dir,
            process,
        }
    }

    /// Its resident memory, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.memory_kib("VmRSS:")
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
        self.signal(Signal::TERM);
    }

    /// Waits for its end.
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        let mut ended = None;
        wait_until(|| {
            ended = self.process.try_wait();
            ended.is_some()
        });
        ended.expect("it ends")
    }
}

impl Deref for ProxyProcess {
    type Target = ServeProcess;

    fn deref(&self) -> &ServeProcess {
        &self.process
    }
}
