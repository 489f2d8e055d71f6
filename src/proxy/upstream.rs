//! The connections to Graph: several pools, with every wait bounded.
//!
//! # Why
//!
//! hyper-util's client opens one HTTP/2 connection per origin and queues requests past the peer's stream limit. Several
//! independent clients, used in turn, solve that. hyper-util's client repeats a request on its own only if nothing of it
//! was written. graphward never repeats one here, because it cannot know whether Graph has acted on it.

use std::error::Error as _;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioTimer;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::body::{Body, BodyFailure, UploadProgress};
use crate::net::{ConnectFailure, ConnectFailureKind, Connector, HttpVersion, Tasks};
use crate::types::error_chain;

/// The connections to the upstream.
#[derive(Debug)]
pub struct Upstream {
    pools: Box<[Client<Connector, Body>]>,
    next_pool: AtomicUsize,
    head_timeout: Duration,
}

/// The settings of the upstream connections.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
pub struct UpstreamSettings {
    /// The version of HTTP towards Graph.
    pub http: HttpVersion,
    /// The number of independent connection pools, 1 to 64.
    #[schemars(range(min = 1, max = 64))]
    pub connections: NonZeroUsize,
    /// The limit from the end of the request's body to the head of the response, 1ms to 1d.
    #[schemars(extend("formatMinimum" = "1ms", "formatMaximum" = "1d"))]
    pub head_timeout: Duration,
}

/// The reason why a request got no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("the request body ended early: {0:?}")]
    Body(BodyFailure),
    #[error("no connection: {0}")]
    Connect(ConnectFailure),
    #[error("timed out waiting for the response")]
    ResponseTimeout,
    #[error("the connection closed before the response")]
    ConnectionClosed,
}

// === impl Upstream ===

impl Upstream {
    /// Creates the pools; connections are opened when they are needed.
    #[must_use]
    pub fn new(connector: &Connector, settings: UpstreamSettings, tasks: &Tasks) -> Self {
        let mut builder = Client::builder(tasks.clone());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(60))
            .http2_only(settings.http == HttpVersion::Two)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .http2_keep_alive_timeout(Duration::from_secs(10))
            .http2_keep_alive_while_idle(true)
            // A 100 MB upload over a long distance needs more than HTTP/2's 64 KiB in flight.
            .http2_initial_stream_window_size(1024 * 1024)
            .http2_initial_connection_window_size(4 * 1024 * 1024)
            // Graph sends `Proxy-Status` values of several KB, and repeats them.
            .http2_max_header_list_size(128 * 1024)
            .http1_max_buf_size(408 * 1024);
        let pools = (0..settings.connections.get())
            .map(|_| builder.build(connector.clone()))
            .collect();
        Self {
            pools,
            next_pool: AtomicUsize::new(0),
            head_timeout: settings.head_timeout,
        }
    }

    /// Sends a request, once, and waits for the head of the response.
    ///
    /// # Errors
    ///
    /// [`UpstreamError`]
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, UpstreamError> {
        let index = self.next_pool.fetch_add(1, Ordering::Relaxed) % self.pools.len();
        let Some(pool) = self.pools.get(index) else {
            return Err(UpstreamError::ConnectionClosed);
        };
        let (head, body) = request.into_parts();
        let (body, progress) = body.track_upload();
        let authority = head.uri.authority().cloned();
        let result = self
            .with_head_timeout(pool.request(Request::from_parts(head, body)), progress.as_deref())
            .await?;
        let response = result.map_err(|error| {
            let body_failure = progress.as_deref().and_then(UploadProgress::failure);
            let host = authority.map(|authority| authority.host().to_owned());
            let (reason, fate) = classify_failure(&error, body_failure, host.unwrap_or_default());
            tracing::debug!(error = error_chain(&error), fate, "upstream attempt failed");
            reason
        })?;
        // 101 would switch to a protocol that the app did not request (RFC 9110, section 15.2.2).
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            Err(UpstreamError::ConnectionClosed)
        } else {
            Ok(response)
        }
    }

    /// Waits while bytes of the request are still moving, or the app still has to send some, and then for the head
    /// timeout. A slow app is not a slow Graph: the body has an idle timeout of its own.
    async fn with_head_timeout<F: Future>(
        &self,
        response: F,
        progress: Option<&UploadProgress>,
    ) -> Result<F::Output, UpstreamError> {
        let mut response = std::pin::pin!(response);
        let mut deadline = Instant::now() + self.head_timeout;
        loop {
            if let Ok(response) = timeout_at(deadline, response.as_mut()).await {
                return Ok(response);
            }
            match progress.map(|progress| progress.last_progress() + self.head_timeout) {
                Some(later_deadline) if later_deadline > deadline => deadline = later_deadline,
                Some(_) | None => return Err(UpstreamError::ResponseTimeout),
            }
        }
    }
}

/// Finds out why a request got no response. Returns the reason, and whether Graph may have processed the request, for the
/// log.
fn classify_failure(error: &ClientError, body: Option<BodyFailure>, host: String) -> (UpstreamError, &'static str) {
    const NOT_SENT: &str = "not_sent";
    const UNKNOWN: &str = "unknown";
    if let Some(failure) = body {
        return (UpstreamError::Body(failure), UNKNOWN);
    }
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(failure) = cause.downcast_ref::<ConnectFailure>() {
            return (UpstreamError::Connect(failure.clone()), NOT_SENT);
        }
        // The connection ended before anything of the request was written.
        if cause.downcast_ref().is_some_and(hyper::Error::is_canceled) {
            return (UpstreamError::ConnectionClosed, NOT_SENT);
        }
        if cause.downcast_ref().is_some_and(is_refused_stream) {
            return (UpstreamError::ConnectionClosed, "not_processed");
        }
        source = cause.source();
    }
    if error.is_connect() {
        let failure = ConnectFailure {
            host,
            kind: ConnectFailureKind::Refused,
            cause: error_chain(error),
        };
        (UpstreamError::Connect(failure), NOT_SENT)
    } else {
        (UpstreamError::ConnectionClosed, UNKNOWN)
    }
}

fn is_refused_stream(error: &h2::Error) -> bool {
    error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM)
}
