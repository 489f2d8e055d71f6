//! The word to close.

use tokio::sync::watch;

/// Closes listeners and their connections: first politely, then not.
#[derive(Clone, Debug)]
pub struct Shutter(watch::Sender<Phase>);

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Phase {
    Open,
    Closing,
    Cut,
}

impl Shutter {
    /// Open.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(Phase::Open))
    }

    /// Stop accepting; HTTP/1 connections close after the request in hand, HTTP/2 ones get GOAWAY.
    pub fn close(&self) {
        self.enter(Phase::Closing);
    }

    /// Cut what is left.
    pub fn cut(&self) {
        self.enter(Phase::Cut);
    }

    fn enter(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let later = phase > *now;
            *now = phase.max(*now);
            later
        });
    }

    /// Waits until `phase` has been entered. Cancel-safe.
    pub(super) async fn reached(&self, phase: Phase) {
        // The sender is `self`, so the channel cannot be closed while this waits.
        drop(self.0.subscribe().wait_for(|now| *now >= phase).await);
    }
}

impl Default for Shutter {
    fn default() -> Self {
        Self::new()
    }
}
