//! The harness: a scripted [`Graph`] behind the proxy, an [`App`] before it, a [`ScriptedSource`] and a [`ScriptedRenewer`]
//! beside it, and the [`TestProxy`] that puts them together.
//!
//! # Why
//!
//! The wire tests have a scripted upstream of their own. This one judges tokens and answers through hyper, in paused time.
//! Theirs sends bytes that hyper refuses to send, on blocking threads. The two would share only the record of requests.

mod app;
mod bodies;
mod connection;
mod graph;
mod harness;
mod liveness;
mod log;
mod renewer;
mod response;
mod scripted_response;
mod source;
mod table;
mod tasks;

pub(crate) use app::{App, get, listen, post, post_file, request, with};
pub(crate) use bodies::{TestBody, aborted, chunked, chunked_with_delay, sized, stalled};
pub(crate) use graph::{ConnectOutcome, Graph, RecordedRequest};
pub(crate) use harness::{APP_SECRET, TestProxy, TestProxyBuilder, start_time};
pub(crate) use liveness::ScriptedLiveness;
pub(crate) use log::LogCapture;
pub(crate) use renewer::ScriptedRenewer;
pub(crate) use response::{TestResponse, sorted_names};
pub(crate) use scripted_response::{ScriptedResponse, gzip};
pub(crate) use source::ScriptedSource;
pub(crate) use table::ScriptedTable;
pub(crate) use tasks::TestTasks;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A version of HTTP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    Http1,
    Two,
}

/// What the app speaks, and what Graph speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocols {
    pub(crate) app: Protocol,
    pub(crate) graph: Protocol,
}

/// HTTP/1.1 all along, HTTP/2 all along, and both changes between them.
pub(crate) const PROTOCOL_PAIRS: [Protocols; 4] = [
    Protocols::new(Protocol::Http1, Protocol::Http1),
    Protocols::new(Protocol::Two, Protocol::Two),
    Protocols::new(Protocol::Http1, Protocol::Two),
    Protocols::new(Protocol::Two, Protocol::Http1),
];

impl Protocols {
    pub(crate) const fn new(app: Protocol, graph: Protocol) -> Self {
        Self { app, graph }
    }
}

/// The token that the source returns at first, and that Graph accepts at first.
pub(crate) const FIRST_TOKEN: &str = "EAAfirst0token0of0the0tests";
/// The one after it.
pub(crate) const SECOND_TOKEN: &str = "EAAsecond0token0of0the0tests";

/// Graph's response to a dead token: recorded, except for the trace id.
pub(crate) const EXPIRED_ERROR: &str = r#"{"error":{"message":"Error validating access token: Session has expired on Sunday, 05-Oct-25 05:00:00 PDT. The current time is Sunday, 05-Oct-25 05:59:33 PDT.","type":"OAuthException","code":190,"error_subcode":463,"fbtrace_id":"AZ-HzGEkq0uQ"}}"#;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error envelope with this code.
pub(crate) fn error_envelope(code: i64) -> String {
    format!(r#"{{"error":{{"message":"(#{code}) said so","type":"OAuthException","code":{code},"fbtrace_id":"A1"}}}}"#)
}
