//! Decides whether a token may be used: Graph has not rejected it, and its inspection finds it valid.
//!
//! # Why
//!
//! The date at which a source says that a token expires is a hint: tokens are prolonged, dates are not always updated, and
//! clocks are wrong. So Graph is asked about a token whose date has passed, even if no other token is inspected. Only if
//! Graph cannot be asked, the date counts.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::credential::Token;
use super::error::ObtainError;
use super::sources::timed_out;
use super::traits::{Inspector, RefreshContext};
use crate::graph::{Inspection, explain};
use crate::types::{Fingerprint, Rfc3339Timestamp, error_chain};

/// The checks before a token is used, and the tokens that failed them.
#[derive(Default)]
pub(super) struct Vetting {
    pub(super) inspector: Option<Box<dyn Inspector>>,
    pub(super) scope: InspectionScope,
    /// Bounds the inspections in the background that tenants make at the same time.
    pub(super) limit: Option<Arc<Semaphore>>,
    /// The newest is last.
    pub(super) denied: VecDeque<(Fingerprint, DenyReason)>,
}

/// Which tokens are inspected.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum InspectionScope {
    /// All of them.
    #[default]
    AllTokens,
    /// Those that have expired, according to their source.
    ExpiredTokens,
    /// All of them, but those that have not expired are used before Graph has answered.
    InBackground,
}

#[derive(Clone, Debug)]
pub(super) enum DenyReason {
    /// Graph rejected it in use.
    RejectedByGraph,
    /// Graph reported it as invalid at this time, with this message and these codes. It is inspected again if there is nothing
    /// better.
    FailedInspection(Instant, String, String),
    /// The date in its source has passed, and Graph could not be asked at this time; with the message.
    Unconfirmed(Instant, String),
}

/// The longest that an inspection delays a token.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The time until a token that failed its inspection is inspected again, if there is nothing better.
pub(super) const REINSPECT_INTERVAL: Duration = Duration::from_secs(10);
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

    /// Asks Graph about a token that has not expired; `None` if such tokens are not inspected.
    pub(super) async fn inspect(&mut self, token: &Token) -> Result<Option<Inspection>, ObtainError> {
        match self.scope {
            InspectionScope::AllTokens | InspectionScope::InBackground => self.ask(token).await,
            InspectionScope::ExpiredTokens => Ok(None),
        }
    }

    /// Asks Graph about a token; `None` without an inspector.
    pub(super) async fn ask(&mut self, token: &Token) -> Result<Option<Inspection>, ObtainError> {
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
        self.decide(token, source, context, self.scope).await
    }

    /// The same for a token that the operator chose, who waits: Graph is asked now, and not in the background when it has replaced
    /// one that works.
    pub(super) async fn admit_chosen(
        &mut self,
        token: &Token,
        source: &str,
        context: RefreshContext<'_>,
    ) -> Result<Option<Inspection>, ObtainError> {
        let scope = match self.scope {
            InspectionScope::AllTokens | InspectionScope::InBackground => InspectionScope::AllTokens,
            InspectionScope::ExpiredTokens => InspectionScope::ExpiredTokens,
        };
        self.decide(token, source, context, scope).await
    }

    /// Decides whether a token may be used; Graph is asked now only about the tokens of this scope.
    async fn decide(
        &mut self,
        token: &Token,
        source: &str,
        context: RefreshContext<'_>,
        scope: InspectionScope,
    ) -> Result<Option<Inspection>, ObtainError> {
        let fingerprint = token.secret.fingerprint();
        match self.reason(fingerprint) {
            None => {}
            // A source that often announces changes does not cause an inspection each time.
            Some(DenyReason::FailedInspection(at, message, codes))
                if context.current_is_dead && at.elapsed() < REINSPECT_INTERVAL =>
            {
                return Err(ObtainError::permanent("rejected_by_inspection", message).with_codes(codes));
            }
            Some(DenyReason::FailedInspection(..)) if context.current_is_dead => {}
            Some(DenyReason::Unconfirmed(at, message)) if at.elapsed() < REINSPECT_INTERVAL => {
                return Err(ObtainError::transient("expired", message));
            }
            Some(DenyReason::Unconfirmed(..)) => {}
            Some(DenyReason::FailedInspection(..) | DenyReason::RejectedByGraph) => {
                let message = format!(
                    "Graph has already rejected the token {fingerprint} from {source}, so it is not used again; replace it"
                );
                return Err(ObtainError::permanent("previously_rejected", message));
            }
        }
        let expired_at = token.expires_at.filter(|at| *at <= context.now);
        let inspected = if scope == InspectionScope::AllTokens || expired_at.is_some() {
            self.ask(token).await
        } else {
            Ok(None)
        };
        let inspection = match (inspected, expired_at) {
            (Ok(Some(inspection)), _) => Some(inspection),
            (Ok(None), None) => None,
            (Err(error), None) => {
                let text = "using the token without inspection because Graph could not be reached";
                tracing::warn!(%fingerprint, source, error = error_chain(&error), "{text}");
                None
            }
            (Ok(None), Some(at)) => {
                return Err(ObtainError::permanent("expired", expired_message(token, source, at)));
            }
            (Err(error), Some(at)) => {
                let message = expired_message(token, source, at);
                self.add(fingerprint, DenyReason::Unconfirmed(Instant::now(), message.clone()));
                return Err(ObtainError::transient("expired", message).with_source(error));
            }
        };
        let Some(reason) = inspection.as_ref().and_then(|it| invalid_reason(it, context)) else {
            self.reinstate(fingerprint);
            return Ok(inspection);
        };
        let message = format!(
            "the token {fingerprint} from {source} was rejected because Graph reports it as invalid: {reason} Replace it"
        );
        let error = inspection.and_then(|inspection| inspection.error);
        let codes = error.map(|error| error.codes()).unwrap_or_default();
        let denied = DenyReason::FailedInspection(Instant::now(), message.clone(), codes.clone());
        self.add(fingerprint, denied);
        Err(ObtainError::permanent("rejected_by_inspection", message).with_codes(codes))
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

/// Says that the date in the source has passed.
fn expired_message(token: &Token, source: &str, expired_at: SystemTime) -> String {
    let (fingerprint, date) = (token.secret.fingerprint(), Rfc3339Timestamp(expired_at));
    let key = token.expiry_key.as_deref().map(|key| format!(" `{key}`"));
    let key = key.unwrap_or_default();
    format!(
        "the token {fingerprint} from {source} has expired: the date{key} recorded there is {date}, and Graph could not be \
         asked about it; replace the token, or correct the date"
    )
}

/// Explains why an inspected token is invalid, as one sentence; `None` if it is valid.
fn invalid_reason(inspection: &Inspection, context: RefreshContext<'_>) -> Option<String> {
    if let Some(error) = &inspection.error {
        return Some(explain(error).summary);
    }
    let expires_at = inspection.expires_at.as_system_time()?;
    (expires_at <= context.now).then(|| "It has expired.".to_owned())
}
