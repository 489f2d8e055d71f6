//! The body type of both directions: first what is spooled, then what was read early, then what is still to arrive.
//!
//! # Why
//!
//! One concrete type replaces every boxed body: nothing is allocated for one in memory, and the future that carries it
//! stays small. Trailers are dropped in both directions: Graph has none, and a trailer is a header that was not scrubbed.
//! The wait for the next frame is bounded by the idle timeout. Its timer is created only when there is something to
//! wait for, so a body that has already arrived costs none.

mod arriving;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use self::arriving::Arriving;
use super::body_error::BodyError;
use super::body_scrub::{BodyScrubber, SignCheck};
use super::byte_budget::BytePermit;
use super::record::RequestRecord;
use super::spool::SpoolReader;
use super::upload_progress::UploadProgress;
use crate::graph::ScrubError;
use crate::net::{BoxError, ClientReader};
use crate::tenants::RouteError;
use crate::upstream::{RequestBody, ResponseBody};

/// Spooled data, then data that was read early, then data that is still to arrive.
#[derive(Debug, Default)]
pub struct Body {
    prefix: Option<Bytes>,
    /// All that is not in memory. Boxed, because a request moves its bodies dozens of times.
    rest: Option<Box<BodyRest>>,
    /// Completed with the last byte.
    record: Option<Box<RequestRecord>>,
}

/// The part of a body that is spooled or still to arrive.
#[derive(Debug, Default)]
struct BodyRest {
    spool: Option<SpoolReader>,
    arriving: Option<Arriving<ResponseBody<Body>>>,
    /// Removes client credentials from what arrives.
    scrubber: Option<Box<BodyScrubber>>,
    /// The longest wait for the next frame of `arriving`, and the timer of the wait that has begun.
    idle_timeout: Duration,
    idle_timer: Option<Pin<Box<Sleep>>>,
    upload_progress: Option<Arc<UploadProgress>>,
    /// Held until the bytes have been handed over.
    permit: Option<BytePermit>,
}

/// All bytes of a body.
#[derive(Debug)]
pub(crate) enum HeldBytes {
    InMemory(Option<Bytes>),
    OnDisk(SpoolReader),
}

// === impl Body ===

impl Body {
    /// Streams what the app still sends.
    pub(crate) fn request(incoming: Option<Incoming>, idle_timeout: Duration) -> Self {
        Self::streaming(incoming.map(Arriving::Request), idle_timeout)
    }

    /// Streams what Graph sends.
    pub(crate) fn response(body: ResponseBody<Self>, idle_timeout: Duration) -> Self {
        Self::streaming(Some(Arriving::Response(body)), idle_timeout)
    }

    /// What is left of a response that the upstream has ended early: the error.
    pub(crate) fn interrupted(error: BoxError, idle_timeout: Duration) -> Self {
        let interrupted = Arriving::Interrupted {
            error: Some(error),
            is_asked_for: false,
        };
        Self::streaming(Some(interrupted), idle_timeout)
    }

    fn streaming(arriving: Option<Arriving<ResponseBody<Self>>>, idle_timeout: Duration) -> Self {
        let rest = BodyRest {
            arriving,
            idle_timeout,
            ..BodyRest::default()
        };
        Self {
            rest: Some(Box::new(rest)),
            ..Self::default()
        }
    }

    /// Puts bytes that were read early before the rest.
    pub(crate) fn with_prefix(self, prefix: Bytes) -> Self {
        Self {
            prefix: non_empty(prefix),
            ..self
        }
    }

    /// Puts the spooled part before the rest.
    pub(crate) fn with_spool(mut self, reader: SpoolReader) -> Self {
        self.rest_mut().spool = Some(reader);
        self
    }

    /// Passes what arrives on the connection through this scrubber.
    pub(crate) fn with_scrubber(mut self, scrubber: Option<BodyScrubber>) -> Self {
        if scrubber.is_some() {
            self.rest_mut().scrubber = scrubber.map(Box::new);
        }
        self
    }

