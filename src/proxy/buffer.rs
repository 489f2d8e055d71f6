//! Receives a request body before it is sent, so that it can be sent again.
//!
//! # Why
//!
//! The alternative is a tee: send the body while it arrives and keep a copy. Its hidden price is a third state besides
//! replayable and not replayable: the response arrives while the body is still being sent. Its gain, the overlap of
//! upload and forwarding, is worth a millisecond in a sidecar, whose app is on loopback. So small bodies are received
//! into memory, larger ones into an unlinked file, and only even larger ones are streamed, *without* a [`Replay`].
//! Which of these applies is known before the first attempt; nothing is shared, nothing is locked, and a slow app does
//! not hold an upstream connection.

use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::body::Body;
use super::body_scrub::{ScrubConfig, Unsearched};
use super::byte_budget::{ByteBudget, BytePermit};
use super::heal_config::HealConfig;
use super::refusal::Refusal;
use super::spool::{SpoolFile, SpoolThreads};
use crate::graph::scrub::{ScrubMode, ScrubReport};
use crate::types::error_chain;

/// The limits of what all requests together may buffer.
#[derive(Clone, Debug)]
pub struct BufferBudgets {
    /// In memory: request bodies for a replay, and response bodies that have to be read.
    pub memory: ByteBudget,
    /// On disk.
    pub disk: ByteBudget,
    /// The threads that write there.
    pub threads: SpoolThreads,
}

/// Bytes in memory with their permit.
struct PermitBytes {
    bytes: Bytes,
    _permit: Option<BytePermit>,
}

/// The permission to send a request once more, with its body. It is not `Clone`: a replay consumes it.
#[must_use]
#[derive(Debug)]
pub(crate) struct Replay {
    storage: ReplayStorage,
    permit: Option<BytePermit>,
}

#[derive(Debug)]
enum ReplayStorage {
    Memory(Bytes),
    Disk(SpoolFile),
}

/// A request body that is ready to be sent.
#[derive(Debug)]
pub(crate) struct BufferedBody {
    /// The body for the first attempt.
    pub(crate) body: Body,
    /// The permission for the second, if the body could be buffered.
    pub(crate) replay: Option<Replay>,
    /// What the scrubber found so far; `None` if the body is not searched.
    pub(crate) findings: Option<ScrubReport>,
}

// === impl BufferedBody ===

impl BufferedBody {
    /// Whether it may name a tenant in a part that has not arrived yet.
    pub(crate) fn may_name_a_tenant(&self) -> bool {
        self.body.is_scrubbed()
    }
}

/// A body being received.
struct BodyReceiver<'a> {
    /// `None` once its end has been read.
    incoming: Option<Incoming>,
    heal: &'a HealConfig,
    /// The longest wait for the app's next frame.
    idle_timeout: Duration,
    budgets: &'a BufferBudgets,
    /// `None` if there is nothing to scrub, or nothing left.
    scrub_config: Option<ScrubConfig<'a>>,
    findings: Option<ScrubReport>,
}

