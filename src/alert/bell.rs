//! What is rung when there is a notice.

use std::sync::Arc;

use super::desk::Desk;
use crate::token::Alert;

/// Hands notices to the webhook. Clones ring the same one.
#[derive(Clone, Debug)]
pub struct AlertSender(Arc<Desk>);

// === impl AlertSender ===

impl AlertSender {
    pub(super) const fn new(desk: Arc<Desk>) -> Self {
        Self(desk)
    }

    /// Hands over a notice: at once, and without waiting for anybody.
    ///
    /// It is not told if the same cause of the same tenant was told within 24 hours. If it waits to be told already, this
    /// one takes its place.
    pub fn send(&self, notice: &Alert) {
        self.0.take(notice);
    }

    /// Gives what has not been told one more chance, of at most two seconds, and drops the rest. Returns at once if there
    /// is nothing to tell, or no webhook any more; what is rung afterwards is dropped.
    pub async fn close(&self) {
        self.0.close().await;
    }
}
