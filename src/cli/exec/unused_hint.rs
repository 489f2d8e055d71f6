//! The hint that the command sends no request through its sidecar.
//!
//! # Why
//!
//! A server that runs for days would get it at its end only, long after the person who started it has gone. So it is given as
//! soon as a command that calls Graph at its start would have done so, or at the end of one that does not run for that long. The
//! end of one that runs for longer tells nothing new: without a request in its first time, the hint was given then.

use std::cell::Cell;
use std::convert::Infallible;
use std::time::Duration;

use tokio::time::sleep;

use crate::telemetry::metrics::Metrics;

/// Gives the hint, at most once.
pub(super) struct UnusedHint {
    metrics: Metrics,
    /// Nothing until its time has come.
    is_given: Cell<Option<bool>>,
}

/// How long the command has time for its first request.
const FIRST_REQUEST_TIME: Duration = Duration::from_secs(30);

impl UnusedHint {
    pub(super) const fn new(metrics: Metrics) -> Self {
        let is_given = Cell::new(None);
        Self { metrics, is_given }
    }

    /// Gives the hint if the command sends no request in its first time. Never returns.
    pub(super) async fn give_late(&self) -> Infallible {
        sleep(FIRST_REQUEST_TIME).await;
        self.give("in the first 30 s");
        std::future::pending().await
    }

    /// Gives the hint if no request has come, unless that was found out before.
    pub(super) fn give(&self, when: &str) {
        if self.is_given.get().is_some() {
            return;
        }
        let is_unused = self.metrics.last_hour().requests.into_iter().all(|count| count == 0);
        self.is_given.set(Some(is_unused));
        if is_unused {
            tracing::info!(
                "no request came through graphward {when}: if the command calls Graph, let it use the base URL of \
                 GRAPHWARD_URL, or a library that honors HTTPS_PROXY"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;
    use crate::types::TenantId;

    /// Lets the command run for half a minute, with a hint after it.
    async fn half_a_minute(hint: &UnusedHint) {
        assert!(timeout(Duration::from_secs(31), hint.give_late()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_sends_no_request_gets_the_hint_after_half_a_minute_and_only_once() {
        let hint = UnusedHint::new(Metrics::new());
        let early = timeout(Duration::from_secs(29), hint.give_late()).await;
        assert!(early.is_err() && hint.is_given.get().is_none());
        half_a_minute(&hint).await;
        assert_eq!(hint.is_given.get(), Some(true));
    }

    #[tokio::test(start_paused = true)]
    async fn tunnels_to_other_hosts_are_no_requests_and_one_to_graph_is() {
        for (outcomes, is_given) in [
            (&["tunnel_opened", "tunnel_opened"][..], true),
            (&["tunnel_opened", "delivered"], false),
            (&["refused_host_not_allowed"], false),
        ] {
            let metrics = Metrics::new();
            for outcome in outcomes {
                metrics
                    .request_metrics(&TenantId::default())
                    .count_request(outcome, 0.1);
            }
            let hint = UnusedHint::new(metrics);
            half_a_minute(&hint).await;
            assert_eq!(hint.is_given.get(), Some(is_given), "{outcomes:?}");
            // The end of a command that ran for hours tells nothing new.
            advance(Duration::from_secs(3 * 60 * 60)).await;
            hint.give("while the command ran");
            assert_eq!(hint.is_given.get(), Some(is_given), "{outcomes:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_command_gets_the_hint_at_its_end() {
        let hint = UnusedHint::new(Metrics::new());
        advance(Duration::from_secs(1)).await;
        hint.give("while the command ran");
        assert_eq!(hint.is_given.get(), Some(true));
    }
}
