//! Graph's last rejection of the current token, and when that was last verified.
//!
//! # Why
//!
//! A rejected token is not discarded, because Graph has had outages in which it rejected valid tokens with code 190. It
//! is not used at full rate either, because Meta does not document how it treats an app that does not stop. One request
//! per second finds out whether the token is still dead, and the others get Graph's last rejection: that costs nothing,
//! and is true.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use tokio::time::Instant;

use super::headers::{strip_representation_headers, strip_response_headers};
use super::refusal::{PROXY_STATUS, Refusal};
use crate::graph::{Explanation, GraphError, RejectionReason, explain};
use crate::token::{RejectedRequest, SuspicionId};

/// The treatment of requests while the token is known to be dead and there is no newer one (`heal.dead_token`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeadTokenPolicy {
    /// One per second is sent, as a probe; the others get Graph's last rejection.
    #[default]
    Probe,
    /// All are sent.
    Forward,
    /// All are refused.
    Refuse,
}

/// Graph's last rejection of the credential, and the time of the last probe.
#[derive(Debug)]
pub struct DeadTokenCache {
    last: ArcSwapOption<LastRejection>,
    created_at: Instant,
    /// In milliseconds since `created_at`.
    last_probe_millis: AtomicU64,
}

/// A rejection of a credential.
#[derive(Debug)]
pub(crate) struct LastRejection {
    /// The suspicion that it belongs to: a rejection before the last acceptance is out of date.
    pub(crate) suspicion: SuspicionId,
    pub(crate) reason: RejectionReason,
    pub(crate) error: GraphError,
    /// `None` if Graph's response cannot be given to another request.
    pub(crate) response: Option<Response<Bytes>>,
}

/// The interval between two probes, in milliseconds.
const PROBE_INTERVAL_MILLIS: u64 = 1000;
/// Marks a cached response.
const CACHED_RESPONSE_STATUS: HeaderValue = HeaderValue::from_static(
    "graphward; error=http_request_denied; details=\"token rejected: cached response, request not sent\"",
);

// === impl DeadTokenCache ===

impl Default for DeadTokenCache {
    fn default() -> Self {
        Self {
            last: ArcSwapOption::empty(),
            created_at: Instant::now(),
            last_probe_millis: AtomicU64::new(0),
        }
    }
}

impl DeadTokenCache {
    /// Graph's last rejection of the token that a request was not sent with.
    pub(crate) fn rejection_of(&self, unsent: &RejectedRequest) -> Option<Arc<LastRejection>> {
        let last = self.last.load_full();
        last.filter(|last| last.suspicion == unsent.suspicion())
    }

    /// Stores a rejection. The first one of a suspicion counts as a probe.
    pub(crate) fn store(&self, last: LastRejection) {
        match self.last.load_full() {
            Some(known) if known.suspicion > last.suspicion => return,
            Some(known) if known.suspicion == last.suspicion => {
                if last.response.is_none() && known.response.is_some() {
                    return;
                }
            }
            Some(_) | None => self.last_probe_millis.store(self.elapsed_millis(), Ordering::Relaxed),
        }
        self.last.store(Some(Arc::new(last)));
    }

    /// Returns whether a probe is due; then the caller is the one that sends it.
    pub(crate) fn try_acquire_probe(&self) -> bool {
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
    /// The refusal of a request that is not sent because of this.
    pub(crate) fn to_refusal(&self) -> Refusal {
        let Explanation { summary, remediation } = explain(&self.error);
        Refusal::DeadToken {
            reason: format!("{summary} {remediation}"),
        }
    }
}

/// Graph's response to a dead token, with what clients read of it, where no request of the app has been sent with the token.
pub(crate) fn invalid_token_response(reason: &str) -> Response<Bytes> {
    let message = serde_json::Value::String(format!("Error validating access token: {reason}"));
    let body =
        format!(r#"{{"error":{{"message":{message},"type":"OAuthException","code":190,"fbtrace_id":"graphward"}}}}"#);
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json; charset=UTF-8");
    headers.insert(CONTENT_TYPE, json);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.append(PROXY_STATUS, CACHED_RESPONSE_STATUS);
    response
}

/// Graph's response as any other request may get it, without a content coding. `None` for a JSONP response, which only
/// the request that asked for it can use.
pub(crate) fn cached_response<B>(response: &Response<B>, envelope: Bytes) -> Option<Response<Bytes>> {
    if envelope.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    let mut cached = Response::new(envelope);
    // A request may have asked for status 200 whatever happens.
    *cached.status_mut() = match response.status() {
        status if status.is_success() => StatusCode::UNAUTHORIZED,
        status => status,
    };
    let headers = cached.headers_mut();
    headers.clone_from(response.headers());
    strip_response_headers(headers);
    if headers.contains_key(CONTENT_ENCODING) {
        strip_representation_headers(headers);
    }
    // RFC 9209: the last entry is the nearest to the app, and Graph adds entries of its own.
    headers.append(PROXY_STATUS, CACHED_RESPONSE_STATUS);
    Some(cached)
}
