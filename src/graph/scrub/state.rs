//! The credentials of a body that have been found so far, and the decision on each.
//!
//! # Why
//!
//! Whether a proof or an app token may be kept is known only at the end, since a real token may still follow. A body in
//! memory is read twice, so its [`Ruling`] covers the whole body. In a multipart form that streams, proofs and app tokens
//! are removed and buffered, up to a limit, and put back at the end if they may be kept after all. Nothing is buffered
//! once a token to keep has been found.

use super::super::calls::Calls;
use super::super::credential::{ClientCredentialPolicy, ParameterCredential, SignPolicy};
use super::super::hints::RequestHints;
use super::super::parameter::{ParameterKind, ParameterName, form_decode};
use super::super::sign::TenantSigns;

/// The longest credential with its name, in bytes. Tokens have a few hundred.
pub(super) const MAX_FIELD_BYTES: usize = 16 * 1024;
/// The longest `batch`, in bytes as sent: Graph takes fifty items.
const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// The most that is buffered of a streaming body, in bytes.
const MAX_PENDING_BYTES: usize = 4 * MAX_FIELD_BYTES;

/// How a request is cleaned.
#[derive(Clone, Copy, Debug)]
pub struct ScrubRules {
    /// The treatment of client credentials.
    pub credentials: ClientCredentialPolicy,
    /// Whether its parameters may name a tenant.
    pub signs: SignPolicy,
}

/// The way in which a streaming multipart form loses a credential.
///
/// # Why
///
/// A form too large to be buffered streams with the length that the app declared: Graph's upload endpoints require a
/// `Content-Length`, so it cannot become a chunked body. So what would have been removed is overwritten.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ScrubMode {
    /// The part is removed: the body gets shorter.
    Remove,
    /// The name and the value of the part are overwritten with `x`: the body keeps its length. Nothing can be put back
    /// then: an app token that [`ClientCredentialPolicy::Replace`] would keep is masked too, and so is a proof unless a
    /// kept token precedes it.
    Mask,
}

/// The reason why a request's body may not be forwarded.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ScrubError {
    /// A credential, under [`ClientCredentialPolicy::Refuse`].
    #[error("the request contains an access_token, and heal.client_credentials is \"refuse\"")]
    ClientCredential,
    /// What cannot be read, or not be removed.
    #[error("cannot search the parameters of the request: {0}")]
    CannotScrub(&'static str),
}

/// The result of scrubbing a body.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ScrubReport {
    /// The credentials of the body, taken together. Those of batch items are not counted: the tenant's token is the
    /// default of the other items anyway.
    pub credential: ParameterCredential,
    /// Whether the forwarded body differs from the app's.
    pub is_changed: bool,
    /// Whether there is a `batch` parameter.
    pub has_batch: bool,
    /// Whether an item of the batch keeps its own token: its rejection says nothing about the tenant's token.
    pub has_item_tokens: bool,
    /// What else the body says about the request. Unknown if the body streams.
    pub hints: RequestHints,
    /// What it says about the tenant.
    pub signs: Option<Box<TenantSigns>>,
    /// Which calls it makes, if that was asked for.
    pub calls: Option<Box<Calls>>,
}

/// The rule for the credentials of a body, or of a batch item, that has been read whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ruling {
    /// Whether a token is kept.
    pub(super) keeps_token: bool,
}

/// The decision on one parameter of a streaming form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Decision {
    /// It is kept, in its place.
    Keep,
    /// It is removed or masked.
    Remove,
}

/// Whether more of a body is to come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum InputState {
    /// More may follow.
    More,
    /// This is the end.
    End,
}

/// The credentials of a streaming form.
#[derive(Debug)]
pub(super) struct ScrubState {
    pub(super) rules: ScrubRules,
    pub(super) mode: ScrubMode,
    /// The strongest parameter so far.
    strongest: ParameterKind,
    /// Whether a token to keep has been found: then its proofs are kept too.
    keeps_token: bool,
    /// Whether the buffered parts have been put back or dropped.
    pending_resolved: bool,
    /// Whether a part had to be put back at the end. A body in memory is read again then.
    pub(super) restored: bool,
    pending: PendingFragments,
    /// The credentials that were found in batches.
    pub(super) report: ScrubReport,
}

/// Parts that may be put back. `Debug` does not show them, because they are secrets.
#[derive(Default, derive_more::Debug)]
#[debug("{} fragments", _0.len())]
struct PendingFragments(Vec<Vec<u8>>);

const TOO_MANY_IDS: ScrubError =
    ScrubError::CannotScrub("it has more than 4,096 ids or names of tenants, or 16 KiB of ids in one parameter");

/// Adds what is found, if there is something.
fn add_found(signs: &mut Option<Box<TenantSigns>>, find: impl FnOnce(&mut TenantSigns)) {
    let mut found = TenantSigns::default();
    find(&mut found);
    if found != TenantSigns::default() {
        signs.get_or_insert_default().add(found);
    }
}

