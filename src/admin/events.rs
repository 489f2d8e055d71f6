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

use super::query::{Parameters, QueryError};
use super::response::{AdminResponse, json_response};
use super::state::Admin;
use crate::net::Stage;
use crate::telemetry::Event;

#[derive(Serialize)]
struct Events {
    events: Vec<Event>,
    /// The value of `after` for what comes next.
    last: u64,
}

/// The longest wait for an event, in seconds.
const MAX_WAIT: u64 = 30;

/// Answers with the events, at once or when there is one.
pub(super) async fn events(admin: &Admin, parameters: &Parameters<'_>) -> Result<AdminResponse, QueryError> {
    let after = parameters.number("after", 0..=u64::MAX)?.unwrap_or_default();
    let longest = Duration::from_secs(parameters.number("wait", 0..=MAX_WAIT)?.unwrap_or_default());
    let wait = admin.event_waits.try_acquire();
    if wait.is_ok() && !longest.is_zero() {
        tokio::select! {
            () = admin.events.wait_for(after) => {}
            () = sleep(longest) => {}
            () = admin.lifecycle.wait_for(Stage::Stopped) => {}
        }
    }
    let events = admin.events.after(after);
    let last = events.last().map_or(after, |event| event.id);
    Ok(json_response(StatusCode::OK, &Events { events, last }))
}
