//! What is known of a body's credentials while it arrives, and those that may have to come back.
//!
//! # Why
//!
//! Whether a proof or an app token may stay is known only at the end: a real token may still come. So they are taken
//! out and held, a bounded few of them, and put back at the end if they may stay after all. What is certain
//! earlier is not held: nothing has to be where a token has been found that stays.

use super::super::credential::{ClientCredentialPolicy, ParameterCredential};
use super::super::parameter::ParameterKind;

/// The longest credential, in bytes, with all that belongs to it. Tokens have a few hundred.
pub(super) const MAX_FIELD_BYTES: usize = 16 * 1024;
/// The longest `batch`, in bytes as sent: Graph takes fifty items.
pub(super) const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// All that is held, in bytes.
const MAX_PENDING_BYTES: usize = 4 * MAX_FIELD_BYTES;

/// How a credential goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ScrubMode {
    /// It is cut out: the body gets shorter.
    Remove,
    /// Its name and its value are overwritten with `x`: the body keeps its length, which is promised already.
    /// Nothing can be put back then: an app token that [`ClientCredentialPolicy::Replace`] would leave goes as well, and a proof
    /// goes unless a token that stays came before it.
    Mask,
}

/// Why a request's body may not leave.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ScrubError {
    /// A credential, under [`ClientCredentialPolicy::Refuse`].
    #[error("the body holds an access_token, and heal.client_credentials is \"refuse\"")]
    ClientCredential,
    /// A credential that cannot be taken out.
    #[error("the credentials in the body cannot be taken out: {0}")]
    CannotScrub(&'static str),
}

/// What became of a body.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ScrubReport {
    /// The credential that it held, taken together. Those of batch items are not counted: ours is the default of
    /// the others all the same.
    pub credential: ParameterCredential,
    /// Whether the body that left is another than the body that came.
    pub is_changed: bool,
    /// Whether there is a `batch` parameter.
    pub has_batch: bool,
    /// Whether an item of the batch keeps a token of its own: that its token is dead says nothing of ours.
    pub has_item_tokens: bool,
}

/// What is to be done with one parameter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Decision {
    /// It leaves as it is, where it is.
    Keep,
    /// It is cut out or masked.
    Remove,
}

/// Whether more of a body is to come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum InputState {
    /// Perhaps.
    More,
    /// No: this is the end.
    End,
}

/// The credentials of one body, or of one batch item.
#[derive(Debug)]
pub(super) struct ScrubState {
    policy: ClientCredentialPolicy,
    mode: ScrubMode,
    /// The weightiest parameter so far.
    strongest: ParameterKind,
    /// Whether a token is found that stays: then its proofs do.
    keeps_token: bool,
    /// Whether what was held has been put back or dropped.
    pending_resolved: bool,
    /// Whether anything had to be put back.
    restored: bool,
    has_batch: bool,
    has_item_tokens: bool,
    pending: PendingFragments,
}

/// Never shown: they are secrets.
#[derive(Default)]
struct PendingFragments(Vec<Vec<u8>>);

// === impl Held ===

impl ScrubState {
    /// Nothing is known yet.
    pub(super) const fn new(policy: ClientCredentialPolicy, mode: ScrubMode) -> Self {
        Self {
            policy,
            mode,
            strongest: ParameterKind::Other,
            keeps_token: false,
            pending_resolved: false,
            restored: false,
            has_batch: false,
            has_item_tokens: false,
            pending: PendingFragments(Vec::new()),
        }
    }

    /// For a second pass, when the first one has shown that a token stays: everything may stay where it is.
    pub(super) const fn with_token_kept(policy: ClientCredentialPolicy, mode: ScrubMode) -> Self {
        let mut held = Self::new(policy, mode);
        held.keeps_token = true;
        held
    }

    /// The policy.
    pub(super) const fn policy(&self) -> ClientCredentialPolicy {
        self.policy
    }

    /// The mode.
    pub(super) const fn mode(&self) -> ScrubMode {
        self.mode
    }

    /// Whether this pass had to put something back at the end. A body in memory is passed again then.
    pub(super) const fn has_restored(&self) -> bool {
        self.restored
    }

    /// There is a `batch` parameter.
    pub(super) const fn mark_batch(&mut self) {
        self.has_batch = true;
    }

    /// An item of the batch keeps a token of its own.
    pub(super) const fn mark_item_token(&mut self) {
        self.has_item_tokens = true;
    }

