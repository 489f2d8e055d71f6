//! The data path: a request's ten steps, in order.
//!
//! | # | step | where |
//! |---|---|---|
//! | 1 | arrive | `Proxy::handle`: a record is opened |
//! | 2 | admit | `gate`: not draining, not full |
//! | 3 | check | `arrival`: host, framing, form |
//! | 4 | clean | `outbound`: the request as it may leave |
//! | 5 | receive | `payload`: the body, and the licence to send it again |
//! | 6 | credential | `dead_token_cache`: the current one, without a lock, unless Graph has rejected it |
//! | 7 | attempt | `upstream`: the first sending |
//! | 8 | judge | `classify_response`: what the answer means |
//! | 9 | heal | a newer credential, and the second sending |
//! | 10 | deliver | the app's answer; the record is closed with its last byte |
//!
//! # Why
//!
//! Our retry needs five things at once: the generation that was stamped, the licence to replay, the verdict from
//! the body, the refresher, the record. Spread over layers of middleware they would have to be smuggled through
//! extensions; here they are local variables. There is no loop: the replay is the second, textually separate,
//! call of `attempt`, and its licence is a value that is used up by use. So "at most once" cannot be miscounted.

mod body;
mod body_scrub;
mod buffer;
mod byte_budget;
mod classify;
mod concurrency_limit;
mod dead_token;
mod deliver;
mod headers;
mod outbound;
mod proof_warning;
mod record;
mod refusal;
mod spool;
mod tenant;
mod tunnel;
mod upstream;
mod usage;
mod validation;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::MAX_FORWARDS;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use tokio::time::Instant;

pub use body::BodyError;
pub use buffer::{BodyLimits, BufferBudgets};
pub use byte_budget::ByteBudget;
pub use concurrency_limit::ConcurrencyLimit;
pub use dead_token::{DeadTokenCache, DeadTokenPolicy};
pub use proof_warning::ProofWarning;
pub use record::AccessLogFilter;
pub use spool::Spool;
pub use tenant::{LinkRewriteConfig, Tenant};
pub use tunnel::{PassthroughHost, TunnelHosts};
pub use upstream::{Upstream, UpstreamSettings};
pub use validation::AllowedHosts;

#[cfg(fuzzing)]
pub use headers::fuzzed;

use crate::graph::Verdict;
use crate::net::{ConnectionInfo, TunnelSender};
use crate::token::Credential;
use body::Body;
use buffer::{BufferedBody, Replay};
use classify::{ClassifiedResponse, classify_response};
use dead_token::Admission;
use outbound::OutboundRequest;
use record::{Outcome, RequestRecord};
use refusal::Refusal;

/// The proxy, as its listeners see it.
#[derive(Debug)]
pub struct Proxy {
    /// How many requests may be under way.
    pub concurrency_limit: ConcurrencyLimit,
    /// Which hosts may be named.
    pub allowed_hosts: AllowedHosts,
    /// What all requests together may hold.
    pub budgets: BufferBudgets,
    /// Where CONNECT may lead.
    pub tunnel_hosts: TunnelHosts,
    /// Whose requests they are.
    pub tenant: Arc<Tenant>,
}

// === impl Proxy ===

impl Proxy {
    /// The proxy as the service of a connection.
    pub fn service(
        self: &Arc<Self>,
        connection: ConnectionInfo,
    ) -> impl Service<
        Request<Incoming>,
        Response = Response<impl http_body::Body<Data = Bytes, Error = BodyError> + Send + use<>>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + use<> {
        let proxy = Arc::clone(self);
        service_fn(move |request| {
            let (proxy, connection) = (Arc::clone(&proxy), connection.clone());
            async move { Ok(proxy.handle(request, connection).await) }
        })
    }

