//! The signal for listeners and their connections to end.

use super::phase::Phase;

/// Ends listeners and their connections: gracefully, then by force.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Phase<ShutdownPhase>);

#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum ShutdownPhase {
    #[default]
    Running,
    Graceful,
    Forced,
}

impl Shutdown {
    /// Stops accepting. HTTP/1.1 connections close after the current request, HTTP/2 connections send GOAWAY.
    pub fn close(&self) {
        self.0.advance_to(ShutdownPhase::Graceful);
    }

    /// Force-closes the remaining connections.
    pub fn force(&self) {
        self.0.advance_to(ShutdownPhase::Forced);
    }

    /// Waits until `phase` has been reached. Cancel-safe.
    pub(super) async fn wait_for(&self, phase: ShutdownPhase) {
        self.0.wait_for(phase).await;
    }
}
