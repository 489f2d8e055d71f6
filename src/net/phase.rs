//! A value that only advances, and can be waited for.

use tokio::sync::watch;

/// A phase of a process or a connection. It only advances; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Phase<T>(watch::Sender<T>);

impl<T: Copy + Ord> Phase<T> {
    /// The current phase.
    #[must_use]
    pub fn current(&self) -> T {
        *self.0.borrow()
    }

    /// Advances to a later phase; an earlier one, or the same, changes nothing.
    pub fn advance_to(&self, phase: T) {
        self.0.send_if_modified(|current| {
            let is_later = phase > *current;
            *current = phase.max(*current);
            is_later
        });
    }

    /// Waits until `phase` has been reached or passed. Cancel-safe.
    pub async fn wait_for(&self, phase: T) {
        // The sender is `self`, so the channel cannot be closed while this waits.
        drop(self.0.subscribe().wait_for(|current| *current >= phase).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_phase_is_never_entered_twice() {
        let phase = Phase::default();
        phase.advance_to(2);
        phase.advance_to(1);
        assert_eq!(phase.current(), 2);
        phase.wait_for(1).await;
    }
}
