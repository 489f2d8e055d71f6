//! SIGTERM, SIGINT, and the second of them.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::net::Tasks;

/// A request to stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StopSignal {
    /// SIGTERM: an orchestrator asks.
    Terminate,
    /// SIGINT: a person pressed Ctrl-C.
    Interrupt,
}

/// The process's stop signals, as they come. From now on neither ends the process by itself.
///
/// # Errors
///
/// What the system says if it has no handlers to give.
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
