//! Where a body goes while it is cleaned: on, as it arrives; or nowhere, as long as it is in memory and unchanged.

use std::fmt;

use bytes::{Bytes, BytesMut};

use super::super::presented::Presented;
use super::held::{Held, Mode, ScrubError, Scrubbed};

/// What may leave, in the order of the body: every byte of it is either passed or cut.
pub(super) struct Out<'a> {
    to: To<'a>,
    changed: bool,
}

enum To<'a> {
    /// A body that arrives.
    Wire(&'a mut BytesMut),
    /// A body that is in memory, and how much of it has been passed. Copied from the first change on.
    Memory {
        body: &'a [u8],
        passed: usize,
        edited: BytesMut,
    },
}

/// Cleans a body that is in memory; `None`: nothing had to change. `clean` is called with a fresh parser's work: once,
/// or a second time if that can leave in its place what would have to be put back.
pub(super) fn whole(
    body: &[u8],
    policy: Presented,
    mode: Mode,
    mut clean: impl FnMut(&mut Held, &mut Out<'_>) -> Result<(), ScrubError>,
) -> Result<(Option<Bytes>, Scrubbed), ScrubError> {
    let mut held = Held::new(policy, mode);
    let mut out = Out::memory(body);
    clean(&mut held, &mut out)?;
    if held.has_returned() {
        held = Held::staying(policy, mode);
        out = Out::memory(body);
        clean(&mut held, &mut out)?;
    }
    let scrubbed = held.scrubbed(out.is_changed());
    Ok((out.into_edited(), scrubbed))
}

// === impl Out ===

impl<'a> Out<'a> {
    /// For a body that arrives.
    pub(super) const fn wire(out: &'a mut BytesMut) -> Self {
        Self {
            to: To::Wire(out),
            changed: false,
        }
    }

    /// These bytes of the body leave as they came.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        match &mut self.to {
            To::Wire(out) => out.extend_from_slice(bytes),
            To::Memory { edited, .. } if self.changed => edited.extend_from_slice(bytes),
            To::Memory { passed, .. } => *passed += bytes.len(),
        }
    }

    /// The next bytes of the body do not leave.
    pub(super) fn cut(&mut self) {
        self.change();
    }

    /// The next bytes of the body do not leave, but these do instead.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.change();
        self.pass(bytes);
    }

    /// Whether anything was cut or put.
    pub(super) const fn is_changed(&self) -> bool {
        self.changed
    }

    fn memory(body: &'a [u8]) -> Self {
        let to = To::Memory {
            body,
            passed: 0,
            edited: BytesMut::new(),
        };
        Self { to, changed: false }
    }

    fn change(&mut self) {
        if let To::Memory {
            body,
            passed,
            edited,
        } = &mut self.to
            && !self.changed
        {
            edited.reserve(body.len());
            edited.extend_from_slice(body.get(..*passed).unwrap_or(body));
        }
        self.changed = true;
    }

    fn into_edited(self) -> Option<Bytes> {
        match self.to {
            To::Memory { edited, .. } if self.changed => Some(edited.freeze()),
            To::Memory { .. } | To::Wire(_) => None,
        }
    }
}

/// Never the bytes.
impl fmt::Debug for Out<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Out")
            .field("changed", &self.changed)
            .finish_non_exhaustive()
    }
}