    /// Whether what arrives is still to be searched for credentials.
    pub(crate) fn is_scrubbed(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.scrubber.is_some())
    }

    /// Ends the body with an error if what arrives names another tenant.
    ///
    /// # Errors
    ///
    /// [`RouteError`] if what has arrived names one.
    pub(crate) fn compare_signs(&mut self, with: Box<dyn SignCheck>) -> Result<(), RouteError> {
        self.scrubber_mut()
            .map_or(Ok(()), |scrubber| scrubber.compare_signs(with))
    }

    /// Forbids what is still to arrive to make another call than the head.
    ///
    /// # Errors
    ///
    /// [`ScrubError::CannotScrub`] if what has arrived makes one.
    pub(crate) fn forbid_calls(&mut self) -> Result<(), ScrubError> {
        self.scrubber_mut().map_or(Ok(()), BodyScrubber::forbid_calls)
    }

    fn scrubber_mut(&mut self) -> Option<&mut BodyScrubber> {
        self.rest.as_mut().and_then(|rest| rest.scrubber.as_deref_mut())
    }

    /// Holds the permit until the bytes have been handed over.
    pub(crate) fn with_permit(mut self, permit: Option<BytePermit>) -> Self {
        if permit.is_some() {
            self.rest_mut().permit = permit;
        }
        self
    }

    /// What another body with the same bytes needs, if all of them are held.
    pub(crate) fn held_bytes(&self) -> Option<HeldBytes> {
        let Some(rest) = &self.rest else {
            return Some(HeldBytes::InMemory(self.prefix.clone()));
        };
        match (&rest.arriving, &rest.spool) {
            (None, None) => Some(HeldBytes::InMemory(self.prefix.clone())),
            (None, Some(reader)) => Some(HeldBytes::OnDisk(reader.reopened_at_start())),
            (Some(_), _) => None,
        }
    }

    /// Reports the progress of the body, unless it is in memory as a whole.
    pub(crate) fn track_upload(mut self) -> (Self, Option<Arc<UploadProgress>>) {
        let Some(rest) = self
            .rest
            .as_mut()
            .filter(|rest| rest.spool.is_some() || rest.arriving.is_some())
        else {
            return (self, None);
        };
        let progress = Arc::new(UploadProgress::start());
        rest.upload_progress = Some(Arc::clone(&progress));
        (self, Some(progress))
    }

    /// Completes the record with the last byte; the record is written when the body is dropped.
    pub(crate) fn with_record(mut self, mut record: Box<RequestRecord>) -> Self {
        if self.is_end_stream() {
            record.mark_complete();
        } else {
            record.reader = ClientReader::current();
        }
        self.record = Some(record);
        self
    }

    /// Returns whether the length is known before the body is sent.
    pub(crate) fn has_known_length(&self) -> bool {
        self.size_hint().exact().is_some()
    }

    fn rest_mut(&mut self) -> &mut BodyRest {
        self.rest.get_or_insert_default()
    }

    /// Whether all bytes of the declared length have come. An HTTP/2 peer may end a stream in a frame without data, for which
    /// the reader of a body with a length does not wait.
    fn has_all_declared_bytes(&self) -> bool {
        self.prefix.is_none() && self.rest.as_ref().is_some_and(|rest| rest.has_all_declared_bytes())
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        // The spooled part arrived first.
        if let Some(rest) = &mut self.rest
            && let Some(chunk) = ready!(rest.poll_spooled(cx))
        {
            return Poll::Ready(Some(chunk));
        }
        if let Some(prefix) = self.prefix.take() {
            return Poll::Ready(Some(Ok(prefix)));
        }
        match &mut self.rest {
            Some(rest) => rest.poll_arriving(cx),
            None => Poll::Ready(None),
        }
    }
}

// === impl BodyRest ===

impl BodyRest {
    fn is_end_stream(&self) -> bool {
        self.spool.is_none() && self.arriving.as_ref().is_none_or(Arriving::is_end_stream) && self.scrubber.is_none()
    }

