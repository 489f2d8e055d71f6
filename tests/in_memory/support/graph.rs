//! A scripted Graph: takes some tokens and rejects all others, unless the script says otherwise.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::request::Parts;
use http::uri::Authority;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::watch;

use super::scripted_response::HeadOutcome;
use super::{Protocol, ScriptedResponse, TestBody, TestTasks, connection, lock};
use graphward::net::{BoxError, BoxedIo, ConnectFailure, ConnectFailureKind, Connector, boxed_io};
use graphward::types::Secret;

/// A scripted Graph. Clones are the same Graph.
#[derive(Clone)]
pub(crate) struct Graph(Arc<GraphState>);

struct GraphState {
    http: Protocol,
    tasks: TestTasks,
    tokens: Mutex<HashSet<String>>,
    requests: Mutex<Vec<RecordedRequest>>,
    script: Mutex<VecDeque<ScriptedResponse>>,
    success: Mutex<ScriptedResponse>,
    rejection: Mutex<ScriptedResponse>,
    edges: Mutex<HashMap<String, ScriptedResponse>>,
    connects: Mutex<VecDeque<ConnectOutcome>>,
    connections: AtomicUsize,
    goaway: watch::Sender<u32>,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct RecordedRequest {
    /// The host that the connection was made to.
    pub(crate) host: String,
    pub(crate) head: Parts,
    /// None while it is being read, and if it broke off.
    pub(crate) body: Option<Bytes>,
    /// Whether Graph acted on it.
    pub(crate) accepted: bool,
}

/// How a connection is made, or is not.
#[derive(Clone, Debug)]
pub(crate) enum ConnectOutcome {
    Refused,
    NameNotFound,
    NoRoute,
    NoDescriptor,
    TimedOut,
    UntrustedCert,
    /// One request's head is read, these bytes are sent, and that is all.
    Raw(Vec<u8>),
}

/// What may be dialled besides Graph itself.
const OTHER_HOSTS: [&str; 6] = [
    "graph-video.facebook.com",
    "rupload.facebook.com",
    "lookaside.fbsbx.com",
    "graph.instagram.com",
    "graph.threads.net",
    "graph.beta.facebook.com",
];

impl Graph {
    pub(crate) fn new(http: Protocol, tasks: TestTasks) -> Self {
        Self(Arc::new(GraphState {
            http,
            tasks,
            tokens: Mutex::default(),
            requests: Mutex::default(),
            script: Mutex::default(),
            success: Mutex::new(ScriptedResponse::json(200, r#"{"messages":[{"id":"wamid.1"}]}"#)),
            rejection: Mutex::new(ScriptedResponse::expired()),
            edges: Mutex::default(),
            connects: Mutex::default(),
            connections: AtomicUsize::new(0),
            goaway: watch::Sender::new(0),
        }))
    }

    pub(crate) fn accept(&self, token: &str) {
        lock(&self.0.tokens).insert(token.to_owned());
    }

    /// Whether it takes this token.
    pub(crate) fn accepts(&self, token: &Secret) -> bool {
        let tokens = lock(&self.0.tokens);
        tokens
            .iter()
            .any(|known| Secret::new(known).unwrap().fingerprint() == token.fingerprint())
    }

    /// No token is good any more.
    pub(crate) fn expire_all(&self) {
        lock(&self.0.tokens).clear();
    }

    /// The answer to the next request that has none yet, whatever its token.
    pub(crate) fn enqueue(&self, reply: ScriptedResponse) {
        lock(&self.0.script).push_back(reply);
    }

    /// What good tokens hear from now on.
    pub(crate) fn respond_with(&self, reply: ScriptedResponse) {
        *lock(&self.0.success) = reply;
    }

    /// What dead tokens hear from now on.
    pub(crate) fn reject_with(&self, reply: ScriptedResponse) {
        *lock(&self.0.rejection) = reply;
    }

    /// What good tokens hear from now on at paths that end like this.
    pub(crate) fn respond_at(&self, edge: &str, reply: ScriptedResponse) {
        lock(&self.0.edges).insert(edge.to_owned(), reply);
    }

    /// How the next connection is made.
    pub(crate) fn next_connect(&self, dial: ConnectOutcome) {
        lock(&self.0.connects).push_back(dial);
    }

    /// Ends all connections politely: `Connection: close`, or GOAWAY.
    pub(crate) fn close_connections(&self) {
        self.0.goaway.send_modify(|times| *times += 1);
    }

    pub(crate) fn requests(&self) -> Vec<RecordedRequest> {
        lock(&self.0.requests).clone()
    }

    pub(crate) fn attempts(&self) -> usize {
        lock(&self.0.requests).len()
    }

    pub(crate) fn connections(&self) -> usize {
        self.0.connections.load(Ordering::Relaxed)
    }

    /// The last request.
    #[track_caller]
    pub(crate) fn last_request(&self) -> RecordedRequest {
        self.requests().pop().expect("Graph has seen a request")
    }

    /// The bodies that Graph acted on.
    pub(crate) fn accepted(&self) -> Vec<Bytes> {
        let seen = lock(&self.0.requests);
        seen.iter()
            .filter(|seen| seen.accepted)
            .filter_map(|seen| seen.body.clone())
            .collect()
    }

    pub(crate) fn connector(&self) -> Connector {
        let graph = self.clone();
        Connector::new(move |authority: Authority| {
            let opened = graph.connect(&authority);
            async move { opened }
        })
    }

    fn connect(&self, authority: &Authority) -> Result<BoxedIo, ConnectFailure> {
        let host = authority.host().to_owned();
        assert!(
            host == "graph.facebook.com" || OTHER_HOSTS.contains(&host.as_str()),
            "{host} was dialled"
        );
        let dial = lock(&self.0.connects).pop_front();
        match dial {
            Some(ConnectOutcome::Refused) => {
                return Err(ConnectFailure::tcp(&host, &io::ErrorKind::ConnectionRefused.into()));
            }
            Some(ConnectOutcome::NoRoute) => {
                return Err(ConnectFailure::tcp(&host, &io::ErrorKind::NetworkUnreachable.into()));
            }
            Some(ConnectOutcome::NameNotFound) => {
                let (kind, cause) = (ConnectFailureKind::Name, "Name or service not known".to_owned());
                return Err(ConnectFailure { host, kind, cause });
            }
            Some(ConnectOutcome::NoDescriptor) => {
                return Err(ConnectFailure::tcp(&host, &rustix::io::Errno::MFILE.into()));
            }
            Some(ConnectOutcome::TimedOut) => return Err(ConnectFailure::timed_out(&host, "no answer")),
            Some(ConnectOutcome::UntrustedCert) => {
                let untrusted = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
                let error = io::Error::new(io::ErrorKind::InvalidData, untrusted);
                return Err(ConnectFailure::tls(&host, authority.as_str(), &error));
            }
            Some(ConnectOutcome::Raw(_)) | None => {}
        }
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let graph = self.clone();
        let http = self.0.http;
        if let Some(ConnectOutcome::Raw(bytes)) = dial {
            self.0
                .tasks
                .spawn(async move { graph.serve_raw(theirs, host, bytes).await });
            return Ok(boxed_io(ours, None));
        }
        let (crew, goaway) = (self.0.tasks.clone(), self.0.goaway.subscribe());
        self.0.tasks.spawn(async move {
            let answer = move |request| graph.clone().handle(host.clone(), request);
            connection::serve(theirs, http, crew, goaway, answer).await;
        });
        let alpn = match http {
            Protocol::Http1 => None,
            Protocol::Two => Some(b"h2".as_slice()),
        };
        Ok(boxed_io(ours, alpn))
    }

    async fn serve_raw(self, io: tokio::io::DuplexStream, host: String, bytes: Vec<u8>) {
        let head = connection::serve_raw(io, bytes).await;
        if !head.is_empty() {
            self.record(host, Request::new(()).into_parts().0);
        }
    }

    /// Records a request and returns its index.
    fn record(&self, host: String, head: Parts) -> usize {
        let mut seen = lock(&self.0.requests);
        seen.push(RecordedRequest {
            host,
            head,
            body: None,
            accepted: false,
        });
        seen.len() - 1
    }

    async fn handle(self, host: String, request: Request<Incoming>) -> Result<Response<TestBody>, BoxError> {
        let (head, body) = request.into_parts();
        assert_eq!(host_of(&head), host, "a host is told another's name");
        let is_valid = bearer_token(&head).is_some_and(|token| lock(&self.0.tokens).contains(&token));
        let scripted = lock(&self.0.script).pop_front();
        let path = head.uri.path().to_owned();
        let number = self.record(host, head);
        let reply = scripted.unwrap_or_else(|| {
            let edges = lock(&self.0.edges);
            if is_valid && let Some((_, reply)) = edges.iter().find(|(edge, _)| path.ends_with(*edge)) {
                return reply.clone();
            }
            let usual = if is_valid { &self.0.success } else { &self.0.rejection };
            lock(usual).clone()
        });
        if !reply.early {
            let body = body.collect().await?;
            assert!(body.trailers().is_none(), "trailers reached Graph");
            lock(&self.0.requests)[number].body = Some(body.to_bytes());
        }
        lock(&self.0.requests)[number].accepted = is_valid && reply.status.is_success();
        tokio::time::sleep(reply.delay).await;
        match reply.head {
            HeadOutcome::Sent => Ok(reply.into_response()),
            HeadOutcome::ConnectionLost => Err(BoxError::from("lost on purpose")),
            HeadOutcome::StreamRefused => Err(h2::Error::from(h2::Reason::REFUSED_STREAM).into()),
            HeadOutcome::Never => std::future::pending().await,
        }
    }
}

// === impl RecordedRequest ===

impl RecordedRequest {
    pub(crate) fn target(&self) -> &str {
        self.head.uri.path_and_query().map_or("", |target| target.as_str())
    }

    /// Fails unless the request has this token in its header, and no other.
    #[track_caller]
    pub(crate) fn assert_bearer(&self, token: &str) {
        assert_eq!(self.all("authorization"), [format!("Bearer {token}")]);
    }

    /// All values of a field, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let values = self.head.headers.get_all(name).iter();
        values.map(|value| value.to_str().unwrap()).collect()
    }
}

/// The host that a request names.
fn host_of(head: &Parts) -> &str {
    match head.uri.authority() {
        Some(authority) => authority.as_str(),
        None => head.headers["host"].to_str().unwrap(),
    }
}

fn bearer_token(head: &Parts) -> Option<String> {
    let value = head.headers.get("authorization")?.to_str().ok()?;
    let (_scheme, token) = value.split_once(' ')?;
    Some(token.to_owned())
}
