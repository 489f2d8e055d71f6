//! The word to close.

use tokio::sync::watch;

/// Closes listeners and their connections: first politely, then not.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Sender<ShutdownPhase>);

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum ShutdownPhase {
    Running,
    Graceful,
    Forced,
}

impl Shutdown {
    /// Open.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(ShutdownPhase::Running))
    }

    /// Stop accepting; HTTP/1 connections close after the request in hand, HTTP/2 ones get GOAWAY.
    pub fn close(&self) {
        self.advance_to(ShutdownPhase::Graceful);
    }

    /// Cut what is left.
    pub fn force(&self) {
        self.advance_to(ShutdownPhase::Forced);
    }

    fn advance_to(&self, phase: ShutdownPhase) {
        self.0.send_if_modified(|current| {
            let later = phase > *current;
            *current = phase.max(*current);
            later
        });
    }

    /// Waits until `phase` has been entered. Cancel-safe.
    pub(super) async fn wait_for(&self, phase: ShutdownPhase) {
        // The sender is `self`, so the channel cannot be closed while this waits.
        drop(self.0.subscribe().wait_for(|now| *now >= phase).await);
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}
