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

use super::body::{Body, Lapse, Sent};
use super::refusal::Refusal;
use crate::net::{ConnectError, Connector, Http, Tasks};
use crate::types::chain;

/// Connections to the upstream.
#[derive(Debug)]
pub struct Upstream {
    lanes: Box<[Client<Connector, Body>]>,
    next: AtomicUsize,
    head_timeout: Duration,
}

/// How the upstream is spoken to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which versions of HTTP.
    pub http: Http,
    /// Independent connection pools, at least one.
    pub lanes: usize,
    /// The longest wait from the end of a request's body to the answer's head.
    pub head_timeout: Duration,
}

impl Upstream {
    /// Makes the lanes; connections are made when they are needed.
    #[must_use]
    pub fn new(connector: &Connector, settings: Settings, tasks: &Tasks) -> Self {
        let mut builder = Client::builder(tasks.clone());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(60))
            .http2_only(settings.http == Http::Two)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .http2_keep_alive_timeout(Duration::from_secs(10))
            .http2_keep_alive_while_idle(true)
            // A 100 MB upload over a long line wants more than HTTP/2's 64 KiB in flight.
            .http2_initial_stream_window_size(1024 * 1024)
            .http2_initial_connection_window_size(4 * 1024 * 1024)
            // Graph sends `Proxy-Status` values of several KB, and repeats them.
            .http2_max_header_list_size(128 * 1024)
            .http1_max_buf_size(408 * 1024);
        let lanes = (0..settings.lanes.max(1))
            .map(|_| builder.build(connector.clone()))
            .collect();
        Self {
            lanes,
            next: AtomicUsize::new(0),
            head_timeout: settings.head_timeout,
        }
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] that says whose fault it was. It is never sent again from here.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, Refusal> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.lanes.len();
        let Some(lane) = self.lanes.get(turn) else {
            return Err(Refusal::Broken);
        };
        let (head, body) = request.into_parts();
        let (body, sent) = body.watched();
        let authority = head.uri.authority().cloned();
        let answer = self
            .within(lane.request(Request::from_parts(head, body)), sent.as_ref())
            .await?;
        let response = answer.map_err(|error| {
            let lapse = sent.as_ref().and_then(Sent::lapse);
            let host = authority.map_or_else(String::new, |to| to.host().to_owned());
            blame(&error, lapse, host)
        })?;
        // 101 would hand the connection over to a protocol that nobody asked for (RFC 9110, section 15.2.2).
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            Err(Refusal::Broken)
        } else {
            Ok(response)
        }
    }

    /// Waits for `answer` for as long as bytes of the request still move, or are the app's to send, and then for
    /// the head timeout. A slow app is no slow Graph: its idle timeout is the body's own.
    async fn within<F: Future>(
        &self,
        answer: F,
        sent: Option<&Sent>,
    ) -> Result<F::Output, Refusal> {
        let mut answer = std::pin::pin!(answer);
        let mut by = Instant::now() + self.head_timeout;
        loop {
            if let Ok(answer) = timeout_at(by, answer.as_mut()).await {
                return Ok(answer);
            }
            match sent.map(|sent| sent.last() + self.head_timeout) {
                Some(later) if later > by => by = later,
                Some(_) | None => return Err(Refusal::HeadTimeout),
            }
        }
    }
}

/// Whose fault a failed sending was.
fn blame(error: &hyper_util::client::legacy::Error, lapse: Option<Lapse>, host: String) -> Refusal {
    tracing::debug!(error = chain(error), "an attempt failed");
    match lapse {
        // The app's fault, not Graph's: it must not count against the upstream.
        Some(Lapse::Broken) => return Refusal::BrokenBody,
        Some(Lapse::Stalled) => return Refusal::SlowBody,
        Some(Lapse::Spool) => return Refusal::Broken,
        Some(Lapse::Unclean(error)) => return error.into(),
        None => {}
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<ConnectError>() {
            return match error {
                ConnectError::NotHttps => Refusal::Tls(host),
                ConnectError::Tls { source, .. } => blame_tls(source, host),
                ConnectError::Unreachable { .. } => Refusal::Connect(host),
                ConnectError::Late { .. } => Refusal::ConnectTimeout(host),
            };
        }
        cause = error.source();
    }
    if error.is_connect() {
        Refusal::Connect(host)
    } else {
        Refusal::Broken
    }
}

/// What went wrong in a handshake, as RFC 9209 tells it apart.
fn blame_tls(error: &io::Error, host: String) -> Refusal {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    if let Some(rustls::Error::InvalidCertificate(_)) = cause {
        Refusal::Certificate(host)
    } else if let Some(rustls::Error::AlertReceived(_)) = cause {
        Refusal::TlsAlert(host)
    } else {
        Refusal::Tls(host)
    }
}