    /// Answers one request, always: with Graph's words or with a refusal.
    async fn handle(self: Arc<Self>, request: Request<Incoming>, connection: ConnectionInfo) -> Response<Body> {
        let mut record = RequestRecord::new(Arc::clone(&self.tenant), request.method().clone());
        let is_head = request.method() == Method::HEAD;
        let version = request.version();
        let response = match self.serve(request, &connection, &mut record).await {
            Ok(response) => response,
            Err(refusal) => {
                record.refused(&refusal);
                refusal.into_response(version)
            }
        };
        // hyper's HTTP/2 server would send a body where none may be (RFC 9110, section 9.3.2).
        let response = if is_head {
            response.map(|_body| Body::default())
        } else {
            response
        };
        response.map(|body| body.with_record(record))
    }

    /// Serves one request. The ten steps, in order.
    async fn serve(
        &self,
        request: Request<Incoming>,
        connection: &ConnectionInfo,
        record: &mut RequestRecord,
    ) -> Result<Response<Body>, Refusal> {
        let (tenant, memory_budget) = (&*self.tenant, &self.budgets.memory);
        let (head, incoming) = request.into_parts();

        record.set_inflight_guard(self.concurrency_limit.try_acquire()?);
        if let Some(tunnels) = &connection.tunnels
            && tunnel::is_connect(&head)
        {
            return Box::pin(self.tunnel(head, tunnels, record)).await;
        }
        validation::validate(&head, &self.allowed_hosts)?;
        if validation::is_asterisk_form(&head) || (tenant.via && is_final_recipient(&head)) {
            return Ok(options_response(record));
        }
        let mut outbound = OutboundRequest::from_app(head, connection.security, tenant)?;
        record.set_target(outbound.target());
        let cleaning = outbound.scrub_config(tenant);
        let BufferedBody { body, replay, findings } =
            buffer::receive(incoming, &tenant.body_limits, &self.budgets, cleaning).await?;
        outbound.apply_findings(&findings);
        outbound.check_length(&body)?;
        if !outbound.uses_tenant_credential() {
            let only = tenant.send_attempt(&outbound, body, None, record).await?;
            return tenant
                .deliver(only, Outcome::Delivered, (&outbound, memory_budget), None, record)
                .await;
        }
        let credential = match tenant.select_credential(&outbound, replay.as_ref(), record).await? {
            Admission::Send(credential) => credential,
            Admission::Respond(answer) => return Ok(*answer),
        };

        let sent_credential = Some(&*credential);
        let first = tenant.send_attempt(&outbound, body, sent_credential, record).await?;
        let healing = tenant.heal(&first, replay, &credential, &outbound).await;
        let (fresh, replay) = match healing {
            Ok(healing) => healing,
            // The app hears Graph's own words.
            Err(outcome) => {
                return tenant
                    .deliver(first, outcome, (&outbound, memory_budget), sent_credential, record)
                    .await;
            }
        };

        let (body, sent_credential) = (replay.into_body(), Some(&*fresh));
        let second = tenant.send_attempt(&outbound, body, sent_credential, record).await?;
        let outcome = if matches!(second.verdict, Verdict::TokenRejected(_)) {
            // The refresher has been told. There is no third.
            Outcome::UnhealedRejectedAgain
        } else if outbound.is_media_rejection(&second) {
            // The link was too old, say: nothing was healed, and no token is known to be dead.
            Outcome::Delivered
        } else {
            Outcome::Healed
        };
        tenant
            .deliver(second, outcome, (&outbound, memory_budget), sent_credential, record)
            .await
    }

    /// Opens a tunnel: what comes through it are connections of their own.
    async fn tunnel(
        &self,
        head: http::request::Parts,
        tunnels: &TunnelSender,
        record: &mut RequestRecord,
    ) -> Result<Response<Body>, Refusal> {
        validation::check_origin(&head.headers, &self.allowed_hosts)?;
        tunnel::open(head, &self.tunnel_hosts, tunnels).await?;
        record.set_outcome(Outcome::Delivered, StatusCode::OK);
        Ok(Response::new(Body::default()))
    }
}

