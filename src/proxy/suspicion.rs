//! A token that Graph has rejected, with no newer one in sight: what becomes of requests meanwhile.
//!
//! # Why
//!
//! It is not thrown away, because Graph has had bad hours in which good tokens got 190; and it is not hammered with
//! either, because nobody knows what Graph makes of an app that does not stop. One request a second finds out whether it
//! still is dead, and the others hear what Graph said last: that costs them nothing, and is true.
//!
//! Suspicion begins with Graph's word about a request of its own. That an item of a batch was rejected is no reason to
//! keep anything back: most such items have a token of the app's own.
//!
//! Whoever may be sent twice probes before anybody waits: a wrong suspicion is over within one round trip. Those who wait
//! meanwhile are let go by the first success, as they are by a newer token.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::body::Body;
use super::deliver::describe_anew;
use super::headers::clean_response;
use super::judge::{Judged, Rejected};
use super::outbound::Outbound;
use super::payload::Replay;
use super::record::{Outcome, Record};
use super::refusal::{PROXY_STATUS, Refusal};
use super::tenant::Tenant;
use crate::graph::{Explanation, GraphError, Rejection, explain};
use crate::token::{Credential, Generation, NoSuccessor};

/// What becomes of requests while the token is known to be dead and no newer one is there (`heal.dead_token`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum DeadToken {
    /// One a second is sent, to see whether it still is; the others are answered with Graph's last rejection.
    #[default]
    Probe,
    /// All are sent.
    Forward,
    /// All are refused.
    Refuse,
}

/// What Graph said when it rejected the credential last, and when that was last put to the test.
#[derive(Debug)]
pub struct Suspicion {
    last: ArcSwapOption<Last>,
    began: Instant,
    /// When a probe was sent last, in milliseconds since `began`.
    probed: AtomicU64,
    /// Graph took the credential after all.
    over: Notify,
}

/// A rejection.
#[derive(Debug)]
struct Last {
    generation: Generation,
    why: Rejection,
    error: GraphError,
    /// None if it was the answer to a HEAD.
    answer: Option<Answer>,
}

/// A rejection as it was delivered, marked.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// What a request begins with.
#[derive(Debug)]
pub(crate) enum Footing {
    /// It is sent, with this credential.
    Credential(Arc<Credential>),
    /// It is not sent: this is its answer.
    Answered(Box<Response<Body>>),
}

/// From one probe to the next, in milliseconds.
const PAUSE: u64 = 1000;
/// Nothing was sent: this is an old answer.
const MARK: HeaderValue = HeaderValue::from_static(
    "graphward; error=http_request_denied; details=\"the token is dead: this is Graph's last word on it, nothing was sent\"",
);

// === impl Tenant ===

impl Tenant {
    /// What a request begins with: the credential in use, unless that one is known to be dead.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoCredential`] if there is none, [`Refusal::DeadToken`] if it is dead and such requests are refused.
    pub(crate) async fn footing(
        &self,
        outbound: &Outbound,
        replay: Option<&Replay>,
        record: &mut Record,
    ) -> Result<Footing, Refusal> {
        let credential = match replay {
            Some(_) => self.tokens.live(self.soon()).await?,
            // No second chance: start with a credential nobody has complained about.
            None => self.tokens.vetted(self.soon()).await?,
        };
        let of = credential.generation();
        if self.dead_token == DeadToken::Forward || !self.tokens.is_suspect(of) {
            return Ok(Footing::Credential(credential));
        }
        // Listened for before it is asked for, so that it cannot be missed in between.
        let over = self.suspicion.over.notified();
        if self.suspicion.of(of).is_none() || (replay.is_some() && self.probes()) {
            return Ok(Footing::Credential(credential));
        }
        // Both may be dropped at any moment: they only wait.
        let fresh = tokio::select! {
            fresh = self.successor(of) => fresh.ok(),
            () = over => None,
        };
        if let Some(fresh) = fresh {
            return Ok(Footing::Credential(fresh));
        }
        let Some(last) = self.suspicion.of(of).filter(|_| !self.probes()) else {
            return Ok(Footing::Credential(credential));
        };
        outbound.check_family(self, &credential)?;
        record.rejected(of, last.why);
        if self.dead_token == DeadToken::Refuse {
            return Err(last.refusal());
        }
        let Some(answer) = &last.answer else {
            return Ok(Footing::Credential(credential));
        };
        record.ended(Outcome::UnhealedNotSent, answer.status);
        Ok(Footing::Answered(Box::new(answer.response())))
    }

