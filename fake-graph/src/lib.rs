//! A fake of Meta's Graph API, for the demo, for tests, and for the CI of users.
//!
//! It speaks HTTP/1.1 and HTTP/2, over TLS with a CA made on the spot or without, and can be called in-process.
//! Its tokens expire by the clock or on command. It rejects a dead token as Graph does: the same bodies, statuses (401 for a
//! header, 400 for a parameter) and headers. It records every accepted message, which proves "exactly once".
//!
//! # Why
//!
//! The behavior was taken from recordings, client sources and Graph's documentation. This crate does not depend on
//! graphward, so that a misreading of Graph there meets a second opinion here. Behavior that no recording shows was
//! decided by analogy:
//!
//! - A batch with a dead token of its own fails as a whole.
//! - A body that is too large gets the error page of Meta's edge.
//! - An app token cannot send messages (200, 403).
//! - rupload accepts only the scheme `OAuth`, and rejects with 401.
//! - lookaside refuses a missing user agent and the names of Node's fetch libraries.
//! - Videos are published only on graph-video.
//! - A token of Instagram or Threads that is too young is refused with code 100. Its 24 hours shrink with `--token-ttl`,
//!   to a sixtieth of that.
//! - Only users and system users can issue system-user tokens (200).
//! - A system user's new token may act on the objects of its newest token, else on those of the token that issues it.
//! - A code that was refused because of its `redirect_uri` has not been used.
//!
//! It is all of Meta's hosts, distinguished by the host of a call, so that a call to the wrong host fails as it would
//! there. Under any other name it answers for all of them.
//!
//! Answers are computed from a parsed call without waiting. Only bodies and faults take time, and tests may pause it.

mod access;
mod answer;
mod auth;
mod batch;
mod body;
mod call;
mod call_log;
mod clock;
mod codes;
mod control;
mod control_request;
mod control_tokens;
mod debug_token;
mod digest;
mod failure;
mod faults;
mod grants;
mod hosts;
mod instagram_threads;
mod invalidation;
mod media;
mod messages;
mod multipart;
mod oauth;
mod object_uses;
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
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::service::Service;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub use body::{ConnectionAborted, ResponseBody};
pub use call_log::{AuthorizationHeader, ParameterCredential, RecordedBatchItem, RecordedCall};
pub use clock::Clock;
pub use codes::CodeRequest;
pub use control_request::parse_duration;
pub use faults::{Effect, EndpointKind, Fault, FaultTiming, TokenResponse};
pub use hosts::TokenFamily;
pub use invalidation::InvalidationReason;
pub use object_uses::{ObjectUse, Violation};
pub use server::RunningServer;
pub use state::{AcceptedMessage, Counts, FakeGraphConfig, ProofPolicy};
pub use tokens::{AppTokenPolicy, Expiry, TokenChange, TokenType};

use control::ControlApi;
use parse::ClientDisconnected;
use state::{State, lock};
use tokens::TokenInfo;

/// A fake Graph whose tokens expire on command. Clones share its state.
#[derive(Clone)]
pub struct FakeGraph(Arc<State>);

impl FakeGraph {
    /// A fake without tokens.
    #[must_use]
    pub fn new(settings: FakeGraphConfig) -> Self {
        Self(Arc::new(State::new(settings)))
    }