impl Tenant {
    /// One sending, and what its answer means.
    async fn send_attempt(
        &self,
        outbound: &OutboundRequest,
        body: Body,
        credential: Option<&Credential>,
        record: &mut RequestRecord,
    ) -> Result<ClassifiedResponse, Refusal> {
        if let Some(credential) = credential {
            outbound.check_family(self, credential)?;
        }
        let (attempts_total, head_seconds) = match record.start_attempt(credential.map(Credential::generation)) {
            1 => (&self.metrics.first_attempts, &self.metrics.first_head_seconds),
            _ => (&self.metrics.second_attempts, &self.metrics.second_head_seconds),
        };
        attempts_total.inc();
        let began = Instant::now();
        let response = self.upstream.send(outbound.to_request(self, credential, body)).await?;
        head_seconds.observe(began.elapsed().as_secs_f64());
        usage::record_usage(response.headers(), &self.metrics.usage);
        let classified = classify_response(response, outbound.method(), credential, self.idle_timeout).await?;
        self.metrics.count_response(classified.verdict.label());
        record.set_verdict(classified.verdict);
        match (classified.verdict, credential) {
            (Verdict::Success, Some(credential)) => self.mark_accepted(credential),
            // Even if this request cannot be helped, the next one can.
            (Verdict::TokenRejected(why), Some(credential)) => {
                record.set_rejection(credential.generation(), why);
                self.mark_rejected(credential, why, &classified);
            }
            (Verdict::ProofRejected, Some(credential)) => {
                self.proof_warning.warn_once(&self.id, credential);
            }
            (_, _) => {}
        }
        Ok(classified)
    }

    /// What a second sending needs, or how the request ends without one.
    async fn heal(
        &self,
        first: &ClassifiedResponse,
        replay: Option<Replay>,
        credential: &Credential,
        outbound: &OutboundRequest,
    ) -> Result<(Arc<Credential>, Replay), Outcome> {
        match (first.verdict, replay) {
            (Verdict::TokenRejected(_), None) => Err(Outcome::UnhealedNotReplayable),
            // Graph says that it did not act, so sending the same again is safe.
            (Verdict::TokenRejected(_), Some(replay)) => {
                match self.wait_for_newer_credential(credential.generation()).await {
                    Ok(fresh) => Ok((fresh, replay)),
                    Err(_none) => Err(Outcome::UnhealedNoNewerToken),
                }
            }
            // The media host has no words: what it refused is sent again only if the token is another by now.
            (_, Some(replay))
                if let Some(fresh) = self.newer_credential(credential)
                    && outbound.is_media_rejection(first) =>
            {
                Ok((fresh, replay))
            }
            (_, _) => Err(Outcome::Delivered),
        }
    }

    /// The credential in use, if it is no longer this one.
    fn newer_credential(&self, credential: &Credential) -> Option<Arc<Credential>> {
        let current = self.tokens.current()?;
        (current.generation() > credential.generation()).then_some(current)
    }
}

/// `OPTIONS` with `Max-Forwards: 0` asks whoever is there (RFC 9110, section 7.6.2).
fn is_final_recipient(head: &http::request::Parts) -> bool {
    head.method == Method::OPTIONS && head.headers.get(MAX_FORWARDS).is_some_and(|remaining| remaining == "0")
}

fn options_response(record: &mut RequestRecord) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let allowed = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    response.headers_mut().insert(http::header::ALLOW, allowed);
    record.set_outcome(Outcome::Delivered, response.status());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of the future that `serve` returns; it is never called.
    const fn size_of_future<F, A>(_serve: &F) -> usize
    where
        F: Fn(Arc<Proxy>, Request<Incoming>, ConnectionInfo) -> A,
    {
        size_of::<A>()
    }

    #[test]
    fn the_future_of_a_request_is_at_most_four_kibibytes() {
        let size = size_of_future(&Proxy::handle);
        assert!(size <= 4096, "{size}");
    }
}
