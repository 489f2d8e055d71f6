//! Cuts HTTP/2 connections on which the peer sends little but frames that carry nothing.
//!
//! # Why
//!
//! hyper bounds what it buffers and how many streams are reset, not how much work a peer makes: PING, SETTINGS, WINDOW_UPDATE,
//! PRIORITY, unknown and empty frames are read, and answered, for as long as they come. So they are counted here, where the
//! bytes of a connection pass. A connection has an allowance of them; what real clients send them for, requests and the data
//! of responses, earns more, and so does time: keep-alive pings never end a connection. Connections that do not begin with
//! the preface of HTTP/2 are not looked at again.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::client_reader::ClientReader;

/// A connection whose floods are cut. It also tells the [`ClientReader`] of writes for which the socket has no room.
pub(super) struct FloodGuard<I> {
    io: I,
    protocol: Protocol,
    cut_floods: Counter,
    /// Whether the last write found no room.
    is_blocked: bool,
}

enum Protocol {
    /// So many bytes are those of the preface.
    Unknown(usize),
    Http1,
    Http2(Box<Frames>),
}

/// The frames of a connection.
struct Frames {
    read: FrameHeads,
    written: FrameHeads,
    /// The last stream that the peer has opened.
    last_stream: u32,
    allowance: u32,
    refilled_at: Instant,
}

/// Finds the heads of frames in bytes that come in pieces.
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

/// The peer sends too many frames that carry nothing.
#[derive(Debug, thiserror::Error)]
#[error("the client floods the connection with HTTP/2 frames that carry nothing")]
struct Flood;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
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
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const PADDED: u8 = 8;
const ENHANCE_YOUR_CALM: u8 = 11;

// === impl FloodGuard ===

impl<I> FloodGuard<I> {
    pub(super) const fn new(io: I, cut_floods: Counter) -> Self {
        Self {
            io,
            protocol: Protocol::Unknown(0),
            cut_floods,
            is_blocked: false,
        }
    }

    pub(super) fn into_inner(self) -> I {
        self.io
    }
}

impl<I: AsyncWrite + Unpin> FloodGuard<I> {
    /// Records whether a write found room.
    fn watch<T>(&mut self, write: Poll<T>) -> Poll<T> {
        let was_blocked = std::mem::replace(&mut self.is_blocked, write.is_pending());
        if (was_blocked || self.is_blocked)
            && let Some(reader) = ClientReader::current()
        {
            match (was_blocked, self.is_blocked) {
                (_, false) => reader.record_room(),
                (false, true) => reader.record_piece(),
                (true, true) => reader.record_blocked(),
            }
        }
        write
    }

    /// Says why the connection ends, if that can be written at once and the last frame is whole.
    fn cut(&mut self, cx: &mut Context<'_>) -> io::Error {
        self.cut_floods.inc();
        tracing::warn!("{Flood}; it is closed");
        if let Protocol::Http2(frames) = &self.protocol
            && frames.written.is_between_frames()
        {
            // What the peer does not read cannot be told; the connection ends in either case.
            drop(Pin::new(&mut self.io).poll_write(cx, &goaway(frames.last_stream)));
        }
        io::Error::other(Flood)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for FloodGuard<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        Poll::Ready(self.protocol.receive(read).map_err(|Flood| self.cut(cx)))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for FloodGuard<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.io).poll_write(cx, buf);
        let written = ready!(self.watch(write))?;
        self.protocol.send(buf.get(..written).unwrap_or_default());
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = Pin::new(&mut self.io).poll_flush(cx);
        self.watch(flush)
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
        let write = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        let written = ready!(self.watch(write))?;
        let mut rest = written;
        for buf in bufs {
            let sent = buf.get(..rest.min(buf.len())).unwrap_or_default();
            self.protocol.send(sent);
            rest -= sent.len();
        }
        Poll::Ready(Ok(written))
    }
}

// === impl Protocol ===

impl Protocol {
    fn receive(&mut self, mut bytes: &[u8]) -> Result<(), Flood> {
        if let Self::Unknown(matched) = self {
            let expected = PREFACE.get(*matched..).unwrap_or_default();
            let (preface, rest) = bytes.split_at(expected.len().min(bytes.len()));
            if !expected.starts_with(preface) {
                *self = Self::Http1;
            } else if preface.len() < expected.len() {
                *matched += preface.len();
            } else {
                *self = Self::Http2(Box::new(Frames::new()));
            }
            bytes = rest;
        }
        match self {
            Self::Http2(frames) => frames.receive(bytes),
            Self::Unknown(_) | Self::Http1 => Ok(()),
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        if let Self::Http2(frames) = self {
            frames.send(bytes);
        }
    }
}

// === impl Frames ===

impl Frames {
    fn new() -> Self {
        Self {
            read: FrameHeads::default(),
            written: FrameHeads::default(),
            last_stream: 0,
            allowance: MAX_ALLOWANCE,
            refilled_at: Instant::now(),
        }
    }

