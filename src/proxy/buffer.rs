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
use super::body_scrub::ScrubConfig;
use super::byte_budget::{ByteBudget, BytePermit};
use super::refusal::Refusal;
use super::spool::{self, Spool};
use crate::graph::scrub::{ScrubMode, ScrubReport};

/// How much of a body may be held for a replay, and how long its next frame may take.
#[derive(Clone, Debug)]
pub struct BodyLimits {
    /// The largest body that is held in memory, in bytes.
    pub memory_bytes: u64,
    /// The largest body that is held on disk, in bytes.
    pub disk_bytes: u64,
    /// Where on disk.
    pub spool: Spool,
    /// The longest wait for the app's next frame.
    pub idle_timeout: Duration,
}

/// What all requests together may hold.
#[derive(Clone, Debug)]
pub struct BufferBudgets {
    /// In memory: for a replay, or because an answer has to be read.
    pub memory: ByteBudget,
    /// On disk.
    pub disk: ByteBudget,
}

/// Bytes in memory, and their permit.
struct PermitBytes {
    bytes: Bytes,
    _permit: Option<BytePermit>,
}

/// The licence to send a request's body once more, and the bytes. Not `Clone`: used up by use.
#[must_use]
#[derive(Debug)]
pub(crate) struct Replay {
    storage: ReplayStorage,
    permit: Option<BytePermit>,
}

#[derive(Debug)]
enum ReplayStorage {
    Memory(Bytes),
    Disk(spool::SpoolReader),
}

/// A request's body, ready to be sent.
#[derive(Debug)]
pub(crate) struct BufferedBody {
    /// The body for the first attempt.
    pub(crate) body: Body,
    /// The licence for the second, if it could be kept.
    pub(crate) replay: Option<Replay>,
    /// What was found in it; nothing, if it was not looked at or is still to come.
    pub(crate) findings: ScrubReport,
}

/// A body being received.
struct BodyReceiver<'a> {
    incoming: Incoming,
    limits: &'a BodyLimits,
    budgets: &'a BufferBudgets,
    scrub_config: Option<ScrubConfig<'a>>,
}

/// Receives a request's body, cleaned of credentials, and the licence to send it again if it fits.
///
/// What streams is cleaned on its way. If its length was declared that is the length of what is sent, too:
/// credentials are overwritten then, not taken out.
///
/// # Errors
///
/// [`Refusal::BodyTimeout`] and [`Refusal::BodyInterrupted`]; [`Refusal::ClientCredential`] and [`Refusal::ScrubFailed`] for what is in it.
/// Nothing has been sent then.
pub(crate) async fn receive(
    incoming: Incoming,
    limits: &BodyLimits,
    budgets: &BufferBudgets,
    scrub_config: Option<ScrubConfig<'_>>,
) -> Result<BufferedBody, Refusal> {
    if incoming.is_end_stream() {
        return Ok(Replay::buffered(
            ReplayStorage::Memory(Bytes::new()),
            None,
            ScrubReport::default(),
        ));
    }
    let declared = incoming.size_hint().exact();
    let receiver = BodyReceiver {
        incoming,
        limits,
        budgets,
        scrub_config,
    };
    if declared.is_some_and(|length| length > limits.memory_bytes.max(limits.disk_bytes)) {
        return receiver.into_streaming(Bytes::new(), None);
    }
    let reserved_bytes = declared.unwrap_or(limits.memory_bytes);
    let permit = if reserved_bytes <= limits.memory_bytes {
        budgets.memory.try_acquire(reserved_bytes)
    } else {
        None
    };
    match permit {
        Some(permit) => receiver.buffer_in_memory(declared, permit).await,
        None => receiver.spool_to_disk(Bytes::new(), None).await,
    }
}

// === impl BodyReceiver ===

