//! The record of a request, which is written after the last byte of its response: a log line, a count and a duration.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::time::Instant;
use tracing::Level;

use super::answer_pace::AnswerPace;
use super::concurrency_limit::InflightGuard;
use super::notices::{AccessLogFilter, OnceNotices};
use super::observation::Observation;
use super::outage::OutageLog;
use super::refusal::Refusal;
use super::trace::TraceId;
use crate::graph::{GraphError, RejectionReason, Target, Verdict};
use crate::net::ClientReader;
use crate::telemetry::metrics::RequestMetrics;
use crate::token::Generation;
use crate::types::TenantId;

/// The metrics and the log settings for the requests of a tenant.
#[derive(Clone, Debug)]
pub struct RequestTelemetry {
    /// The tenant's name.
    pub tenant: TenantId,
    /// The requests that are written to the log.
    pub access_log: AccessLogFilter,
    /// The tenant's metrics of the data path.
    pub metrics: RequestMetrics,
    /// The tenant's requests that were lost for lack of a token; `None` for requests without a tenant.
    pub outage: Option<Arc<OutageLog>>,
    /// The description of the token's sources.
    pub sources: Arc<str>,
    /// What the log says once.
    pub notices: Arc<OnceNotices>,
    /// The pace of the answers that Graph has not given.
    pub answer_pace: Arc<AnswerPace>,
}

/// The record of a request so far. It is written when it is dropped, for whatever reason.
#[derive(Debug)]
pub(crate) struct RequestRecord {
    telemetry: Arc<RequestTelemetry>,
    started_at: Instant,
    method: Method,
    /// The user id of the process that connected over a Unix socket.
    pub(crate) peer_uid: Option<u32>,
    /// The trace that it belongs to.
    pub(crate) trace: Option<TraceId>,
    pub(crate) target: Option<Target>,
    status: Option<StatusCode>,
    verdict: Option<Verdict>,
    is_verdict_counted: bool,
    /// The last error that Graph returned.
    pub(crate) error: Option<Box<GraphError>>,
    rejection: Option<(Generation, RejectionReason)>,
    generation: Option<Generation>,
    attempts: u8,
    /// How long Graph took for the heads of its responses, all attempts together.
    pub(crate) upstream_time: Duration,
    response_bytes: u64,
    outcome: Outcome,
    /// The message of the refusal.
    refusal: Option<String>,
    /// The tenant that a refused request names, which need not exist.
    named: Option<TenantId>,
    /// What graphward would have done, if it only observes.
    observation: Option<Box<Observation>>,
    response_end: ResponseEnd,
    /// The client, once the response is on its way to it.
    pub(crate) reader: Option<Arc<ClientReader>>,
    pub(crate) inflight_guard: Option<InflightGuard>,
    /// The slot among those of its tenant, if there are several tenants.
    pub(crate) share_guard: Option<InflightGuard>,
}

/// The outcome of a request, apart from that of its response body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// There was no response: the app disconnected, or graphward closed the connection.
    NoResponse,
    /// Graph's response, whatever its status: to the first attempt, or to a download's second that was refused too.
    Delivered,
    /// The tunnel that the app requested. The requests in it have records of their own, unless it leads to another host.
    TunnelOpened,
    /// Graph rejected the token, then answered the replay with a newer one.
    Healed,
    /// Graph rejected the token, and the body could not be sent again.
    UnhealedNotReplayable,
    /// Graph rejected the token, and `heal.mode` is `inject`.
    UnhealedByMode,
    /// Graph rejected the token, and no newer one arrived.
    UnhealedNoNewerToken,
    /// Graph rejected the newer token too.
    UnhealedRejectedAgain,
    /// The token is known to be dead, so the request was not sent: the response is Graph's last rejection.
    UnhealedNotSent,
    /// graphward answered the request itself; the label says why.
    Refused(&'static str),
}

