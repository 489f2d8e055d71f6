//! A scripted Graph: takes some tokens and rejects all others, unless the script says otherwise.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::watch;

use super::reply::Head;
use super::{Crew, Http, Reply, Sent, connection, lock};
use graphward::net::{BoxError, ConnectError, Connector, Wire, wired};

/// A scripted Graph. Clones are the same Graph.
#[derive(Clone)]
pub(crate) struct Graph(Arc<State>);

struct State {
    http: Http,
    crew: Crew,
    tokens: Mutex<HashSet<String>>,
    seen: Mutex<Vec<Seen>>,
    script: Mutex<VecDeque<Reply>>,
    success: Mutex<Reply>,
    rejection: Mutex<Reply>,
    dials: Mutex<VecDeque<Dial>>,
    connections: AtomicUsize,
    goaway: watch::Sender<u32>,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
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
pub(crate) enum Dial {
    Refused,
    Late,
    Untrusted,
    /// One request's head is read, these bytes are sent, and that is all.
    Raw(Vec<u8>),
}

/// What may be dialled besides Graph itself.
const HOSTS: [&str; 6] = [
    "graph-video.facebook.com",
    "rupload.facebook.com",
    "lookaside.fbsbx.com",
    "graph.instagram.com",
    "graph.threads.net",
    "graph.beta.facebook.com",
];

impl Graph {
    pub(crate) fn new(http: Http, crew: Crew) -> Self {
        Self(Arc::new(State {
            http,
            crew,
            tokens: Mutex::default(),
            seen: Mutex::default(),
            script: Mutex::default(),
            success: Mutex::new(Reply::json(200, r#"{"messages":[{"id":"wamid.1"}]}"#)),
            rejection: Mutex::new(Reply::expired()),
            dials: Mutex::default(),
            connections: AtomicUsize::new(0),
            goaway: watch::Sender::new(0),
        }))
    }

    pub(crate) fn accept(&self, token: &str) {
        lock(&self.0.tokens).insert(token.to_owned());
    }

    /// No token is good any more.
    pub(crate) fn expire_all(&self) {
        lock(&self.0.tokens).clear();
    }

    /// The answer to the next request that has none yet, whatever its token.
    pub(crate) fn next(&self, reply: Reply) {
        lock(&self.0.script).push_back(reply);
    }

    /// What good tokens hear from now on.
    pub(crate) fn says(&self, reply: Reply) {
        *lock(&self.0.success) = reply;
    }

    /// What dead tokens hear from now on.
    pub(crate) fn rejects_with(&self, reply: Reply) {
        *lock(&self.0.rejection) = reply;
    }

    /// How the next connection is made.
    pub(crate) fn dial(&self, dial: Dial) {
        lock(&self.0.dials).push_back(dial);
    }

    /// Ends all connections politely: `Connection: close`, or GOAWAY.
    pub(crate) fn leave(&self) {
        self.0.goaway.send_modify(|times| *times += 1);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        lock(&self.0.seen).clone()
    }

    pub(crate) fn attempts(&self) -> usize {
        lock(&self.0.seen).len()
    }

    pub(crate) fn connections(&self) -> usize {
        self.0.connections.load(Ordering::Relaxed)
    }

    /// The last request.
    #[track_caller]
    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("Graph has seen a request")
    }

    /// The bodies that Graph acted on.
    pub(crate) fn accepted(&self) -> Vec<Bytes> {
        let seen = lock(&self.0.seen);
        seen.iter()
            .filter(|seen| seen.accepted)
            .filter_map(|seen| seen.body.clone())
            .collect()
    }

    pub(crate) fn connector(&self) -> Connector {
        let graph = self.clone();
        Connector::new(move |uri: Uri| {
            let opened = graph.open(&uri);
            async move { opened.map_err(BoxError::from) }
        })
    }

    fn open(&self, uri: &Uri) -> Result<Wire, ConnectError> {
        assert_eq!(uri.scheme_str(), Some("https"));
        let host = uri.host().unwrap_or_default().to_owned();
        assert!(
            host == "graph.facebook.com" || HOSTS.contains(&host.as_str()),
            "{host} was dialled"
        );
        let address = format!("{host}:443");
        let dial = lock(&self.0.dials).pop_front();
        match dial {
            Some(Dial::Refused) => {
                let source = io::ErrorKind::ConnectionRefused.into();
                return Err(ConnectError::Unreachable { address, source });
            }
            Some(Dial::Late) => return Err(ConnectError::Late { address }),
            Some(Dial::Untrusted) => {
                let source = io::ErrorKind::InvalidData.into();
                return Err(ConnectError::Tls { host, source });
            }
            Some(Dial::Raw(_)) | None => {}
        }
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let graph = self.clone();
        let http = self.0.http;
        if let Some(Dial::Raw(bytes)) = dial {
            self.0
                .crew
                .spawn(async move { graph.by_hand(theirs, host, bytes).await });
            return Ok(wired(ours, false));
        }
        let (crew, goaway) = (self.0.crew.clone(), self.0.goaway.subscribe());
        self.0.crew.spawn(async move {
            let answer = move |request| graph.clone().answer(host.clone(), request);
            connection::serve(theirs, http, crew, goaway, answer).await;
        });
        Ok(wired(ours, http == Http::Two))
    }

    async fn by_hand(self, io: tokio::io::DuplexStream, host: String, bytes: Vec<u8>) {
        let head = connection::raw(io, bytes).await;
        if !head.is_empty() {
            self.note(host, Request::new(()).into_parts().0);
        }
    }

    /// Notes that a request came; says the how-manyeth it is.
    fn note(&self, host: String, head: Parts) -> usize {
        let mut seen = lock(&self.0.seen);
        seen.push(Seen {
            host,
            head,
            body: None,
            accepted: false,
        });
        seen.len() - 1
    }

    async fn answer(
        self,
        host: String,
        request: Request<Incoming>,
    ) -> Result<Response<Sent>, BoxError> {
        let (head, body) = request.into_parts();
        assert_eq!(named(&head), host, "a host is told another's name");
        let good = token_of(&head).is_some_and(|token| lock(&self.0.tokens).contains(&token));
        let scripted = lock(&self.0.script).pop_front();
        let number = self.note(host, head);
        let reply = scripted.unwrap_or_else(|| {
            let usual = if good {
                &self.0.success
            } else {
                &self.0.rejection
            };
            lock(usual).clone()
        });
        if !reply.early {
            let body = body.collect().await?;
            assert!(body.trailers().is_none(), "trailers reached Graph");
            lock(&self.0.seen)[number].body = Some(body.to_bytes());
        }
        lock(&self.0.seen)[number].accepted = good && reply.status.is_success();
        tokio::time::sleep(reply.delay).await;
        match reply.head {
            Head::Comes => Ok(reply.into_response()),
            Head::Lost => Err(BoxError::from("lost on purpose")),
            Head::Never => std::future::pending().await,
        }
    }
}

// === impl Seen ===

impl Seen {
    pub(crate) fn target(&self) -> &str {
        self.head
            .uri
            .path_and_query()
            .map_or("", |target| target.as_str())
    }

    /// All values of a field, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let values = self.head.headers.get_all(name).iter();
        values.map(|value| value.to_str().unwrap()).collect()
    }
}

/// The host that a request names.
fn named(head: &Parts) -> &str {
    match head.uri.authority() {
        Some(authority) => authority.as_str(),
        None => head.headers["host"].to_str().unwrap(),
    }
}

fn token_of(head: &Parts) -> Option<String> {
    let value = head.headers.get("authorization")?.to_str().ok()?;
    let (_scheme, token) = value.split_once(' ')?;
    Some(token.to_owned())
}