    /// What becomes of a parameter. `piece` is what to put back if it may stay after all: its bytes, without what
    /// joins it to its neighbours.
    ///
    /// # Errors
    ///
    /// [`ScrubError::ClientCredential`] if the policy refuses it; [`ScrubError::CannotScrub`] if too much would be held.
    pub(super) fn decide(&mut self, kind: ParameterKind, fragment: &[u8]) -> Result<Decision, ScrubError> {
        let before = self.strongest;
        self.strongest = before.max(kind);
        match (kind, self.policy) {
            (ParameterKind::Other, _) => Ok(Decision::Keep),
            (ParameterKind::Placeholder, _) => Ok(Decision::Remove),
            (ParameterKind::Token, ClientCredentialPolicy::Refuse) => Err(ScrubError::ClientCredential),
            (ParameterKind::Token, ClientCredentialPolicy::Replace) if self.keeps_token => {
                // An app token was put back already: a body that goes on behind its end.
                Err(ScrubError::CannotScrub("a token behind its end"))
            }
            (ParameterKind::Token, ClientCredentialPolicy::Replace) => {
                self.pending.0.clear();
                Ok(Decision::Remove)
            }
            (ParameterKind::AppToken | ParameterKind::Proof, _) if self.keeps_token => Ok(Decision::Keep),
            (ParameterKind::Token | ParameterKind::AppToken, ClientCredentialPolicy::Keep)
            | (ParameterKind::AppToken, ClientCredentialPolicy::Refuse) => {
                self.keeps_token = true;
                Ok(Decision::Keep)
            }
            (ParameterKind::AppToken, ClientCredentialPolicy::Replace) if self.mode == ScrubMode::Mask => {
                self.strongest = ParameterKind::Token;
                Ok(Decision::Remove)
            }
            (ParameterKind::AppToken, ClientCredentialPolicy::Replace)
                if self.pending_resolved && before < ParameterKind::Token =>
            {
                self.keeps_token = true;
                Ok(Decision::Keep)
            }
            (ParameterKind::AppToken | ParameterKind::Proof, _) => {
                let may_restore = before < ParameterKind::Token && self.mode == ScrubMode::Remove;
                if may_restore && !self.pending_resolved {
                    self.push_pending(fragment)?;
                }
                Ok(Decision::Remove)
            }
        }
    }

    /// All that may stay after all, in the order in which it came; to be put back by the caller. To be called where
    /// it can be put back last.
    pub(super) fn resolve_pending(&mut self) -> Vec<Vec<u8>> {
        let fragments = std::mem::take(&mut self.pending.0);
        if self.pending_resolved {
            return Vec::new();
        }
        self.pending_resolved = true;
        // A real token that stays is known already; an app token may stay if it is all there is.
        self.keeps_token |= self.strongest == ParameterKind::AppToken;
        if !self.keeps_token {
            return Vec::new();
        }
        self.restored = !fragments.is_empty();
        fragments
    }

    /// What was found.
    pub(super) const fn report(&self, is_changed: bool) -> ScrubReport {
        let credential = match (self.strongest, self.policy) {
            (ParameterKind::Other | ParameterKind::Proof, _) => ParameterCredential::None,
            (ParameterKind::Placeholder, _) => ParameterCredential::Placeholder,
            (ParameterKind::AppToken, _) => ParameterCredential::AppToken,
            (ParameterKind::Token, ClientCredentialPolicy::Keep) => ParameterCredential::Kept,
            (ParameterKind::Token, ClientCredentialPolicy::Replace | ClientCredentialPolicy::Refuse) => {
                ParameterCredential::Removed
            }
        };
        ScrubReport {
            credential,
            is_changed,
            has_batch: self.has_batch,
            has_item_tokens: self.has_item_tokens,
        }
    }

    fn push_pending(&mut self, fragment: &[u8]) -> Result<(), ScrubError> {
        let pending_bytes: usize = self.pending.0.iter().map(Vec::len).sum();
        if fragment.len() > MAX_FIELD_BYTES || pending_bytes + fragment.len() > MAX_PENDING_BYTES {
            return Err(ScrubError::CannotScrub("too many or too long"));
        }
        self.pending.0.push(fragment.to_vec());
        Ok(())
    }
}

impl std::fmt::Debug for PendingFragments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} pieces", self.0.len())
    }
}
