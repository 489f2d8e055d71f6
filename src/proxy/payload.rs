//! Request bodies are received before they are sent, and so may be sent again.
//!
//! # Why
//!
//! The other way is a tee: send the body while it arrives and keep a copy. Its hidden price is a third state
//! besides replayable and not: the answer came while the body was still being sent. What it buys, overlap of
//! upload and forwarding, is worth a millisecond in a sidecar, whose app is on loopback. So small bodies are
//! received into memory, larger ones into an unlinked file, and only past that does a body stream, *without*
//! licence. Which one it is, is known before the first attempt; nothing is shared, nothing locked, and the
//! upstream connection is not held while a slow app dribbles.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::body::Body;
use super::cleaning::Cleaning;
use super::pool::{Permit, Pool};
use super::refusal::Refusal;
use super::spool::{self, Spool};
use crate::graph::scrub::{Mode, Scrubbed};

/// How much of a body may be held for a replay, and how long its next frame may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest body that is held in memory, in bytes.
    pub memory: u64,
    /// The largest body that is held on disk, in bytes.
    pub disk: u64,
    /// Where on disk.
    pub spool: Spool,
    /// The longest wait for the app's next frame.
    pub idle: Duration,
}

/// What all requests together may hold.
#[derive(Clone, Debug)]
pub struct Budget {
    /// In memory: for a replay, or because an answer has to be read.
    pub memory: Pool,
    /// On disk.
    pub disk: Pool,
}

/// Bytes in memory, and their permit.
struct Counted {
    bytes: Bytes,
    _permit: Option<Permit>,
}

/// The licence to send a request's body once more, and the bytes. Not `Clone`: used up by use.
#[must_use]
#[derive(Debug)]
pub(crate) struct Replay {
    kept: Kept,
    permit: Option<Permit>,
}

#[derive(Debug)]
enum Kept {
    Memory(Bytes),
    Disk(spool::Reader),
}

/// A request's body, ready to be sent.
#[derive(Debug)]
pub(crate) struct Received {
    /// The body for the first attempt.
    pub(crate) body: Body,
    /// The licence for the second, if it could be kept.
    pub(crate) replay: Option<Replay>,
    /// What was found in it; nothing, if it was not looked at or is still to come.
    pub(crate) found: Scrubbed,
}

/// A body being received.
struct Receiving<'a> {
    wire: Incoming,
    limits: &'a Limits,
    budget: &'a Budget,
    cleaning: Option<Cleaning<'a>>,
}

/// Receives a request's body, cleaned of credentials, and the licence to send it again if it fits.
///
/// What streams is cleaned on its way. If its length was declared that is the length of what is sent, too:
/// credentials are overwritten then, not taken out.
///
/// # Errors
///
/// [`Refusal::SlowBody`] and [`Refusal::BrokenBody`]; [`Refusal::Presented`] and [`Refusal::Unclean`] for what is in it.
/// Nothing has been sent then.
pub(crate) async fn receive(
    wire: Incoming,
    limits: &Limits,
    budget: &Budget,
    cleaning: Option<Cleaning<'_>>,
) -> Result<Received, Refusal> {
    if wire.is_end_stream() {
        return Ok(Replay::of(
            Kept::Memory(Bytes::new()),
            None,
            Scrubbed::default(),
        ));
    }
    let declared = wire.size_hint().exact();
    let receiving = Receiving {
        wire,
        limits,
        budget,
        cleaning,
    };
    if declared.is_some_and(|length| length > limits.memory.max(limits.disk)) {
        return receiving.streaming(Bytes::new(), None);
    }
    let wanted = declared.unwrap_or(limits.memory);
    let permit = if wanted <= limits.memory {
        budget.memory.take(wanted)
    } else {
        None
    };
    match permit {
        Some(permit) => receiving.into_memory(declared, permit).await,
        None => receiving.onto_disk(Bytes::new(), None).await,
    }
}

// === impl Receiving ===

