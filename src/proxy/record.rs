//! What is written about a request: one line, one count, one duration, when its answer's last byte is out.

use std::sync::Arc;

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::gate::Pass;
use super::refusal::Refusal;
use super::tenant::Tenant;
use crate::graph::{Rejection, Target, Verdict};
use crate::token::Generation;

/// Which requests are written to the log.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Requests {
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
pub(crate) struct Record {
    tenant: Arc<Tenant>,
    began: Instant,
    method: Method,
    target: Option<Target>,
    status: Option<StatusCode>,
    verdict: Option<Verdict>,
    rejected: Option<(Generation, Rejection)>,
    generation: Option<Generation>,
    attempts: u8,
    bytes: u64,
    outcome: Outcome,
    end: End,
    pass: Option<Pass>,
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
    UnhealedNoSuccessor,
    /// Rejected with the newer credential as well.
    UnhealedAgain,
    /// Not sent, for the credential is known to be dead: answered with Graph's last rejection of it.
    UnhealedNotSent,
    /// An answer of our own, by its label.
    Refused(&'static str),
}

/// How an answer's body ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// It has not: dropped like this, the app is gone.
    Open,
    Whole,
    /// The upstream broke off after the head.
    Cut,
}

// === impl Record ===

impl Record {
    pub(crate) fn open(tenant: Arc<Tenant>, method: Method) -> Box<Self> {
        Box::new(Self {
            tenant,
            began: Instant::now(),
            method,
            target: None,
            status: None,
            verdict: None,
            rejected: None,
            generation: None,
            attempts: 0,
            bytes: 0,
            outcome: Outcome::None,
            end: End::Open,
            pass: None,
        })
    }

    pub(crate) fn admitted(&mut self, pass: Pass) {
        self.pass = Some(pass);
    }

    pub(crate) fn target(&mut self, target: &Target) {
        self.target = Some(target.clone());
    }

    /// An attempt begins; says the how-manyeth it is.
    pub(crate) fn attempt(&mut self, generation: Option<Generation>) -> u8 {
        self.generation = generation;
        self.attempts += 1;
        self.attempts
    }

    pub(crate) fn judged(&mut self, verdict: Verdict) {
        self.verdict = Some(verdict);
    }

    pub(crate) fn rejected(&mut self, generation: Generation, why: Rejection) {
        self.rejected = Some((generation, why));
    }

    pub(crate) fn ended(&mut self, outcome: Outcome, status: StatusCode) {
        self.outcome = outcome;
        self.status = Some(status);
    }

    pub(crate) fn refused(&mut self, refusal: &Refusal) {
        self.ended(Outcome::Refused(refusal.label()), refusal.status());
    }

    pub(crate) fn delivered_bytes(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    pub(crate) fn whole(&mut self) {
        self.end = End::Whole;
    }

    pub(crate) fn cut(&mut self) {
        self.end = End::Cut;
    }

    fn label(&self) -> &'static str {
        match (self.outcome, self.end) {
            (Outcome::None, _) | (_, End::Open) => "app_gone",
            (_, End::Cut) => "cut",
            (Outcome::Delivered, End::Whole) => "delivered",
            (Outcome::Healed, End::Whole) => "healed",
            (Outcome::UnhealedNotReplayable, End::Whole) => "unhealed_not_replayable",
            (Outcome::UnhealedNoSuccessor, End::Whole) => "unhealed_no_successor",
            (Outcome::UnhealedAgain, End::Whole) => "unhealed_again",
            (Outcome::UnhealedNotSent, End::Whole) => "unhealed_not_sent",
            (Outcome::Refused(label), End::Whole) => label,
        }
    }

    fn write(&self, outcome: &'static str) {
        let (rejected, rejection) = self.rejected.unzip();
        tracing::info!(
            tenant = %self.tenant.id,
            method = known(&self.method),
            // Not `target`: a JSON line has one already, and of two the module would win.
            path = self.target.as_ref().map(|target| tracing::field::display(target.template())),
            status = self.status.map(|status| status.as_u16()),
            outcome,
            verdict = self.verdict.map(Verdict::label),
            rejection = rejection.map(Rejection::label),
            rejected_generation = rejected.map(Generation::get),
            generation = self.generation.map(Generation::get),
            attempts = self.attempts,
            bytes = self.bytes,
            millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "request"
        );
    }
}

/// A method by name, if it has one that is not the app's invention: that could be anything, of any length.
fn known(method: &Method) -> &str {
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

impl Drop for Record {
    fn drop(&mut self) {
        let label = self.label();
        let metrics = &self.tenant.metrics;
        metrics.ended(label);
        metrics
            .request_seconds
            .observe(self.began.elapsed().as_secs_f64());
        let smooth = label == "delivered"
            && self
                .status
                .is_some_and(|status| !status.is_client_error() && !status.is_server_error());
        match self.tenant.requests {
            Requests::None => {}
            Requests::Problems if smooth => {}
            Requests::Problems | Requests::All => self.write(label),
        }
    }
}
