//! The data path: the ten steps of a request, in order.
//!
//! | # | step | where |
//! |---|---|---|
//! | 1 | arrive | `AppConnection::handle` opens the record of the request |
//! | 2 | admit | `concurrency_limit`: not draining, not overloaded |
//! | 3 | check | `validation`: host, framing, request target |
//! | 4 | clean | `outbound`: the request as it is sent to Graph, without the app's credentials |
//! | 5 | receive | `buffer`: the body, without the app's credentials, and the permission to send it again; with it, `route` knows all signs of the tenant |
//! | 6 | credential | `credential`: the current one, without a lock, unless Graph has rejected it |
//! | 7 | attempt | `attempt`: the request is sent through `upstream` |
//! | 8 | classify | `classify`: what the response means |
//! | 9 | heal | `heal`: a newer credential; then the second attempt |
//! | 10 | deliver | `deliver`: the app's response; its last byte completes the record |
//!
//! # Why
//!
//! A replay needs five things at once: the generation of the credential, the permission to replay, the verdict from the
//! response body, the refresher, the record. Layers of middleware would have to pass them through extensions; here they
//! are local variables. There is no loop: the replay is the second, textually separate, call of `attempt`, and its
//! permission is a value that the replay consumes. So "at most once" cannot be miscounted.

mod answer_pace;
mod attempt;
mod body;
mod body_error;
mod body_scrub;
mod buffer;
mod byte_budget;
mod classify;
mod concurrency_limit;
mod credential;
mod dead_token;
mod deliver;
mod forward;
mod headers;
mod heal;
mod heal_config;
mod lazy_tenant;
mod link_rewrite;
mod max_forwards;
mod notices;
mod observation;
mod observe;
mod outage;
mod outbound;
mod prefix;
mod record;
mod refusal;
mod request_signs;
mod route;
mod settings;
mod spool;
mod tenant;
mod trace;
mod tunnel;
mod upload_progress;
mod usage;
mod validation;

use std::convert::Infallible;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use tokio::time::sleep;

pub use answer_pace::AnswerPace;
pub use body::Body;
pub use body_error::BodyError;
pub use buffer::BufferBudgets;
pub use byte_budget::ByteBudget;
pub use concurrency_limit::ConcurrencyLimit;
pub use dead_token::{DeadTokenCache, DeadTokenPolicy};
pub use heal_config::{HealConfig, HealMode};
pub use lazy_tenant::{LazyTenant, TenantLookup, TenantOpener};
pub use notices::{AccessLogFilter, OnceNotices};
pub use outage::OutageLog;
pub use record::RequestTelemetry;
pub use route::{FirstRead, Tenants};
pub use settings::{LinkRewriteConfig, Settings};
pub use spool::{Spool, SpoolThreads};
pub use tenant::{Tenant, TenantShare};
pub use tunnel::TunnelHosts;
pub use validation::AllowedHosts;

#[cfg(fuzzing)]
pub use headers::fuzzing;

use crate::graph::Verdict;
use crate::net::{ConnectionInfo, TransportSecurity};
use crate::tenants::{ObservedCalls, RouteError, RowSource, Standing};
use crate::types::TenantId;
use attempt::attempt;
use body_scrub::MustSearch;
use buffer::BufferedBody;
use credential::Admission;
use deliver::Delivery;
use heal::{SecondAttempt, heal};
use max_forwards::{is_final_recipient, options_response};
use observe::Observer;
use outbound::OutboundRequest;
use record::{Outcome, RequestRecord};
use refusal::Refusal;
use request_signs::RequestSigns;
use trace::TraceId;

/// The proxy, as its listeners use it.
#[derive(Debug)]
pub struct Proxy {
    /// The number of requests that may be in flight.
    pub concurrency_limit: ConcurrencyLimit,
    /// The hosts that a request may name.
    pub allowed_hosts: AllowedHosts,
    /// The limits of what all requests together may buffer.
    pub budgets: BufferBudgets,
    /// The hosts that CONNECT may name.
    pub tunnel_hosts: TunnelHosts,
    /// The tenants. A request keeps those that it began with.
    pub tenants: ArcSwap<Tenants>,
    /// The calls of the requests that were only observed.
    pub observed_calls: Arc<ObservedCalls>,
}

/// A connection of the app.
#[derive(Debug)]
struct AppConnection {
    proxy: Arc<Proxy>,
    info: ConnectionInfo,
    /// The tenant whose own its listener is.
    listener: Option<TenantId>,
}

const CONNECT_NAMES_A_TENANT: &str = "a CONNECT request cannot name a tenant: name it in the requests inside the tunnel, as \
                                      tenant:NAME in the place of the token, or connect to the tenant's own listener";

// === impl AppConnection ===

