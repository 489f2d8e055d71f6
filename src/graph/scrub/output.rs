//! Where a body goes while it is cleaned: on, as it arrives; or nowhere, as long as it is in memory and unchanged.

use std::fmt;

use bytes::{Bytes, BytesMut};

use super::super::credential::ClientCredentialPolicy;
use super::state::{ScrubError, ScrubMode, ScrubReport, ScrubState};

/// What may leave, in the order of the body: every byte of it is either passed or cut.
pub(super) struct ScrubOutput<'a> {
    target: OutputTarget<'a>,
    changed: bool,
}

enum OutputTarget<'a> {
    /// A body that arrives.
    Stream(&'a mut BytesMut),
    /// A body that is in memory, and how much of it has been passed. Copied from the first change on.
    Buffer {
        body: &'a [u8],
        unchanged_len: usize,
        edited: BytesMut,
    },
}

/// Cleans a body that is in memory; `None`: nothing had to change. `scrub` is called with a fresh parser's work: once,
/// or a second time if that can leave in its place what would have to be put back.
pub(super) fn scrub_in_memory(
    body: &[u8],
    policy: ClientCredentialPolicy,
    mode: ScrubMode,
    mut scrub: impl FnMut(&mut ScrubState, &mut ScrubOutput<'_>) -> Result<(), ScrubError>,
) -> Result<(Option<Bytes>, ScrubReport), ScrubError> {
    let mut scrub_state = ScrubState::new(policy, mode);
    let mut out = ScrubOutput::in_memory(body);
    scrub(&mut scrub_state, &mut out)?;
    if scrub_state.has_restored() {
        scrub_state = ScrubState::with_token_kept(policy, mode);
        out = ScrubOutput::in_memory(body);
        scrub(&mut scrub_state, &mut out)?;
    }
    let scrubbed = scrub_state.report(out.is_changed());
    Ok((out.into_edited(), scrubbed))
}

// === impl ScrubOutput ===

impl<'a> ScrubOutput<'a> {
    /// For a body that arrives.
    pub(super) const fn stream(out: &'a mut BytesMut) -> Self {
        Self {
            target: OutputTarget::Stream(out),
            changed: false,
        }
    }

    /// These bytes of the body leave as they came.
    pub(super) fn forward(&mut self, bytes: &[u8]) {
        match &mut self.target {
            OutputTarget::Stream(out) => out.extend_from_slice(bytes),
            OutputTarget::Buffer { edited, .. } if self.changed => edited.extend_from_slice(bytes),
            OutputTarget::Buffer {
                unchanged_len: passed, ..
            } => *passed += bytes.len(),
        }
    }

    /// The next bytes of the body do not leave.
    pub(super) fn discard(&mut self) {
        self.mark_changed();
    }

    /// The next bytes of the body do not leave, but these do instead.
    pub(super) fn insert(&mut self, bytes: &[u8]) {
        self.mark_changed();
        self.forward(bytes);
    }

    /// Whether anything was cut or put.
    pub(super) const fn is_changed(&self) -> bool {
        self.changed
    }

    fn in_memory(body: &'a [u8]) -> Self {
        let target = OutputTarget::Buffer {
            body,
            unchanged_len: 0,
            edited: BytesMut::new(),
        };
        Self { target, changed: false }
    }

    fn mark_changed(&mut self) {
        if let OutputTarget::Buffer {
            body,
            unchanged_len: passed,
            edited,
        } = &mut self.target
            && !self.changed
        {
            edited.reserve(body.len());
            edited.extend_from_slice(body.get(..*passed).unwrap_or(body));
        }
        self.changed = true;
    }

    fn into_edited(self) -> Option<Bytes> {
        match self.target {
            OutputTarget::Buffer { edited, .. } if self.changed => Some(edited.freeze()),
            OutputTarget::Buffer { .. } | OutputTarget::Stream(_) => None,
        }
    }
}

/// Never the bytes.
impl fmt::Debug for ScrubOutput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Out")
            .field("changed", &self.changed)
            .finish_non_exhaustive()
    }
}
