//! The signals of the process: those that stop it, SIGHUP, and those that graphward does not act on.

use std::io::{self, IsTerminal as _};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::net::Tasks;

/// A request to stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq, derive_more::Display)]
pub enum StopSignal {
    /// SIGTERM, sent by an orchestrator.
    #[display("SIGTERM")]
    Terminate,
    /// SIGINT, sent by Ctrl-C.
    #[display("SIGINT")]
    Interrupt,
    /// SIGQUIT, sent by Ctrl-\, and by images that are made for web servers.
    #[display("SIGQUIT")]
    Quit,
    /// SIGHUP: the terminal was closed.
    #[display("SIGHUP")]
    Hangup,
}

impl StopSignal {
    /// What the operator does to send it again. After SIGHUP the terminal is gone, so SIGTERM is named.
    pub(super) const fn repetition(self) -> &'static str {
        match self {
            Self::Interrupt => "press Ctrl-C again, or send SIGINT",
            Self::Terminate => "send SIGTERM again",
            Self::Quit => "send SIGQUIT again",
            Self::Hangup => "send SIGTERM",
        }
    }
}

/// A stop signal counts as the second one from this time after the first. Before that it is the same request: Ctrl-C reaches
/// a process from the terminal and from a supervisor such as `concurrently`, within milliseconds.
pub(super) const SECOND_STOP_AFTER: Duration = Duration::from_secs(1);

/// What a signal makes this process do.
enum Action {
    Stop(StopSignal),
    Reload(Arc<Notify>),
    /// Nothing, for the signal of this name.
    Ignore(&'static str),
}

/// Receives the signals of this process, and returns the stop signals that count. From now on, none of SIGTERM, SIGINT,
/// SIGQUIT, SIGHUP, SIGUSR1 and SIGUSR2 ends the process by itself. SIGHUP asks for a reload, which `reload` announces.
/// Without `reload` it is a stop signal: the terminal was closed, and no process stays without a terminal.
///
/// # Errors
///
/// The system's error, if a handler cannot be installed.
pub fn stop_signals(tasks: &Tasks, reload: Option<Arc<Notify>>) -> io::Result<mpsc::Receiver<StopSignal>> {
    let (sender, receiver) = mpsc::channel(2);
    let first_stop = Arc::new(OnceLock::new());
    let hangup = reload.map_or(Action::Stop(StopSignal::Hangup), Action::Reload);
    for (kind, action) in [
        (SignalKind::terminate(), Action::Stop(StopSignal::Terminate)),
        (SignalKind::interrupt(), Action::Stop(StopSignal::Interrupt)),
        (SignalKind::quit(), Action::Stop(StopSignal::Quit)),
        (SignalKind::hangup(), hangup),
        (SignalKind::user_defined1(), Action::Ignore("SIGUSR1")),
        (SignalKind::user_defined2(), Action::Ignore("SIGUSR2")),
    ] {
        let mut signals = signal(kind)?;
        let (sender, first_stop) = (sender.clone(), Arc::clone(&first_stop));
        drop(tasks.spawn(async move {
            while signals.recv().await.is_some() {
                match &action {
                    Action::Stop(stop) if counts(&first_stop, Instant::now()) => drop(sender.send(*stop).await),
                    Action::Stop(stop) => tracing::debug!(
                        %stop,
                        "ignored: it came within a second of the first one"
                    ),
                    Action::Reload(requested) => requested.notify_one(),
                    Action::Ignore(signal) => {
                        tracing::info!(signal, "ignored: this signal has no meaning for graphward");
                    }
                }
            }
        }));
    }
    Ok(receiver)
}

/// Whether a terminal is attached, whose end SIGHUP then announces.
#[must_use]
pub fn has_terminal() -> bool {
    io::stdin().is_terminal() || io::stdout().is_terminal()
}

/// Whether a stop signal is the first one, or comes late enough to be the second.
fn counts(first_stop: &OnceLock<Instant>, now: Instant) -> bool {
    let is_first = first_stop.set(now).is_ok();
    is_first || now.duration_since(*first_stop.get_or_init(|| now)) >= SECOND_STOP_AFTER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_within_a_second_of_the_first_are_the_same_request() {
        let (first_stop, start) = (OnceLock::new(), Instant::now());
        let counted = [0, 3, 400, 999, 1000, 1001].map(|millis| {
            let now = start + Duration::from_millis(millis);
            counts(&first_stop, now)
        });
        assert_eq!(counted, [true, false, false, false, true, true]);
    }
}
