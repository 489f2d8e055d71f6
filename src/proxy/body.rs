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

use super::body_scrub::BodyScrubber;
use super::byte_budget::BytePermit;
use super::record::RequestRecord;
use super::spool;
use crate::graph::scrub::ScrubError;

/// What was read early, then what lies on disk, then what is still on the wire.
#[derive(Debug, Default)]
pub(crate) struct Body {
    prefix: Option<Bytes>,
    spool: Option<spool::SpoolReader>,
    incoming: Option<Incoming>,
    /// What the wire's bytes go through.
    scrubber: Option<Box<BodyScrubber>>,
    idle: Option<IdleTimer>,
    upload_progress: Option<UploadProgress>,
    /// Held until the bytes have been handed over.
    permit: Option<BytePermit>,
    /// Closed with the last byte.
    record: Option<Box<RequestRecord>>,
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The peer that sends it broke off.
    #[error("the body broke off")]
    Interrupted(#[source] hyper::Error),
    /// No frame within the idle timeout.
    #[error("the body stalled")]
    IdleTimeout,
    /// The spooled part cannot be read back.
    #[error("the spooled body cannot be read")]
    Spool(#[source] io::Error),
    /// It has a credential that may not leave and cannot be taken out.
    #[error("the body cannot be cleaned of credentials")]
    ScrubFailed(#[source] ScrubError),
}

#[derive(Debug)]
struct IdleTimer {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

/// When the last byte of a request's body was handed over: the answer's head is waited for from then.
#[derive(Clone, Debug)]
pub(crate) struct UploadProgress(Arc<UploadState>);

#[derive(Debug)]
struct UploadState {
    started_at: Instant,
    last_progress_millis: AtomicU64,
    /// The next byte is the app's to send. What bounds that wait is the idle timeout.
    waiting_for_client: AtomicBool,
    failure: OnceLock<BodyFailure>,
}

/// Why a request's body broke off: a [`BodyError`] in a word. HTTP/2 sends a body in a task of its own, and what
/// comes back as the request's error says only that the stream was reset.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum BodyFailure {
    Interrupted,
    IdleTimeout,
    Spool,
    ScrubFailed(ScrubError),
}

// === impl Body ===

impl Body {
    /// Bytes, then what is still on the wire.
    pub(crate) fn with_prefix(prefix: Bytes, incoming: Option<Incoming>, idle: Duration) -> Self {
        Self {
            prefix: non_empty(prefix),
            incoming,
            idle: Some(IdleTimer::new(idle)),
            ..Self::default()
        }
    }

    /// What lies on disk.
    pub(crate) fn from_spool(reader: spool::SpoolReader) -> Self {
        Self {
            spool: Some(reader),
            ..Self::default()
        }
    }

    /// What lies on disk, then bytes, then what is still on the wire.
    pub(crate) fn from_spool_and_stream(
        reader: spool::SpoolReader,
        next: Bytes,
        incoming: Option<Incoming>,
        idle: Duration,
    ) -> Self {
        Self {
            spool: Some(reader),
            ..Self::with_prefix(next, incoming, idle)
        }
    }

    /// What is still on the wire.
    pub(crate) fn streaming(incoming: Incoming, idle: Duration) -> Self {
        Self {
            incoming: Some(incoming),
            idle: Some(IdleTimer::new(idle)),
            ..Self::default()
        }
    }

    /// What is on the wire goes through this.
    pub(crate) fn with_scrubber(self, scrubber: Option<BodyScrubber>) -> Self {
        let scrubber = scrubber.map(Box::new);
        Self { scrubber, ..self }
    }

    /// The same with these bytes, which were read of it, before it.
    pub(crate) fn prepend(self, prefix: Bytes) -> Self {
        Self {
            prefix: non_empty(prefix),
            ..self
        }
    }

    /// Holds the permit until the bytes have been handed over.
    pub(crate) fn with_permit(self, permit: Option<BytePermit>) -> Self {
        Self { permit, ..self }
    }

    /// Says when its last byte was handed over, where that takes long enough to matter.
    pub(crate) fn track_upload(mut self) -> (Self, Option<UploadProgress>) {
        if self.spool.is_none() && self.incoming.is_none() {
            return (self, None);
        }
        let progress = UploadProgress(Arc::new(UploadState {
            started_at: Instant::now(),
            last_progress_millis: AtomicU64::new(0),
            waiting_for_client: AtomicBool::new(false),
            failure: OnceLock::new(),
        }));
        self.upload_progress = Some(progress.clone());
        (self, Some(progress))
    }

    /// Closes the record with its last byte, or when it is dropped.
    pub(crate) fn with_record(mut self, mut record: Box<RequestRecord>) -> Self {
        if http_body::Body::is_end_stream(&self) {
            record.mark_complete();
        }
        self.record = Some(record);
        self
    }

    /// Whether its length is known before it is sent.
    pub(crate) fn has_known_length(&self) -> bool {
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
        if let Some(prefix) = self.prefix.take() {
            return Poll::Ready(Some(Ok(prefix)));
        }
        while let Some(incoming) = &mut self.incoming {
            let Poll::Ready(frame) = http_body::Body::poll_frame(Pin::new(incoming), cx) else {
                let timed_out = self.idle.as_mut().is_some_and(|idle| idle.has_elapsed(cx));
                return if timed_out {
                    Poll::Ready(Some(Err(BodyError::IdleTimeout)))
                } else {
                    Poll::Pending
                };
            };
            if let Some(idle) = &mut self.idle {
                idle.timer = None;
            }
            let ended = http_body::Body::is_end_stream(incoming);
            let data = match frame {
                None => {
                    self.incoming = None;
                    match self.scrubber.take() {
                        Some(mut scrubber) => scrubber.finish().map(|(rest, _found)| rest),
                        None => break,
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(BodyError::Interrupted(error)))),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    match self.scrubber.take() {
                        None => Ok(data),
                        // Who sends a promised length does not ask for more than that.
                        Some(mut scrubber) if ended => scrubber.push_last(&data),
                        Some(scrubber) => self.scrubber.insert(scrubber).push(&data),
                    }
                }
            };
            match data {
                Ok(data) if data.is_empty() => {}
                data => return Poll::Ready(Some(data.map_err(BodyError::ScrubFailed))),
            }
        }
        Poll::Ready(None)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let body = self.get_mut();
        let Poll::Ready(next) = body.poll_next(cx) else {
            if let (Some(progress), None) = (&body.upload_progress, &body.spool) {
                progress.mark_waiting_for_client();
            }
            return Poll::Pending;
        };
        if let Some(progress) = &body.upload_progress {
            progress.record_progress();
            if let Some(Err(error)) = &next {
                progress.record_failure(error);
            }
        }
        if let Some(record) = &mut body.record {
            match &next {
                Some(Ok(data)) => record.add_response_bytes(data.len()),
                Some(Err(_)) => record.mark_aborted(),
                None => {}
            }
        }
        let finished = next.is_none() || http_body::Body::is_end_stream(body);
        if finished && !matches!(next, Some(Err(_))) {
            body.permit = None;
            if let Some(mut record) = body.record.take() {
                record.mark_complete();
            }
        }
        Poll::Ready(next.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.prefix.is_none()
            && self.spool.is_none()
            && self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
            && self.scrubber.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let buffered = self.prefix.as_ref().map_or(0, |early| early.len() as u64)
            + self.spool.as_ref().map_or(0, spool::SpoolReader::remaining);
        let Some(incoming) = &self.incoming else {
            return SizeHint::with_exact(buffered);
        };
        let hint = http_body::Body::size_hint(incoming);
        let preserves_length = self.scrubber.as_ref().is_none_or(|one| one.preserves_length());
        match hint.exact().filter(|_| preserves_length) {
            Some(exact) => SizeHint::with_exact(buffered + exact),
            None => SizeHint::default(),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self {
            prefix: non_empty(bytes),
            ..Self::default()
        }
    }
}

fn non_empty(bytes: Bytes) -> Option<Bytes> {
    (!bytes.is_empty()).then_some(bytes)
}

// === impl IdleTimer ===

impl IdleTimer {
    const fn new(limit: Duration) -> Self {
        Self { limit, timer: None }
    }

    fn has_elapsed(&mut self, cx: &mut Context<'_>) -> bool {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.limit)));
        timer.as_mut().poll(cx).is_ready()
    }
}

// === impl Sent ===

impl UploadProgress {
    fn record_progress(&self) {
        let millis = u64::try_from(self.0.started_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last_progress_millis.store(millis, Ordering::Relaxed);
        self.0.waiting_for_client.store(false, Ordering::Relaxed);
    }

    fn mark_waiting_for_client(&self) {
        self.0.waiting_for_client.store(true, Ordering::Relaxed);
    }

    fn record_failure(&self, error: &BodyError) {
        let failure = match error {
            BodyError::Interrupted(_) => BodyFailure::Interrupted,
            BodyError::IdleTimeout => BodyFailure::IdleTimeout,
            BodyError::Spool(_) => BodyFailure::Spool,
            BodyError::ScrubFailed(error) => BodyFailure::ScrubFailed(*error),
        };
        // Who asks once more after an error learns nothing new.
        let _first = self.0.failure.get_or_init(|| failure);
    }

    /// Why it broke off, if it did.
    pub(crate) fn failure(&self) -> Option<BodyFailure> {
        self.0.failure.get().copied()
    }

    /// When a byte was handed over last; now, while the next one is the app's to send.
    pub(crate) fn last_progress(&self) -> Instant {
        if self.0.waiting_for_client.load(Ordering::Relaxed) {
            return Instant::now();
        }
        self.0.started_at + Duration::from_millis(self.0.last_progress_millis.load(Ordering::Relaxed))
    }
}
