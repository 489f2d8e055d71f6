//! A scripted webhook behind in-memory pipes, and what rings it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::pending;
use graphward::alert::{AlertSender, Webhook, WebhookSettings};
use graphward::net::{BoxError, BoxedIo, Connector, HttpClient, Tasks, boxed_io};
use graphward::telemetry::metrics::Metrics;
use graphward::types::{Clock, Secret};
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use crate::support::{lock, start_time};

/// Where the webhook is. What is behind the host must not show.
pub(super) const URL: &str = "https://hooks.example.com/services/T0/B0/s3cretpath?key=s3cretkey";

/// How a connection, and the one request on it, is answered.
#[derive(Clone, Copy, Debug)]
pub(super) enum WebhookResponse {
    Status(u16),
    /// With a `Retry-After`.
    RetryAfter(u16, &'static str),
    WithBody(u16, &'static str),
    /// To another host, which must not be called.
    Redirected,
    /// There is no connection.
    Refused,
    /// The request is read, and that is all.
    NoResponse,
    /// The request is read, and the connection closed.
    Closed,
    /// More than anybody wants to read, as an error.
    HugeBody,
}

/// A scripted webhook. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct MockWebhook(Arc<WebhookState>);

#[derive(Debug)]
struct WebhookState {
    tasks: Tasks,
    script: Mutex<VecDeque<WebhookResponse>>,
    default_response: Mutex<WebhookResponse>,
    received: Mutex<Vec<ReceivedAlert>>,
    hosts: Mutex<Vec<String>>,
}

#[derive(Clone, Debug)]
pub(super) struct ReceivedAlert {
    pub(super) head: Parts,
    pub(super) body: serde_json::Value,
}

/// A webhook, what rings it, and all that counts.
pub(super) struct AlertFixture {
    pub(super) mock: MockWebhook,
    pub(super) sender: AlertSender,
    pub(super) metrics: Metrics,
    pub(super) caller: HttpClient,
    pub(super) clock: Clock,
    /// The webhook's, without the hook's own.
    pub(super) tasks: Tasks,
}

impl std::fmt::Debug for AlertFixture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?} {:?}", self.sender, self.caller, self.metrics)
    }
}

impl AlertFixture {
    /// A webhook whose task runs.
    pub(super) fn start() -> Self {
        let (fixture, webhook) = Self::new_idle();
        drop(fixture.tasks.spawn(webhook.run()));
        fixture
    }

    /// A webhook whose task does not run yet.
    pub(super) fn new_idle() -> (Self, Webhook) {
        let mock = MockWebhook(Arc::new(WebhookState {
            tasks: Tasks::default(),
            script: Mutex::default(),
            default_response: Mutex::new(WebhookResponse::Status(200)),
            received: Mutex::default(),
            hosts: Mutex::default(),
        }));
        let (metrics, tasks) = (Metrics::new(), Tasks::default());
        let clock = Clock::manual(start_time());
        let caller = HttpClient::new(mock.connector(), Duration::from_secs(30), &tasks);
        let settings = WebhookSettings {
            url: Secret::new(URL).unwrap(),
            metrics: metrics.alert_metrics(),
        };
        let (sender, webhook) = Webhook::new(settings, caller.clone(), clock).unwrap();
        let fixture = Self {
            mock,
            sender,
            metrics,
            caller,
            clock,
            tasks,
        };
        (fixture, webhook)
    }

    /// Delivered, failed, suppressed, dropped.
    pub(super) fn counters(&self) -> [u64; 4] {
        let all = self.metrics.alert_metrics();
        [&all.delivered, &all.failed, &all.suppressed, &all.dropped].map(|counter| counter.get())
    }
}

impl MockWebhook {
    /// The answer to the next connection that has none yet.
    pub(super) fn enqueue(&self, answer: WebhookResponse) {
        lock(&self.0.script).push_back(answer);
    }

    /// The answer to all others, from now on.
    pub(super) fn respond_always(&self, answer: WebhookResponse) {
        *lock(&self.0.default_response) = answer;
    }

    pub(super) fn received(&self) -> Vec<ReceivedAlert> {
        lock(&self.0.received).clone()
    }

    pub(super) fn connections(&self) -> usize {
        lock(&self.0.hosts).len()
    }

    /// Who was called.
    pub(super) fn hosts(&self) -> Vec<String> {
        lock(&self.0.hosts).clone()
    }

    fn connector(&self) -> Connector {
        let hook = self.clone();
        Connector::new(move |uri: http::Uri| {
            let host = uri.host().unwrap_or_default().to_owned();
            std::future::ready(hook.connect(host))
        })
    }

    fn connect(&self, host: String) -> Result<BoxedIo, BoxError> {
        lock(&self.0.hosts).push(host);
        let scripted = lock(&self.0.script).pop_front();
        let answer = scripted.unwrap_or_else(|| *lock(&self.0.default_response));
        if matches!(answer, WebhookResponse::Refused) {
            return Err("nobody listens".into());
        }
        let (near, far) = tokio::io::duplex(64 * 1024);
        let hook = self.clone();
        let service = service_fn(move |request| {
            let hook = hook.clone();
            async move { hook.handle(request, answer).await }
        });
        let serving = http1::Builder::new().serve_connection(TokioIo::new(far), service);
        drop(self.0.tasks.spawn(serving));
        Ok(boxed_io(near, false))
    }

    async fn handle(
        &self,
        request: Request<Incoming>,
        answer: WebhookResponse,
    ) -> Result<Response<Full<Bytes>>, BoxError> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let body = serde_json::from_slice(&body)?;
        lock(&self.0.received).push(ReceivedAlert { head, body });
        let response = |status: u16| Response::builder().status(status);
        let response = match answer {
            WebhookResponse::Status(status) => response(status).body(Full::default()),
            WebhookResponse::RetryAfter(status, pause) => {
                let response = response(status).header("retry-after", pause);
                response.body(Full::default())
            }
            WebhookResponse::WithBody(status, text) => response(status).body(Full::from(text)),
            WebhookResponse::Redirected => {
                let response = response(308).header("location", "https://evil.example.com/");
                response.body(Full::default())
            }
            WebhookResponse::HugeBody => response(500).body(Full::from(vec![b'x'; 1 << 20])),
            WebhookResponse::NoResponse => pending().await,
            WebhookResponse::Refused | WebhookResponse::Closed => return Err("on purpose".into()),
        };
        Ok(response?)
    }
}