    fn receive(&mut self, mut bytes: &[u8]) -> Result<(), Flood> {
        while let Some(head) = self.read.next(&mut bytes) {
            match head.kind {
                HEADERS => {
                    self.last_stream = self.last_stream.max(head.stream);
                    self.earn(PER_REQUEST);
                }
                DATA if head.carries_data() => {}
                // h2 limits these by itself.
                CONTINUATION => {}
                _ => self.spend()?,
            }
        }
        Ok(())
    }

    fn send(&mut self, mut bytes: &[u8]) {
        while let Some(head) = self.written.next(&mut bytes) {
            if head.kind == DATA {
                let pieces = u32::try_from(head.length.div_ceil(4096)).unwrap_or(MAX_ALLOWANCE);
                self.earn(PER_WRITTEN_DATA.saturating_add(PER_WRITTEN_4_KIB.saturating_mul(pieces)));
            }
        }
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
        self.allowance = self.allowance.checked_sub(1).ok_or(Flood)?;
        Ok(())
    }
}

// === impl FrameHeads ===

impl FrameHeads {
    /// Returns the next head, and advances to what is behind it.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<FrameHead> {
        let (payload, rest) = bytes.split_at(self.payload.min(bytes.len()));
        self.payload -= payload.len();
        let missing = self.head.get_mut(self.filled..).unwrap_or_default();
        let (head, rest) = rest.split_at(missing.len().min(rest.len()));
        for (to, from) in missing.iter_mut().zip(head) {
            *to = *from;
        }
        *bytes = rest;
        self.filled += head.len();
        if self.filled < self.head.len() {
            return None;
        }
        let [a, b, c, kind, flags, d, e, f, g] = self.head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        (self.filled, self.payload) = (0, length);
        Some(FrameHead {
            length,
            kind,
            flags,
            stream: u32::from_be_bytes([d, e, f, g]) & (u32::MAX >> 1),
        })
    }

    const fn is_between_frames(&self) -> bool {
        self.filled == 0 && self.payload == 0
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
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn after_preface() -> Protocol {
        let mut protocol = Protocol::Unknown(0);
        for piece in PREFACE.chunks(7) {
            assert!(matches!(protocol, Protocol::Unknown(_)));
            protocol.receive(piece).unwrap();
        }
        protocol
    }

    #[tokio::test(start_paused = true)]
    async fn frames_that_carry_nothing_are_a_flood_however_the_bytes_come() {
        for (what, frame) in [
            ("PING", frame(6, 0, &[7; 8])),
            ("PING ACK", frame(6, 1, &[7; 8])),
            ("SETTINGS", frame(4, 0, &[])),
            ("WINDOW_UPDATE", frame(8, 0, &[0, 0, 0, 1])),
            ("PRIORITY", frame(2, 0, &[0; 5])),
            ("unknown", frame(99, 0, &[0; 300])),
            ("empty DATA", frame(DATA, 0, &[])),
            ("padding", frame(DATA, PADDED, &[2, 0, 0])),
        ] {
            for pieces in [1, 5, 9, 100, 16_000] {
                let mut protocol = after_preface();
                let flood = frame.repeat(1_001);
                let (last, rest) = flood.split_last().unwrap();
                let head = rest.len() - frame.len() + 8;
                let (allowed, end) = rest.split_at(head);
                assert!(
                    allowed.chunks(pieces).all(|piece| protocol.receive(piece).is_ok()),
                    "{what}"
                );
                let end = [end, &[*last]].concat();
                assert!(
                    end.chunks(pieces).any(|piece| protocol.receive(piece).is_err()),
                    "{what}"
                );
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_clients_send_for_their_requests_and_responses_is_no_flood() {
        let mut protocol = after_preface();
        for _ in 0..10_000 {
            protocol.receive(&frame(HEADERS, 4, &[0; 40])).unwrap();
            protocol.receive(&frame(DATA, 0, &[0; 10])).unwrap();
            protocol.receive(&frame(DATA, 1, &[])).unwrap();
            protocol.receive(&frame(6, 0, &[0; 8]).repeat(8)).unwrap();
            for _ in 0..5 {
                protocol.send(&frame(DATA, 0, b"x"));
                protocol.receive(&frame(8, 0, &[0, 0, 0, 1]).repeat(2)).unwrap();
            }
        }
        for _ in 0..10_000 {
            tokio::time::advance(Duration::from_millis(500)).await;
            protocol.receive(&frame(6, 0, &[0; 8]).repeat(4)).unwrap();
        }
        let mut http1 = Protocol::Unknown(0);
        http1.receive(b"PRI * HTTP/1.1\r\n\r\n").unwrap();
        assert!(matches!(http1, Protocol::Http1));
        http1.receive(&frame(6, 0, &[0; 8]).repeat(5_000)).unwrap();
    }
    #[tokio::test(start_paused = true)]
    async fn a_client_that_updates_its_windows_for_each_4_kib_of_a_download_is_no_flood() {
        let mut protocol = after_preface();
        for _ in 0..10_000 {
            protocol.send(&frame(DATA, 0, &[0; 16 * 1024]));
            protocol.receive(&frame(8, 0, &[0, 0, 0x10, 0]).repeat(2 * 4)).unwrap();
        }
    }
}
