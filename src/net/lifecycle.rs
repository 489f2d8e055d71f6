//! Where the process is in its life.

use tokio::sync::watch;

/// The stages of a process, in order; none is entered twice.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// Listeners are being bound, the first look at the sources is under way.
    Starting,
    /// Requests are served.
    Serving,
    /// Asked to stop: what began is finished, nothing new is taken.
    Draining,
    /// Over.
    Stopped,
}

impl Stage {
    /// The word for answers and logs.
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

/// The stage, for those who read it and for the one who moves it on.
#[derive(Clone, Debug)]
pub struct Lifecycle(watch::Sender<Stage>);

impl Lifecycle {
    /// A life that begins.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(Stage::Starting))
    }

    /// The stage now.
    #[must_use]
    pub fn current(&self) -> Stage {
        *self.0.borrow()
    }

    /// Moves on to a later stage; an earlier one, or the same, changes nothing.
    pub fn advance_to(&self, stage: Stage) {
        self.0.send_if_modified(|current| {
            let later = stage > *current;
            if later {
                *current = stage;
            }
            later
        });
    }

    /// Waits until `stage` has been reached or passed. Cancel-safe.
    pub async fn wait_for(&self, stage: Stage) {
        // The sender is `self`, so the channel cannot be closed while this waits.
        drop(self.0.subscribe().wait_for(|current| *current >= stage).await);
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stage_is_never_entered_twice() {
        let lifecycle = Lifecycle::new();
        lifecycle.advance_to(Stage::Draining);
        lifecycle.advance_to(Stage::Serving);
        assert_eq!(lifecycle.current(), Stage::Draining);
        lifecycle.wait_for(Stage::Serving).await;
    }
}
