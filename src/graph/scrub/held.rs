//! What is known of a body's credentials while it arrives, and those that may have to come back.
//!
//! # Why
//!
//! Whether a proof or an app token may stay is known only at the end: a real token may still come. So they are taken
//! out and held, a bounded few of them, and put back at the end if they may stay after all. What is certain
//! earlier is not held: nothing has to be where a token has been found that stays.

use super::super::parameter::Parameter;
use super::super::presented::{Presented, QueryCredential};

/// The longest credential, in bytes, with all that belongs to it. Tokens have a few hundred.
pub(super) const FIELD: usize = 16 * 1024;
/// The longest `batch`, in bytes as sent: Graph takes fifty items.
pub(super) const BATCH: usize = 1024 * 1024;
/// All that is held, in bytes.
const ALL: usize = 4 * FIELD;

/// How a credential goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// It is cut out: the body gets shorter.
    Cut,
    /// Its name and its value are overwritten with `x`: the body keeps its length, which is promised already.
    /// Nothing can be put back then: an app token that [`Presented::Replace`] would leave goes as well, and a proof
    /// goes unless a token that stays came before it.
    Mask,
}

/// Why a request's body may not leave.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ScrubError {
    /// A credential, under [`Presented::Refuse`].
    #[error("the body holds an access_token, and heal.presented is \"refuse\"")]
    Presented,
    /// A credential that cannot be taken out.
    #[error("the credentials in the body cannot be taken out: {0}")]
    Unclean(&'static str),
}

/// What became of a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Scrubbed {
    /// The credential that it held, taken together. Those of batch items are not counted: ours is the default of
    /// the others all the same.
    pub credential: QueryCredential,
    /// Whether the body that left is another than the body that came.
    pub changed: bool,
    /// Whether there is a `batch` parameter.
    pub batch: bool,
    /// Whether an item of the batch keeps a token of its own: that its token is dead says nothing of ours.
    pub own_items: bool,
}

/// What is to be done with one parameter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    /// It leaves as it is, where it is.
    Stays,
    /// It is cut out or masked.
    Goes,
}

/// Whether more of a body is to come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rest {
    /// Perhaps.
    ToCome,
    /// No: this is the end.
    Nothing,
}

/// The credentials of one body, or of one batch item.
#[derive(Debug)]
pub(super) struct Held {
    policy: Presented,
    mode: Mode,
    /// The weightiest parameter so far.
    found: Parameter,
    /// Whether a token is found that stays: then its proofs do.
    staying: bool,
    /// Whether what was held has been put back or dropped.
    settled: bool,
    /// Whether anything had to be put back.
    returned: bool,
    batch: bool,
    own_items: bool,
    pieces: Pieces,
}

/// Never shown: they are secrets.
#[derive(Default)]
struct Pieces(Vec<Vec<u8>>);

// === impl Held ===

impl Held {
    /// Nothing is known yet.
    pub(super) const fn new(policy: Presented, mode: Mode) -> Self {
        Self {
            policy,
            mode,
            found: Parameter::Data,
            staying: false,
            settled: false,
            returned: false,
            batch: false,
            own_items: false,
            pieces: Pieces(Vec::new()),
        }
    }

    /// For a second pass, when the first one has shown that a token stays: everything may stay where it is.
    pub(super) const fn staying(policy: Presented, mode: Mode) -> Self {
        let mut held = Self::new(policy, mode);
        held.staying = true;
        held
    }

    /// The policy.
    pub(super) const fn policy(&self) -> Presented {
        self.policy
    }

    /// The mode.
    pub(super) const fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether this pass had to put something back at the end. A body in memory is passed again then.
    pub(super) const fn has_returned(&self) -> bool {
        self.returned
    }

    /// There is a `batch` parameter.
    pub(super) const fn note_batch(&mut self) {
        self.batch = true;
    }

    /// An item of the batch keeps a token of its own.
    pub(super) const fn note_own_item(&mut self) {
        self.own_items = true;
    }

    /// What becomes of a parameter. `piece` is what to put back if it may stay after all: its bytes, without what
    /// joins it to its neighbours.
    ///
    /// # Errors
    ///
    /// [`ScrubError::Presented`] if the policy refuses it; [`ScrubError::Unclean`] if too much would be held.
    pub(super) fn judge(&mut self, what: Parameter, piece: &[u8]) -> Result<Fate, ScrubError> {
        let before = self.found;
        self.found = before.max(what);
        match (what, self.policy) {
            (Parameter::Data, _) => Ok(Fate::Stays),
            (Parameter::Placeholder, _) => Ok(Fate::Goes),
            (Parameter::Token, Presented::Refuse) => Err(ScrubError::Presented),
            (Parameter::Token, Presented::Replace) if self.staying => {
                // An app token was put back already: a body that goes on behind its end.
                Err(ScrubError::Unclean("a token behind its end"))
            }
            (Parameter::Token, Presented::Replace) => {
                self.pieces.0.clear();
                Ok(Fate::Goes)
            }
            (Parameter::AppToken | Parameter::Proof, _) if self.staying => Ok(Fate::Stays),
            (Parameter::Token | Parameter::AppToken, Presented::Keep)
            | (Parameter::AppToken, Presented::Refuse) => {
                self.staying = true;
                Ok(Fate::Stays)
            }
            (Parameter::AppToken, Presented::Replace) if self.mode == Mode::Mask => {
                self.found = Parameter::Token;
                Ok(Fate::Goes)
            }
            (Parameter::AppToken, Presented::Replace)
                if self.settled && before < Parameter::Token =>
            {
                self.staying = true;
                Ok(Fate::Stays)
            }
            (Parameter::AppToken | Parameter::Proof, _) => {
                let may_return = before < Parameter::Token && self.mode == Mode::Cut;
                if may_return && !self.settled {
                    self.hold(piece)?;
                }
                Ok(Fate::Goes)
            }
        }
    }

    /// All that may stay after all, in the order in which it came; to be put back by the caller. To be called where
    /// it can be put back last.
    pub(super) fn settle(&mut self) -> Vec<Vec<u8>> {
        let pieces = std::mem::take(&mut self.pieces.0);
        if self.settled {
            return Vec::new();
        }
        self.settled = true;
        // A real token that stays is known already; an app token may stay if it is all there is.
        self.staying |= self.found == Parameter::AppToken;
        if !self.staying {
            return Vec::new();
        }
        self.returned = !pieces.is_empty();
        pieces
    }

    /// What was found.
    pub(super) const fn scrubbed(&self, changed: bool) -> Scrubbed {
        let credential = match (self.found, self.policy) {
            (Parameter::Data | Parameter::Proof, _) => QueryCredential::None,
            (Parameter::Placeholder, _) => QueryCredential::Placeholder,
            (Parameter::AppToken, _) => QueryCredential::AppToken,
            (Parameter::Token, Presented::Keep) => QueryCredential::Kept,
            (Parameter::Token, Presented::Replace | Presented::Refuse) => QueryCredential::Stale,
        };
        Scrubbed {
            credential,
            changed,
            batch: self.batch,
            own_items: self.own_items,
        }
    }

    fn hold(&mut self, piece: &[u8]) -> Result<(), ScrubError> {
        let held: usize = self.pieces.0.iter().map(Vec::len).sum();
        if piece.len() > FIELD || held + piece.len() > ALL {
            return Err(ScrubError::Unclean("too many or too long"));
        }
        self.pieces.0.push(piece.to_vec());
        Ok(())
    }
}

impl std::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} pieces", self.0.len())
    }
}
