//! The signal for listeners and their connections to end.

use super::phase::Phase;

/// The phases of a shutdown.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum ShutdownPhase {
    /// Connections are accepted.
    #[default]
    Running,
    /// HTTP/1.1 connections close after the current request, HTTP/2 connections send GOAWAY. New ones are accepted only to
    /// tell their requests so.
    Graceful,
    /// The remaining connections are force-closed.
    Forced,
}

/// Ends listeners and their connections: gracefully, then by force.
pub type Shutdown = Phase<ShutdownPhase>;
