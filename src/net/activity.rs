//! The open connections of a listener, and what each of them is doing.
//!
//! # Why
//!
//! At the limit, the connection that has been idle for the longest makes room: a client keeps connections open in case it
//! needs them, and can open another. If none is idle, the one that has waited for the head of its request for the longest does: nothing
//! of that request has been done, and clients that never end their heads would keep all others out. Only if every connection has a
//! request is a new one refused: to cut a response of Graph would hide what became of a message.
//!
//! Operators can ask again, and the probes on their listener have to be answered: there, the response that its client has not read
//! for the longest makes room, too.
//!
//! Idle connections are not kept in order, which would cost every request: each notes a number when it falls idle, and they are
//! compared when room is needed.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::types::lock;

/// The open connections of a listener.
pub(super) struct OpenConnections {
    limit: usize,
    unread_responses: UnreadResponses,
    /// The number of times that a connection was opened, fell idle, or became blocked.
    turns: AtomicU64,
    /// By the turn at which they were opened.
    open: Mutex<BTreeMap<u64, Arc<Activity>>>,
}

/// What becomes of responses that clients do not read when a new connection needs room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnreadResponses {
    /// They are kept, and the new connection is refused.
    Keep,
    /// The one that has not been read for the longest is given up.
    GiveUp,
}

/// A place among the open connections; given up when it is dropped.
pub(super) struct OpenConnection(pub(super) Arc<Activity>);

/// What a connection is doing.
pub(super) struct Activity {
    connections: Arc<OpenConnections>,
    opened: u64,
    requests: AtomicUsize,
    /// Bytes have come since the last request.
    has_input: AtomicBool,
    /// A response has not been written to its end: over HTTP/2, a stream is open.
    is_writing: AtomicBool,
    idle_since: AtomicU64,
    /// The turn at which the client stopped reading what is to be written, or [`NOT_BLOCKED`].
    blocked_since: AtomicU64,
    make_room: Notify,
}

/// A request; it ends when this is dropped.
pub(super) struct ActiveRequest(Arc<Activity>);

/// The open connections among which an idle one keeps its server: 17 KiB of memory.
const CROWD: usize = 256;
/// The client reads what is written, or nothing is to be written.
const NOT_BLOCKED: u64 = u64::MAX;

// === impl OpenConnections ===

impl OpenConnections {
    pub(super) fn new(limit: NonZeroU32, unread_responses: UnreadResponses) -> Arc<Self> {
        Arc::new(Self {
            limit: limit.get() as usize,
            unread_responses,
            turns: AtomicU64::new(0),
            open: Mutex::default(),
        })
    }

    /// Returns a place for a new connection. At the limit, the one that has been idle for the longest is closed, or else the one
    /// whose request has been incomplete for the longest, or the one whose response may be given up; `None` if all of them have
    /// requests.
    pub(super) fn admit(self: &Arc<Self>) -> Option<OpenConnection> {
        let opened = self.next_turn();
        let activity = Arc::new(Activity {
            connections: Arc::clone(self),
            opened,
            requests: AtomicUsize::new(0),
            has_input: AtomicBool::new(false),
            is_writing: AtomicBool::new(false),
            idle_since: AtomicU64::new(opened),
            blocked_since: AtomicU64::new(NOT_BLOCKED),
            make_room: Notify::new(),
        });
        let mut open = lock(&self.open);
        if open.len() >= self.limit {
            let longest = |is_chosen: fn(&Activity) -> bool, since: fn(&Activity) -> u64| {
                let chosen = open.values().filter(|activity| is_chosen(activity));
                chosen.min_by_key(|activity| since(activity))
            };
            let oldest = longest(Activity::is_idle, Activity::idle_since)
                .or_else(|| longest(Activity::is_receiving_head, Activity::idle_since))
                .or_else(|| longest(Activity::may_be_given_up, Activity::blocked_since))?;
            oldest.make_room.notify_one();
            let opened = oldest.opened;
            // It does not count while it closes.
            open.remove(&opened);
        }
        open.insert(opened, Arc::clone(&activity));
        Some(OpenConnection(activity))
    }

    fn next_turn(&self) -> u64 {
        self.turns.fetch_add(1, Ordering::Relaxed)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        lock(&self.0.connections.open).remove(&self.0.opened);
    }
}

// === impl Activity ===

impl Activity {
    /// Whether it is idle, and so many connections are open that it should give up its server.
    pub(super) fn is_idle_in_a_crowd(&self) -> bool {
        self.is_idle() && lock(&self.connections.open).len() > CROWD
    }

    /// Notes the head of a request.
    pub(super) fn begin_request(self: &Arc<Self>) -> ActiveRequest {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.has_input.store(false, Ordering::Relaxed);
        ActiveRequest(Arc::clone(self))
    }

    /// Notes that bytes have come.
    pub(super) fn note_input(&self) {
        self.has_input.store(true, Ordering::Relaxed);
    }

