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
use super::buffer::Replay;
use super::classify::{ClassifiedResponse, TokenRejection};
use super::deliver::strip_representation_headers;
use super::headers::strip_response_headers;
use super::outbound::OutboundRequest;
use super::record::{Outcome, RequestRecord};
use super::refusal::{PROXY_STATUS, Refusal};
use super::tenant::Tenant;
use crate::graph::{Explanation, GraphError, RejectionReason, explain};
use crate::token::{Credential, Generation, RefreshError};

/// What becomes of requests while the token is known to be dead and no newer one is there (`heal.dead_token`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeadTokenPolicy {
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
pub struct DeadTokenCache {
    last: ArcSwapOption<LastRejection>,
    created_at: Instant,
    /// When a probe was sent last, in milliseconds since `began`.
    last_probe_millis: AtomicU64,
    /// Graph took the credential after all.
    recovered: Notify,
}

/// A rejection.
#[derive(Debug)]
struct LastRejection {
    generation: Generation,
    rejection: RejectionReason,
    error: GraphError,
    /// None if it was the answer to a HEAD.
    response: Option<CachedResponse>,
}

/// A rejection as it was delivered, marked.
#[derive(Debug)]
struct CachedResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// What a request begins with.
#[derive(Debug)]
pub(crate) enum Admission {
    /// It is sent, with this credential.
    Send(Arc<Credential>),
    /// It is not sent: this is its answer.
    Respond(Box<Response<Body>>),
}

/// From one probe to the next, in milliseconds.
const PROBE_INTERVAL_MILLIS: u64 = 1000;
/// Nothing was sent: this is an old answer.
const CACHED_RESPONSE_STATUS: HeaderValue = HeaderValue::from_static(
    "graphward; error=http_request_denied; details=\"the token is dead: this is Graph's last word on it, nothing was sent\"",
);

// === impl Tenant ===

impl Tenant {
    /// What a request begins with: the credential in use, unless that one is known to be dead.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoCredential`] if there is none, [`Refusal::DeadToken`] if it is dead and such requests are refused.
    pub(crate) async fn select_credential(
        &self,
        outbound: &OutboundRequest,
        replay: Option<&Replay>,
        record: &mut RequestRecord,
    ) -> Result<Admission, Refusal> {
        let credential = match replay {
            Some(_) => self.tokens.current_or_wait(self.token_deadline()).await?,
            // No second chance: start with a credential nobody has complained about.
            None => self.tokens.prefer_unrejected(self.token_deadline()).await?,
        };
        let generation = credential.generation();
        if self.dead_token_policy == DeadTokenPolicy::Forward || !self.tokens.is_rejected(generation) {
            return Ok(Admission::Send(credential));
        }
        // Listened for before it is asked for, so that it cannot be missed in between.
        let recovered = self.dead_token_cache.recovered.notified();
        if self.dead_token_cache.rejection_of(generation).is_none() || (replay.is_some() && self.should_probe()) {
            return Ok(Admission::Send(credential));
        }
        // Both may be dropped at any moment: they only wait.
        let fresh = tokio::select! {
            fresh = self.wait_for_newer_credential(generation) => fresh.ok(),
            () = recovered => None,
        };
        if let Some(fresh) = fresh {
            return Ok(Admission::Send(fresh));
        }
        let Some(last) = self
            .dead_token_cache
            .rejection_of(generation)
            .filter(|_| !self.should_probe())
        else {
            return Ok(Admission::Send(credential));
        };
        outbound.check_family(self, &credential)?;
        record.set_rejection(generation, last.rejection);
        if self.dead_token_policy == DeadTokenPolicy::Refuse {
            return Err(last.to_proxy_error());
        }
        let Some(response) = &last.response else {
            return Ok(Admission::Send(credential));
        };
        record.set_outcome(Outcome::UnhealedNotSent, response.status);
        Ok(Admission::Respond(Box::new(response.to_response())))
    }

    /// A newer credential, waited for as long as one is being obtained; and for the hold beyond that, since a
    /// person may be dropping it this very second.
    pub(crate) async fn wait_for_newer_credential(
        &self,
        generation: Generation,
    ) -> Result<Arc<Credential>, RefreshError> {
        match self.tokens.wait_for_newer(generation, self.token_deadline()).await {
            Err(RefreshError::Failed(_)) => {
                self.tokens
                    .wait_during_hold(generation, self.hold_timeout, self.token_deadline())
                    .await
            }
            result => result,
        }
    }

