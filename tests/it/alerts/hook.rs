//! A scripted webhook behind in-memory pipes, and what rings it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::pending;
use graphward::alert::{Bell, Webhook, WebhookSettings};
use graphward::net::{BoxError, Caller, Connector, Tasks, Wire, wired};
use graphward::telemetry::metrics::Metrics;
use graphward::types::{Clock, Secret};
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use crate::support::{lock, today};

/// Where the webhook is. What is behind the host must not show.
pub(super) const URL: &str = "https://hooks.example.com/services/T0/B0/s3cretpath?key=s3cretkey";

/// How a connection, and the one request on it, is answered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Status(u16),
    /// With a `Retry-After`.
    After(u16, &'static str),
    Says(u16, &'static str),
    /// To another host, which must not be called.
    Moved,
    /// There is no connection.
    Refused,
    /// The request is read, and that is all.
    Silent,
    /// The request is read, and the connection closed.
    Broken,
    /// More than anybody wants to read, as an error.
    Endless,
}

/// A scripted webhook. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Hook(Arc<State>);

#[derive(Debug)]
struct State {
    tasks: Tasks,
    script: Mutex<VecDeque<Answer>>,
    otherwise: Mutex<Answer>,
    seen: Mutex<Vec<Seen>>,
    hosts: Mutex<Vec<String>>,
}

#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) head: Parts,
    pub(super) body: serde_json::Value,
}

/// A webhook, what rings it, and all that counts.
pub(super) struct Office {
    pub(super) hook: Hook,
    pub(super) bell: Bell,
    pub(super) metrics: Metrics,
    pub(super) caller: Caller,
    pub(super) clock: Clock,
    /// The webhook's, without the hook's own.
    pub(super) tasks: Tasks,
}

impl std::fmt::Debug for Office {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?} {:?}", self.bell, self.caller, self.metrics)
    }
}

impl Office {
    /// A webhook whose task runs.
    pub(super) fn open() -> Self {
        let (office, webhook) = Self::closed();
        drop(office.tasks.spawn(webhook.run()));
        office
    }

    /// A webhook whose task does not run yet.
    pub(super) fn closed() -> (Self, Webhook) {
        let hook = Hook(Arc::new(State {
            tasks: Tasks::default(),
            script: Mutex::default(),
            otherwise: Mutex::new(Answer::Status(200)),
            seen: Mutex::default(),
            hosts: Mutex::default(),
        }));
        let (metrics, tasks) = (Metrics::new(), Tasks::default());
        let clock = Clock::manual(today());
        let caller = Caller::new(hook.connector(), Duration::from_secs(30), &tasks);
        let settings = WebhookSettings {
            url: Secret::new(URL).unwrap(),
            metrics: metrics.alerts(),
        };
        let (bell, webhook) = Webhook::new(settings, caller.clone(), clock).unwrap();
        let office = Self {
            hook,
            bell,
            metrics,
            caller,
            clock,
            tasks,
        };
        (office, webhook)
    }

    /// Delivered, failed, suppressed, dropped.
    pub(super) fn counted(&self) -> [u64; 4] {
        let all = self.metrics.alerts();
        [&all.delivered, &all.failed, &all.suppressed, &all.dropped].map(|counter| counter.get())
    }
}

impl Hook {
    /// The answer to the next connection that has none yet.
    pub(super) fn next(&self, answer: Answer) {
        lock(&self.0.script).push_back(answer);
    }

    /// The answer to all others, from now on.
    pub(super) fn always(&self, answer: Answer) {
        *lock(&self.0.otherwise) = answer;
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        lock(&self.0.seen).clone()
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
            std::future::ready(hook.open(host))
        })
    }

    fn open(&self, host: String) -> Result<Wire, BoxError> {
        lock(&self.0.hosts).push(host);
        let scripted = lock(&self.0.script).pop_front();
        let answer = scripted.unwrap_or_else(|| *lock(&self.0.otherwise));
        if matches!(answer, Answer::Refused) {
            return Err("nobody listens".into());
        }
        let (near, far) = tokio::io::duplex(64 * 1024);
        let hook = self.clone();
        let service = service_fn(move |request| {
            let hook = hook.clone();
            async move { hook.answer(request, answer).await }
        });
        let serving = http1::Builder::new().serve_connection(TokioIo::new(far), service);
        drop(self.0.tasks.spawn(serving));
        Ok(wired(near, false))
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        answer: Answer,
    ) -> Result<Response<Full<Bytes>>, BoxError> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let body = serde_json::from_slice(&body)?;
        lock(&self.0.seen).push(Seen { head, body });
        let response = |status: u16| Response::builder().status(status);
        let response = match answer {
            Answer::Status(status) => response(status).body(Full::default()),
            Answer::After(status, pause) => {
                let response = response(status).header("retry-after", pause);
                response.body(Full::default())
            }
            Answer::Says(status, text) => response(status).body(Full::from(text)),
            Answer::Moved => {
                let response = response(308).header("location", "https://evil.example.com/");
                response.body(Full::default())
            }
            Answer::Endless => response(500).body(Full::from(vec![b'x'; 1 << 20])),
            Answer::Silent => pending().await,
            Answer::Refused | Answer::Broken => return Err("on purpose".into()),
        };
        Ok(response?)
    }
}