/// Refuses what is too long to be a credential, a list of ids, or a batch.
///
/// # Errors
///
/// [`ScrubError::CannotScrub`]
pub(super) const fn check_length(name: ParameterName, length: usize) -> Result<(), ScrubError> {
    match name {
        ParameterName::Batch if length > MAX_BATCH_BYTES => {
            Err(ScrubError::CannotScrub("the batch is longer than 1 MiB"))
        }
        ParameterName::Token | ParameterName::Proof | ParameterName::InputToken if length > MAX_FIELD_BYTES => {
            Err(ScrubError::CannotScrub("a credential is longer than 16 KiB"))
        }
        ParameterName::ObjectIds if length > MAX_FIELD_BYTES => Err(TOO_MANY_IDS),
        ParameterName::Batch
        | ParameterName::Token
        | ParameterName::Proof
        | ParameterName::ObjectIds
        | ParameterName::InputToken => Ok(()),
    }
}

// === impl ScrubRules ===

impl ScrubRules {
    /// Cleans a request in this way.
    #[must_use]
    pub const fn new(credentials: ClientCredentialPolicy, signs: SignPolicy) -> Self {
        Self { credentials, signs }
    }

    /// Whether a parameter of this name means anything.
    pub(super) fn reads(self, name: ParameterName) -> bool {
        !matches!(name, ParameterName::ObjectIds | ParameterName::InputToken) || self.signs == SignPolicy::Read
    }

    /// Classifies a parameter by its name and its decoded value, and adds what it says about the tenant to `signs`.
    pub(super) fn classify(
        self,
        name: ParameterName,
        value: impl Iterator<Item = u8> + Clone,
        signs: &mut Option<Box<TenantSigns>>,
    ) -> ParameterKind {
        let kind = ParameterKind::from_decoded(name, value.clone(), self.signs);
        if kind == ParameterKind::TokenSlot || (name == ParameterName::InputToken && self.reads(name)) {
            add_found(signs, |found| found.add_decoded_token_slot(value));
        } else if name == ParameterName::ObjectIds && self.reads(name) {
            signs.get_or_insert_default().add_object_ids(value);
        }
        kind
    }

    /// Reads a form-encoded parameter: its name, if it means anything, and its value, still encoded. Adds to `signs` what the
    /// parameter says in an unusual spelling.
    pub(super) fn read_encoded<'a>(
        self,
        parameter: &'a [u8],
        signs: &mut Option<Box<TenantSigns>>,
    ) -> Option<(ParameterName, &'a [u8])> {
        let known = ParameterName::of_parameter(parameter).filter(|(name, _)| self.reads(*name));
        // The items of a batch are read one by one.
        if self.signs == SignPolicy::Read && !matches!(known, Some((ParameterName::Batch, _))) {
            add_found(signs, |found| found.add_hidden(parameter));
        }
        known
    }

    /// Classifies a form-encoded parameter in the same way.
    pub(super) fn classify_encoded(self, parameter: &[u8], signs: &mut Option<Box<TenantSigns>>) -> ParameterKind {
        let known = self.read_encoded(parameter, signs);
        known.map_or(ParameterKind::Other, |(name, value)| {
            self.classify(name, form_decode(value), signs)
        })
    }
}

// === impl ScrubReport ===

impl ScrubReport {
    /// Refuses more signs than are kept.
    ///
    /// # Errors
    ///
    /// [`ScrubError::CannotScrub`]
    pub(super) fn check_signs(&self) -> Result<(), ScrubError> {
        let is_over = self.signs.as_ref().is_some_and(|signs| signs.has_too_many());
        if is_over { Err(TOO_MANY_IDS) } else { Ok(()) }
    }

    /// Sets the credential that follows from the strongest parameter.
    pub(super) const fn set_strongest(&mut self, strongest: ParameterKind, policy: ClientCredentialPolicy) {
        self.credential = match (strongest, policy) {
            (ParameterKind::Other | ParameterKind::Proof, _) => ParameterCredential::None,
            (ParameterKind::Placeholder | ParameterKind::TokenSlot, _) => ParameterCredential::Placeholder,
            (ParameterKind::AppToken, _) => ParameterCredential::AppToken,
            (ParameterKind::Token, ClientCredentialPolicy::Keep | ClientCredentialPolicy::KeepAll) => {
                ParameterCredential::Kept
            }
            (ParameterKind::Token, ClientCredentialPolicy::Replace | ClientCredentialPolicy::Refuse) => {
                ParameterCredential::Removed
            }
        };
    }
}

// === impl Ruling ===

impl Ruling {
    /// Removes every credential: the common case, which the first pass assumes.
    pub(super) const REMOVE_ALL: Self = Self { keeps_token: false };

