//! The traits behind a token provider: sources, renewers and inspectors.
//!
//! # Why
//!
//! They are trait objects: rarely called, chosen by configuration, replaced in tests, added by contributors. One task
//! calls them, hence `&mut self` and no locks inside.

use std::any::Any;
use std::future::{Future, ready};
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use super::credential::{Credential, Token};
use super::error::ObtainError;
use super::rejection::Liveness;
use crate::graph::Inspection;
use crate::types::Fingerprint;

/// The boxed future that these traits return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// A store in progress.
pub type StoreFuture<'a> = BoxFuture<'a, Result<StoreOutcome, ObtainError>>;

/// The time between two attempts of the operator's change to take a lock that another replica has.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A location from which a token is read.
pub trait Source: Send + 'static {
    /// Reads the current token. Bounded in time and size.
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>>;

    /// Returns another token that is still in this source, to be used if Graph rejects the loaded one: the one from which
    /// that was renewed. By default, a source has no such token.
    fn fallback_token(&self) -> Option<Token> {
        None
    }

    /// Completes when the token may have changed. Cancel-safe: it is often dropped and called again, so its state (the time
    /// of the next poll, for example) must be kept in `self`. Default: never.
    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    /// Returns how often the source is read while the current token is dead, if reading it is cheap and a change may be
    /// missed. Default: only after a change and before a renewal.
    fn look_interval(&self) -> Option<LookInterval> {
        None
    }

    /// Describes the source for logs and alerts: `file /run/graphward/token`. Never a secret.
    fn describe(&self) -> String;

    /// Checks whether a renewed token can be stored here. Cheap. Default: it cannot.
    ///
    /// # Errors
    ///
    /// The reason why not, which ends in what to do.
    fn check_writable(&self) -> Result<(), String> {
        Err(format!(
            "{} is read-only; put the token there yourself, or set token.store = {{ file = PATH }}",
            self.describe()
        ))
    }

    /// Takes the renewal lock, which replicas that share this source use: the holder reads the source again before it
    /// renews. The lock ends with its holder. A source waits for another holder, or returns [`ObtainError::locked`] at once.
    /// Default: there are no other replicas.
    fn lock(&mut self) -> BoxFuture<'_, Result<RefreshLock, ObtainError>> {
        Box::pin(ready(Ok(RefreshLock::uncontended())))
    }

    /// Stores a token durably where the next start finds it, and keeps the previous one for a rollback; but only if the source
    /// still has the `expected` token. `None` is the operator's change: it replaces whatever is here, also what is no token. If
    /// the token is the same, only its expiry is stored. Called under the lock.
    fn store<'a>(&'a mut self, _token: &'a Token, _expected: Option<Fingerprint>) -> StoreFuture<'a> {
        let what = format!("{} is read-only", self.describe());
        Box::pin(ready(Err(ObtainError::permanent("not_writable", what))))
    }

    /// Stores a token of the operator under the lock, whatever is here.
    fn replace<'a>(&'a mut self, token: &'a Token) -> BoxFuture<'a, Result<(), ObtainError>> {
        Box::pin(async move {
            let _lock = loop {
                match self.lock().await {
                    Err(error) if error.is_locked() => sleep(LOCK_RETRY_INTERVAL).await,
                    locked => break locked?,
                }
            };
            self.store(token, None).await.map(drop)
        })
    }

    /// Exchanges the token with the previous one, under the lock. Default: none is kept.
    fn roll_back(&mut self) -> BoxFuture<'_, Result<(), ObtainError>> {
        let what = format!(
            "there is no previous token to roll back to: graphward keeps none for {}; in a database, restore the one that \
             `update` saves with SQL",
            self.describe()
        );
        Box::pin(ready(Err(ObtainError::permanent("no_previous_token", what))))
    }
}

/// The time between two looks at a source while there is no valid token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LookInterval {
    /// The time until the first look.
    pub first: Duration,
    /// Each look that finds no valid token doubles the time until the next one, up to this; a request that waits shortens it.
    pub longest: Duration,
}

/// A change of the token that the operator requests.
#[derive(Debug)]
pub enum OperatorCommand {
    /// Check this token, store it, and use it.
    Set(Token),
    /// Restore the previous token, and use it.
    RollBack,
}

/// A token in a cache.
#[derive(Clone, Debug)]
pub struct CachedToken {
    /// The token.
    pub token: Token,
    /// The description of the source that it came from, which alone can withdraw it.
    pub source: String,
}

/// A place for the last token that Graph accepted, which is read at a start at which every source fails.
pub trait TokenCache: Send + 'static {
    /// Reads the token. Bounded in size.
    fn load(&mut self) -> BoxFuture<'_, Result<Option<CachedToken>, ObtainError>>;

    /// Replaces the token durably; `None` erases it.
    fn replace<'a>(&'a mut self, token: Option<&'a CachedToken>) -> BoxFuture<'a, Result<(), ObtainError>>;

    /// Describes the cache for logs. Never a secret.
    fn describe(&self) -> String;
}