/// The outcome of a response body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ResponseEnd {
    /// It did not end: if the record is dropped like this, the app disconnected, or graphward closed the connection.
    Unfinished,
    Complete,
    /// The upstream ended the connection after the head.
    UpstreamAborted,
}

// === impl RequestRecord ===

impl RequestRecord {
    pub(crate) fn new(telemetry: Arc<RequestTelemetry>, method: Method) -> Box<Self> {
        Box::new(Self {
            telemetry,
            started_at: Instant::now(),
            method,
            peer_uid: None,
            trace: None,
            target: None,
            status: None,
            verdict: None,
            is_verdict_counted: true,
            error: None,
            rejection: None,
            generation: None,
            attempts: 0,
            upstream_time: Duration::ZERO,
            response_bytes: 0,
            outcome: Outcome::NoResponse,
            refusal: None,
            named: None,
            observation: None,
            response_end: ResponseEnd::Unfinished,
            reader: None,
            inflight_guard: None,
            share_guard: None,
        })
    }

    /// Sets the tenant of the request.
    pub(crate) fn set_tenant(&mut self, telemetry: &Arc<RequestTelemetry>) {
        if !Arc::ptr_eq(&self.telemetry, telemetry) {
            self.telemetry = Arc::clone(telemetry);
            self.share_guard = None;
        }
    }

    /// The tenant of the request, or [`TenantId::unnamed`].
    pub(crate) fn tenant(&self) -> &TenantId {
        &self.telemetry.tenant
    }

    /// The metrics of the tenant, or of requests without one.
    pub(crate) fn metrics(&self) -> &RequestMetrics {
        &self.telemetry.metrics
    }

    /// Counts an attempt and returns its number: 1 is the first.
    pub(crate) fn start_attempt(&mut self, generation: Option<Generation>) -> u8 {
        self.count_response();
        self.generation = generation;
        self.attempts += 1;
        self.attempts
    }

    /// Sets what the last response means.
    pub(crate) const fn set_verdict(&mut self, verdict: Verdict) {
        self.verdict = Some(verdict);
        self.is_verdict_counted = false;
    }

    /// Counts the response to the attempt before. Its verdict may change until the request ends, or is sent again.
    fn count_response(&mut self) {
        if let Some(verdict) = self.verdict
            && !std::mem::replace(&mut self.is_verdict_counted, true)
        {
            self.telemetry.metrics.count_response(verdict.label());
        }
    }

    pub(crate) fn set_rejection(&mut self, generation: Generation, rejection: RejectionReason) {
        self.rejection = Some((generation, rejection));
    }

    pub(crate) fn set_outcome(&mut self, outcome: Outcome, status: StatusCode) {
        self.outcome = outcome;
        self.status = Some(status);
    }

    /// Sets the refusal of a request whose signs have this name of a tenant.
    pub(crate) fn set_refusal(&mut self, refusal: &Refusal, name: Option<TenantId>) {
        self.set_outcome(Outcome::Refused(refusal.label()), refusal.status());
        self.named = refusal.tenant().cloned().or(name);
        self.refusal = Some(refusal.to_string());
    }

    /// Sets what graphward would have done, and counts it.
    pub(crate) fn set_observation(&mut self, observation: Observation) {
        for label in observation.labels() {
            self.telemetry.metrics.count_observation(label);
        }
        self.observation = Some(Box::new(observation));
    }

    /// How long to delay the answer, if Graph has not given it.
    pub(crate) fn answer_delay(&self) -> Option<Duration> {
        let is_own = matches!(self.outcome, Outcome::Refused(_) | Outcome::UnhealedNotSent);
        let has_room = self.inflight_guard.as_ref().is_some_and(InflightGuard::has_half_free);
        let delay = (is_own && has_room).then(|| self.telemetry.answer_pace.next_delay());
        delay.filter(|delay| !delay.is_zero())
    }