impl AppConnection {
    /// Answers one request, always: with Graph's response or with a refusal.
    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let tenants = self.proxy.tenants.load_full();
        let telemetry = &tenants
            .sole_tenant()
            .map_or(&tenants.unnamed, |sole| sole.tenant.get())
            .telemetry;
        let mut record = RequestRecord::new(Arc::clone(telemetry), request.method().clone());
        record.peer_uid = self.info.peer_uid;
        record.trace = TraceId::of(request.headers());
        let is_head = request.method() == Method::HEAD;
        let has_body = !request.body().is_end_stream();
        self.info.early_response.forget();
        let version = request.version();
        let mut signs = None;
        let served = self.proxy.serve(&tenants, request, &self, &mut signs, &mut record);
        let response = match served.await {
            Ok(response) => response,
            Err(refusal) => {
                let refusal = self.proxy.explain_absence(refusal, record.tenant());
                record.set_refusal(&refusal, signs.as_deref().and_then(RequestSigns::name));
                if has_body && refusal.leaves_body_unread() {
                    self.info.early_response.note();
                }
                refusal.into_response(version).map(Body::from)
            }
        };
        if tenants.sole_tenant().is_none()
            && let Some(delay) = record.answer_delay()
        {
            Box::pin(sleep(delay)).await;
        }
        // hyper's HTTP/2 server would send a body where none is allowed (RFC 9110, section 9.3.2).
        response.map(|body| if is_head { Body::default() } else { body }.with_record(record))
    }
}

// === impl Proxy ===

impl Proxy {
    /// Returns the proxy as the service of a connection; `listener` is the tenant whose own its listener is.
    pub fn service(
        self: &Arc<Self>,
        info: ConnectionInfo,
        listener: Option<&TenantId>,
    ) -> impl Service<
        Request<Incoming>,
        Response = Response<impl http_body::Body<Data = Bytes, Error = BodyError> + Send + use<>>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + use<> {
        let connection = Arc::new(AppConnection {
            proxy: Arc::clone(self),
            info,
            listener: listener.cloned(),
        });
        service_fn(move |request| Arc::clone(&connection).handle(request).map(Ok))
    }

    /// Serves one request: the ten steps, in order. The signs are left for the record of a refusal.
    async fn serve(
        &self,
        tenants: &Arc<Tenants>,
        request: Request<Incoming>,
        connection: &AppConnection,
        signs: &mut Option<Box<RequestSigns>>,
        record: &mut RequestRecord,
    ) -> Result<Response<Body>, Refusal> {
        let (mut head, incoming) = request.into_parts();

        record.inflight_guard = Some(self.concurrency_limit.try_acquire()?);
        if head.method == Method::CONNECT {
            return Box::pin(self.tunnel(tenants, head, &connection.info, record)).await;
        }
        validation::validate(&head, &self.allowed_hosts)?;
        if validation::is_asterisk_form(&head) || (tenants.settings.via && is_final_recipient(&head)) {
            return Ok(options_response(record));
        }
        *signs = tenants.take_signs(&mut head, connection.listener.as_ref())?;
        if tenants.settings.heal.mode == HealMode::Observe {
            let (security, signs) = (connection.info.security, signs.take());
            return Box::pin(self.observe(tenants, head, incoming, security, signs, record)).await;
        }
        let in_parameters = signs.as_mut().map(|signs| &mut signs.parameters);
        let mut outbound = OutboundRequest::from_app(head, connection.info.security, &tenants.settings, in_parameters)?;
        record.target = Some(outbound.target.clone());
        let by_head = tenants.route_head(signs.as_deref(), record.peer_uid);
        let (by_head, looked_up) = tenants.look_up_unlisted(by_head, signs.as_deref(), &self.tenants)?;
        if by_head.is_none() {
            // Those that wait take no place from the tenants.
            tenants.unnamed.admit(record)?;
        }
        let looked_up = looked_up.await.transpose()?;
        let tenants = looked_up.as_ref().unwrap_or(tenants);
        let by_head = by_head.map_or_else(|| tenants.route_head(signs.as_deref(), record.peer_uid), Ok)?;
        // What only the body can name counts together until the body has been read.
        let by_head_or_unnamed = by_head.tenant().unwrap_or(&tenants.unnamed);
        by_head_or_unnamed.admit(record)?;
        outbound.count_client_credentials(record.metrics());
        let mut received = {
            let mut scrub_config = outbound.scrub_config(record.metrics());
            if let Some(scrub_config) = &mut scrub_config {
                // The body may name a tenant that has rules.
                scrub_config.finds_calls = outbound.uses_tenant_credential()
                    && (by_head.needs_body || by_head.tenant().is_some_and(|tenant| tenant.allow.is_some()));
                if by_head.needs_body {
                    scrub_config.must_search = Some(MustSearch::Tenant);
                }
            }
            buffer::receive(
                incoming,
                &tenants.settings.heal,
                tenants.settings.idle_timeout,
                by_head_or_unnamed.budgets(&self.budgets),
                scrub_config,
            )
        }
        .await?;
        if let Some(signs) = signs {
            signs.add_body(&mut received);
        }
        let by_head = by_head.into_entry(&received, &outbound)?;
        let entry = tenants.route_with_body(by_head, signs.as_deref());
        let (entry, looked_up) = tenants.look_up_unlisted(entry, signs.as_deref(), &self.tenants)?;
        let looked_up = looked_up.await.transpose()?;
        let tenants = looked_up.as_ref().unwrap_or(tenants);
        let entry = entry.map_or_else(|| tenants.route_with_body(by_head, signs.as_deref()), Ok)?;
        let tenant = entry.tenant.get();
        tenants.compare_rest(signs.as_deref(), &mut received)?;
        tenant.admit(record)?;
        outbound.check_allowed(&mut received, tenant)?;
        if let (Some(_), Some(links)) = (signs, &mut outbound.links) {
            links.name_tenant(&tenant.telemetry.tenant);
        }
        let BufferedBody { body, replay, findings } = received;
        outbound.apply_findings(findings.as_ref());
        outbound.check_length(&body)?;
        let authorization = if outbound.uses_tenant_credential() {
            match credential::select(tenant, &outbound, replay.as_ref(), record).await? {
                Admission::Send(authorization) => authorization,
                Admission::Respond(response) => return Ok(*response),
            }
        } else {
            tenant.without_credential()
        };
        let delivery = |authorization| Delivery {
            outbound: &outbound,
            authorization,
            memory_budget: &tenant.budgets(&self.budgets).memory,
        };

        let first = attempt(&authorization, &outbound, body, record).await?;
        let SecondAttempt { authorization, replay } = match heal(&authorization, &outbound, &first, replay).await {
            Ok(second) => second,
            // The app gets Graph's own response.
            Err(end) => {
                record.set_verdict(end.verdict);
                return delivery(&authorization).deliver(first, end.outcome, record).await;
            }
        };

        let second = attempt(&authorization, &outbound, replay.into_body(), record).await?;
        let outcome = if matches!(second.verdict, Verdict::TokenRejected(_)) {
            // The refresher has been notified. There is no third attempt.
            Outcome::UnhealedRejectedAgain
        } else if outbound.is_media_rejection(second.response.status()) {
            // The link has expired, for example: nothing was healed, and no token is known to be dead.
            Outcome::Delivered
        } else {
            Outcome::Healed
        };
        delivery(&authorization).deliver(second, outcome, record).await
    }

