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

mod answer;
mod batch;
mod body;
mod call;
mod calls;
mod control;
mod death;
mod debug;
mod failure;
mod faults;
mod hosts;
mod media;
mod messages;
mod multipart;
mod oauth;
mod objects;
mod pacific;
mod pages;
mod proof;
mod random;
mod reading;
mod router;
mod running;
mod siblings;
mod state;
pub mod tls;
mod tokens;
mod uploads;
mod usage;
mod videos;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body::Body;
use hyper::service::Service;
use tokio_rustls::TlsAcceptor;

pub use body::{Hangup, SimBody};
pub use calls::{Authorization, Item, Placed, Seen};
pub use control::duration;
pub use death::Death;
pub use faults::{Effect, Endpoint, Fault, Grant, Moment};
pub use hosts::Family;
pub use running::Running;
pub use state::{Accepted, Counts, Proof, Settings};
pub use tokens::{Change, Kind, Until};

use crate::net::Listener;
use answer::Reply;
use call::Call;
use control::Control;
use reading::{Arrival, Gone};
use state::{State, locked};
use tokens::About;

/// A Graph whose tokens die on command. Clones are the same Graph.
#[derive(Clone)]
pub struct Sim(Arc<State>);

impl Sim {
    /// An empty one.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(State::new(settings)))
    }

    /// Answers a request.
    ///
    /// # Errors
    ///
    /// [`Hangup`] where a server would lose the connection: on command, or because the client did.
    pub async fn handle<B: Body>(&self, request: Request<B>) -> Result<Response<SimBody>, Hangup> {
        let state = &*self.0;
        let arrival = reading::read(request).await.map_err(|Gone| Hangup)?;
        let seen = calls::seen(state, &arrival.call, &arrival.wire);
        let number = locked(&state.calls).add(seen);
        let response = answered(state, arrival).await?;
        locked(&state.calls).answered(number, response.status());
        Ok(response)
    }

    /// Serves a listener in the background, over TLS or not.
    #[must_use]
    pub fn start(&self, listener: Listener, tls: Option<TlsAcceptor>) -> Running {
        Running::start(listener, self.clone(), tls)
    }

    /// Serves the control API on a listener, in the background.
    #[must_use]
    pub fn start_control(&self, listener: Listener) -> Running {
        Running::start(listener, Control::new(Arc::clone(&self.0)), None)
    }

    /// Issues a token: `EAA…`, some 200 characters. Without a `ttl` it lives until told otherwise.
    #[must_use]
    pub fn issue(&self, ttl: Option<Duration>) -> String {
        self.issue_for(Family::Facebook, ttl)
    }

    /// Issues a token that is good on one family's hosts only: `EAA…`, `IGAA…` or `THAA…`.
    #[must_use]
    pub fn issue_for(&self, family: Family, ttl: Option<Duration>) -> String {
        self.0.issue(family, ttl)
    }

    /// Takes a caller's own text as a token; one that had died lives again.
    pub fn accept(&self, token: &str, ttl: Option<Duration>) {
        let about = About::new(Kind::SystemUser, self.0.now(), ttl);
        locked(&self.0.tokens).add(token, about);
    }

    /// Lets a token die; says whether there was such a living one.
    pub fn kill(&self, token: &str, death: Death) -> bool {
        let now = self.0.now();
        locked(&self.0.tokens).kill(token, death, now)
    }

    /// Lets a token expire now (190/463).
    pub fn expire(&self, token: &str) -> bool {
        self.kill(token, Death::Expired)
    }

    /// Lets a token be revoked now (190/466).
    pub fn revoke(&self, token: &str) -> bool {
        self.kill(token, Death::Revoked)
    }

    /// Lets all tokens expire now; says how many did.
    pub fn expire_all(&self) -> usize {
        let now = self.0.now();
        locked(&self.0.tokens).kill_all(Death::Expired, now)
    }

    /// Changes what is known of a token; says whether there is such a one.
    pub fn change(&self, token: &str, change: Change) -> bool {
        locked(&self.0.tokens).change(token, change)
    }

    /// Makes trouble for the next data calls, after what is already waiting.
    pub fn fault(&self, fault: Fault) {
        self.fault_on(Endpoint::Data, fault);
    }

    /// Makes trouble for the next calls of an endpoint, after what is already waiting for it.
    pub fn fault_on(&self, endpoint: Endpoint, fault: Fault) {
        locked(&self.0.faults).add(endpoint, fault);
    }

    /// Sets headers such as `x-app-usage` for the answers to come: a text as it is, anything else as JSON, `null` for
    /// none.
    ///
    /// # Errors
    ///
    /// What is wrong with one of them, in words.
    pub fn usage(
        &self,
        headers: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<(), String> {
        usage::set(&mut locked(&self.0.usage), headers)
    }

    /// The messages accepted, in order: the last 100,000.
    #[must_use]
    pub fn accepted(&self) -> Vec<Accepted> {
        locked(&self.0.messages).iter().cloned().collect()
    }

    /// The calls that arrived, in order: the last 1,000, of whatever kind.
    #[must_use]
    pub fn calls(&self) -> Vec<Seen> {
        locked(&self.0.calls).iter().cloned().collect()
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
async fn answered(state: &State, arrival: Arrival) -> Result<Response<SimBody>, Hangup> {
    let Arrival { call, fits, .. } = arrival;
    if !fits {
        return Ok(Reply::page(StatusCode::PAYLOAD_TOO_LARGE).response(state, &call));
    }
    let endpoint = router::endpoint(&call);
    state.called(endpoint);
    let alive = endpoint != Endpoint::Data || router::admit(state, &call).is_ok();
    if !alive {
        state.rejected.fetch_add(1, Ordering::Relaxed);
    }
    let fault = locked(&state.faults).next(endpoint, alive);
    match fault {
        None => Ok(router::dispatch(state, &call).response(state, &call)),
        Some(fault) => {
            state.faulted.fetch_add(1, Ordering::Relaxed);
            befallen(state, call, fault).await
        }
    }
}

/// What becomes of a call that meets trouble.
async fn befallen(
    state: &State,
    mut call: Call,
    fault: Fault,
) -> Result<Response<SimBody>, Hangup> {
    if let Effect::Grant(grant) = fault.effect {
        call.grant = grant;
    }
    let call = &call;
    let early = match fault.moment {
        Moment::Before => None,
        Moment::After => Some(router::dispatch(state, call)),
    };
    let answer = |early: Option<Reply>| early.unwrap_or_else(|| router::dispatch(state, call));
    let reply = match fault.effect {
        Effect::Error {
            code,
            subcode,
            status,
        } => {
            let failure = router::commanded(call, code, subcode, status);
            Reply::failure(&failure)
        }
        Effect::Malformed => Reply::failure(&router::malformed(call)),
        Effect::Null => answer(early).without_first_item(),
        Effect::Page(status) => Reply::page(status),
        Effect::Grant(_) => answer(early),
        Effect::Delay(by) => {
            tokio::time::sleep(by).await;
            answer(early)
        }
        Effect::Hang => std::future::pending().await,
        Effect::Reset => return Err(Hangup),
        Effect::Stall => return Ok(answer(early).response(state, call).map(SimBody::stalled)),
        Effect::Cut => return Ok(answer(early).response(state, call).map(SimBody::cut)),
    };
    Ok(reply.response(state, call))
}

impl<B> Service<Request<B>> for Sim
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<SimBody>;
    type Error = Hangup;
    type Future = Pin<Box<dyn Future<Output = Result<Response<SimBody>, Hangup>> + Send>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let sim = self.clone();
        Box::pin(async move { sim.handle(request).await })
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