/// The renewal lock, released on drop.
#[derive(derive_more::Debug)]
#[debug("RefreshLock({})", _0.is_some())]
#[must_use]
pub struct RefreshLock(Option<Box<dyn Any + Send>>);

/// The result of a store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StoreOutcome {
    /// The next start finds the token, which survives a crash from now on.
    Stored,
    /// The source has another token than expected. Nothing was written.
    Conflict,
}

/// A way to obtain the successor of a token.
pub trait Renewer: Send + 'static {
    /// Obtains the successor of a token. Bounded in time; called at most once at a time.
    fn renew<'a>(&'a mut self, request: RenewalRequest<'a>) -> BoxFuture<'a, Result<Token, ObtainError>>;

    /// Returns the earliest time at which a token issued then can be renewed.
    fn earliest_renewal(&self, issued_at: SystemTime) -> SystemTime {
        issued_at
    }

    /// Returns when a token first seen then is renewed if its expiry is unknown. Default: only once it is dead.
    fn renew_at_if_expiry_unknown(&self, _seen_at: SystemTime) -> Option<SystemTime> {
        None
    }

    /// Returns the token that renewals need besides the outgoing one. Default: none.
    fn own_token(&self) -> Option<&Token> {
        None
    }

    /// Describes the renewer for logs and alerts: `fb_exchange_token`. Never a secret.
    fn describe(&self) -> String;
}

/// A token to renew.
#[derive(Clone, Copy, Debug)]
pub struct RenewalRequest<'a> {
    /// The token.
    pub token: &'a Token,
    /// Whether it is known to be dead: rejected by Graph, or expired. A renewer that needs a valid token does not try then.
    pub is_dead: bool,
}

/// The state of the current token during a check or a refresh.
#[derive(Clone, Copy, Debug)]
pub(super) struct RefreshContext<'a> {
    /// The current credential.
    pub(super) current: Option<&'a Credential>,
    /// Whether there is no usable one: none at all, or Graph rejected it, or it has expired.
    pub(super) current_is_dead: bool,
    /// Wall time.
    pub(super) now: SystemTime,
}

/// An inspection of tokens by Graph.
pub trait Inspector: Send + 'static {
    /// Asks Graph about a token. Bounded in time.
    ///
    /// `Ok` with an error inside means that the token is invalid; an error means that Graph could not be asked.
    fn inspect<'a>(&'a mut self, token: &'a Token) -> BoxFuture<'a, Result<Inspection, ObtainError>>;

    /// Asks Graph whether it accepts the proofs of the app's secret: about a token once with its proof and once without.
    /// Bounded in time. Default: it cannot be asked.
    fn check_proof<'a>(&'a mut self, _token: &'a Token) -> BoxFuture<'a, ProofAnswer> {
        Box::pin(ready(ProofAnswer::Unknown))
    }
}

/// The question to Graph whether it accepts a token now.
pub trait LivenessCheck: Send + 'static {
    /// Asks Graph. May be dropped at any moment; the caller bounds its time.
    fn check<'a>(&'a mut self, token: &'a Token) -> BoxFuture<'a, Liveness>;
}

/// Graph's answer about a proof.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProofAnswer {
    /// The proof is accepted.
    Accepted,
    /// Requests are accepted without the proof, and refused with it.
    OnlyWithout,
    /// Requests are refused with and without it.
    Refused,
    /// Graph could not be asked, or its answer says nothing about the proof.
    Unknown,
}

// === impl LookInterval ===

impl LookInterval {
    /// The same time between all looks.
    #[must_use]
    pub const fn fixed(interval: Duration) -> Self {
        Self {
            first: interval,
            longest: interval,
        }
    }

    /// Returns the time until the next look after so many that found no valid token.
    pub(super) fn after(self, looks: u32) -> Duration {
        let factor = 1_u32.checked_shl(looks).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.longest)
    }

    /// Returns the interval that suits both sources.
    pub(super) fn min(self, other: Self) -> Self {
        Self {
            first: self.first.min(other.first),
            longest: self.longest.min(other.longest),
        }
    }

    /// Returns the interval multiplied by a factor.
    pub(super) fn mul_f64(self, factor: f64) -> Self {
        Self {
            first: self.first.mul_f64(factor),
            longest: self.longest.mul_f64(factor),
        }
    }
}

// === impl RefreshLock ===

impl RefreshLock {
    /// Creates a lock where no other replica can hold it.
    pub const fn uncontended() -> Self {
        Self(None)
    }

    /// Returns whether no other replica can hold it, so that none can have renewed the token meanwhile.
    #[must_use]
    pub const fn is_uncontended(&self) -> bool {
        self.0.is_none()
    }

    /// Creates a lock that dropping `guard` releases.
    pub fn with_guard(guard: impl Any + Send) -> Self {
        Self(Some(Box::new(guard)))
    }
}
