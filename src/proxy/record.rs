//! What is written about a request: one line, one count, one duration, when its answer's last byte is out.

use std::sync::Arc;

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::concurrency_limit::InflightGuard;
use super::refusal::Refusal;
use super::tenant::Tenant;
use crate::graph::{RejectionReason, Target, Verdict};
use crate::token::Generation;

/// Which requests are written to the log.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLogFilter {
    /// None.
    None,
    /// Those that did not simply succeed.
    #[default]
    Problems,
    /// All.
    All,
}

/// What is known of a request so far. Written when it is dropped, whatever the reason.
#[derive(Debug)]
pub(crate) struct RequestRecord {
    tenant: Arc<Tenant>,
    started_at: Instant,
    method: Method,
    target: Option<Target>,
    status: Option<StatusCode>,
    verdict: Option<Verdict>,
    rejection: Option<(Generation, RejectionReason)>,
    generation: Option<Generation>,
    attempts: u8,
    bytes: u64,
    outcome: Outcome,
    response_end: ResponseEnd,
    inflight_guard: Option<InflightGuard>,
}

/// How a request ended, apart from how its answer did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// No answer was made: the app is gone.
    None,
    /// Graph's answer, whatever it says: to the first attempt, or to a download's second that was refused as well.
    Delivered,
    /// Rejected, then answered with a newer credential.
    Healed,
    /// Rejected, and its body could not be sent again.
    UnhealedNotReplayable,
    /// Rejected, and no newer credential came.
    UnhealedNoNewerToken,
    /// Rejected with the newer credential as well.
    UnhealedRejectedAgain,
    /// Not sent, for the credential is known to be dead: answered with Graph's last rejection of it.
    UnhealedNotSent,
    /// An answer of our own, by its label.
    Refused(&'static str),
}

/// How an answer's body ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ResponseEnd {
    /// It has not: dropped like this, the app is gone.
    Unfinished,
    Complete,
    /// The upstream broke off after the head.
    UpstreamAborted,
}

// === impl Record ===

impl RequestRecord {
    pub(crate) fn new(tenant: Arc<Tenant>, method: Method) -> Box<Self> {
        Box::new(Self {
            tenant,
            started_at: Instant::now(),
            method,
            target: None,
            status: None,
            verdict: None,
            rejection: None,
            generation: None,
            attempts: 0,
            bytes: 0,
            outcome: Outcome::None,
            response_end: ResponseEnd::Unfinished,
            inflight_guard: None,
        })
    }

    pub(crate) fn set_inflight_guard(&mut self, guard: InflightGuard) {
        self.inflight_guard = Some(guard);
    }

    pub(crate) fn set_target(&mut self, target: &Target) {
        self.target = Some(target.clone());
    }

    /// An attempt begins; says the how-manyeth it is.
    pub(crate) fn start_attempt(&mut self, generation: Option<Generation>) -> u8 {
        self.generation = generation;
        self.attempts += 1;
        self.attempts
    }

    pub(crate) fn set_verdict(&mut self, verdict: Verdict) {
        self.verdict = Some(verdict);
    }

    pub(crate) fn set_rejection(&mut self, generation: Generation, rejection: RejectionReason) {
        self.rejection = Some((generation, rejection));
    }

    pub(crate) fn set_outcome(&mut self, outcome: Outcome, status: StatusCode) {
        self.outcome = outcome;
        self.status = Some(status);
    }

    pub(crate) fn refused(&mut self, error: &Refusal) {
        self.set_outcome(Outcome::Refused(error.label()), error.status());
    }

    pub(crate) fn add_response_bytes(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    pub(crate) fn mark_complete(&mut self) {
        self.response_end = ResponseEnd::Complete;
    }

    pub(crate) fn mark_aborted(&mut self) {
        self.response_end = ResponseEnd::UpstreamAborted;
    }

    fn outcome_label(&self) -> &'static str {
        match (self.outcome, self.response_end) {
            (Outcome::None, _) | (_, ResponseEnd::Unfinished) => "app_gone",
            (_, ResponseEnd::UpstreamAborted) => "cut",
            (Outcome::Delivered, ResponseEnd::Complete) => "delivered",
            (Outcome::Healed, ResponseEnd::Complete) => "healed",
            (Outcome::UnhealedNotReplayable, ResponseEnd::Complete) => "unhealed_not_replayable",
            (Outcome::UnhealedNoNewerToken, ResponseEnd::Complete) => "unhealed_no_successor",
            (Outcome::UnhealedRejectedAgain, ResponseEnd::Complete) => "unhealed_again",
            (Outcome::UnhealedNotSent, ResponseEnd::Complete) => "unhealed_not_sent",
            (Outcome::Refused(label), ResponseEnd::Complete) => label,
        }
    }

    fn log(&self, outcome: &'static str) {
        let (rejected, rejection) = self.rejection.unzip();
        tracing::info!(
            tenant = %self.tenant.id,
            method = method_label(&self.method),
            // Not `target`: a JSON line has one already, and of two the module would win.
            path = self.target.as_ref().map(|target| tracing::field::display(target.path_template())),
            status = self.status.map(|status| status.as_u16()),
            outcome,
            verdict = self.verdict.map(Verdict::label),
            rejection = rejection.map(RejectionReason::label),
            rejected_generation = rejected.map(Generation::get),
            generation = self.generation.map(Generation::get),
            attempts = self.attempts,
            bytes = self.bytes,
            millis = u64::try_from(self.started_at.elapsed().as_millis()).unwrap_or(u64::MAX),
            "request"
        );
    }
}

/// A method by name, if it has one that is not the app's invention: that could be anything, of any length.
fn method_label(method: &Method) -> &str {
    const STANDARD: [Method; 9] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::CONNECT,
        Method::TRACE,
    ];
    if STANDARD.contains(method) {
        method.as_str()
    } else {
        "other"
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        let label = self.outcome_label();
        let metrics = &self.tenant.metrics;
        metrics.count_request(label);
        metrics.request_seconds.observe(self.started_at.elapsed().as_secs_f64());
        let succeeded = label == "delivered"
            && self
                .status
                .is_some_and(|status| !status.is_client_error() && !status.is_server_error());
        match self.tenant.access_log {
            AccessLogFilter::None => {}
            AccessLogFilter::Problems if succeeded => {}
            AccessLogFilter::Problems | AccessLogFilter::All => self.log(label),
        }
    }
}
