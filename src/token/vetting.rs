//! Decides whether a token may be used: Graph has not rejected it, it has not expired, and its inspection finds it valid.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::credential::Token;
use super::sources::timed_out;
use super::traits::{Inspector, ObtainError, RefreshContext};
use crate::graph::{Inspection, explain};
use crate::types::Fingerprint;

/// The checks before a token is used, and the tokens that failed them.
#[derive(Default)]
pub(super) struct Vetting {
    pub(super) inspector: Option<Box<dyn Inspector>>,
    /// The newest is last.
    pub(super) denied: VecDeque<(Fingerprint, DenyReason)>,
}

#[derive(Clone, Debug)]
pub(super) enum DenyReason {
    /// Graph rejected it in use.
    RejectedByGraph,
    /// Graph reported it as invalid at this time, with this message. It is inspected again if there is nothing better.
    FailedInspection(Instant, String),
}

/// The longest that an inspection delays a token.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The time until a token that failed its inspection is inspected again, if there is nothing better.
const REINSPECT_INTERVAL: Duration = Duration::from_secs(10);
/// The number of denied tokens that are remembered.
const MAX_DENIED_TOKENS: usize = 256;

impl Vetting {
    /// Records that Graph rejected this token in use.
    pub(super) fn deny(&mut self, token: Fingerprint) {
        self.add(token, DenyReason::RejectedByGraph);
    }

    /// Records that Graph accepted this token after all.
    pub(super) fn reinstate(&mut self, token: Fingerprint) {
        self.denied.retain(|(denied, _)| *denied != token);
    }

    pub(super) fn is_denied(&self, token: Fingerprint) -> bool {
        self.reason(token).is_some()
    }

    /// Asks Graph about a token; `None` without an inspector.
    pub(super) async fn inspect(&mut self, token: &Token) -> Result<Option<Inspection>, ObtainError> {
        let Some(inspector) = &mut self.inspector else {
            return Ok(None);
        };
        let hung = |_elapsed| Err(timed_out("Graph", "answer the token inspection", INSPECT_TIMEOUT));
        let inspection = timeout(INSPECT_TIMEOUT, inspector.inspect(token)).await;
        inspection.unwrap_or_else(hung).map(Some)
    }

    /// Decides whether a token may be used; returns the result of its inspection, if Graph could be asked.
    pub(super) async fn admit(
        &mut self,
        token: &Token,
        source: &str,
        context: RefreshContext<'_>,
    ) -> Result<Option<Inspection>, ObtainError> {
        let fingerprint = token.secret.fingerprint();
        match self.reason(fingerprint) {
            None => {}
            // A source that often announces changes does not cause an inspection each time.
            Some(DenyReason::FailedInspection(at, message))
                if context.current_is_dead && at.elapsed() < REINSPECT_INTERVAL =>
            {
                return Err(ObtainError::permanent("rejected_by_inspection", message));
            }
            Some(DenyReason::FailedInspection(..)) if context.current_is_dead => {}
            Some(_) => {
                let message = format!(
                    "Graph has already rejected the token {fingerprint} from {source}, so it is not used again; replace it"
                );
                return Err(ObtainError::permanent("previously_rejected", message));
            }
        }
        if token.expires_at.is_some_and(|at| at <= context.now) {
            let message = format!("the token {fingerprint} from {source} has expired; replace it");
            return Err(ObtainError::permanent("expired", message));
        }
        let inspection = match self.inspect(token).await {
            Ok(inspection) => inspection,
            Err(error) => {
                let text = "using the token without inspection because Graph could not be reached";
                tracing::warn!(%fingerprint, source, %error, "{text}");
                None
            }
        };
        let Some(reason) = inspection.as_ref().and_then(|it| invalid_reason(it, context)) else {
            return Ok(inspection);
        };
        let message = format!(
            "the token {fingerprint} from {source} was rejected because Graph reports it as invalid: {reason} Replace it"
        );
        self.add(
            fingerprint,
            DenyReason::FailedInspection(Instant::now(), message.clone()),
        );
        Err(ObtainError::permanent("rejected_by_inspection", message))
    }

    fn reason(&self, token: Fingerprint) -> Option<DenyReason> {
        let denied = self.denied.iter().find(|(denied, _)| *denied == token);
        denied.map(|(_, reason)| reason.clone())
    }

    fn add(&mut self, token: Fingerprint, reason: DenyReason) {
        self.reinstate(token);
        if self.denied.len() == MAX_DENIED_TOKENS {
            self.denied.pop_front();
        }
        self.denied.push_back((token, reason));
    }
}

/// Explains why an inspected token is invalid, as one sentence; `None` if it is valid.
fn invalid_reason(inspection: &Inspection, context: RefreshContext<'_>) -> Option<String> {
    if let Some(error) = &inspection.error {
        return Some(explain(error).summary);
    }
    let expires_at = inspection.expires_at.as_system_time()?;
    (expires_at <= context.now).then(|| "It has expired.".to_owned())
}