/// Receives and scrubs a request body, and returns a [`Replay`] if the body fits.
///
/// JSON and forms are scrubbed in memory, and are then buffered like any other body of their length. Multipart forms that
/// do not fit in memory are scrubbed while they are spooled or sent. If the length of one that streams was declared, it
/// keeps that length: its credentials are overwritten, not removed.
///
/// # Errors
///
/// [`Refusal::BodyTimeout`] and [`Refusal::BodyInterrupted`]; [`Refusal::ClientCredential`], [`Refusal::ScrubFailed`] and
/// [`Refusal::Overloaded`] for its contents. Nothing has been sent then.
pub(crate) async fn receive(
    incoming: Incoming,
    heal: &HealConfig,
    idle_timeout: Duration,
    budgets: &BufferBudgets,
    scrub_config: Option<ScrubConfig<'_>>,
) -> Result<BufferedBody, Refusal> {
    let nothing_found = Some(ScrubReport::default());
    if incoming.is_end_stream() {
        return Ok(Replay::buffered(
            ReplayStorage::Memory(Bytes::new()),
            None,
            nothing_found,
        ));
    }
    let findings = nothing_found.filter(|_| scrub_config.is_some());
    let declared = incoming.size_hint().exact();
    let mut receiver = BodyReceiver {
        incoming: Some(incoming),
        heal,
        idle_timeout,
        budgets,
        scrub_config,
        findings,
    };
    if declared.is_some_and(|length| length > receiver.memory_limit()) {
        receiver.give_up_search(Unsearched::TooLarge)?;
        if declared.is_some_and(|length| length > heal.body_memory.max(heal.body_disk)) {
            return receiver.into_streaming(Bytes::new(), None);
        }
        return Box::pin(receiver.spool_to_disk(Bytes::new(), None)).await;
    }
    let mut permit = budgets.memory.empty_permit();
    let mut prefix = receiver.read_into_memory(declared, &mut permit).await?;
    if receiver.incoming.is_none() {
        if let Some(scrub_config) = receiver.scrub_config.take() {
            let (scrubbed, findings) = scrub_config.scrub_buffer(prefix)?;
            (prefix, receiver.findings) = (scrubbed, Some(findings));
        }
        if prefix.len() as u64 <= heal.body_memory {
            permit.shrink_to(prefix.len() as u64);
            let storage = ReplayStorage::Memory(prefix);
            return Ok(Replay::buffered(storage, Some(permit), receiver.findings));
        }
    }
    // Boxed, so that the future of every other request stays small.
    Box::pin(receiver.spool_to_disk(prefix, Some(permit))).await
}

// === impl BodyReceiver ===