    /// A newer credential, waited for as long as one is being obtained; and for the hold beyond that, since a
    /// person may be dropping it this very second.
    pub(crate) async fn successor(&self, of: Generation) -> Result<Arc<Credential>, NoSuccessor> {
        match self.tokens.successor(of, self.soon()).await {
            Err(NoSuccessor::Failed(_)) => self.tokens.held(of, self.hold, self.soon()).await,
            settled => settled,
        }
    }

    /// Graph rejected a request of its own that had this credential.
    pub(crate) fn suspect(&self, credential: &Credential, why: Rejection, judged: &Judged) {
        let generation = credential.generation();
        let rejected = judged.rejected.as_deref();
        let error = rejected.map_or_else(GraphError::dead_token, |said| said.error.clone());
        self.tokens.reject(generation, &error);
        self.suspicion.keep(Last {
            generation,
            why,
            error,
            answer: rejected.and_then(|said| Answer::of(&judged.response, said)),
        });
    }

    /// Graph took this credential.
    pub(crate) fn trust(&self, credential: &Credential) {
        let generation = credential.generation();
        if self.tokens.is_suspect(generation) {
            self.tokens.accept(generation);
            self.suspicion.end(generation);
        }
    }

    fn probes(&self) -> bool {
        self.dead_token == DeadToken::Probe && self.suspicion.may_probe()
    }

    fn soon(&self) -> Instant {
        Instant::now() + self.token_wait
    }
}

// === impl Suspicion ===

impl Default for Suspicion {
    fn default() -> Self {
        Self {
            last: ArcSwapOption::empty(),
            began: Instant::now(),
            probed: AtomicU64::new(0),
            over: Notify::new(),
        }
    }
}

impl Suspicion {
    /// What Graph said of this generation last.
    fn of(&self, generation: Generation) -> Option<Arc<Last>> {
        let last = self.last.load_full();
        last.filter(|last| last.generation == generation)
    }

    /// The first rejection of a generation is as good as a probe.
    fn keep(&self, last: Last) {
        match self.last.load_full() {
            Some(known) if known.generation > last.generation => return,
            Some(known) if known.generation == last.generation => {
                if last.answer.is_none() && known.answer.is_some() {
                    return;
                }
            }
            Some(_) | None => self.probed.store(self.now(), Ordering::Relaxed),
        }
        self.last.store(Some(Arc::new(last)));
    }

    /// Lets go of all who wait: this generation is good after all.
    fn end(&self, generation: Generation) {
        if self.of(generation).is_some() {
            self.last.store(None);
        }
        self.over.notify_waiters();
    }

    /// Whether the next probe is due, and this is it.
    fn may_probe(&self) -> bool {
        let (last, now) = (self.probed.load(Ordering::Relaxed), self.now());
        let due = now.saturating_sub(last) >= PAUSE;
        due && self
            .probed
            .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

// === impl Last ===

impl Last {
    fn refusal(&self) -> Refusal {
        let Explanation { happened, action } = explain(&self.error);
        Refusal::DeadToken {
            why: format!("{happened} {action}"),
        }
    }
}

// === impl Answer ===

impl Answer {
    /// The answer that is about to be delivered, for any other app to read: as it is, but for its content coding. None if
    /// only the one who asked can read it: what it wanted was a call of JavaScript.
    fn of(response: &Response<Body>, said: &Rejected) -> Option<Self> {
        let body = said.envelope.clone()?;
        if body.trim_ascii_start().first() != Some(&b'{') {
            return None;
        }
        let mut headers = response.headers().clone();
        clean_response(&mut headers);
        if headers.contains_key(CONTENT_ENCODING) {
            describe_anew(&mut headers);
        }
        // RFC 9209: the last one is nearest to the app, and Graph has some of its own.
        headers.append(PROXY_STATUS, MARK);
        Some(Self {
            status: response.status(),
            headers,
            body,
        })
    }

    fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        response.headers_mut().clone_from(&self.headers);
        response
    }
}
