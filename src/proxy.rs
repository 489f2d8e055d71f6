//! The data path: a request's ten steps, in order.
//!
//! | # | step | where |
//! |---|---|---|
//! | 1 | arrive | `Proxy::handle`: a record is opened |
//! | 2 | admit | `gate`: not draining, not full |
//! | 3 | check | `arrival`: host, framing, form |
//! | 4 | clean | `outbound`: the request as it may leave |
//! | 5 | receive | `payload`: the body, and the licence to send it again |
//! | 6 | credential | `suspicion`: the current one, without a lock, unless Graph has rejected it |
//! | 7 | attempt | `upstream`: the first sending |
//! | 8 | judge | `judge`: what the answer means |
//! | 9 | heal | a newer credential, and the second sending |
//! | 10 | deliver | the app's answer; the record is closed with its last byte |
//!
//! # Why
//!
//! Our retry needs five things at once: the generation that was stamped, the licence to replay, the verdict from
//! the body, the refresher, the record. Spread over layers of middleware they would have to be smuggled through
//! extensions; here they are local variables. There is no loop: the replay is the second, textually separate,
//! call of `attempt`, and its licence is a value that is used up by use. So "at most once" cannot be miscounted.

mod advice;
mod arrival;
mod body;
mod cleaning;
mod deliver;
mod gate;
mod headers;
mod judge;
mod outbound;
mod payload;
mod pool;
mod record;
mod refusal;
mod spool;
mod suspicion;
mod tenant;
mod tunnel;
mod upstream;
mod usage;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::MAX_FORWARDS;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use tokio::time::Instant;

pub use advice::Advice;
pub use arrival::Hosts;
pub use body::BodyError;
pub use gate::Gate;
pub use payload::{Budget, Limits};
pub use pool::Pool;
pub use record::Requests;
pub use spool::Spool;
pub use suspicion::{DeadToken, Suspicion};
pub use tenant::{Links, Tenant};
pub use tunnel::{Far, TunnelHosts};
pub use upstream::{Settings as UpstreamSettings, Upstream};

#[cfg(fuzzing)]
pub use headers::fuzzed;

use crate::graph::Verdict;
use crate::net::{Line, Tunnels};
use crate::token::Credential;
use body::Body;
use judge::{Judged, judge};
use outbound::Outbound;
use payload::{Received, Replay};
use record::{Outcome, Record};
use refusal::Refusal;
use suspicion::Footing;

/// The proxy, as its listeners see it.
#[derive(Debug)]
pub struct Proxy {
    /// How many requests may be under way.
    pub gate: Gate,
    /// Which hosts may be named.
    pub hosts: Hosts,
    /// What all requests together may hold.
    pub budget: Budget,
    /// Where CONNECT may lead.
    pub tunnels: TunnelHosts,
    /// Whose requests they are.
    pub tenant: Arc<Tenant>,
}

// === impl Proxy ===

impl Proxy {
    /// The proxy as the service of a connection.
    pub fn service(
        self: &Arc<Self>,
        line: Line,
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
            let (proxy, line) = (Arc::clone(&proxy), line.clone());
            async move { Ok(proxy.handle(request, line).await) }
        })
    }

    /// Answers one request, always: with Graph's words or with a refusal.
    async fn handle(self: Arc<Self>, request: Request<Incoming>, line: Line) -> Response<Body> {
        let mut record = Record::open(Arc::clone(&self.tenant), request.method().clone());
        let bodiless = request.method() == Method::HEAD;
        let version = request.version();
        let response = match self.serve(request, &line, &mut record).await {
            Ok(response) => response,
            Err(refusal) => {
                record.refused(&refusal);
                refusal.into_response(version)
            }
        };
        // hyper's HTTP/2 server would send a body where none may be (RFC 9110, section 9.3.2).
        let response = if bodiless {
            response.map(|_body| Body::default())
        } else {
            response
        };
        response.map(|body| body.recorded(record))
    }

    /// Serves one request. The ten steps, in order.
    async fn serve(
        &self,
        request: Request<Incoming>,
        line: &Line,
        record: &mut Record,
    ) -> Result<Response<Body>, Refusal> {
        let (tenant, memory) = (&*self.tenant, &self.budget.memory);
        let (head, incoming) = request.into_parts();

        record.admitted(self.gate.admit()?);
        if let Some(tunnels) = &line.tunnels
            && tunnel::is_asked(&head)
        {
            return Box::pin(self.tunnel(head, tunnels, record)).await;
        }
        arrival::check(&head, &self.hosts)?;
        if arrival::is_star(&head) || (tenant.via && is_last_stop(&head)) {
            return Ok(options_of_our_own(record));
        }
        let mut outbound = Outbound::from_app(head, line.security, tenant)?;
        record.target(outbound.target());
        let cleaning = outbound.cleaning(tenant);
        let Received {
            body,
            replay,
            found,
        } = payload::receive(incoming, &tenant.limits, &self.budget, cleaning).await?;
        outbound.settle(&found);
        outbound.check_length(&body)?;
        if !outbound.takes_credential() {
            let only = tenant.attempt(&outbound, body, None, record).await?;
            return tenant
                .deliver(only, Outcome::Delivered, (&outbound, memory), None, record)
                .await;
        }
        let credential = match tenant.footing(&outbound, replay.as_ref(), record).await? {
            Footing::Credential(credential) => credential,
            Footing::Answered(answer) => return Ok(*answer),
        };

        let stamped = Some(&*credential);
        let first = tenant.attempt(&outbound, body, stamped, record).await?;
        let healing = tenant.heal(&first, replay, &credential, &outbound).await;
        let (fresh, replay) = match healing {
            Ok(healing) => healing,
            // The app hears Graph's own words.
            Err(outcome) => {
                return tenant
                    .deliver(first, outcome, (&outbound, memory), stamped, record)
                    .await;
            }
        };

        let (body, stamped) = (replay.into_body(), Some(&*fresh));
        let second = tenant.attempt(&outbound, body, stamped, record).await?;
        let outcome = if matches!(second.verdict, Verdict::TokenRejected(_)) {
            // The refresher has been told. There is no third.
            Outcome::UnhealedAgain
        } else if outbound.is_refused_media(&second) {
            // The link was too old, say: nothing was healed, and no token is known to be dead.
            Outcome::Delivered
        } else {
            Outcome::Healed
        };
        tenant
            .deliver(second, outcome, (&outbound, memory), stamped, record)
            .await
    }

    /// Opens a tunnel: what comes through it are connections of their own.
    async fn tunnel(
        &self,
        head: http::request::Parts,
        tunnels: &Tunnels,
        record: &mut Record,
    ) -> Result<Response<Body>, Refusal> {
        arrival::site(&head.headers, &self.hosts)?;
        tunnel::open(head, &self.tunnels, tunnels).await?;
        record.ended(Outcome::Delivered, StatusCode::OK);
        Ok(Response::new(Body::default()))
    }
}

