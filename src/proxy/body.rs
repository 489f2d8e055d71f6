//! The one body type, both ways: what was read early, then what lies on disk, then what is still on the wire.
//!
//! # Why
//!
//! One concrete type replaces every boxed body: nothing is allocated for it, and the future that carries it stays
//! small. Trailers end here in both directions: Graph has none, and a trailer is a field that skipped the
//! cleaning. Whoever waits for the next frame waits at most the idle timeout; the timer is made only when there
//! is something to wait for, so a body that is already there costs none.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use super::cleaning::Cleaner;
use super::pool::Permit;
use super::record::Record;
use super::spool;
use crate::graph::scrub::ScrubError;

/// What was read early, then what lies on disk, then what is still on the wire.
#[derive(Debug, Default)]
pub(crate) struct Body {
    early: Option<Bytes>,
    spool: Option<spool::Reader>,
    wire: Option<Incoming>,
    /// What the wire's bytes go through.
    cleaner: Option<Box<Cleaner>>,
    idle: Option<Idle>,
    sent: Option<Sent>,
    /// Held until the bytes have been handed over.
    permit: Option<Permit>,
    /// Closed with the last byte.
    record: Option<Box<Record>>,
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The peer that sends it broke off.
    #[error("the body broke off")]
    Broken(#[source] hyper::Error),
    /// No frame within the idle timeout.
    #[error("the body stalled")]
    Stalled,
    /// The spooled part cannot be read back.
    #[error("the spooled body cannot be read")]
    Spool(#[source] io::Error),
    /// It has a credential that may not leave and cannot be taken out.
    #[error("the body cannot be cleaned of credentials")]
    Unclean(#[source] ScrubError),
}

#[derive(Debug)]
struct Idle {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

/// When the last byte of a request's body was handed over: the answer's head is waited for from then.
#[derive(Clone, Debug)]
pub(crate) struct Sent(Arc<Sending>);

#[derive(Debug)]
struct Sending {
    began: Instant,
    millis: AtomicU64,
    /// The next byte is the app's to send. What bounds that wait is the idle timeout.
    starved: AtomicBool,
    lapse: OnceLock<Lapse>,
}

/// Why a request's body broke off: a [`BodyError`] in a word. HTTP/2 sends a body in a task of its own, and what
/// comes back as the request's error says only that the stream was reset.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lapse {
    Broken,
    Stalled,
    Spool,
    Unclean(ScrubError),
}

// === impl Body ===

impl Body {
    /// Bytes, then what is still on the wire.
    pub(crate) fn chained(early: Bytes, wire: Incoming, idle: Duration) -> Self {
        Self {
            early: some(early),
            wire: Some(wire),
            idle: Some(Idle::of(idle)),
            ..Self::default()
        }
    }

    /// What lies on disk.
    pub(crate) fn spooled(reader: spool::Reader) -> Self {
        Self {
            spool: Some(reader),
            ..Self::default()
        }
    }

    /// What lies on disk, then bytes, then what is still on the wire.
    pub(crate) fn overflowing(
        reader: spool::Reader,
        next: Bytes,
        wire: Incoming,
        idle: Duration,
    ) -> Self {
        Self {
            spool: Some(reader),
            ..Self::chained(next, wire, idle)
        }
    }

    /// What is still on the wire.
    pub(crate) fn streaming(wire: Incoming, idle: Duration) -> Self {
        Self {
            wire: Some(wire),
            idle: Some(Idle::of(idle)),
            ..Self::default()
        }
    }

    /// What is on the wire goes through this.
    pub(crate) fn cleaned(self, cleaner: Option<Cleaner>) -> Self {
        let cleaner = cleaner.map(Box::new);
        Self { cleaner, ..self }
    }

    /// The same with these bytes, which were read of it, before it.
    pub(crate) fn after(self, early: Bytes) -> Self {
        Self {
            early: some(early),
            ..self
        }
    }

    /// Holds the permit until the bytes have been handed over.
    pub(crate) fn holding(self, permit: Option<Permit>) -> Self {
        Self { permit, ..self }
    }

    /// Says when its last byte was handed over, where that takes long enough to matter.
    pub(crate) fn watched(mut self) -> (Self, Option<Sent>) {
        if self.spool.is_none() && self.wire.is_none() {
            return (self, None);
        }
        let sent = Sent(Arc::new(Sending {
            began: Instant::now(),
            millis: AtomicU64::new(0),
            starved: AtomicBool::new(false),
            lapse: OnceLock::new(),
        }));
        self.sent = Some(sent.clone());
        (self, Some(sent))
    }

    /// Closes the record with its last byte, or when it is dropped.
    pub(crate) fn recorded(mut self, mut record: Box<Record>) -> Self {
        if http_body::Body::is_end_stream(&self) {
            record.whole();
        }
        self.record = Some(record);
        self
    }

    /// Whether its length is known before it is sent.
    pub(crate) fn is_sized(&self) -> bool {
        http_body::Body::size_hint(self).exact().is_some()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        // On disk lies what came first, unless nothing was spooled.
        if let Some(reader) = &mut self.spool {
            if let Some(chunk) = ready!(reader.poll_chunk(cx)) {
                return Poll::Ready(Some(chunk.map_err(BodyError::Spool)));
            }
            self.spool = None;
        }
        if let Some(early) = self.early.take() {
            return Poll::Ready(Some(Ok(early)));
        }
        while let Some(wire) = &mut self.wire {
            let Poll::Ready(frame) = http_body::Body::poll_frame(Pin::new(wire), cx) else {
                let stalled = self.idle.as_mut().is_some_and(|idle| idle.is_over(cx));
                return if stalled {
                    Poll::Ready(Some(Err(BodyError::Stalled)))
                } else {
                    Poll::Pending
                };
            };
            if let Some(idle) = &mut self.idle {
                idle.timer = None;
            }
            let ended = http_body::Body::is_end_stream(wire);
            let data = match frame {
                None => {
                    self.wire = None;
                    match self.cleaner.take() {
                        Some(mut cleaner) => cleaner.finish().map(|(rest, _found)| rest),
                        None => break,
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(BodyError::Broken(error)))),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    match self.cleaner.take() {
                        None => Ok(data),
                        // Who sends a promised length does not ask for more than that.
                        Some(mut cleaner) if ended => cleaner.last(&data),
                        Some(cleaner) => self.cleaner.insert(cleaner).push(&data),
                    }
                }
            };
            match data {
                Ok(data) if data.is_empty() => {}
                data => return Poll::Ready(Some(data.map_err(BodyError::Unclean))),
            }
        }
        Poll::Ready(None)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let body = self.get_mut();
        let Poll::Ready(next) = body.poll_next(cx) else {
            if let (Some(sent), None) = (&body.sent, &body.spool) {
                sent.starves();
            }
            return Poll::Pending;
        };
        if let Some(sent) = &body.sent {
            sent.now();
            if let Some(Err(error)) = &next {
                sent.lapses(error);
            }
        }
        if let Some(record) = &mut body.record {
            match &next {
                Some(Ok(data)) => record.delivered_bytes(data.len()),
                Some(Err(_)) => record.cut(),
                None => {}
            }
        }
        let over = next.is_none() || http_body::Body::is_end_stream(body);
        if over && !matches!(next, Some(Err(_))) {
            body.permit = None;
            if let Some(mut record) = body.record.take() {
                record.whole();
            }
        }
        Poll::Ready(next.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.early.is_none()
            && self.spool.is_none()
            && self.wire.as_ref().is_none_or(Incoming::is_end_stream)
            && self.cleaner.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let here = self.early.as_ref().map_or(0, |early| early.len() as u64)
            + self.spool.as_ref().map_or(0, spool::Reader::left);
        let Some(wire) = &self.wire else {
            return SizeHint::with_exact(here);
        };
        let wire = http_body::Body::size_hint(wire);
        let kept = self.cleaner.as_ref().is_none_or(|one| one.keeps_length());
        match wire.exact().filter(|_| kept) {
            Some(exact) => SizeHint::with_exact(here + exact),
            None => SizeHint::default(),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self {
            early: some(bytes),
            ..Self::default()
        }
    }
}

fn some(bytes: Bytes) -> Option<Bytes> {
    (!bytes.is_empty()).then_some(bytes)
}

// === impl Idle ===

impl Idle {
    const fn of(limit: Duration) -> Self {
        Self { limit, timer: None }
    }

    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep(self.limit)));
        timer.as_mut().poll(cx).is_ready()
    }
}

// === impl Sent ===

impl Sent {
    fn now(&self) {
        let millis = u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.millis.store(millis, Ordering::Relaxed);
        self.0.starved.store(false, Ordering::Relaxed);
    }

    fn starves(&self) {
        self.0.starved.store(true, Ordering::Relaxed);
    }

    fn lapses(&self, error: &BodyError) {
        let lapse = match error {
            BodyError::Broken(_) => Lapse::Broken,
            BodyError::Stalled => Lapse::Stalled,
            BodyError::Spool(_) => Lapse::Spool,
            BodyError::Unclean(error) => Lapse::Unclean(*error),
        };
        // Who asks once more after an error learns nothing new.
        let _first = self.0.lapse.get_or_init(|| lapse);
    }

    /// Why it broke off, if it did.
    pub(crate) fn lapse(&self) -> Option<Lapse> {
        self.0.lapse.get().copied()
    }

    /// When a byte was handed over last; now, while the next one is the app's to send.
    pub(crate) fn last(&self) -> Instant {
        if self.0.starved.load(Ordering::Relaxed) {
            return Instant::now();
        }
        self.0.began + Duration::from_millis(self.0.millis.load(Ordering::Relaxed))
    }
}
