//! The last events: all that are there, or those after one that the client has seen, which it may wait for.
//!
//! # Why
//!
//! A client waits for the next event with a long poll: it works through every proxy, and can send a key, which a browser's
//! `EventSource` cannot. A wait holds a connection, of which the probes need some: so few clients wait at a time.

use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use tokio::time::sleep;

use super::query::{QueryError, number, parameters};
use super::response::{AdminResponse, json_response};
use super::state::Admin;
use crate::net::Stage;
use crate::telemetry::Event;

/// Which events are returned.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct EventQuery {
    /// Those after this one.
    after: u64,
    /// The longest wait for the first.
    wait: Duration,
}

#[derive(Serialize)]
struct Events {
    events: Vec<Event>,
    /// The value of `after` for what comes next.
    last: u64,
}

/// The longest wait for an event, in seconds.
const MAX_WAIT: u64 = 30;

/// Answers with the events, at once or when there is one.
pub(super) async fn events(admin: &Admin, query: EventQuery) -> AdminResponse {
    let wait = admin.event_waits.try_acquire();
    if wait.is_ok() && !query.wait.is_zero() {
        tokio::select! {
            () = admin.events.wait_for(query.after) => {}
            () = sleep(query.wait) => {}
            () = admin.lifecycle.wait_for(Stage::Stopped) => {}
        }
    }
    let events = admin.events.after(query.after);
    let last = events.last().map_or(query.after, |event| event.id);
    json_response(StatusCode::OK, &Events { events, last })
}

// === impl EventQuery ===

impl EventQuery {
    pub(super) fn parse(query: Option<&str>) -> Result<Self, QueryError> {
        let mut parsed = Self::default();
        for parameter in parameters(query) {
            let (name, value) = parameter?;
            match name {
                "after" => parsed.after = number(&value).ok_or(QueryError::NotNumber("after", 0, u64::MAX))?,
                "wait" => {
                    let seconds = number(&value).filter(|seconds| *seconds <= MAX_WAIT);
                    let seconds = seconds.ok_or(QueryError::NotNumber("wait", 0, MAX_WAIT))?;
                    parsed.wait = Duration::from_secs(seconds);
                }
                _ => return Err(QueryError::Unknown("after, wait")),
            }
        }
        Ok(parsed)
    }
}