impl BodyReceiver<'_> {
    /// Reads the body to its end, or as much of it as fits in memory.
    async fn read_into_memory(&mut self, declared: Option<u64>, permit: &mut BytePermit) -> Result<Bytes, Refusal> {
        let limit = self.memory_limit();
        let mut next = self.next_data().await?;
        // A small body is one frame, and is kept without a copy.
        if self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
            && let length = next.as_ref().map_or(0, |only| only.len() as u64)
            && length <= limit
            && permit.try_grow_to(length)
        {
            self.incoming = None;
            return Ok(next.unwrap_or_default());
        }
        let mut buffer = Vec::new();
        while let Some(data) = next {
            let length = buffer.len() + data.len();
            let mut failure = None;
            if length as u64 > limit {
                failure = Some(Unsearched::TooLarge);
            } else if length > buffer.capacity() {
                let capacity = declared.unwrap_or(limit).clamp(length as u64, 2 * length as u64);
                if permit.try_grow_to(capacity) {
                    buffer.reserve_exact(usize::try_from(capacity).unwrap_or(length) - buffer.len());
                } else {
                    failure = Some(Unsearched::NoMemory);
                }
            }
            buffer.extend_from_slice(&data);
            if let Some(reason) = failure {
                self.give_up_search(reason)?;
                break;
            }
            next = self.next_data().await?;
        }
        Ok(buffer.into_boxed_slice().into())
    }

    /// The largest body that is received into memory.
    fn memory_limit(&self) -> u64 {
        let replayable = self.heal.body_memory;
        let searched = self.scrub_config.as_ref();
        searched.map_or(replayable, |scrub_config| scrub_config.memory_limit(replayable))
    }

    /// Gives up the search of a body that would have to be in memory for that.
    fn give_up_search(&mut self, reason: Unsearched) -> Result<(), Refusal> {
        match self.scrub_config.take_if(|config| config.needs_whole_body()) {
            Some(config) => {
                self.findings = None;
                config.forward_unsearched(reason)
            }
            None => Ok(()),
        }
    }

    /// Streams a body that cannot be buffered: first `prefix`, which `memory_permit` covers, then what arrives.
    fn into_streaming(self, prefix: Bytes, memory_permit: Option<BytePermit>) -> Result<BufferedBody, Refusal> {
        let is_declared = |incoming: &Incoming| incoming.size_hint().exact().is_some();
        let mode = if self.incoming.as_ref().is_none_or(is_declared) {
            ScrubMode::Mask
        } else {
            ScrubMode::Remove
        };
        let mut scrubber = self
            .scrub_config
            .and_then(|scrub_config| scrub_config.start_streaming(mode));
        let prefix = match &mut scrubber {
            Some(scrubber) => scrubber.push(&prefix)?,
            None => prefix,
        };
        let body = Body::request(self.incoming, self.idle_timeout).with_prefix(prefix);
        Ok(BufferedBody {
            body: body.with_scrubber(scrubber).with_permit(memory_permit),
            replay: None,
            findings: self.findings,
        })
    }

    /// Spools a body, beginning with `prefix`, which `memory_permit` covers until it is written. If spooling fails, at
    /// the start or later, the body streams: traffic never waits for replay space.
    async fn spool_to_disk(
        mut self,
        prefix: Bytes,
        mut memory_permit: Option<BytePermit>,
    ) -> Result<BufferedBody, Refusal> {
        let idle_timeout = self.idle_timeout;
        let file = self
            .heal
            .spool
            .create(&self.budgets.threads)
            .await
            .unwrap_or_else(|error| {
                tracing::warn!(
                    error = error_chain(&error),
                    "cannot spool a request body; streaming it without replay"
                );
                None
            });
        let Some(mut file) = file else {
            return self.into_streaming(prefix, memory_permit);
        };
        let mut permit = self.budgets.disk.empty_permit();
        let scrub_config = self.scrub_config.take();
        let mut scrubber = scrub_config.and_then(|scrub_config| scrub_config.start_streaming(ScrubMode::Remove));
        let mut length = 0;
        let mut next = Some(prefix);
        loop {
            let is_last = next.is_none();
            let chunk = match (next, &mut scrubber) {
                (Some(data), None) => data,
                (Some(data), Some(scrubber)) => scrubber.push(&data)?,
                (None, None) => Bytes::new(),
                (None, Some(scrubber)) => {
                    let (rest, findings) = scrubber.finish()?;
                    self.findings = Some(findings);
                    rest
                }
            };
            length += chunk.len() as u64;
            let stored = length <= self.heal.body_disk
                && permit.try_grow_to(length)
                && match file.write(chunk.clone()).await {
                    Ok(()) => true,
                    Err(error) => {
                        tracing::warn!(%error, "cannot continue spooling a request body; streaming the rest without replay");
                        false
                    }
                };
            if !stored {
                // A finished scrubber has nothing left.
                let scrubber = scrubber.filter(|_| !is_last);
                let body = Body::request(self.incoming, idle_timeout).with_prefix(chunk);
                return Ok(BufferedBody {
                    body: body
                        .with_spool(file.reader())
                        .with_scrubber(scrubber)
                        .with_permit(memory_permit.or(Some(permit))),
                    replay: None,
                    findings: self.findings,
                });
            }
            drop(memory_permit.take());
            if is_last {
                permit.shrink_to(length);
                return Ok(Replay::buffered(ReplayStorage::Disk(file), Some(permit), self.findings));
            }
            next = self.next_data().await?;
        }
    }

    /// Reads the next data, or `None` at the end. Trailers are dropped.
    async fn next_data(&mut self) -> Result<Option<Bytes>, Refusal> {
        while let Some(incoming) = &mut self.incoming {
            match timeout(self.idle_timeout, incoming.frame()).await {
                Err(_elapsed) => return Err(Refusal::BodyTimeout),
                Ok(None) => self.incoming = None,
                Ok(Some(Err(error))) => {
                    tracing::debug!(%error, "request body interrupted");
                    return Err(Refusal::BodyInterrupted);
                }
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
        Ok(None)
    }
}

// === impl Replay ===

impl Replay {
    /// Returns the body for the first attempt and the permission for the second.
    fn buffered(storage: ReplayStorage, permit: Option<BytePermit>, findings: Option<ScrubReport>) -> BufferedBody {
        let body = match &storage {
            ReplayStorage::Memory(bytes) => Body::from(bytes.clone()),
            ReplayStorage::Disk(file) => Body::default().with_spool(file.reader()),
        };
        let replay = Some(Self { storage, permit });
        BufferedBody { body, replay, findings }
    }

    /// Returns the body for the second attempt. The permit for memory is released with the last clone of the bytes,
    /// since the connection holds them until Graph has read them.
    pub(crate) fn into_body(self) -> Body {
        let Self { storage, permit } = self;
        match storage {
            ReplayStorage::Memory(bytes) => Body::from(Bytes::from_owner(PermitBytes { bytes, _permit: permit })),
            ReplayStorage::Disk(file) => Body::default().with_spool(file.reader()).with_permit(permit),
        }
    }
}

// === impl PermitBytes ===

impl AsRef<[u8]> for PermitBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
