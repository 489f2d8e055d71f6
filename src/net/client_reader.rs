//! Gives up responses that the client does not read.
//!
//! # Why
//!
//! hyper takes more of a response's body only when there is room for it, so a client that stands still keeps the response,
//! and its stream or connection to Graph, for as long as it likes. No write fails and none blocks over HTTP/2, where the
//! window of one stream is full and the others go on. So the task that drives an HTTP/1.1 connection, or a stream of HTTP/2,
//! watches whether hyper comes back for more after it was given a piece, and ends if it does not. What hyper has taken of a
//! small response it holds itself: there, the socket tells whether the client reads.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, ready};

use super::lazy_timer::{LazySleep, TimeLimit};
use super::tasks::Tasks;

/// The client that reads the responses of one task.
#[derive(Debug, Default)]
pub struct ClientReader {
    pieces: AtomicU64,
    /// Whether there was room for the last piece, or it was the last one of its response.
    has_room: AtomicBool,
    has_stalled: AtomicBool,
}

/// Spawns streams of HTTP/2.
#[derive(Clone)]
pub(super) struct StreamSpawner {
    pub(super) tasks: Tasks,
    pub(super) send_timeout: TimeLimit,
}

tokio::task_local! {
    static CURRENT: Arc<ClientReader>;
}

// === impl ClientReader ===

impl ClientReader {
    /// Returns the client of the task that runs this.
    #[must_use]
    pub fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Records that a piece of a response was handed over, and that it is not the last one.
    pub fn record_piece(&self) {
        self.pieces.fetch_add(1, Ordering::Relaxed);
        self.has_room.store(false, Ordering::Relaxed);
    }

    /// Records that what was handed over still waits for room in the socket.
    pub(super) fn record_blocked(&self) {
        self.has_room.store(false, Ordering::Relaxed);
    }

    /// Records that more of a response is asked for, or that it has ended.
    pub fn record_room(&self) {
        self.has_room.store(true, Ordering::Relaxed);
    }

    /// Whether a response was given up because the client did not read it.
    pub fn has_stalled(&self) -> bool {
        self.has_stalled.load(Ordering::Relaxed)
    }

    /// The number of pieces, if there is no room for the last one.
    fn waits_with(&self) -> Option<u64> {
        let pieces = self.pieces.load(Ordering::Relaxed);
        (pieces > 0 && !self.has_room.load(Ordering::Relaxed)).then_some(pieces)
    }
}

/// Runs what serves a client; `None` if the client does not read a response for so long.
pub(super) async fn until_client_stalls<F: Future>(serving: F, send_timeout: TimeLimit) -> Option<F::Output> {
    let reader = Arc::<ClientReader>::default();
    let mut serving = pin!(CURRENT.scope(Arc::clone(&reader), serving));
    let (mut piece, mut stall): (_, Option<LazySleep>) = (None, None);
    poll_fn(move |cx| {
        if let Poll::Ready(output) = serving.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        let last = reader.waits_with();
        if std::mem::replace(&mut piece, last) != last {
            stall = last.map(|_| send_timeout.start());
        }
        let Some(stall) = &mut stall else {
            return Poll::Pending;
        };
        ready!(Pin::new(stall).poll(cx));
        reader.has_stalled.store(true, Ordering::Relaxed);
        Poll::Ready(None)
    })
    .await
}

// === impl StreamSpawner ===

impl<F> hyper::rt::Executor<F> for StreamSpawner
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        drop(self.tasks.spawn(until_client_stalls(stream, self.send_timeout.clone())));
    }
}
