//! Cuts HTTP/2 connections on which the peer sends little but frames that carry nothing.
//!
//! # Why
//!
//! hyper bounds what it buffers and how many streams are reset, not how much work a peer makes: PING, SETTINGS, WINDOW_UPDATE,
//! PRIORITY, unknown and empty frames are read, and answered, for as long as they come. So they are counted here, where the
//! bytes of a connection pass. A connection has an allowance of them; what real clients send them for, requests and the data
//! of responses, earns more, and so does time: keep-alive pings never end a connection. h2 limits resets, small DATA frames
//! and header blocks by itself; what it cuts is counted and logged in the same way.
//!
//! Here, too, is the only place to see when a response has been written to its end: h2 holds what is left of it for as long
//! as the client's windows are closed.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::activity::Activity;

/// A connection of HTTP/2 whose floods are cut.
pub(super) struct FloodGuard<I> {
    io: I,
    frames: Box<Frames>,
    activity: Arc<Activity>,
    cut_floods: Counter,
}

/// The frames of a connection.
struct Frames {
    /// The length of what is to come of the client's preface.
    preface: usize,
    read: FrameHeads,
    written: FrameHeads,
    /// The last stream that the peer has opened.
    last_stream: u32,
    /// The streams of which the response has not ended, and whether its head has been written.
    open: BTreeMap<u32, bool>,
    allowance: u32,
    refilled_at: Instant,
}

/// Finds the heads of whole frames in bytes that come in pieces.
#[derive(Default)]
struct FrameHeads {
    head: [u8; 9],
    filled: usize,
    /// The length of what is to come of the frame's payload.
    payload: usize,
}

/// The head of a frame (RFC 9113, section 4.1).
#[derive(Clone, Copy)]
struct FrameHead {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

/// The peer sends too much of what makes work and is of no use.
#[derive(Debug, thiserror::Error)]
#[error("the client floods the connection with HTTP/2 {0}")]
struct Flood(&'static str);

/// What graphward counts.
const EMPTY_FRAMES: Flood = Flood("frames that carry nothing");
/// What h2 limits; it does not say which of them it was.
const LIMITED_BY_H2: Flood = Flood("resets, small DATA frames, or endless header blocks");

/// The most open streams that a client may have.
pub(super) const MAX_STREAMS: u32 = 256;
/// The most frames without a use that a connection may have sent ahead.
const MAX_ALLOWANCE: u32 = 1_000;
/// What a request earns.
const PER_REQUEST: u32 = 10;
/// What a frame of a response earns: a ping, and what is for its bytes.
const PER_WRITTEN_DATA: u32 = 2;
/// A window update for the stream, and one for the connection: Go's client sends both for each 4 KiB that it reads.
const PER_WRITTEN_4_KIB: u32 = 2;
const PER_SECOND: u64 = 10;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const ENHANCE_YOUR_CALM: u8 = 11;
/// RFC 9113, section 3.4.
const PREFACE_BYTES: usize = 24;

// === impl FloodGuard ===

impl<I: AsyncWrite + Unpin> FloodGuard<I> {
    /// Guards a connection, which begins with the preface.
    pub(super) fn new(io: I, activity: Arc<Activity>, cut_floods: Counter) -> Self {
        Self {
            io,
            frames: Box::new(Frames::new()),
            activity,
            cut_floods,
        }
    }

    /// Counts what the peer sent. If it is a flood, the peer is told, if that can be written at once and the last frame is
    /// whole.
    fn receive(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        let received = self.frames.receive(bytes);
        self.note_open_streams();
        received.map_err(|flood| {
            flood.report(&self.cut_floods);
            if self.frames.written.is_between_frames() {
                // What the peer does not read cannot be told; the connection ends in either case.
                drop(Pin::new(&mut self.io).poll_write(cx, &goaway(self.frames.last_stream)));
            }
            io::Error::other(flood)
        })
    }

    fn send(&mut self, bytes: &[u8]) {
        self.frames.send(bytes);
        self.note_open_streams();
    }

    fn note_open_streams(&self) {
        if self.frames.open.is_empty() {
            self.activity.end_write();
        } else {
            self.activity.begin_write();
        }
        // Where nothing but the rest of responses is to come, it waits for the client, whose windows are closed.
        if self.frames.open.is_empty() || self.frames.open.values().any(|is_answered| !is_answered) {
            self.activity.end_block();
        } else {
            self.activity.begin_block();
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for FloodGuard<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        Poll::Ready(self.receive(cx, read))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for FloodGuard<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.send(buf.get(..written).unwrap_or_default());
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs))?;
        let mut rest = written;
        for buf in bufs {
            let sent = buf.get(..rest.min(buf.len())).unwrap_or_default();
            self.send(sent);
            rest -= sent.len();
        }
        Poll::Ready(Ok(written))
    }
}

// === impl Flood ===

impl Flood {
    fn report(&self, cut_floods: &Counter) {
        cut_floods.inc();
        tracing::warn!("{self}; it is closed");
    }
}

/// Reports a connection that h2 closed because the client exceeded one of its limits.
pub(super) fn report_cut_by_h2(error: &hyper::Error, cut_floods: &Counter) {
    let error = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    if error.is_some_and(|error| error.is_library() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)) {
        LIMITED_BY_H2.report(cut_floods);
    }
}