    pub(crate) fn add_response_bytes(&mut self, bytes: usize) {
        self.response_bytes += bytes as u64;
        if let Some(reader) = &self.reader {
            reader.record_piece();
        }
    }

    /// Records that the client has room for more of the response, or needs no more.
    pub(crate) fn record_room(&self) {
        if let Some(reader) = &self.reader {
            reader.record_room();
        }
    }

    pub(crate) fn mark_complete(&mut self) {
        self.response_end = ResponseEnd::Complete;
    }

    pub(crate) fn mark_aborted(&mut self) {
        self.response_end = ResponseEnd::UpstreamAborted;
    }

    /// Whether graphward is closing the connections of requests that have not ended.
    fn is_closing(&self) -> bool {
        self.inflight_guard.as_ref().is_some_and(InflightGuard::is_closing)
    }

    /// Whether the response was given up because the client did not read it.
    fn has_stalled(&self) -> bool {
        self.reader.as_ref().is_some_and(|reader| reader.has_stalled())
    }

    /// Whether a sign of the request names a tenant that does not exist, or that could not be looked up.
    fn is_for_unknown_tenant(&self, outcome: &str) -> bool {
        let is_refused = outcome == "refused_unknown_tenant" || is_lost_for_lack_of_a_token(outcome);
        is_refused && self.telemetry.tenant.name().is_none()
    }