impl Tenant {
    /// One sending, and what its answer means.
    async fn attempt(
        &self,
        outbound: &Outbound,
        body: Body,
        credential: Option<&Credential>,
        record: &mut Record,
    ) -> Result<Judged, Refusal> {
        if let Some(credential) = credential {
            outbound.check_family(self, credential)?;
        }
        let (sendings, seconds) = match record.attempt(credential.map(Credential::generation)) {
            1 => (
                &self.metrics.first_attempts,
                &self.metrics.first_head_seconds,
            ),
            _ => (
                &self.metrics.second_attempts,
                &self.metrics.second_head_seconds,
            ),
        };
        sendings.inc();
        let began = Instant::now();
        let response = self
            .upstream
            .send(outbound.stamp(self, credential, body))
            .await?;
        seconds.observe(began.elapsed().as_secs_f64());
        usage::note(response.headers(), &self.metrics.usage);
        let judged = judge(response, outbound.method(), credential, self.idle).await?;
        self.metrics.answered(judged.verdict.label());
        record.judged(judged.verdict);
        match (judged.verdict, credential) {
            (Verdict::Success, Some(credential)) => self.trust(credential),
            // Even if this request cannot be helped, the next one can.
            (Verdict::TokenRejected(why), Some(credential)) => {
                record.rejected(credential.generation(), why);
                self.suspect(credential, why, &judged);
            }
            (Verdict::ProofRejected, Some(credential)) => {
                self.advice.on_proof(&self.id, credential);
            }
            (_, _) => {}
        }
        Ok(judged)
    }

    /// What a second sending needs, or how the request ends without one.
    async fn heal(
        &self,
        first: &Judged,
        replay: Option<Replay>,
        credential: &Credential,
        outbound: &Outbound,
    ) -> Result<(Arc<Credential>, Replay), Outcome> {
        match (first.verdict, replay) {
            (Verdict::TokenRejected(_), None) => Err(Outcome::UnhealedNotReplayable),
            // Graph says that it did not act, so sending the same again is safe.
            (Verdict::TokenRejected(_), Some(replay)) => {
                match self.successor(credential.generation()).await {
                    Ok(fresh) => Ok((fresh, replay)),
                    Err(_none) => Err(Outcome::UnhealedNoSuccessor),
                }
            }
            // The media host has no words: what it refused is sent again only if the token is another by now.
            (_, Some(replay))
                if let Some(fresh) = self.replaced(credential)
                    && outbound.is_refused_media(first) =>
            {
                Ok((fresh, replay))
            }
            (_, _) => Err(Outcome::Delivered),
        }
    }

    /// The credential in use, if it is no longer this one.
    fn replaced(&self, credential: &Credential) -> Option<Arc<Credential>> {
        let current = self.tokens.current()?;
        (current.generation() > credential.generation()).then_some(current)
    }
}

/// `OPTIONS` with `Max-Forwards: 0` asks whoever is there (RFC 9110, section 7.6.2).
fn is_last_stop(head: &http::request::Parts) -> bool {
    head.method == Method::OPTIONS
        && head
            .headers
            .get(MAX_FORWARDS)
            .is_some_and(|left| left == "0")
}

fn options_of_our_own(record: &mut Record) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let allowed = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    response.headers_mut().insert(http::header::ALLOW, allowed);
    record.ended(Outcome::Delivered, response.status());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of the future that `serve` returns; it is never called.
    const fn size_of_future<F, A>(_serve: &F) -> usize
    where
        F: Fn(Arc<Proxy>, Request<Incoming>, Line) -> A,
    {
        size_of::<A>()
    }

    #[test]
    fn the_future_of_a_request_is_at_most_four_kibibytes() {
        let size = size_of_future(&Proxy::handle);
        assert!(size <= 4096, "{size}");
    }
}