    /// Answers a request.
    ///
    /// # Errors
    ///
    /// [`ConnectionAborted`] if the connection is to be closed: on command, or because the client disconnected.
    pub async fn handle<B>(&self, request: Request<B>) -> Result<Response<ResponseBody>, ConnectionAborted>
    where
        B: Body + Send,
        B::Data: Send,
    {
        let state = &*self.0;
        let arrival = parse::parse_request(request)
            .await
            .map_err(|ClientDisconnected| ConnectionAborted)?;
        let items = batch::parse_items(&arrival.call);
        let seen = record::record(state, &arrival.call, &items, &arrival.raw);
        let number = lock(&state.calls).add(seen);
        access::record(state, &arrival.call, &items);
        let response = answer::answer_call(state, arrival).await?;
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

    /// Issues a token: `EAA…`, about 200 characters. Without a `ttl` it does not expire by itself.
    #[must_use]
    pub fn issue(&self, ttl: Option<Duration>) -> String {
        self.issue_for(TokenFamily::Facebook, ttl)
    }

    /// Issues a token that only the hosts of one family accept: `EAA…`, `IGAA…` or `THAA…`.
    #[must_use]
    pub fn issue_for(&self, family: TokenFamily, ttl: Option<Duration>) -> String {
        self.0.issue(family, ttl)
    }

    /// Registers the caller's own text as a valid token. A dead token becomes valid again.
    pub fn register_token(&self, token: &str, ttl: Option<Duration>) {
        let about = TokenInfo::new(TokenType::SystemUser, self.0.now(), ttl);
        lock(&self.0.tokens).add(token, about);
    }

    /// Returns whether a call with this token would be accepted now.
    #[must_use]
    pub fn is_alive(&self, token: &str) -> bool {
        let now = self.0.now();
        lock(&self.0.tokens).check(token, self.0.app_credentials(), now).is_ok()
    }

    /// Invalidates a token. Returns whether it was alive.
    pub fn invalidate(&self, token: &str, reason: InvalidationReason) -> bool {
        let now = self.0.now();
        lock(&self.0.tokens).invalidate(token, reason, now)
    }

    /// The answer to a token that Graph rejects: `401, code 190, subcode 463`.
    #[must_use]
    pub fn rejection(&self, token: &str) -> Option<String> {
        let now = self.0.now();
        let checked = lock(&self.0.tokens).check(token, self.0.app_credentials(), now);
        checked.err().map(|failure| failure.summary())
    }

    /// Expires a token now (190/463).
    pub fn expire(&self, token: &str) -> bool {
        self.invalidate(token, InvalidationReason::Expired)
    }

    /// Revokes a token now (190/466).
    pub fn revoke(&self, token: &str) -> bool {
        self.invalidate(token, InvalidationReason::Revoked)
    }

    /// Expires all tokens now. Returns their number.
    pub fn expire_all(&self) -> usize {
        let now = self.0.now();
        lock(&self.0.tokens).invalidate_all(InvalidationReason::Expired, now)
    }

    /// Changes a token. Returns whether it is known.
    pub fn update_token(&self, token: &str, change: TokenChange) -> bool {
        lock(&self.0.tokens).update(token, change)
    }

    /// The tokens with this name, in the order of their issue.
    #[must_use]
    pub fn tokens_named(&self, name: &str) -> Vec<String> {
        lock(&self.0.tokens).with_name(name)
    }

    /// Issues an authorization code, which `/oauth/access_token` accepts once.
    #[must_use]
    pub fn issue_code(&self, request: CodeRequest) -> String {
        lock(&self.0.codes).issue(request, self.0.now())
    }

    /// Sets the phone numbers of a business account. A token that may act on the account may act on them.
    pub fn set_phone_numbers(&self, account: &str, ids: &[&str]) {
        let ids = ids.iter().map(ToString::to_string).collect();
        lock(&self.0.tokens).owners.set_phone_numbers(account.to_owned(), ids);
    }

    /// Sets the edges that only a page's token may call: others get code 190 without a subcode, whatever their state.
    pub fn set_page_edges(&self, edges: &[&str]) {
        *lock(&self.0.page_edges) = edges.iter().map(ToString::to_string).collect();
    }

    /// Adds a fault for the next data calls.
    pub fn fault(&self, fault: Fault) {
        self.inject_fault_on(EndpointKind::Data, fault);
    }

    /// Adds a fault for the next calls of an endpoint.
    pub fn inject_fault_on(&self, endpoint: EndpointKind, fault: Fault) {
        lock(&self.0.faults).add(endpoint, fault);
    }

    /// Lets as many calls go on as [`Effect::Hold`] holds, or will hold.
    pub fn release_held(&self, calls: usize) {
        self.0.releases.add_permits(calls);
    }

    /// Sets headers such as `x-app-usage` for the answers to come: a text unchanged, other values as JSON. `null` removes a
    /// header.
    ///
    /// # Errors
    ///
    /// A message that says what is wrong.
    pub fn set_usage_headers(&self, headers: &serde_json::Map<String, serde_json::Value>) -> Result<(), String> {
        usage::set_headers(&mut lock(&self.0.usage), headers)
    }

    /// The last 100,000 accepted messages, in order.
    #[must_use]
    pub fn accepted_messages(&self) -> Vec<AcceptedMessage> {
        lock(&self.0.messages).iter().cloned().collect()
    }

    /// The last 1,000 calls, in order.
    #[must_use]
    pub fn recorded_calls(&self) -> Vec<RecordedCall> {
        lock(&self.0.calls).iter().cloned().collect()
    }

    /// How many calls with each token named each object, by token and object.
    #[must_use]
    pub fn object_uses(&self) -> Vec<ObjectUse> {
        lock(&self.0.object_uses).uses()
    }

    /// The first 1,000 calls with a token that may not act on an object they name, in order.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        lock(&self.0.object_uses).violations().to_vec()
    }

    /// The counts so far.
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

    /// Forgets messages, calls, media, uploads, faults, usage and counts. Tokens, accounts and codes stay.
    pub fn reset(&self) {
        self.0.reset();
    }
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
