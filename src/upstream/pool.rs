//! The connections to one origin: those that are open, and those that are being made.
//!
//! # Why
//!
//! A request that finds no open connection waits in a queue, and a connection is made beside it. It takes whichever comes
//! first: the new one, or one that another request has finished with. So a slow handshake delays no request that need
//! not wait for it, and a request that goes away wastes no connection.
//!
//! While the HTTP version of the origin is unknown, or is HTTP/2, one connection at a time is made: it will carry all that
//! wait. Idle HTTP/1.1 connections are used last in, first out, so that the surplus of a burst can grow old and go.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connection::{Connection, NewConnection, handshake};
use super::http1::Http1;
use super::http2::{Http2, Stream};
use super::request_body::RequestBody;
use crate::graph::Origin;
use crate::net::{ConnectFailure, ConnectFailureKind, Connector, HttpVersion, Tasks};
use crate::types::{error_chain, lock};

/// The connections to one origin.
pub(super) struct Pool<B: RequestBody> {
    pub(super) origin: Origin,
    connector: Connector,
    pub(super) tasks: Tasks,
    state: Mutex<State<B>>,
}

struct State<B: RequestBody> {
    /// The last one was used last.
    idle: Vec<Http1<B>>,
    http2: Vec<OpenHttp2>,
    waiting: VecDeque<Waiter<B>>,
    /// The number of connections that are being made.
    connecting: usize,
    /// `None` while it is unknown.
    is_http2: Option<bool>,
    /// Set after a failure while HTTP/2 connections are open: those that wait get their streams.
    connect_again_at: Option<Instant>,
}

struct OpenHttp2 {
    connection: Arc<Http2>,
    used_at: Instant,
}

type Waiter<B> = oneshot::Sender<Result<Lease<B>, ConnectFailure>>;

/// A connection in use by one request. Dropped, it serves others; an HTTP/1.1 connection only if nothing was sent on it, or
/// the response is complete.
#[derive(derive_more::Debug)]
#[debug("Lease")]
pub struct Lease<B: RequestBody> {
    /// `None` once it serves others.
    pub(super) connection: Option<Connection<B>>,
    pub(super) pool: Arc<Pool<B>>,
}

/// An idle connection is closed after this time, before Graph closes it: then no request meets a closed one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// The pause after a failed connection while other ones serve.
const CONNECT_PAUSE: Duration = Duration::from_secs(1);

// === impl Pool ===

impl<B: RequestBody> Pool<B> {
    pub(super) fn new(origin: Origin, connector: Connector, http: HttpVersion, tasks: Tasks) -> Self {
        Self {
            origin,
            connector,
            tasks,
            state: Mutex::new(State {
                idle: Vec::new(),
                http2: Vec::new(),
                waiting: VecDeque::new(),
                connecting: 0,
                is_http2: match http {
                    HttpVersion::Auto => None,
                    HttpVersion::Http1 => Some(false),
                    HttpVersion::Two => Some(true),
                },
                connect_again_at: None,
            }),
        }
    }

    /// Takes an open connection.
    pub(super) fn take_open(self: &Arc<Self>) -> Option<Lease<B>> {
        let connection = lock(&self.state).take_open()?;
        Some(self.lease_of(connection))
    }

    /// Waits for a connection that is new, or that another request has just finished with. Cancel-safe: what is not taken
    /// serves others.
    pub(super) async fn wait(self: &Arc<Self>) -> Result<Lease<B>, ConnectFailure> {
        let receiver = {
            let mut state = lock(&self.state);
            if let Some(stream) = state.open_stream() {
                return Ok(self.lease_of(Connection::Http2(stream)));
            }
            let (waiter, receiver) = oneshot::channel();
            state.waiting.push_back(waiter);
            self.connect_as_needed(&mut state);
            receiver
        };
        match receiver.await {
            Ok(result) => result,
            Err(_closed) => Err(self.failure("no connection was made".to_owned())),
        }
    }

    fn lease_of(self: &Arc<Self>, connection: Connection<B>) -> Lease<B> {
        Lease {
            connection: Some(connection),
            pool: Arc::clone(self),
        }
    }

    /// Makes as many connections as are missing for those that wait.
    fn connect_as_needed(self: &Arc<Self>, state: &mut State<B>) {
        let wanted = state.connections_wanted();
        while state.connecting < wanted {
            state.connecting += 1;
            let pool = Arc::clone(self);
            drop(self.tasks.spawn(async move {
                let connected = pool.connect().await;
                pool.finish_connecting(connected);
            }));
        }
    }

    async fn connect(self: &Arc<Self>) -> Result<NewConnection<B>, ConnectFailure> {
        let io = self.connector.connect(self.origin.authority().clone()).await?;
        let pool = Arc::downgrade(self);
        let on_new_limit = move || {
            if let Some(pool) = pool.upgrade() {
                let mut state = lock(&pool.state);
                pool.offer_streams(&mut state);
                pool.connect_as_needed(&mut state);
            }
        };
        let connected = handshake(io, &self.tasks, on_new_limit).await;
        connected.map_err(|error| self.failure(error_chain(&*error)))
    }

