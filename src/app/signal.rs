//! Stop signals: SIGTERM and SIGINT.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::net::Tasks;

/// A request to stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StopSignal {
    /// SIGTERM, sent by an orchestrator.
    Terminate,
    /// SIGINT, sent by Ctrl-C.
    Interrupt,
}

/// Receives the stop signals of this process. From now on, neither signal ends the process by itself.
///
/// # Errors
///
/// The system's error, if a handler cannot be installed.
pub fn stop_signals(tasks: &Tasks) -> io::Result<mpsc::Receiver<StopSignal>> {
    let (sender, receiver) = mpsc::channel(2);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    drop(tasks.spawn(async move {
        loop {
            let stop = tokio::select! {
                Some(()) = terminate.recv() => StopSignal::Terminate,
                Some(()) = interrupt.recv() => StopSignal::Interrupt,
                else => return,
            };
            if sender.send(stop).await.is_err() {
                return;
            }
        }
    }));
    Ok(receiver)
}
