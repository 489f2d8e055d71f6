//! The fake Graph: for the demo, for our tests, and for users' own CI.
//!
//! It speaks HTTP/1.1 and HTTP/2, over TLS with a CA made on the spot or without, and can be called in-process.
//! Its tokens expire by the clock or on command, and a dead one is answered as Graph answers it: the same bodies,
//! the same statuses (401 for a header, 400 for a parameter), the same surroundings. Every message that it
//! accepts is recorded, which is how "exactly once" is proven.
//!
//! # Why
//!
//! What Graph does was taken from recordings, client sources and its documentation, not from what would suit the
//! sidecar: it imports nothing of the proxy, nor of the layer that holds our reading of Graph, so that a
//! misreading there has to meet a second opinion here. What no recording shows was decided by likeness: a batch
//! with a dead token of its own fails as a whole; a body that is too large gets the edge's page; an app token
//! cannot send messages (200, 403); rupload takes the scheme `OAuth` only, and refuses with 401; lookaside refuses a
//! missing user agent and the names of Node's fetch libraries; videos are published on graph-video only; a token of
//! Instagram or Threads that is too young is refused with code 100 (its 24 hours shrink with `--token-ttl`, to a
//! sixtieth of that); only persons and system users mint (200).
//!
//! It is all of Meta's hosts, told apart by the name that a call was sent to, so that what is sent to the wrong one
//! fails as it would there. By a name that is none of Meta's it is all of them in one.
//!
//! Answers are computed without waiting, from a parsed call; only reading the body and trouble on command take
//! time, and that is tokio's, which tests may pause.

mod auth;
mod batch;
mod body;
mod call;
mod call_log;
mod clock;
mod control;
mod debug_token;
mod digest;
mod failure;
mod faults;
mod hosts;
mod instagram_threads;
mod invalidation;
mod media;
mod messages;
mod multipart;
mod oauth;
mod objects;
mod pacific_time;
mod pages;
mod parse;
mod proof;
mod random;
mod record;
mod reply;
mod router;
mod server;
mod state;
mod stored;
mod tokens;
mod uploads;
mod usage;
mod videos;

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body::Body;
use hyper::service::Service;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub use body::{ConnectionAborted, ResponseBody};
pub use call_log::{AuthorizationHeader, ParameterCredential, RecordedBatchItem, RecordedCall};
pub use clock::Clock;
pub use control::parse_duration;
pub use faults::{Effect, EndpointKind, Fault, FaultTiming, TokenResponse};
pub use hosts::TokenFamily;
pub use invalidation::InvalidationReason;
pub use server::RunningServer;
pub use state::{AcceptedMessage, Counts, FakeGraphConfig, ProofPolicy};
pub use tokens::{Expiry, TokenChange, TokenType};

use call::Call;
use control::ControlApi;
use parse::{ClientDisconnected, ParsedRequest};
use reply::Reply;
use state::{State, lock};
use tokens::TokenInfo;

/// A Graph whose tokens die on command. Clones are the same Graph.
#[derive(Clone)]
pub struct FakeGraph(Arc<State>);

impl FakeGraph {
    /// An empty one.
    #[must_use]
    pub fn new(settings: FakeGraphConfig) -> Self {
        Self(Arc::new(State::new(settings)))
    }

    /// Answers a request.
    ///
    /// # Errors
    ///
    /// [`ConnectionAborted`] where a server would lose the connection: on command, or because the client did.
    pub async fn handle<B>(&self, request: Request<B>) -> Result<Response<ResponseBody>, ConnectionAborted>
    where
        B: Body + Send,
        B::Data: Send,
    {
        let state = &*self.0;
        let arrival = parse::parse_request(request)
            .await
            .map_err(|ClientDisconnected| ConnectionAborted)?;
        let seen = record::record(state, &arrival.call, &arrival.raw);
        let number = lock(&state.calls).add(seen);
        let response = answer_call(state, arrival).await?;
        lock(&state.calls).record_status(number, response.status());
        Ok(response)
    }

