//! Reads the sources, unless something else matters more meanwhile.
//!
//! # Why
//!
//! A source that hangs takes up to twenty seconds, or as long as its command. Nothing that can be done without it waits for that: a
//! token that has died meanwhile is refreshed, and while there is no valid token, requests get that of a source that a reload has
//! put in its place. While the current token is valid, a reload waits for the read: one that ends early may have seen a new token,
//! and not used it yet, which would then count as seen.

use std::pin::Pin;

use futures_channel::mpsc::UnboundedReceiver;
use futures_util::stream::Peekable;

use super::check::Check;
use super::operator::OperatorRequest;
use super::refresher::Refresher;
use super::reporter::Operation;
use super::sources::Reach;
use super::traits::RefreshContext;

impl Refresher {
    /// Reads the sources for an operation; `None` if the token has died meanwhile, or there are other sources.
    pub(super) async fn read_sources(&mut self, operation: Operation, context: RefreshContext<'_>) -> Option<Check> {
        let (reach, may_die) = match operation {
            Operation::Check => (Reach::Due, !context.current_is_dead),
            Operation::Refresh => (Reach::All, false),
        };
        // Cancel-safe: the check after it finds the same.
        tokio::select! {
            biased;
            check = self.provider.check(reach, context) => Some(check),
            () = self.publisher.handle.rejections().wait_until_dead(), if may_die => None,
            () = wait_for_reconfiguration(&mut self.operator_requests), if context.current_is_dead => None,
        }
    }
}

/// Waits until the next request is another configuration, which stays the next one.
async fn wait_for_reconfiguration(requests: &mut Peekable<UnboundedReceiver<OperatorRequest>>) {
    let next = Pin::new(requests).peek().await;
    if !matches!(next, Some(OperatorRequest::Reconfigure(_))) {
        std::future::pending::<()>().await;
    }
}