// === impl Frames ===

impl Frames {
    fn new() -> Self {
        Self {
            preface: PREFACE_BYTES,
            read: FrameHeads::default(),
            written: FrameHeads::default(),
            last_stream: 0,
            open: BTreeMap::new(),
            allowance: MAX_ALLOWANCE,
            refilled_at: Instant::now(),
        }
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), Flood> {
        let (preface, mut bytes) = bytes.split_at(self.preface.min(bytes.len()));
        self.preface -= preface.len();
        while let Some(head) = self.read.next(&mut bytes) {
            match head.kind {
                // h2 limits these by itself.
                HEADERS | CONTINUATION if head.flags & END_HEADERS == 0 => {}
                HEADERS | CONTINUATION => {
                    self.earn(PER_REQUEST);
                    self.open(head.stream);
                }
                RST_STREAM => {
                    self.open.remove(&head.stream);
                    self.spend()?;
                }
                DATA if head.carries_data() => {}
                _ => self.spend()?,
            }
        }
        Ok(())
    }

    fn send(&mut self, mut bytes: &[u8]) {
        while let Some(head) = self.written.next(&mut bytes) {
            if head.kind == RST_STREAM || (matches!(head.kind, DATA | HEADERS) && head.flags & END_STREAM != 0) {
                self.open.remove(&head.stream);
            } else if head.kind == HEADERS
                && let Some(is_answered) = self.open.get_mut(&head.stream)
            {
                *is_answered = true;
            }
            if head.kind == DATA {
                let pieces = u32::try_from(head.length.div_ceil(4096)).unwrap_or(MAX_ALLOWANCE);
                self.earn(PER_WRITTEN_DATA.saturating_add(PER_WRITTEN_4_KIB.saturating_mul(pieces)));
            }
        }
    }

    /// Notes the whole head of a request, unless it is the trailers of one.
    fn open(&mut self, stream: u32) {
        // Past the limit, h2 refuses streams.
        if stream > self.last_stream && self.open.len() < MAX_STREAMS as usize {
            self.open.insert(stream, false);
        }
        self.last_stream = self.last_stream.max(stream);
    }

    fn earn(&mut self, frames: u32) {
        self.allowance = MAX_ALLOWANCE.min(self.allowance.saturating_add(frames));
    }

    fn spend(&mut self) -> Result<(), Flood> {
        if self.allowance == 0 {
            let earned = self.refilled_at.elapsed().as_secs().saturating_mul(PER_SECOND);
            self.refilled_at += Duration::from_secs(earned / PER_SECOND);
            self.earn(u32::try_from(earned).unwrap_or(MAX_ALLOWANCE).min(MAX_ALLOWANCE));
        }
        self.allowance = self.allowance.checked_sub(1).ok_or(EMPTY_FRAMES)?;
        Ok(())
    }
}

// === impl FrameHeads ===

impl FrameHeads {
    /// Returns the head of the next frame of which the end is among these bytes, and advances to what follows it.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<FrameHead> {
        let missing = self.head.get_mut(self.filled..).unwrap_or_default();
        let (head, rest) = bytes.split_at(missing.len().min(bytes.len()));
        for (to, from) in missing.iter_mut().zip(head) {
            *to = *from;
        }
        self.filled += head.len();
        let [a, b, c, kind, flags, d, e, f, g] = self.head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        if self.filled == self.head.len() && !head.is_empty() {
            self.payload = length;
        }
        let (payload, rest) = rest.split_at(self.payload.min(rest.len()));
        self.payload -= payload.len();
        *bytes = rest;
        if self.filled < self.head.len() || self.payload > 0 {
            return None;
        }
        self.filled = 0;
        Some(FrameHead {
            length,
            kind,
            flags,
            stream: u32::from_be_bytes([d, e, f, g]) & (u32::MAX >> 1),
        })
    }

    const fn is_between_frames(&self) -> bool {
        self.filled == 0
    }
}

// === impl FrameHead ===

impl FrameHead {
    /// Whether a DATA frame has data. A short one with padding may have none.
    const fn carries_data(self) -> bool {
        let may_be_padding = self.flags & PADDED != 0 && self.length <= 256;
        self.length > 0 && !may_be_padding
    }
}

/// GOAWAY: streams up to the last one may have been processed.
const fn goaway(last_stream: u32) -> [u8; 17] {
    let [a, b, c, d] = last_stream.to_be_bytes();
    [0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, a, b, c, d, 0, 0, 0, ENHANCE_YOUR_CALM]
}

#[cfg(test)]
mod tests;
