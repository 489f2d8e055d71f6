//! The signals of the process: those that stop it, SIGHUP, and those that graphward does not act on.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::net::Tasks;

/// A request to stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StopSignal {
    /// SIGTERM, sent by an orchestrator.
    Terminate,
    /// SIGINT, sent by Ctrl-C.
    Interrupt,
    /// SIGQUIT, sent by Ctrl-\, and by images that are made for web servers.
    Quit,
    /// SIGHUP: the terminal was closed.
    Hangup,
}

/// What SIGHUP means.
#[derive(Clone, Debug)]
pub enum Hangup {
    /// The terminal was closed: the process stops, so that none is left without a terminal.
    Stop,
    /// The operator asks for a reload, which this announces.
    Reload(Arc<Notify>),
}

/// A stop signal counts as the second one from this time after the first. Before that it is the same request: Ctrl-C reaches
/// a process from the terminal and from a supervisor such as `concurrently`, within milliseconds.
pub(super) const SECOND_STOP_AFTER: Duration = Duration::from_secs(1);

/// Receives the signals of this process, and returns the stop signals that count. From now on, none of SIGTERM, SIGINT,
/// SIGQUIT, SIGHUP, SIGUSR1 and SIGUSR2 ends the process by itself.
///
/// # Errors
///
/// The system's error, if a handler cannot be installed.
pub fn stop_signals(tasks: &Tasks, hangup: Hangup) -> io::Result<mpsc::Receiver<StopSignal>> {
    let (sender, receiver) = mpsc::channel(2);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut user_1 = signal(SignalKind::user_defined1())?;
    let mut user_2 = signal(SignalKind::user_defined2())?;
    drop(tasks.spawn(async move {
        let mut first_stop = None;
        loop {
            let stop = tokio::select! {
                Some(()) = terminate.recv() => StopSignal::Terminate,
                Some(()) = interrupt.recv() => StopSignal::Interrupt,
                Some(()) = quit.recv() => StopSignal::Quit,
                Some(()) = hang_up.recv() => match &hangup {
                    Hangup::Stop => StopSignal::Hangup,
                    Hangup::Reload(requested) => {
                        requested.notify_one();
                        continue;
                    }
                },
                Some(()) = user_1.recv() => {
                    log_ignored("SIGUSR1");
                    continue;
                }
                Some(()) = user_2.recv() => {
                    log_ignored("SIGUSR2");
                    continue;
                }
                else => return,
            };
            if !counts(&mut first_stop, Instant::now()) {
                tracing::debug!(?stop, "ignored: less than a second after the first stop signal");
                continue;
            }
            if sender.send(stop).await.is_err() {
                return;
            }
        }
    }));
    Ok(receiver)
}

/// Whether a terminal is attached, whose end SIGHUP then announces.
#[must_use]
pub fn has_terminal() -> bool {
    io::stdin().is_terminal() || io::stdout().is_terminal()
}

/// Whether a stop signal is the first one, or comes late enough to be the second.
fn counts(first_stop: &mut Option<Instant>, now: Instant) -> bool {
    let is_first = first_stop.is_none();
    let first_stop = first_stop.get_or_insert(now);
    is_first || now.duration_since(*first_stop) >= SECOND_STOP_AFTER
}

fn log_ignored(signal: &'static str) {
    tracing::info!(
        signal,
        "ignored: this signal has no meaning for graphward; SIGTERM stops it"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_within_a_second_of_the_first_are_the_same_request() {
        let (mut first_stop, start) = (None, Instant::now());
        let counted = [0, 3, 400, 999, 1000, 1001].map(|millis| {
            let now = start + Duration::from_millis(millis);
            counts(&mut first_stop, now)
        });
        assert_eq!(counted, [true, false, false, false, true, true]);
    }
}