impl BodyReceiver<'_> {
    async fn buffer_in_memory(mut self, declared: Option<u64>, permit: BytePermit) -> Result<BufferedBody, Refusal> {
        // A small body is one frame, and is kept as it came.
        let first = self.next_data().await?.unwrap_or_default();
        if self.incoming.is_end_stream() && first.len() as u64 <= self.limits.memory_bytes {
            return self.finish_in_memory(first, permit);
        }
        let expected = usize::try_from(declared.unwrap_or_default()).unwrap_or_default();
        let mut buffer = BytesMut::with_capacity(expected.max(first.len()));
        buffer.extend_from_slice(&first);
        while buffer.len() as u64 <= self.limits.memory_bytes {
            match self.next_data().await? {
                Some(data) => buffer.extend_from_slice(&data),
                None => return self.finish_in_memory(buffer.freeze(), permit),
            }
        }
        self.spool_to_disk(buffer.freeze(), Some(permit)).await
    }

    /// What is in memory whole.
    fn finish_in_memory(&self, bytes: Bytes, mut permit: BytePermit) -> Result<BufferedBody, Refusal> {
        let (bytes, findings) = match &self.scrub_config {
            Some(scrub_config) => scrub_config.scrub_buffer(bytes)?,
            None => (bytes, ScrubReport::default()),
        };
        permit.shrink_to(bytes.len() as u64);
        Ok(Replay::buffered(ReplayStorage::Memory(bytes), Some(permit), findings))
    }

    /// What cannot be kept: the bytes that were read, for which `early` is held, and then the wire.
    fn into_streaming(self, prefix: Bytes, memory_permit: Option<BytePermit>) -> Result<BufferedBody, Refusal> {
        let mode = match self.incoming.size_hint().exact() {
            Some(_promised) => ScrubMode::Mask,
            None => ScrubMode::Remove,
        };
        let mut scrubber = self
            .scrub_config
            .and_then(|scrub_config| scrub_config.start_streaming(mode));
        let prefix = match &mut scrubber {
            Some(scrubber) => scrubber.push(&prefix)?,
            None => prefix,
        };
        let body = Body::with_prefix(prefix, self.incoming, self.limits.idle_timeout);
        Ok(BufferedBody {
            body: body.with_scrubber(scrubber).with_permit(memory_permit),
            replay: None,
            findings: ScrubReport::default(),
        })
    }

    /// Spools, beginning with what was read already, for which `early` is held until it is written. Where that is
    /// not possible, now or half-way, the body streams: traffic never waits for replay space.
    async fn spool_to_disk(
        mut self,
        prefix: Bytes,
        mut memory_permit: Option<BytePermit>,
    ) -> Result<BufferedBody, Refusal> {
        let idle_timeout = self.limits.idle_timeout;
        let declared = self
            .incoming
            .size_hint()
            .exact()
            .map(|remaining| remaining + prefix.len() as u64);
        let permit = self
            .budgets
            .disk
            .try_acquire(declared.unwrap_or(self.limits.disk_bytes).min(self.limits.disk_bytes));
        let writer = match (&permit, self.limits.spool.create().await) {
            (Some(_), Ok(writer)) => writer,
            (None, _) => None,
            (Some(_), Err(error)) => {
                tracing::warn!(%error, "cannot spool a request body; it streams and cannot be replayed");
                None
            }
        };
        let (Some(mut writer), Some(mut permit)) = (writer, permit) else {
            return self.into_streaming(prefix, memory_permit);
        };
        let mut scrubber = self
            .scrub_config
            .and_then(|scrub_config| scrub_config.start_streaming(ScrubMode::Remove));
        let mut length = 0;
        let mut next = Some(prefix);
        loop {
            let (chunk, findings) = match (next, &mut scrubber) {
                (Some(data), None) => (data, None),
                (Some(data), Some(scrubber)) => (scrubber.push(&data)?, None),
                (None, None) => (Bytes::new(), Some(ScrubReport::default())),
                (None, Some(scrubber)) => {
                    let (rest, found) = scrubber.finish()?;
                    (rest, Some(found))
                }
            };
            length += chunk.len() as u64;
            let stored = length <= self.limits.disk_bytes
                && match writer.write(chunk.clone()).await {
                    Ok(()) => true,
                    Err(error) => {
                        tracing::warn!(%error, "cannot spool a request body any further; it streams and cannot be replayed");
                        false
                    }
                };
            if !stored {
                // What is finished has been given out; the wire has no more.
                let scrubber = scrubber.filter(|_| findings.is_none());
                let body = Body::from_spool_and_stream(writer.reader(), chunk, self.incoming, idle_timeout);
                return Ok(BufferedBody {
                    body: body.with_scrubber(scrubber).with_permit(memory_permit.or(Some(permit))),
                    replay: None,
                    findings: findings.unwrap_or_default(),
                });
            }
            drop(memory_permit.take());
            if let Some(findings) = findings {
                permit.shrink_to(length);
                return Ok(Replay::buffered(
                    ReplayStorage::Disk(writer.reader()),
                    Some(permit),
                    findings,
                ));
            }
            next = self.next_data().await?;
        }
    }

    /// The next data, or `None` at the end. Trailers are dropped.
    async fn next_data(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            match timeout(self.limits.idle_timeout, self.incoming.frame()).await {
                Err(_elapsed) => return Err(Refusal::BodyTimeout),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => {
                    tracing::debug!(%error, "a request body broke off");
                    return Err(Refusal::BodyInterrupted);
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
    fn buffered(storage: ReplayStorage, permit: Option<BytePermit>, found: ScrubReport) -> BufferedBody {
        let body = match &storage {
            ReplayStorage::Memory(bytes) => Body::from(bytes.clone()),
            ReplayStorage::Disk(reader) => Body::from_spool(reader.reopened_at_start()),
        };
        let replay = Some(Self { storage, permit });
        BufferedBody {
            body,
            replay,
            findings: found,
        }
    }

    /// The body for the second attempt. What is in memory is given back with its last clone, since the connection
    /// holds it for as long as Graph is slow to read.
    pub(crate) fn into_body(self) -> Body {
        let Self { storage, permit } = self;
        match storage {
            ReplayStorage::Memory(bytes) => Body::from(Bytes::from_owner(PermitBytes { bytes, _permit: permit })),
            ReplayStorage::Disk(reader) => Body::from_spool(reader).with_permit(permit),
        }
    }
}

// === impl PermitBytes ===

impl AsRef<[u8]> for PermitBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