    /// Forwards a request as the app sent it, once.
    async fn observe(
        &self,
        tenants: &Tenants,
        head: Parts,
        incoming: Incoming,
        security: TransportSecurity,
        signs: Option<Box<RequestSigns>>,
        record: &mut RequestRecord,
    ) -> Result<Response<Body>, Refusal> {
        let observer = Observer {
            tenants,
            current: &self.tenants,
            budgets: &self.budgets,
        };
        let mut observed = observer.observe(head, incoming, security, signs, record).await?;
        let (tenant, outbound) = (&observed.tenant, &observed.outbound);
        let authorization = tenant.without_credential();
        let only = attempt(&authorization, outbound, observed.body, record).await;
        let is_rejected = matches!(&only, Ok(only) if matches!(only.verdict, Verdict::TokenRejected(_)));
        observed.observation.heals = is_rejected && observed.is_replayable && tenant.tokens.is_usable();
        let would = observed.observation.outcomes();
        self.observed_calls.add(record.tenant(), observed.rules, &would);
        record.set_observation(observed.observation);
        let only = only?;
        let delivery = Delivery {
            outbound,
            authorization: &authorization,
            memory_budget: &self.budgets.memory,
        };
        delivery.deliver(only, Outcome::Delivered, record).await
    }

    /// The refresher of a tenant that a reload has removed has stopped for that reason. And one whose row is gone is inactive,
    /// also in the seconds before the directory says so; one whose row has no token is not.
    fn explain_absence(&self, refusal: Refusal, tenant: &TenantId) -> Refusal {
        let tenants = self.tenants.load();
        let entry = tenants.directory.find(tenant.as_str());
        let is_active = entry.is_some_and(|entry| entry.standing != Standing::Inactive);
        let is_removed = matches!(refusal, Refusal::RefresherStopped) && !is_active;
        let has_no_row = matches!(&refusal, Refusal::TokenWithdrawn(error) if RowSource::is_row_gone(error))
            && entry.is_some_and(|entry| entry.tenant.is_row());
        if is_removed || has_no_row {
            return Refusal::Route(RouteError::Inactive(tenant.clone()));
        }
        refusal
    }

    /// Opens a tunnel. The requests in it arrive on a connection of their own.
    async fn tunnel(
        &self,
        tenants: &Tenants,
        mut head: Parts,
        connection: &ConnectionInfo,
        record: &mut RequestRecord,
    ) -> Result<Response<Body>, Refusal> {
        validation::check_origin(&head)?;
        let signs = tenants.take_signs(&mut head, None)?;
        if signs.is_some_and(|signs| signs.all().next().is_some()) {
            // The requests in the tunnel would not have it.
            return Err(Refusal::MalformedRequest(CONNECT_NAMES_A_TENANT));
        }
        Box::pin(tunnel::open(head, &self.tunnel_hosts, connection)).await?;
        record.set_outcome(Outcome::TunnelOpened, StatusCode::OK);
        Ok(Response::new(Body::default()))
    }
}

#[cfg(test)]
mod tests;
