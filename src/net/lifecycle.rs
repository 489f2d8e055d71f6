//! The stage of the process.

use super::phase::Phase;

/// The stages of a process, in order; none is entered twice.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// The listeners are being bound, or the first token source check is in progress.
    #[default]
    Starting,
    /// Requests are served.
    Serving,
    /// A stop signal was received: requests in flight are completed, new ones are refused.
    Draining,
    /// The process has stopped serving.
    Stopped,
}

impl Stage {
    /// The name in answers and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

/// The stage of the process: advanced by `app`, read by the admin endpoint and tests.
pub type Lifecycle = Phase<Stage>;