    /// Graph rejected a request of its own that had this credential.
    pub(crate) fn mark_rejected(
        &self,
        credential: &Credential,
        rejection: RejectionReason,
        classified: &ClassifiedResponse,
    ) {
        let generation = credential.generation();
        let token_rejection = classified.token_rejection.as_deref();
        let error = token_rejection.map_or_else(GraphError::invalid_token, |rejected| rejected.error.clone());
        self.tokens.mark_rejected(generation, &error);
        self.dead_token_cache.store(LastRejection {
            generation,
            rejection,
            error,
            response: token_rejection
                .and_then(|rejected| CachedResponse::from_response(&classified.response, rejected)),
        });
    }

    /// Graph took this credential.
    pub(crate) fn mark_accepted(&self, credential: &Credential) {
        let generation = credential.generation();
        if self.tokens.is_rejected(generation) {
            self.tokens.mark_accepted(generation);
            self.dead_token_cache.clear(generation);
        }
    }

    fn should_probe(&self) -> bool {
        self.dead_token_policy == DeadTokenPolicy::Probe && self.dead_token_cache.try_acquire_probe()
    }

    fn token_deadline(&self) -> Instant {
        Instant::now() + self.token_wait
    }
}

// === impl DeadTokenCache ===

impl Default for DeadTokenCache {
    fn default() -> Self {
        Self {
            last: ArcSwapOption::empty(),
            created_at: Instant::now(),
            last_probe_millis: AtomicU64::new(0),
            recovered: Notify::new(),
        }
    }
}

impl DeadTokenCache {
    /// What Graph said of this generation last.
    fn rejection_of(&self, generation: Generation) -> Option<Arc<LastRejection>> {
        let last = self.last.load_full();
        last.filter(|last| last.generation == generation)
    }

    /// The first rejection of a generation is as good as a probe.
    fn store(&self, last: LastRejection) {
        match self.last.load_full() {
            Some(known) if known.generation > last.generation => return,
            Some(known) if known.generation == last.generation => {
                if last.response.is_none() && known.response.is_some() {
                    return;
                }
            }
            Some(_) | None => self.last_probe_millis.store(self.elapsed_millis(), Ordering::Relaxed),
        }
        self.last.store(Some(Arc::new(last)));
    }

    /// Lets go of all who wait: this generation is good after all.
    fn clear(&self, generation: Generation) {
        if self.rejection_of(generation).is_some() {
            self.last.store(None);
        }
        self.recovered.notify_waiters();
    }

    /// Whether the next probe is due, and this is it.
    fn try_acquire_probe(&self) -> bool {
        let (last, now) = (self.last_probe_millis.load(Ordering::Relaxed), self.elapsed_millis());
        let due = now.saturating_sub(last) >= PROBE_INTERVAL_MILLIS;
        due && self
            .last_probe_millis
            .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    fn elapsed_millis(&self) -> u64 {
        u64::try_from(self.created_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

// === impl LastRejection ===

impl LastRejection {
    fn to_proxy_error(&self) -> Refusal {
        let Explanation {
            summary: happened,
            remediation: action,
        } = explain(&self.error);
        Refusal::DeadToken {
            reason: format!("{happened} {action}"),
        }
    }
}

// === impl Answer ===

impl CachedResponse {
    /// The answer that is about to be delivered, for any other app to read: as it is, but for its content coding. None if
    /// only the one who asked can read it: what it wanted was a call of JavaScript.
    fn from_response(response: &Response<Body>, rejection: &TokenRejection) -> Option<Self> {
        let body = rejection.envelope.clone()?;
        if body.trim_ascii_start().first() != Some(&b'{') {
            return None;
        }
        let mut headers = response.headers().clone();
        strip_response_headers(&mut headers);
        if headers.contains_key(CONTENT_ENCODING) {
            strip_representation_headers(&mut headers);
        }
        // RFC 9209: the last one is nearest to the app, and Graph has some of its own.
        headers.append(PROXY_STATUS, CACHED_RESPONSE_STATUS);
        Some(Self {
            status: response.status(),
            headers,
            body,
        })
    }

    fn to_response(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        response.headers_mut().clone_from(&self.headers);
        response
    }
}