    /// Serves a listener in the background, over TLS or not.
    ///
    /// # Errors
    ///
    /// The listener's address is unknown.
    pub fn start(&self, listener: TcpListener, tls: Option<TlsAcceptor>) -> io::Result<RunningServer> {
        RunningServer::start(listener, self.clone(), tls)
    }

    /// Serves the control API on a listener, in the background.
    ///
    /// # Errors
    ///
    /// The listener's address is unknown.
    pub fn start_control(&self, listener: TcpListener) -> io::Result<RunningServer> {
        RunningServer::start(listener, ControlApi::new(Arc::clone(&self.0)), None)
    }

    /// Issues a token: `EAA…`, some 200 characters. Without a `ttl` it lives until told otherwise.
    #[must_use]
    pub fn issue(&self, ttl: Option<Duration>) -> String {
        self.issue_for(TokenFamily::Facebook, ttl)
    }

    /// Issues a token that is good on one family's hosts only: `EAA…`, `IGAA…` or `THAA…`.
    #[must_use]
    pub fn issue_for(&self, family: TokenFamily, ttl: Option<Duration>) -> String {
        self.0.issue(family, ttl)
    }

    /// Takes a caller's own text as a token; one that had died lives again.
    pub fn register_token(&self, token: &str, ttl: Option<Duration>) {
        let about = TokenInfo::new(TokenType::SystemUser, self.0.now(), ttl);
        lock(&self.0.tokens).add(token, about);
    }

    /// Whether a call with this token would be taken now.
    #[must_use]
    pub fn is_alive(&self, token: &str) -> bool {
        let now = self.0.now();
        lock(&self.0.tokens).check(token, self.0.app_credentials(), now).is_ok()
    }

    /// Lets a token die; says whether there was such a living one.
    pub fn invalidate(&self, token: &str, reason: InvalidationReason) -> bool {
        let now = self.0.now();
        lock(&self.0.tokens).invalidate(token, reason, now)
    }

    /// What Graph answers to a token that it rejects: `401, code 190, subcode 463`.
    #[must_use]
    pub fn rejection(&self, token: &str) -> Option<String> {
        let now = self.0.now();
        let checked = lock(&self.0.tokens).check(token, self.0.app_credentials(), now);
        checked.err().map(|failure| failure.summary())
    }

    /// Lets a token expire now (190/463).
    pub fn expire(&self, token: &str) -> bool {
        self.invalidate(token, InvalidationReason::Expired)
    }

    /// Lets a token be revoked now (190/466).
    pub fn revoke(&self, token: &str) -> bool {
        self.invalidate(token, InvalidationReason::Revoked)
    }

    /// Lets all tokens expire now; says how many did.
    pub fn expire_all(&self) -> usize {
        let now = self.0.now();
        lock(&self.0.tokens).invalidate_all(InvalidationReason::Expired, now)
    }

    /// Changes what is known of a token; says whether there is such a one.
    pub fn update_token(&self, token: &str, change: TokenChange) -> bool {
        lock(&self.0.tokens).update(token, change)
    }

    /// Makes trouble for the next data calls, after what is already waiting.
    pub fn fault(&self, fault: Fault) {
        self.inject_fault_on(EndpointKind::Data, fault);
    }

    /// Makes trouble for the next calls of an endpoint, after what is already waiting for it.
    pub fn inject_fault_on(&self, endpoint: EndpointKind, fault: Fault) {
        lock(&self.0.faults).add(endpoint, fault);
    }

    /// Sets headers such as `x-app-usage` for the answers to come: a text as it is, anything else as JSON, `null` for
    /// none.
    ///
    /// # Errors
    ///
    /// What is wrong with one of them, in words.
    pub fn set_usage_headers(&self, headers: &serde_json::Map<String, serde_json::Value>) -> Result<(), String> {
        usage::set_headers(&mut lock(&self.0.usage), headers)
    }