    fn outcome_label(&self) -> &'static str {
        match (self.outcome, self.response_end) {
            (_, ResponseEnd::Unfinished) if self.has_stalled() => "client_stalled",
            (Outcome::NoResponse, _) | (_, ResponseEnd::Unfinished) if self.is_closing() => "closed_by_shutdown",
            (Outcome::NoResponse, _) | (_, ResponseEnd::Unfinished) => "client_disconnected",
            (_, ResponseEnd::UpstreamAborted) => "upstream_aborted",
            (Outcome::Delivered, ResponseEnd::Complete) => "delivered",
            (Outcome::TunnelOpened, ResponseEnd::Complete) => "tunnel_opened",
            (Outcome::Healed, ResponseEnd::Complete) => "healed",
            (Outcome::UnhealedNotReplayable, ResponseEnd::Complete) => "unhealed_not_replayable",
            (Outcome::UnhealedByMode, ResponseEnd::Complete) => "unhealed_by_mode",
            (Outcome::UnhealedNoNewerToken, ResponseEnd::Complete) => "unhealed_no_newer_token",
            (Outcome::UnhealedRejectedAgain, ResponseEnd::Complete) => "unhealed_rejected_again",
            (Outcome::UnhealedNotSent, ResponseEnd::Complete) => "unhealed_not_sent",
            (Outcome::Refused(label), ResponseEnd::Complete) => label,
        }
    }

    /// The severity of the outcome: a lost request is an error, and one that was refused or has no response is a warning.
    fn level(&self) -> Level {
        match (self.outcome, self.response_end) {
            (_, ResponseEnd::Unfinished) if self.has_stalled() => Level::WARN,
            (Outcome::NoResponse, _) | (_, ResponseEnd::Unfinished) if self.is_closing() => Level::WARN,
            (Outcome::NoResponse, _) | (_, ResponseEnd::Unfinished) => Level::INFO,
            (Outcome::UnhealedNotReplayable | Outcome::UnhealedByMode | Outcome::UnhealedNoNewerToken, _)
            | (Outcome::UnhealedRejectedAgain | Outcome::UnhealedNotSent, _) => Level::ERROR,
            (Outcome::Refused(label), _) if is_lost_for_lack_of_a_token(label) => Level::ERROR,
            (Outcome::Refused(_), _) | (_, ResponseEnd::UpstreamAborted) => Level::WARN,
            (Outcome::Delivered | Outcome::TunnelOpened | Outcome::Healed, ResponseEnd::Complete) => Level::INFO,
        }
    }

    /// Writes the request to the log. Those before it that were left out are counted.
    fn log(&self, outcome: &'static str, not_logged: Option<u64>) {
        let (rejected, rejection) = self.rejection.unzip();
        macro_rules! log_at {
            ($level:expr) => {
                tracing::event!(
                    $level,
                    tenant = self
                        .telemetry
                        .tenant
                        .name()
                        .or(self.named.as_ref().map(TenantId::as_str)),
                    method = method_label(&self.method),
                    // Not `target`: a JSON line already has a field of that name, the module.
                    path = self
                        .target
                        .as_ref()
                        .map(|target| tracing::field::display(target.path_template())),
                    trace_id = self.trace.map(tracing::field::display),
                    status = self.status.map(|status| status.as_u16()),
                    outcome,
                    refusal = self.refusal,
                    would = self.observation.as_ref().map(tracing::field::display),
                    not_logged,
                    verdict = self.verdict.map(Verdict::label),
                    code = self.error.as_ref().and_then(|error| error.code),
                    subcode = self.error.as_ref().and_then(|error| error.subcode),
                    rejection = rejection.map(RejectionReason::label),
                    rejected_generation = rejected.map(Generation::get),
                    generation = self.generation.map(Generation::get),
                    attempts = self.attempts,
                    response_bytes = self.response_bytes,
                    upstream_ms = milliseconds(self.upstream_time),
                    duration_ms = milliseconds(self.started_at.elapsed()),
                    "request"
                )
            };
        }
        match self.level() {
            Level::ERROR => log_at!(Level::ERROR),
            Level::WARN => log_at!(Level::WARN),
            _ => log_at!(Level::INFO),
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Returns whether a refusal, by its label, is a request that a token would have served.
fn is_lost_for_lack_of_a_token(refusal: &str) -> bool {
    matches!(refusal, "refused_no_token" | "refused_dead_token")
}

/// The name of a standard method. The name of another one could be anything, of any length.
fn method_label(method: &Method) -> &str {
    match method.as_str() {
        name @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "CONNECT" | "TRACE") => name,
        _ => "other",
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        self.record_room();
        self.count_response();
        let label = self.outcome_label();
        let metrics = &self.telemetry.metrics;
        metrics.count_request(label, self.started_at.elapsed().as_secs_f64());
        if self.attempts > 0 {
            self.telemetry.notices.give(&self.telemetry.tenant, label, metrics);
        }
        match self.outcome {
            Outcome::Delivered | Outcome::Healed if self.verdict == Some(Verdict::Success) => {
                if let Some(outage) = &self.telemetry.outage {
                    outage.record_success();
                }
            }
            Outcome::Refused(label) if !is_lost_for_lack_of_a_token(label) => {}
            Outcome::NoResponse | Outcome::Delivered | Outcome::TunnelOpened | Outcome::Healed => {}
            Outcome::UnhealedNotReplayable
            | Outcome::UnhealedByMode
            | Outcome::UnhealedNoNewerToken
            | Outcome::UnhealedRejectedAgain
            | Outcome::UnhealedNotSent
            | Outcome::Refused(_) => {
                let rejection = self.rejection.map(|(_, reason)| reason);
                if let Some(outage) = &self.telemetry.outage {
                    outage.record_loss(rejection, &self.telemetry.sources);
                }
            }
        }
        let succeeded = matches!(label, "delivered" | "tunnel_opened")
            && self
                .status
                .is_some_and(|status| !status.is_client_error() && !status.is_server_error());
        match self.telemetry.access_log {
            AccessLogFilter::None => {}
            AccessLogFilter::Problems if succeeded => {}
            AccessLogFilter::Problems if self.is_for_unknown_tenant(label) => {
                if let Some(left_out) = self.telemetry.notices.admit_unknown_tenant() {
                    self.log(label, Some(left_out).filter(|left_out| *left_out > 0));
                }
            }
            AccessLogFilter::Problems | AccessLogFilter::All => self.log(label, None),
        }
    }
}