    /// The rule that follows from the strongest parameter.
    ///
    /// # Errors
    ///
    /// [`ScrubError::ClientCredential`] if the policy refuses it.
    pub(super) const fn new(strongest: ParameterKind, policy: ClientCredentialPolicy) -> Result<Self, ScrubError> {
        let keeps_token = match (strongest, policy) {
            (ParameterKind::Token, ClientCredentialPolicy::Refuse) => return Err(ScrubError::ClientCredential),
            (ParameterKind::Token, ClientCredentialPolicy::Keep)
            | (ParameterKind::AppToken, _)
            | (_, ClientCredentialPolicy::KeepAll) => true,
            (ParameterKind::Token, ClientCredentialPolicy::Replace)
            | (
                ParameterKind::TokenSlot | ParameterKind::Placeholder | ParameterKind::Proof | ParameterKind::Other,
                _,
            ) => false,
        };
        Ok(Self { keeps_token })
    }

    /// Returns whether a parameter is removed.
    pub(super) const fn removes(self, kind: ParameterKind) -> bool {
        match kind {
            ParameterKind::Other => false,
            ParameterKind::Placeholder | ParameterKind::TokenSlot => true,
            ParameterKind::Proof | ParameterKind::AppToken | ParameterKind::Token => !self.keeps_token,
        }
    }
}

// === impl ScrubState ===

impl ScrubState {
    /// Creates the state at the start of a form.
    pub(super) fn new(rules: ScrubRules, mode: ScrubMode) -> Self {
        Self {
            rules,
            mode,
            strongest: ParameterKind::Other,
            keeps_token: matches!(rules.credentials, ClientCredentialPolicy::KeepAll),
            pending_resolved: false,
            restored: false,
            pending: PendingFragments::default(),
            report: ScrubReport::default(),
        }
    }

    /// Creates the state of a second pass, after the first one has found a token to keep: parts are kept in their place.
    pub(super) fn with_token_kept(rules: ScrubRules, mode: ScrubMode) -> Self {
        Self {
            keeps_token: true,
            ..Self::new(rules, mode)
        }
    }

    /// Decides on a parameter. `fragment` is the part to put back if it is kept after all.
    ///
    /// # Errors
    ///
    /// [`ScrubError::ClientCredential`] if the policy refuses it; [`ScrubError::CannotScrub`] if too much would be
    /// held.
    pub(super) fn decide(&mut self, kind: ParameterKind, fragment: &[u8]) -> Result<Decision, ScrubError> {
        let before = self.strongest;
        self.strongest = before.max(kind);
        match (kind, self.rules.credentials) {
            (ParameterKind::Other, _) => Ok(Decision::Keep),
            (ParameterKind::Placeholder | ParameterKind::TokenSlot, _) => Ok(Decision::Remove),
            (ParameterKind::Token, ClientCredentialPolicy::Refuse) => Err(ScrubError::ClientCredential),
            (ParameterKind::Token, ClientCredentialPolicy::Replace) if self.keeps_token => {
                // An app token was put back already, at the end of the form.
                Err(ScrubError::CannotScrub("a token follows the end of the document"))
            }
            (ParameterKind::Token, ClientCredentialPolicy::Replace) => {
                self.pending.0.clear();
                Ok(Decision::Remove)
            }
            (ParameterKind::AppToken | ParameterKind::Proof, _) if self.keeps_token => Ok(Decision::Keep),
            (
                ParameterKind::Token | ParameterKind::AppToken,
                ClientCredentialPolicy::Keep | ClientCredentialPolicy::KeepAll,
            )
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

    /// Returns the buffered parts that are kept after all, in their order, for the caller to put back. Called at the last
    /// point where that is possible.
    pub(super) fn resolve_pending(&mut self) -> Vec<Vec<u8>> {
        let fragments = std::mem::take(&mut self.pending.0);
        if self.pending_resolved {
            return Vec::new();
        }
        self.pending_resolved = true;
        // A real token to keep is known already; an app token is kept if there is no real one.
        self.keeps_token |= self.strongest == ParameterKind::AppToken;
        if !self.keeps_token {
            return Vec::new();
        }
        self.restored = !fragments.is_empty();
        fragments
    }

    /// The report at the end of the form.
    pub(super) fn report(&self) -> ScrubReport {
        let mut report = self.report.clone();
        report.set_strongest(self.strongest, self.rules.credentials);
        report
    }

    fn push_pending(&mut self, fragment: &[u8]) -> Result<(), ScrubError> {
        let pending_bytes: usize = self.pending.0.iter().map(Vec::len).sum();
        if fragment.len() > MAX_FIELD_BYTES || pending_bytes + fragment.len() > MAX_PENDING_BYTES {
            return Err(ScrubError::CannotScrub(
                "too many credentials, or a credential is longer than 16 KiB",
            ));
        }
        self.pending.0.push(fragment.to_vec());
        Ok(())
    }
}