impl Receiving<'_> {
    async fn into_memory(
        mut self,
        declared: Option<u64>,
        permit: Permit,
    ) -> Result<Received, Refusal> {
        // A small body is one frame, and is kept as it came.
        let first = self.next().await?.unwrap_or_default();
        if self.wire.is_end_stream() && first.len() as u64 <= self.limits.memory {
            return self.kept(first, permit);
        }
        let expected = usize::try_from(declared.unwrap_or_default()).unwrap_or_default();
        let mut all = BytesMut::with_capacity(expected.max(first.len()));
        all.extend_from_slice(&first);
        while all.len() as u64 <= self.limits.memory {
            match self.next().await? {
                Some(data) => all.extend_from_slice(&data),
                None => return self.kept(all.freeze(), permit),
            }
        }
        self.onto_disk(all.freeze(), Some(permit)).await
    }

    /// What is in memory whole.
    fn kept(&self, bytes: Bytes, mut permit: Permit) -> Result<Received, Refusal> {
        let (bytes, found) = match &self.cleaning {
            Some(cleaning) => cleaning.whole(bytes)?,
            None => (bytes, Scrubbed::default()),
        };
        permit.shrink(bytes.len() as u64);
        Ok(Replay::of(Kept::Memory(bytes), Some(permit), found))
    }

    /// What cannot be kept: the bytes that were read, for which `early` is held, and then the wire.
    fn streaming(self, read: Bytes, early: Option<Permit>) -> Result<Received, Refusal> {
        let mode = match self.wire.size_hint().exact() {
            Some(_promised) => Mode::Mask,
            None => Mode::Cut,
        };
        let mut cleaner = self.cleaning.and_then(|cleaning| cleaning.begin(mode));
        let read = match &mut cleaner {
            Some(cleaner) => cleaner.push(&read)?,
            None => read,
        };
        let body = Body::chained(read, self.wire, self.limits.idle);
        Ok(Received {
            body: body.cleaned(cleaner).holding(early),
            replay: None,
            found: Scrubbed::default(),
        })
    }

    /// Spools, beginning with what was read already, for which `early` is held until it is written. Where that is
    /// not possible, now or half-way, the body streams: traffic never waits for replay space.
    async fn onto_disk(
        mut self,
        read: Bytes,
        mut early: Option<Permit>,
    ) -> Result<Received, Refusal> {
        let idle = self.limits.idle;
        let declared = self
            .wire
            .size_hint()
            .exact()
            .map(|left| left + read.len() as u64);
        let permit = self
            .budget
            .disk
            .take(declared.unwrap_or(self.limits.disk).min(self.limits.disk));
        let writer = match (&permit, self.limits.spool.create().await) {
            (Some(_), Ok(writer)) => writer,
            (None, _) => None,
            (Some(_), Err(error)) => {
                tracing::warn!(%error, "cannot spool a request body; it streams and cannot be replayed");
                None
            }
        };
        let (Some(mut writer), Some(mut permit)) = (writer, permit) else {
            return self.streaming(read, early);
        };
        let mut cleaner = self.cleaning.and_then(|cleaning| cleaning.begin(Mode::Cut));
        let mut length = 0;
        let mut next = Some(read);
        loop {
            let (piece, found) = match (next, &mut cleaner) {
                (Some(data), None) => (data, None),
                (Some(data), Some(cleaner)) => (cleaner.push(&data)?, None),
                (None, None) => (Bytes::new(), Some(Scrubbed::default())),
                (None, Some(cleaner)) => {
                    let (rest, found) = cleaner.finish()?;
                    (rest, Some(found))
                }
            };
            length += piece.len() as u64;
            let kept = length <= self.limits.disk
                && match writer.write(piece.clone()).await {
                    Ok(()) => true,
                    Err(error) => {
                        tracing::warn!(%error, "cannot spool a request body any further; it streams and cannot be replayed");
                        false
                    }
                };
            if !kept {
                // What is finished has been given out; the wire has no more.
                let cleaner = cleaner.filter(|_| found.is_none());
                let body = Body::overflowing(writer.reader(), piece, self.wire, idle);
                return Ok(Received {
                    body: body.cleaned(cleaner).holding(early.or(Some(permit))),
                    replay: None,
                    found: found.unwrap_or_default(),
                });
            }
            drop(early.take());
            if let Some(found) = found {
                permit.shrink(length);
                return Ok(Replay::of(Kept::Disk(writer.reader()), Some(permit), found));
            }
            next = self.next().await?;
        }
    }

    /// The next data, or `None` at the end. Trailers are dropped.
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            match timeout(self.limits.idle, self.wire.frame()).await {
                Err(_elapsed) => return Err(Refusal::SlowBody),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => {
                    tracing::debug!(%error, "a request body broke off");
                    return Err(Refusal::BrokenBody);
                }
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

// === impl Replay ===

impl Replay {
    /// The body for the first attempt, and the licence for the second.
    fn of(kept: Kept, permit: Option<Permit>, found: Scrubbed) -> Received {
        let body = match &kept {
            Kept::Memory(bytes) => Body::from(bytes.clone()),
            Kept::Disk(reader) => Body::spooled(reader.again()),
        };
        let replay = Some(Self { kept, permit });
        Received {
            body,
            replay,
            found,
        }
    }

    /// The body for the second attempt. What is in memory is given back with its last clone, since the connection
    /// holds it for as long as Graph is slow to read.
    pub(crate) fn into_body(self) -> Body {
        let Self { kept, permit } = self;
        match kept {
            Kept::Memory(bytes) => Body::from(Bytes::from_owner(Counted {
                bytes,
                _permit: permit,
            })),
            Kept::Disk(reader) => Body::spooled(reader).holding(permit),
        }
    }
}

// === impl Counted ===

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
