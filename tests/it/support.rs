//! The harness: a scripted [`Graph`] behind the proxy, an [`App`] before it, a [`Drop`] and a [`Mint`] beside it,
//! and the [`House`] that puts them together.

mod answer;
mod app;
mod bodies;
mod connection;
mod crew;
mod drop;
mod graph;
mod house;
mod log;
mod mint;
mod reply;

pub(crate) use answer::Answer;
pub(crate) use app::{App, get, post, request, with};
pub(crate) use bodies::{Sent, broken, chunked, dribbled, sized, stalled};
pub(crate) use crew::Crew;
pub(crate) use drop::Drop;
pub(crate) use graph::{Dial, Graph, Seen};
pub(crate) use house::{APP_SECRET, Home, House, today};
pub(crate) use log::Logged;
pub(crate) use mint::Mint;
pub(crate) use reply::{Reply, gzip};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A version of HTTP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Http {
    One,
    Two,
}

/// What the app speaks, and what Graph speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) app: Http,
    pub(crate) graph: Http,
}

/// HTTP/1.1 all along, HTTP/2 all along, and both changes between them.
pub(crate) const WAYS: [Way; 4] = [
    Way::new(Http::One, Http::One),
    Way::new(Http::Two, Http::Two),
    Way::new(Http::One, Http::Two),
    Way::new(Http::Two, Http::One),
];

impl Way {
    pub(crate) const fn new(app: Http, graph: Http) -> Self {
        Self { app, graph }
    }
}

/// The token that the drop shows at first, and that Graph takes at first.
pub(crate) const FIRST: &str = "EAAfirst0token0of0the0house";
/// The one after it.
pub(crate) const SECOND: &str = "EAAsecond0token0of0the0house";

/// What Graph says of a dead token: recorded, but for the trace.
pub(crate) const EXPIRED: &str = r#"{"error":{"message":"Error validating access token: Session has expired on Sunday, 05-Oct-25 05:00:00 PDT. The current time is Sunday, 05-Oct-25 05:59:33 PDT.","type":"OAuthException","code":190,"error_subcode":463,"fbtrace_id":"AZ-HzGEkq0uQ"}}"#;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error envelope with this code.
pub(crate) fn envelope(code: i64) -> String {
    format!(
        r#"{{"error":{{"message":"(#{code}) said so","type":"OAuthException","code":{code},"fbtrace_id":"A1"}}}}"#
    )
}
