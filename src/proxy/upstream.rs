//! The way to Graph: pooled connections, in lanes, with every wait bounded.
//!
//! # Why
//!
//! hyper-util's client opens one HTTP/2 connection per origin and queues past the peer's stream limit. A few
//! independent clients, taken in turn, are the whole remedy. It repeats a request by itself only if nothing of
//! it was written; past that we never repeat one either: whether Graph created the post is not known.

use std::error::Error as _;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioTimer;
use tokio::time::{Instant, timeout_at};

use super::body::{Body, BodyFailure, UploadProgress};
use super::refusal::Refusal;
use crate::net::{ConnectError, Connector, HttpVersion, Tasks};
use crate::types::error_chain;

/// Connections to the upstream.
#[derive(Debug)]
pub struct Upstream {
    pools: Box<[Client<Connector, Body>]>,
    next_pool: AtomicUsize,
    head_timeout: Duration,
}

/// How the upstream is spoken to.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// Which versions of HTTP.
    pub http: HttpVersion,
    /// Independent connection pools, at least one.
    pub connections: usize,
    /// The longest wait from the end of a request's body to the answer's head.
    pub head_timeout: Duration,
}

impl Upstream {
    /// Makes the lanes; connections are made when they are needed.
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
            // A 100 MB upload over a long line wants more than HTTP/2's 64 KiB in flight.
            .http2_initial_stream_window_size(1024 * 1024)
            .http2_initial_connection_window_size(4 * 1024 * 1024)
            // Graph sends `Proxy-Status` values of several KB, and repeats them.
            .http2_max_header_list_size(128 * 1024)
            .http1_max_buf_size(408 * 1024);
        let pools = (0..settings.connections.max(1))
            .map(|_| builder.build(connector.clone()))
            .collect();
        Self {
            pools,
            next_pool: AtomicUsize::new(0),
            head_timeout: settings.head_timeout,
        }
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] that says whose fault it was. It is never sent again from here.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, Refusal> {
        let index = self.next_pool.fetch_add(1, Ordering::Relaxed) % self.pools.len();
        let Some(pool) = self.pools.get(index) else {
            return Err(Refusal::ConnectionTerminated);
        };
        let (head, body) = request.into_parts();
        let (body, progress) = body.track_upload();
        let authority = head.uri.authority().cloned();
        let result = self
            .with_head_timeout(pool.request(Request::from_parts(head, body)), progress.as_ref())
            .await?;
        let response = result.map_err(|error| {
            let body_failure = progress.as_ref().and_then(UploadProgress::failure);
            let host = authority.map_or_else(String::new, |to| to.host().to_owned());
            map_client_error(&error, body_failure, host)
        })?;
        // 101 would hand the connection over to a protocol that nobody asked for (RFC 9110, section 15.2.2).
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            Err(Refusal::ConnectionTerminated)
        } else {
            Ok(response)
        }
    }

    /// Waits for `answer` for as long as bytes of the request still move, or are the app's to send, and then for
    /// the head timeout. A slow app is no slow Graph: its idle timeout is the body's own.
    async fn with_head_timeout<F: Future>(
        &self,
        response: F,
        progress: Option<&UploadProgress>,
    ) -> Result<F::Output, Refusal> {
        let mut response = std::pin::pin!(response);
        let mut deadline = Instant::now() + self.head_timeout;
        loop {
            if let Ok(answer) = timeout_at(deadline, response.as_mut()).await {
                return Ok(answer);
            }
            match progress.map(|sent| sent.last_progress() + self.head_timeout) {
                Some(later_deadline) if later_deadline > deadline => deadline = later_deadline,
                Some(_) | None => return Err(Refusal::ResponseTimeout),
            }
        }
    }
}

/// Whose fault a failed sending was.
fn map_client_error(
    error: &hyper_util::client::legacy::Error,
    body_failure: Option<BodyFailure>,
    host: String,
) -> Refusal {
    tracing::debug!(error = error_chain(error), "an attempt failed");
    match body_failure {
        // The app's fault, not Graph's: it must not count against the upstream.
        Some(BodyFailure::Interrupted) => return Refusal::BodyInterrupted,
        Some(BodyFailure::IdleTimeout) => return Refusal::BodyTimeout,
        Some(BodyFailure::Spool) => return Refusal::ConnectionTerminated,
        Some(BodyFailure::ScrubFailed(error)) => return error.into(),
        None => {}
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<ConnectError>() {
            return match error {
                ConnectError::NotHttps => Refusal::TlsProtocol(host),
                ConnectError::Tls { source, .. } => map_tls_error(source, host),
                ConnectError::Unreachable { .. } => Refusal::ConnectFailed(host),
                ConnectError::TimedOut { .. } => Refusal::ConnectTimeout(host),
            };
        }
        cause = error.source();
    }
    if error.is_connect() {
        Refusal::ConnectFailed(host)
    } else {
        Refusal::ConnectionTerminated
    }
}

/// What went wrong in a handshake, as RFC 9209 tells it apart.
fn map_tls_error(error: &io::Error, host: String) -> Refusal {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    if let Some(rustls::Error::InvalidCertificate(_)) = cause {
        Refusal::UntrustedCertificate(host)
    } else if let Some(rustls::Error::AlertReceived(_)) = cause {
        Refusal::TlsAlert(host)
    } else {
        Refusal::TlsProtocol(host)
    }
}
