//! Tells the service manager how far graphward is, and that it is alive: what systemd calls `Type=notify` and `WatchdogSec=`.
//!
//! # Why
//!
//! graphward is ready when its listeners are served, not when it has found a token: requests wait for the token, and a slow source
//! must not fail the unit. Its status says what it waits for.
//!
//! The watchdog hears from the thread of the runtime, which serves all requests: a blocked one is what a restart helps against.
//!
//! The crate `sd-notify` sends on a socket that blocks, so a service manager that reads nothing would stop all requests.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::interval;

use crate::net::{Lifecycle, Stage};

/// The service manager that started this process, if one did.
#[derive(Clone, Debug, Default)]
pub struct ServiceManager {
    address: Option<SocketAddr>,
    /// The longest silence after which it restarts graphward.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Reads the variables that it set: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    ///
    /// # Errors
    ///
    /// The system's error, if `NOTIFY_SOCKET` names no socket.
    pub fn from_env() -> io::Result<Self> {
        let variable = |name| env::var_os(name)?.into_string().ok();
        let Some(name) = variable("NOTIFY_SOCKET") else {
            return Ok(Self::default());
        };
        let named = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&name),
        };
        let address = Some(named?);
        let is_own = variable("WATCHDOG_PID").is_none_or(|pid| pid == process::id().to_string());
        let micros = variable("WATCHDOG_USEC").filter(|_| is_own);
        let micros = micros.and_then(|micros| micros.parse::<u64>().ok());
        Ok(Self {
            address,
            watchdog: micros.filter(|micros| *micros > 1).map(Duration::from_micros),
        })
    }

    /// Reports that graphward is ready. The future reports each further stage and, while it lasts, that graphward is alive.
    pub(super) fn report(self, lifecycle: Lifecycle) -> impl Future<Output = ()> + Send {
        // At once: the first stage may have passed when the future is polled.
        self.send("READY=1\nSTATUS=serving; waiting for the first check of the token sources");
        async move {
            loop {
                let next = match lifecycle.current() {
                    Stage::Starting => Stage::Serving,
                    Stage::Serving => {
                        self.send("STATUS=serving");
                        Stage::Draining
                    }
                    Stage::Draining => {
                        self.send("STOPPING=1\nSTATUS=draining: waiting for requests and changes in flight");
                        Stage::Stopped
                    }
                    Stage::Stopped => return,
                };
                tokio::select! {
                    () = lifecycle.wait_for(next) => {}
                    () = self.send_heartbeats() => {}
                }
            }
        }
    }

    /// Reports that graphward is alive, twice as often as it has to. Never returns.
    async fn send_heartbeats(&self) {
        let Some(watchdog) = self.watchdog else {
            return std::future::pending().await;
        };
        let mut ticks = interval(watchdog / 2);
        loop {
            ticks.tick().await;
            self.send("WATCHDOG=1");
        }
    }

    /// Reports that a reload begins.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// Reports that a reload has ended.
    pub(super) fn reloaded(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// Sends a message, unless the service manager has too many that it has not read.
    fn send(&self, message: &str) {
        let Some(address) = &self.address else { return };
        let sent = UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.send_to_addr(message.as_bytes(), address)
        });
        if let Err(error) = sent {
            tracing::debug!(%error, message, "the service manager was not told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_that_serves_before_the_first_report_is_ready_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let address = SocketAddr::from_pathname(dir.path().join("notify")).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        let service_manager = ServiceManager {
            address: Some(address),
            watchdog: None,
        };
        let lifecycle = Lifecycle::default();
        lifecycle.advance_to(Stage::Serving);
        let report = service_manager.report(lifecycle.clone());
        lifecycle.advance_to(Stage::Stopped);
        report.await;
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        assert!(buffer[..length].starts_with(b"READY=1\n"));
    }
}
