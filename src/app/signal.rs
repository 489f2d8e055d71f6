//! The signals of the process: those that stop it, SIGHUP, and those that graphward does not act on.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithRawSiginfo;
use signal_hook::low_level::signal_name;
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
    /// The command of `exec` has ended, which is no signal.
    #[display("the command has ended")]
    CommandEnded,
}

impl StopSignal {
    /// What the operator does to send it again. After SIGHUP the terminal is gone, so SIGTERM is named.
    pub(super) const fn repetition(self) -> &'static str {
        match self {
            Self::Interrupt => "press Ctrl-C again, or send SIGINT",
            Self::Terminate => "send SIGTERM again",
            Self::Quit => "send SIGQUIT again",
            Self::Hangup | Self::CommandEnded => "send SIGTERM",
        }
    }
}

/// A stop signal counts as the second one from this time after the first. Before that it is the same request: Ctrl-C reaches
/// a process from the terminal and from a supervisor such as `concurrently`, within milliseconds.
pub(super) const SECOND_STOP_AFTER: Duration = Duration::from_secs(1);

/// A signal that this process received.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedSignal {
    /// The signal.
    pub signal: Signal,
    /// Whether the terminal sent it, to all processes in its foreground, as it does for a key such as Ctrl-C.
    pub is_from_terminal: bool,
}

/// The origin `SI_KERNEL` of a signal, in `si_code`: no process sent it, so the driver of a terminal did.
const SENT_BY_KERNEL: i32 = 0x80;

/// Receives SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1 and SIGUSR2. From now on, none of them ends the process by itself.
///
/// # Errors
///
/// The system's error, if a handler cannot be installed.
pub fn received_signals() -> io::Result<mpsc::Receiver<ReceivedSignal>> {
    let (sender, receiver) = mpsc::channel(16);
    // tokio's signals have no origin.
    let mut signals = SignalsInfo::<WithRawSiginfo>::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2])?;
    let receive = move || {
        let received = signals.forever().filter_map(|info| {
            Some(ReceivedSignal {
                signal: Signal::from_named_raw(info.si_signo)?,
                is_from_terminal: info.si_code == SENT_BY_KERNEL,
            })
        });
        // Until the receiver is gone.
        received
            .map(|signal| sender.blocking_send(signal))
            .all(|sent| sent.is_ok())
    };
    thread::Builder::new().spawn(receive)?;
    Ok(receiver)
}

/// Receives the signals of this process, and returns the stop signals that count. SIGHUP asks for a reload, which `reload`
/// announces. Without `reload` it is a stop signal: the terminal was closed, and no process stays without a terminal.
///
/// # Errors
///
/// The system's error, if a handler cannot be installed.
pub fn stop_signals(tasks: &Tasks, reload: Option<Arc<Notify>>) -> io::Result<mpsc::Receiver<StopSignal>> {
    let mut signals = received_signals()?;
    let (sender, receiver) = mpsc::channel(2);
    drop(tasks.spawn(async move {
        let mut first_stop = None;
        while let Some(ReceivedSignal { signal, .. }) = signals.recv().await {
            let stop = match (signal, &reload) {
                (Signal::TERM, _) => StopSignal::Terminate,
                (Signal::INT, _) => StopSignal::Interrupt,
                (Signal::QUIT, _) => StopSignal::Quit,
                (Signal::HUP, None) => StopSignal::Hangup,
                (Signal::HUP, Some(requested)) => {
                    requested.notify_one();
                    continue;
                }
                (_, _) => {
                    let name = signal_name(signal.as_raw());
                    tracing::info!(signal = name, "ignored: this signal has no meaning for graphward");
                    continue;
                }
            };
            if counts(&mut first_stop, Instant::now()) {
                // The process that does not receive it has stopped.
                sender.send(stop).await.unwrap_or_default();
            } else {
                tracing::debug!(%stop, "ignored: it came within a second of the first one");
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
    let Some(first) = *first_stop else {
        *first_stop = Some(now);
        return true;
    };
    now.duration_since(first) >= SECOND_STOP_AFTER
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
