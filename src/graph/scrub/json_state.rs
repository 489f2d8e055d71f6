//! Where the JSON scrubber stands in a member.

use super::super::parameter::ParameterName;
use super::edit::EditKind;

/// What becomes of the bytes that come next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum JsonState {
    /// Nothing is known: before the object, or behind it.
    #[default]
    Outside,
    /// Between members. What joins them is kept.
    BetweenMembers,
    /// In a name. It is kept.
    Name,
    /// Behind a name that means something. It is kept.
    Credential(ParameterName),
    /// In a member that leaves.
    Passthrough,
    /// In the value of a member that is too long to be kept, and goes.
    Oversized(OversizedRemoval),
}

/// How the rest of a long value goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum OversizedRemoval {
    Remove,
    /// It is overwritten, but for its quotes. Nothing: it has not begun.
    Mask(Option<EditKind>),
}