    fn finish_connecting(self: &Arc<Self>, connected: Result<NewConnection<B>, ConnectFailure>) {
        let mut state = lock(&self.state);
        state.connecting -= 1;
        match connected {
            Ok(NewConnection::Http1(connection)) => {
                state.is_http2 = Some(false);
                self.offer_http1(&mut state, connection);
            }
            Ok(NewConnection::Http2(connection)) => {
                state.is_http2 = Some(true);
                state.connect_again_at = None;
                let used_at = Instant::now();
                state.http2.push(OpenHttp2 { connection, used_at });
                self.offer_streams(&mut state);
            }
            Err(failure) => state.fail_waiting(&failure),
        }
        self.connect_as_needed(&mut state);
    }

    /// Gives an HTTP/1.1 connection to the first request that waits, or keeps it.
    fn offer_http1(self: &Arc<Self>, state: &mut State<B>, mut connection: Http1<B>) {
        while let Some(waiter) = state.waiting.pop_front() {
            let Err(lease) = waiter.send(Ok(self.lease_of(Connection::Http1(connection)))) else {
                return;
            };
            // The request has gone away.
            let Some(Connection::Http1(returned)) = lease.ok().and_then(|mut lease| lease.connection.take()) else {
                return;
            };
            connection = returned;
        }
        state.idle.push(connection);
    }

    /// Gives streams of HTTP/2 connections to the requests that wait.
    fn offer_streams(self: &Arc<Self>, state: &mut State<B>) {
        while !state.waiting.is_empty()
            && let Some(stream) = state.open_stream()
            && let Some(waiter) = state.waiting.pop_front()
        {
            if let Err(Ok(mut lease)) = waiter.send(Ok(self.lease_of(Connection::Http2(stream)))) {
                // The request has gone away: its stream is free again.
                drop(lease.connection.take());
            }
        }
    }

    /// Closes the connections that have not been used for a while.
    pub(super) fn close_idle(&self) {
        lock(&self.state).close_idle();
    }

    fn failure(&self, cause: String) -> ConnectFailure {
        ConnectFailure {
            host: self.origin.host().to_owned(),
            kind: ConnectFailureKind::Refused,
            cause,
        }
    }
}

// === impl State ===

impl<B: RequestBody> State<B> {
    fn take_open(&mut self) -> Option<Connection<B>> {
        if let Some(stream) = self.open_stream() {
            return Some(Connection::Http2(stream));
        }
        let now = Instant::now();
        while let Some(mut connection) = self.idle.pop() {
            if connection.is_older_than(IDLE_TIMEOUT, now) {
                self.idle.clear();
            } else if !connection.is_closed() {
                return Some(Connection::Http1(connection));
            }
        }
        None
    }

    fn open_stream(&mut self) -> Option<Stream> {
        let now = Instant::now();
        self.http2.iter_mut().find_map(|open| {
            let stream = open.connection.try_open(now)?;
            open.used_at = now;
            Some(stream)
        })
    }

    fn connections_wanted(&self) -> usize {
        let waiting = self.waiting.iter().filter(|waiter| !waiter.is_closed()).count();
        match self.is_http2 {
            Some(false) => waiting,
            _ if self.http2.iter().any(|open| open.connection.is_starting()) => 0,
            _ if self.connect_again_at.is_some_and(|at| Instant::now() < at) => 0,
            Some(true) | None => waiting.min(1),
        }
    }

    /// Reports a failed connection to those who have no other prospect.
    fn fail_waiting(&mut self, failure: &ConnectFailure) {
        self.http2.retain(|open| !open.connection.is_closed());
        let failing = match self.is_http2 {
            Some(false) => 1,
            Some(true) if !self.http2.is_empty() => {
                self.connect_again_at = Some(Instant::now() + CONNECT_PAUSE);
                0
            }
            Some(true) | None => self.waiting.len(),
        };
        for waiter in self.waiting.drain(..failing.min(self.waiting.len())) {
            // One that has gone away needs no answer.
            drop(waiter.send(Err(failure.clone())));
        }
    }

    fn close_idle(&mut self) {
        let now = Instant::now();
        self.idle
            .retain_mut(|idle| !idle.is_closed() && !idle.is_older_than(IDLE_TIMEOUT, now));
        self.http2.retain(|open| {
            let is_idle = open.connection.is_idle() && now.duration_since(open.used_at) > IDLE_TIMEOUT;
            !open.connection.is_closed() && !is_idle
        });
    }
}

// === impl Lease ===

impl<B: RequestBody> Lease<B> {
    /// Whether the connection takes a request.
    pub(super) async fn is_open(&mut self) -> bool {
        match self.http1() {
            Some(connection) => connection.is_open().await,
            None => true,
        }
    }

    /// Ends the lease after the last byte of the response.
    pub(super) fn complete(mut self) {
        if let Some(connection) = self.http1() {
            connection.complete();
        }
    }

    pub(super) const fn http1(&mut self) -> Option<&mut Http1<B>> {
        match &mut self.connection {
            Some(Connection::Http1(connection)) => Some(connection),
            Some(Connection::Http2(_)) | None => None,
        }
    }
}

impl<B: RequestBody> Drop for Lease<B> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        let mut state = lock(&self.pool.state);
        match connection {
            Connection::Http1(connection) => {
                if !connection.is_busy() {
                    self.pool.offer_http1(&mut state, connection);
                }
            }
            Connection::Http2(stream) => {
                drop(stream);
                self.pool.offer_streams(&mut state);
            }
        }
        self.pool.connect_as_needed(&mut state);
    }
}
