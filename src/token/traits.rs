//! What a supply is made of: places that show tokens, acts that mint them, and whoever can say what one is worth.
//!
//! # Why
//!
//! They are trait objects: called once in a while, by one task, chosen by configuration, faked in tests, added by
//! contributors. One task calls them, hence `&mut self` and no locks inside.

use std::any::Any;
use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::time::SystemTime;

use super::credential::Token;
use crate::graph::Inspection;
use crate::types::Fingerprint;

/// A boxed future: sources and renewers are called once in a while, by one task, chosen by configuration.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A place that shows a token somebody else keeps.
pub trait Source: Send + 'static {
    /// Reads what the place shows now. Bounded in time and size.
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>>;

    /// Completes when there may be news. Cancel-safe: it is dropped and called again all the time, so whatever it waits
    /// for (a date, say) is kept in `self`. Default: never.
    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    /// What it is, for people: `file /run/graphward/token`. Never a secret.
    fn describe(&self) -> String;

    /// Whether a minted token can be put here, or why not, in words that end in what to do. Cheap.
    ///
    /// # Errors
    ///
    /// Why not.
    fn check_writable(&self) -> Result<(), String> {
        Err(format!("{} cannot be written to", self.describe()))
    }

    /// Waits for the right to mint, which replicas that share this place pass round: whoever has it looks again before it
    /// mints. Free by itself when its holder dies. Default: there is nobody to share with.
    fn lock(&mut self) -> BoxFuture<'_, Result<RefreshLock, ObtainError>> {
        Box::pin(ready(Ok(RefreshLock::uncontended())))
    }

    /// Puts a minted token where the next start will look, durably, and keeps the one before it for a rollback; but only
    /// if the place still shows `over`. Called under the claim.
    fn store<'a>(
        &'a mut self,
        _token: &'a Token,
        _expected: Fingerprint,
    ) -> BoxFuture<'a, Result<StoreOutcome, ObtainError>> {
        let what = format!("{} cannot be written to", self.describe());
        Box::pin(ready(Err(ObtainError::permanent("not_writable", what))))
    }
}

/// The right to mint; given back when it is dropped.
#[must_use]
pub struct RefreshLock(Option<Box<dyn Any + Send>>);

/// How a deposit ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StoreOutcome {
    /// The token is where the next start will look, and survives a crash from now on.
    Stored,
    /// The place shows another token than it did: somebody was faster. Nothing was written.
    Conflict,
}

/// An act that mints a new token.
pub trait Renewer: Send + 'static {
    /// Mints the successor of `request`. Bounded in time; called at most once at a time.
    fn renew<'a>(&'a mut self, request: RenewalRequest<'a>) -> BoxFuture<'a, Result<Token, ObtainError>>;

    /// The earliest moment at which a token issued then can be renewed.
    fn earliest_renewal(&self, issued_at: SystemTime) -> SystemTime {
        issued_at
    }

    /// When a token first seen then is renewed if nobody says when it ends. Default: once it is dead.
    fn renew_at_if_expiry_unknown(&self, _seen_at: SystemTime) -> Option<SystemTime> {
        None
    }

    /// What it is, for people: `fb_exchange_token`. Never a secret.
    fn describe(&self) -> String;
}

/// The token that is to be renewed.
#[derive(Clone, Copy, Debug)]
pub struct RenewalRequest<'a> {
    /// The token.
    pub token: &'a Token,
    /// Whether it is known to be dead: rejected by Graph, or past its end. What needs a living token is not tried then.
    pub is_dead: bool,
}

/// Whoever can say what a token is worth.
pub trait Inspector: Send + 'static {
    /// Asks about a token. Bounded in time.
    ///
    /// An answer about a dead token is an answer, `Ok`; an error says that nothing was learnt.
    fn inspect<'a>(&'a mut self, token: &'a Token) -> BoxFuture<'a, Result<Inspection, ObtainError>>;
}

/// Why there is no new token. The messages name places and reasons, never contents.
#[derive(Debug, thiserror::Error)]
pub enum ObtainError {
    /// It mends itself without a person.
    #[error("{message}")]
    Transient {
        /// What was attempted, with what.
        message: String,
        /// A closed word for metrics.
        reason: &'static str,
        /// What lies behind.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A person has to act.
    #[error("{message}")]
    Permanent {
        /// What was attempted, with what, and what to do.
        message: String,
        /// A closed word for metrics.
        reason: &'static str,
        /// What lies behind.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// All was read, and it is the token we know.
    #[error("the source shows no newer token")]
    NothingNew,
}

// === impl ObtainError ===

impl ObtainError {
    /// Something that mends itself; `reason` is a word of a closed list.
    pub fn transient(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Transient {
            message: message.into(),
            reason,
            source: None,
        }
    }

    /// Something that needs a person, whom `message` tells what to do; `reason` is a word of a closed list.
    pub fn permanent(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Permanent {
            message: message.into(),
            reason,
            source: None,
        }
    }

    /// The same, and what lies behind it, which must not hold a secret.
    #[must_use]
    pub fn with_source(self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let source = Some(cause.into());
        match self {
            Self::Transient {
                message: what, reason, ..
            } => Self::Transient {
                message: what,
                reason,
                source,
            },
            Self::Permanent {
                message: what, reason, ..
            } => Self::Permanent {
                message: what,
                reason,
                source,
            },
            Self::NothingNew => Self::NothingNew,
        }
    }

    /// Whether it mends itself without a person.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Transient { .. } | Self::NothingNew => true,
            Self::Permanent { .. } => false,
        }
    }

    /// A closed word for metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Transient { reason, .. } | Self::Permanent { reason, .. } => reason,
            Self::NothingNew => "nothing_new",
        }
    }
}

// === impl RefreshLock ===

impl RefreshLock {
    /// A claim that nobody contests.
    pub const fn uncontended() -> Self {
        Self(None)
    }

    /// Whether nobody contests it, so that there is nobody who may have minted meanwhile.
    #[must_use]
    pub const fn is_uncontended(&self) -> bool {
        self.0.is_none()
    }

    /// A claim that is given back when `held` is dropped.
    pub fn with_guard(held: impl Any + Send) -> Self {
        Self(Some(Box::new(held)))
    }
}

impl fmt::Debug for RefreshLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Claim").field(&self.0.is_some()).finish()
    }
}

impl Source for Box<dyn Source> {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        (**self).load()
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        (**self).changed()
    }

    fn describe(&self) -> String {
        (**self).describe()
    }

    fn check_writable(&self) -> Result<(), String> {
        (**self).check_writable()
    }

    fn lock(&mut self) -> BoxFuture<'_, Result<RefreshLock, ObtainError>> {
        (**self).lock()
    }

    fn store<'a>(
        &'a mut self,
        token: &'a Token,
        expected: Fingerprint,
    ) -> BoxFuture<'a, Result<StoreOutcome, ObtainError>> {
        (**self).store(token, expected)
    }
}
