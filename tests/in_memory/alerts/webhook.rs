//! A scripted webhook without sockets, and the sender of its alerts.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::pending;
use graphward::alert::{AlertSender, Webhook};
use graphward::net::{HttpClient, HttpClientError, Tasks};
use graphward::telemetry::metrics::Metrics;
use graphward::types::{Clock, Secret};
use http::request::Parts;
use http::{Request, Response};

use crate::support::{lock, start_time};

/// The webhook's URL. The part after the host must not show.
pub(super) const URL: &str = "https://hooks.example.com/services/T0/B0/s3cretpath?key=s3cretkey";

/// The result of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum WebhookResponse {
    Status(u16),
    /// With a `Retry-After`.
    RetryAfter(u16, &'static str),
    WithBody(u16, &'static str),
    /// A redirect to another host, which must not be called.
    Redirected,
    /// No connection.
    Refused,
    /// The webhook reads the request and does not answer.
    NoResponse,
    /// The webhook reads the request and closes the connection.
    Closed,
    /// A body that is too large to read.
    HugeBody,
}

/// A scripted webhook. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct MockWebhook(Arc<WebhookState>);

#[derive(Debug)]
struct WebhookState {
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

/// A webhook, the sender of its alerts, and its metrics.
pub(super) struct AlertFixture {
    pub(super) mock: MockWebhook,
    pub(super) sender: AlertSender,
    pub(super) metrics: Metrics,
    pub(super) client: HttpClient,
    pub(super) clock: Clock,
    pub(super) tasks: Tasks,
}

impl std::fmt::Debug for AlertFixture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?} {:?}", self.sender, self.client, self.metrics)
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
            script: Mutex::default(),
            default_response: Mutex::new(WebhookResponse::Status(200)),
            received: Mutex::default(),
            hosts: Mutex::default(),
        }));
        let (metrics, tasks) = (Metrics::new(), Tasks::default());
        let clock = Clock::manual(start_time());
        let client = mock.client();
        let url = Secret::new(URL).unwrap();
        let (sender, webhook) = Webhook::new(url, &client, clock, metrics.alert_metrics()).unwrap();
        let fixture = Self {
            mock,
            sender,
            metrics,
            client,
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
    /// Answers the next request that has no answer yet.
    pub(super) fn enqueue(&self, answer: WebhookResponse) {
        lock(&self.0.script).push_back(answer);
    }

    /// Answers all other requests, from now on.
    pub(super) fn respond_always(&self, answer: WebhookResponse) {
        *lock(&self.0.default_response) = answer;
    }

    pub(super) fn received(&self) -> Vec<ReceivedAlert> {
        lock(&self.0.received).clone()
    }

    pub(super) fn attempts(&self) -> usize {
        lock(&self.0.hosts).len()
    }

    /// The hosts that were called.
    pub(super) fn hosts(&self) -> Vec<String> {
        lock(&self.0.hosts).clone()
    }

    fn client(&self) -> HttpClient {
        let webhook = self.clone();
        let exchange = move |request| webhook.clone().exchange(request);
        HttpClient::from_fn(exchange, Duration::from_secs(30))
    }

    async fn exchange(self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpClientError> {
        lock(&self.0.hosts).push(request.uri().host().unwrap_or_default().to_owned());
        let scripted = lock(&self.0.script).pop_front();
        let scripted = scripted.unwrap_or_else(|| *lock(&self.0.default_response));
        if matches!(scripted, WebhookResponse::Refused) {
            return Err(HttpClientError::Connect {
                address: "hooks.example.com".to_owned(),
                source: "connection refused".into(),
            });
        }
        let (head, body) = request.into_parts();
        let body = serde_json::from_slice(&body).unwrap();
        lock(&self.0.received).push(ReceivedAlert { head, body });
        let response = |status: u16| Response::builder().status(status);
        let response = match scripted {
            WebhookResponse::Status(status) => response(status).body(Bytes::new()),
            WebhookResponse::RetryAfter(status, pause) => {
                let response = response(status).header("retry-after", pause);
                response.body(Bytes::new())
            }
            WebhookResponse::WithBody(status, text) => response(status).body(Bytes::from(text)),
            WebhookResponse::Redirected => {
                let response = response(308).header("location", "https://evil.example.com/");
                response.body(Bytes::new())
            }
            WebhookResponse::HugeBody => return Err(HttpClientError::ResponseTooLarge(64 * 1024)),
            WebhookResponse::NoResponse => pending().await,
            WebhookResponse::Refused | WebhookResponse::Closed => {
                return Err(HttpClientError::Interrupted("connection closed".into()));
            }
        };
        Ok(response.unwrap())
    }
}