    fn has_all_declared_bytes(&self) -> bool {
        let rest = self.arriving.as_ref().and_then(|arriving| arriving.size_hint().exact());
        rest == Some(0) && self.spool.is_none() && self.scrubber.is_none()
    }

    fn poll_spooled(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if let Some(reader) = &mut self.spool {
            if let Some(chunk) = ready!(reader.poll_chunk(cx)) {
                return Poll::Ready(Some(chunk.map_err(BodyError::Spool)));
            }
            self.spool = None;
        }
        Poll::Ready(None)
    }

    fn poll_arriving(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        while let Some(arriving) = &mut self.arriving {
            let Poll::Ready(frame) = Pin::new(&mut *arriving).poll_frame(cx) else {
                let timer = self
                    .idle_timer
                    .get_or_insert_with(|| Box::pin(sleep(self.idle_timeout)));
                ready!(timer.as_mut().poll(cx));
                return Poll::Ready(Some(Err(BodyError::IdleTimeout)));
            };
            self.idle_timer = None;
            let ended = arriving.is_end_stream();
            let data = match frame {
                None => {
                    self.arriving = None;
                    match self.scrubber.take() {
                        Some(mut scrubber) => scrubber.finish().map(|(rest, _report)| rest),
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
                        // hyper does not poll again once the declared length has been sent.
                        Some(mut scrubber) if ended => scrubber.push_last(&data),
                        Some(scrubber) => self.scrubber.insert(scrubber).push(&data),
                    }
                }
            };
            match data {
                Ok(data) if data.is_empty() => {}
                data => return Poll::Ready(Some(data)),
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
        if let Some(record) = &body.record {
            record.record_room();
        }
        let next = body.poll_next(cx);
        if let Some(rest) = &body.rest
            && let Some(progress) = &rest.upload_progress
        {
            match &next {
                Poll::Pending if rest.spool.is_none() => progress.wait_for_client(),
                Poll::Pending => {}
                Poll::Ready(next) => progress.record(next.as_ref()),
            }
        }
        let next = ready!(next);
        if let Some(record) = &mut body.record {
            match &next {
                Some(Ok(data)) => record.add_response_bytes(data.len()),
                Some(Err(_)) => record.mark_aborted(),
                None => {}
            }
        }
        let finished = next.is_none() || body.is_end_stream() || body.has_all_declared_bytes();
        if finished && !matches!(next, Some(Err(_))) {
            if let Some(rest) = &mut body.rest {
                rest.permit = None;
            }
            if let Some(mut record) = body.record.take() {
                record.mark_complete();
            }
        }
        Poll::Ready(next.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.prefix.is_none() && self.rest.as_ref().is_none_or(|rest| rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let prefix = self.prefix.as_ref().map_or(0, |prefix| prefix.len() as u64);
        let Some(rest) = &self.rest else {
            return SizeHint::with_exact(prefix);
        };
        let buffered = prefix + rest.spool.as_ref().map_or(0, SpoolReader::remaining);
        let Some(arriving) = &rest.arriving else {
            return SizeHint::with_exact(buffered);
        };
        let preserves_length = rest
            .scrubber
            .as_ref()
            .is_none_or(|scrubber| scrubber.preserves_length());
        match arriving.size_hint().exact().filter(|_| preserves_length) {
            Some(exact) => SizeHint::with_exact(buffered + exact),
            None => SizeHint::default(),
        }
    }
}

impl RequestBody for Body {
    fn is_arriving(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.arriving.is_some())
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

impl From<HeldBytes> for Body {
    fn from(held: HeldBytes) -> Self {
        match held {
            HeldBytes::InMemory(prefix) => Self {
                prefix,
                ..Self::default()
            },
            HeldBytes::OnDisk(reader) => Self::default().with_spool(reader),
        }
    }
}

fn non_empty(bytes: Bytes) -> Option<Bytes> {
    (!bytes.is_empty()).then_some(bytes)
}