    /// Notes that there are bytes to be written.
    pub(super) fn begin_write(&self) {
        self.is_writing.store(true, Ordering::Relaxed);
    }

    /// Notes that all bytes have been written.
    pub(super) fn end_write(&self) {
        self.is_writing.store(false, Ordering::Relaxed);
    }

    /// Notes that all that is to be written waits for the client to read.
    pub(super) fn begin_block(&self) {
        if self.blocked_since() == NOT_BLOCKED {
            self.blocked_since
                .store(self.connections.next_turn(), Ordering::Relaxed);
        }
    }

    /// Notes that the client reads, or that nothing waits for it.
    pub(super) fn end_block(&self) {
        self.blocked_since.store(NOT_BLOCKED, Ordering::Relaxed);
    }

    /// Whether the client does not read a response, and that response may be given up for another connection.
    pub(super) fn may_be_given_up(&self) -> bool {
        self.connections.unread_responses == UnreadResponses::GiveUp && self.blocked_since() != NOT_BLOCKED
    }

    fn blocked_since(&self) -> u64 {
        self.blocked_since.load(Ordering::Relaxed)
    }

    /// Whether nothing is on its way in either direction.
    pub(super) fn is_idle(&self) -> bool {
        self.has_no_request() && !self.has_input.load(Ordering::Relaxed)
    }

    /// Whether there is no request whose head has arrived and whose response has not been written.
    pub(super) fn has_no_request(&self) -> bool {
        self.requests.load(Ordering::Relaxed) == 0 && !self.is_writing.load(Ordering::Relaxed)
    }

    /// Whether the head of a request has begun, and has not ended yet, and nothing else is on its way: the client may be reading the
    /// response before it.
    pub(super) fn is_receiving_head(&self) -> bool {
        self.has_no_request() && self.has_input.load(Ordering::Relaxed)
    }

    /// The turn at which it fell idle last: smaller for those that have been idle for longer.
    pub(super) fn idle_since(&self) -> u64 {
        self.idle_since.load(Ordering::Relaxed)
    }

    /// Waits until the connection has to make room for another one.
    pub(super) async fn wait_to_make_room(&self) {
        self.make_room.notified().await;
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        let activity = &self.0;
        activity.has_input.store(false, Ordering::Relaxed);
        activity
            .idle_since
            .store(activity.connections.next_turn(), Ordering::Relaxed);
        activity.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_to_close(connection: &OpenConnection) -> bool {
        let connection = &connection.0;
        !lock(&connection.connections.open).contains_key(&connection.opened)
    }

    #[test]
    fn the_connection_that_has_been_idle_for_the_longest_makes_room_and_a_busy_one_never() {
        let connections = OpenConnections::new(NonZeroU32::new(4).unwrap(), UnreadResponses::Keep);
        let open: Vec<_> = (0..4).map(|_| connections.admit().unwrap()).collect();
        let requests: Vec<_> = open.iter().map(|connection| connection.0.begin_request()).collect();
        assert!(connections.admit().is_none(), "all of them serve requests");
        let mut requests: Vec<_> = requests.into_iter().map(Some).collect();
        for at in [2, 0, 3] {
            requests[at] = None;
        }
        open[0].0.begin_write();
        open[3].0.note_input();
        let fifth = connections.admit().unwrap();
        assert_eq!(
            open.iter().map(has_to_close).collect::<Vec<_>>(),
            [false, false, true, false]
        );
        let _busy = fifth.0.begin_request();
        // A response is written, a head arrives, two serve requests, one closes.
        let sixth = connections.admit().unwrap();
        assert!(has_to_close(&open[3]), "its request has not begun");
        let _other = sixth.0.begin_request();
        assert!(
            connections.admit().is_none(),
            "a response is written, three serve requests"
        );
        open[0].0.end_write();
        let seventh = connections.admit().unwrap();
        assert!(has_to_close(&open[0]));
        drop((open, sixth, seventh));
        assert_eq!(lock(&connections.open).len(), 1);
    }

    #[test]
    fn the_response_that_has_not_been_read_for_the_longest_makes_room_only_where_it_may_be_given_up() {
        for unread in [UnreadResponses::Keep, UnreadResponses::GiveUp] {
            let connections = OpenConnections::new(NonZeroU32::new(3).unwrap(), unread);
            let open: Vec<_> = (0..3).map(|_| connections.admit().unwrap()).collect();
            let _requests: Vec<_> = open.iter().map(|connection| connection.0.begin_request()).collect();
            for at in [0, 2, 1] {
                open[at].0.begin_block();
            }
            open[0].0.end_block();
            open[0].0.begin_block();
            open[2].0.begin_block();
            let expected = match unread {
                UnreadResponses::Keep => [false, false, false],
                UnreadResponses::GiveUp => [false, false, true],
            };
            let admitted = connections.admit();
            assert_eq!(admitted.is_some(), unread == UnreadResponses::GiveUp);
            assert_eq!(open.iter().map(has_to_close).collect::<Vec<_>>(), expected);
        }
    }
}