    /// The messages accepted, in order: the last 100,000.
    #[must_use]
    pub fn accepted_messages(&self) -> Vec<AcceptedMessage> {
        lock(&self.0.messages).iter().cloned().collect()
    }

    /// The calls that arrived, in order: the last 1,000, of whatever kind.
    #[must_use]
    pub fn recorded_calls(&self) -> Vec<RecordedCall> {
        lock(&self.0.calls).iter().cloned().collect()
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.counts()
    }

    /// Data calls so far.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.counts().attempts
    }

    /// Data calls so far whose token was dead, unknown or missing.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.counts().rejected
    }

    /// Forgets messages, calls, media, uploads, trouble, usage and counts; tokens stay.
    pub fn reset(&self) {
        self.0.reset();
    }
}

/// What becomes of a call that was read.
async fn answer_call(state: &State, arrival: ParsedRequest) -> Result<Response<ResponseBody>, ConnectionAborted> {
    let ParsedRequest {
        call,
        within_limit: fits,
        ..
    } = arrival;
    if !fits {
        return Ok(Reply::error_page(StatusCode::PAYLOAD_TOO_LARGE).into_response(&call, state.usage_headers()));
    }
    let endpoint = router::classify(&call);
    state.count_call(endpoint);
    let alive = endpoint != EndpointKind::Data || auth::authenticate(state, &call).is_ok();
    if !alive {
        state.rejected.fetch_add(1, Ordering::Relaxed);
    }
    let fault = lock(&state.faults).take_next(endpoint, alive);
    match fault {
        None => Ok(router::dispatch(state, &call).into_response(&call, state.usage_headers())),
        Some(fault) => {
            state.faults_injected.fetch_add(1, Ordering::Relaxed);
            apply_fault(state, call, fault).await
        }
    }
}

/// What becomes of a call that meets trouble.
async fn apply_fault(state: &State, mut call: Call, fault: Fault) -> Result<Response<ResponseBody>, ConnectionAborted> {
    if let Effect::TokenResponse(grant) = fault.effect {
        call.token_response = grant;
    }
    let call = &call;
    let handled_first = match fault.timing {
        FaultTiming::BeforeHandling => None,
        FaultTiming::AfterHandling => Some(router::dispatch(state, call)),
    };
    let reply_or_dispatch = |early: Option<Reply>| early.unwrap_or_else(|| router::dispatch(state, call));
    let reply = match fault.effect {
        Effect::Error { code, subcode, status } => {
            let failure = router::injected_error(call, code, subcode, status);
            Reply::failure(&failure)
        }
        Effect::MalformedToken => Reply::failure(&auth::malformed_token(call)),
        Effect::NullBatchItem => reply_or_dispatch(handled_first).without_first_item(),
        Effect::HtmlPage(status) => Reply::error_page(status),
        Effect::TokenResponse(_) => reply_or_dispatch(handled_first),
        Effect::Delay(by) => {
            tokio::time::sleep(by).await;
            reply_or_dispatch(handled_first)
        }
        Effect::Hang => std::future::pending().await,
        Effect::Reset => return Err(ConnectionAborted),
        Effect::Stall => {
            return Ok(reply_or_dispatch(handled_first)
                .into_response(call, state.usage_headers())
                .map(ResponseBody::stalled));
        }
        Effect::Truncate => {
            return Ok(reply_or_dispatch(handled_first)
                .into_response(call, state.usage_headers())
                .map(ResponseBody::truncated));
        }
    };
    Ok(reply.into_response(call, state.usage_headers()))
}

impl<B> Service<Request<B>> for FakeGraph
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<ResponseBody>;
    type Error = ConnectionAborted;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, ConnectionAborted>> + Send>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let graph = self.clone();
        Box::pin(async move { graph.handle(request).await })
    }
}

impl fmt::Debug for FakeGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeGraph")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
