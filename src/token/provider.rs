//! The origin of tokens: sources in order, an optional renewer, and the rules between them.
//!
//! # Decision table
//!
//! | current token | situation | result |
//! |---|---|---|
//! | valid | the active source, or one before it, returns a token that it did not return last time | that token, from then on its source is the active one |
//! | valid | a source returns the token that it returned last time: the one before a renewal | the current token stays |
//! | valid | a source after the active one changes | the current token stays; the other is used when it is needed |
//! | valid | the new token was rejected, is invalid by inspection, or has expired by its date and Graph cannot be asked | the current token stays; an alert |
//! | due for renewal | no source has a new token | the renewer's, once it is stored |
//! | due for renewal | the renewer returns the same token with a later expiry | the current token, whose expiry is stored |
//! | due for renewal | storing fails | the current token stays; the renewed token is kept, stored later, then used |
//! | due for renewal | another replica stored a token meanwhile | that token |
//! | due for renewal | another replica renews the token of a row now | none: the lock is tried again later |
//! | rejected or expired | a source has a token that Graph accepts, or has not rejected before its date | that token, of the first such source |
//! | rejected or expired | no source has one, there is a renewer | the renewer's, used even if storing fails, and stored later |
//! | rejected or expired | no source has one, there is no renewer | none: an error; sources and Graph are tried again later |
//! | renewed, not yet stored | another token is found in its source or one before it | that token; the renewed token is not stored any more |
//! | none | only an expired or rejected token, and a renewer | the renewer's, made from that token |
//! | any | the renewer's token is invalid by inspection | an error; the previous token is stored again |
//! | any | its source says that it has no token | the current token stays for `WITHDRAWAL_INTERVAL`, and is not renewed |
//! | any | its source says so again, and no other source has a token | none: the token is withdrawn |
//! | none yet | every source fails, and none says that it has no token | the cache's, until a source has one |
//!
//! # Why
//!
//! * "Different from the current token" is not "new": after a renewal the source may still return the superseded token,
//!   and using it would alternate between two tokens forever. New is what differs *from what the source returned last*.
//!   That holds while the current token is valid; once it is dead, any token that Graph has not rejected is worth a try,
//!   from any source: an expired file does not hide a valid row.
//! * Between the renewer's response and the store nothing else happens. So a kill can lose a renewed token only in that
//!   moment; after it, the next start finds the token. A token that cannot be stored is kept and stored
//!   later, and used before that only if the current token is dead.
//! * A token is withdrawn only by the source that it came from, and only by two statements: a failure, and a source that never
//!   had the token, prove nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::check::{Check, ObtainedToken, read_sources};
use super::credential::Token;
use super::error::ObtainError;
use super::last_known_good::LastKnownGood;
use super::renewal::renew;
use super::sources::{LOAD_TIMEOUT, Reach, SourceList, SourcedToken, TokenOrigin};
use super::traits::{
    Inspector, LivenessCheck, LookInterval, RefreshContext, RefreshLock, Renewer, Source, StoreOutcome, TokenCache,
};
use super::vetting::{InspectionScope, Vetting};
use crate::types::error_chain;

/// Obtains tokens from sources in order, and from an optional renewer; an optional inspector checks them.
#[derive(derive_more::Debug)]
#[debug("TokenProvider({}, renewer: {:?})", sources.describe(), self.renewer().map(Renewer::describe))]
pub struct TokenProvider {
    pub(super) sources: SourceList,
    pub(super) vetting: Vetting,
    pub(super) liveness_check: Option<Box<dyn LivenessCheck>>,
    pub(super) last_known_good: Box<LastKnownGood>,
    renewer: Option<Box<dyn Renewer>>,
    /// A renewed token that is not yet where the next start finds it.
    pub(super) pending_store: Option<Box<SourcedToken>>,
    /// Whether the sources have been read.
    has_read: bool,
}

/// The longest wait for each source at a start before the cached token is used: requests wait as well, for
/// `heal.token_wait`.
const START_PATIENCE: Duration = Duration::from_secs(1);
/// The longest wait for the renewal lock in the background, where it delays everything else.
const BACKGROUND_LOCK_TIMEOUT: Duration = Duration::from_secs(2);

// === impl TokenProvider ===

impl TokenProvider {
    /// Creates a provider with one source and no renewer.
    #[must_use]
    pub fn from_source(source: impl Source) -> Self {
        Self::from_sources(vec![Box::new(source)])
    }

    /// Creates a provider with several sources, the first of which has priority, and no renewer.
    #[must_use]
    pub fn from_sources(sources: Vec<Box<dyn Source>>) -> Self {
        Self {
            sources: SourceList::new(sources),
            vetting: Vetting::default(),
            liveness_check: None,
            last_known_good: Box::default(),
            renewer: None,
            pending_store: None,
            has_read: false,
        }
    }

    /// Adds a renewer.
    #[must_use]
    pub fn with_renewer(mut self, renewer: impl Renewer) -> Self {
        self.renewer = Some(Box::new(renewer));
        self
    }

    /// Adds an inspector, which checks each token before it is used, and is asked when Graph refuses a proof.
    #[must_use]
    pub fn with_inspector(mut self, inspector: impl Inspector) -> Self {
        self.vetting.inspector = Some(Box::new(inspector));
        self
    }

    /// Describes the sources: `file /run/graphward/token`.
    #[must_use]
    pub fn describe_sources(&self) -> String {
        self.sources.describe()
    }

    /// Adds the question that is asked when Graph rejects a request without proving that the token is dead.
    #[must_use]
    pub fn with_liveness_check(mut self, check: impl LivenessCheck) -> Self {
        self.liveness_check = Some(Box::new(check));
        self
    }

    /// Adds a cache for the last token that Graph accepted.
    #[must_use]
    pub fn with_cache(mut self, cache: impl TokenCache) -> Self {
        self.last_known_good = Box::new(LastKnownGood::new(Box::new(cache)));
        self
    }

    /// Sets which tokens are inspected.
    #[must_use]
    pub const fn with_inspection_scope(mut self, scope: InspectionScope) -> Self {
        self.vetting.scope = scope;
        self
    }

    /// Lets all tokens be inspected, but used before Graph has answered if they have not expired. Providers with the same limit make so
    /// many inspections in the background at the same time.
    #[must_use]
    pub fn with_background_inspections(mut self, limit: Arc<Semaphore>) -> Self {
        self.vetting.scope = InspectionScope::InBackground;
        self.vetting.limit = Some(limit);
        self
    }

    /// The renewer, if there is one.
    pub(super) fn renewer(&self) -> Option<&dyn Renewer> {
        self.renewer.as_deref()
    }

    /// Returns another token than the current one: that which a check of all sources has found, else it is renewed and stored.
    ///
    /// # Errors
    ///
    /// [`ObtainError::nothing_new`] if no source has one and there is no renewer; else the error of a source, the renewer or
    /// the storage. A source that cannot be read does not prevent a renewal.
    pub(super) async fn refresh(
        &mut self,
        check: Check,
        context: RefreshContext<'_>,
    ) -> Result<ObtainedToken, ObtainError> {
        let Check { found, dead_candidate } = check;
        let is_settled = !self.is_unsettled();
        let outgoing = match (found, context.current, dead_candidate) {
            (Ok(Some(found)), _, _) => return Ok(found),
            (Err(error), Some(_), _) if !is_settled => return Err(error),
            (_, Some(current), _) if self.renewer.is_some() => current.token().clone(),
            // A start that finds only a dead token: a renewer that accepts dead tokens can start from it.
            (_, None, Some(candidate)) if self.renewer.is_some() => {
                self.sources.token_origin = TokenOrigin::Source(candidate.source_index);
                candidate.token
            }
            (Ok(None), _, _) => return Err(ObtainError::nothing_new()),
            (Err(error), _, _) => return Err(error),
        };
        let lock = self.sources.lock_for_renewal(context).await?;
        // Another replica may have renewed the token during the wait for the lock.
        if !lock.is_uncontended()
            && let Ok(Some(found)) = self.check(Reach::All, context).await.found
        {
            return Ok(found);
        }
        let renewed = self.renew_and_store(&outgoing, lock, context).await;
        renewed.map_err(ObtainError::by_renewer)
    }

    /// Returns the time between two looks at the sources, with jitter, so that replicas do not look at the same moments.
    pub(super) fn jittered_look_interval(&self) -> Option<LookInterval> {
        let interval = self.sources.look_interval()?;
        Some(interval.mul_f64(0.9 + fastrand::f64() / 5.0))
    }

    /// Returns whether no source shows the current token's place any more, or none has shown it yet: then it is not renewed,
    /// and the sources are read again soon.
    pub(super) fn is_unsettled(&self) -> bool {
        self.sources.token_origin.is_cache() || self.sources.is_absence_suspected()
    }

    /// Forgets the current token, if its source withdrew it; returns whether it did.
    pub(super) fn take_withdrawal(&mut self, error: &ObtainError) -> bool {
        let is_withdrawn = error.is_absence() && self.sources.is_absence_confirmed();
        if is_withdrawn {
            self.pending_store = None;
            self.last_known_good.erase();
        }
        is_withdrawn
    }

    /// Tries again to store a renewed token. A token that was stored there meanwhile stays.
    ///
    /// # Errors
    ///
    /// The error of the storage.
    pub(super) async fn retry_store(&mut self) -> Result<(), ObtainError> {
        let Some(pending) = self.pending_store.clone() else {
            return Ok(());
        };
        let lock = self.sources.lock(pending.source_index, BACKGROUND_LOCK_TIMEOUT).await?;
        let _stored_or_conflict = self.sources.store(&pending).await?;
        drop(lock);
        self.pending_store = None;
        Ok(())
    }

    /// Reads the sources that are due, or all, and all if the current token is dead; finds a token to use, or the first error that
    /// matters.
    ///
    /// If the current token is dead, a source that hangs does not delay the use of a token from a source before it.
    pub(super) async fn check(&mut self, reach: Reach, context: RefreshContext<'_>) -> Check {
        let mut check = self.read_with_patience(reach, context).await;
        if check.found.is_err() && !context.current_is_dead && self.sources.is_absence_confirmed() {
            // Another source may have a token.
            let context = RefreshContext {
                current_is_dead: true,
                ..context
            };
            check = read_sources(&mut self.sources, &mut self.vetting, Reach::All, context).await;
        }
        match check.found {
            Ok(Some(_)) => {
                self.sources.locked_since = None;
                // The token in the source, or in one before it, replaces the renewed one, which could not be stored.
                let origin = self.sources.token_origin;
                self.pending_store
                    .take_if(|pending| matches!(origin, TokenOrigin::Source(active) if active <= pending.source_index));
                check
            }
            Err(error) if context.current.is_none() && check.dead_candidate.is_none() => {
                Check::of(self.find_last_known_good(error, context).await)
            }
            found => Check { found, ..check },
        }
    }

    /// Reads the sources. At the first check, if a token is in the cache, a source that does not answer within
    /// [`START_PATIENCE`] counts as failed; later ones have their whole time.
    async fn read_with_patience(&mut self, reach: Reach, context: RefreshContext<'_>) -> Check {
        let is_first = !std::mem::replace(&mut self.has_read, true);
        self.sources.load_limit = if is_first && context.current.is_none() && self.last_known_good.is_filled().await {
            START_PATIENCE
        } else {
            LOAD_TIMEOUT
        };
        read_sources(&mut self.sources, &mut self.vetting, reach, context).await
    }

    /// Returns the cache's token, or the error of the sources if it may not be used.
    async fn find_last_known_good(
        &mut self,
        error: ObtainError,
        context: RefreshContext<'_>,
    ) -> Result<Option<ObtainedToken>, ObtainError> {
        let absent = self.sources.describe_absent();
        if !absent.is_empty() {
            self.last_known_good.forbid();
            let source = self.last_known_good.cached_source().await;
            // If it is unknown which source gave the token, all of them have to say that they have none.
            if absent.len() == self.sources.len() || source.is_some_and(|source| absent.contains(&source)) {
                self.last_known_good.erase();
            }
        }
        let Some((found, source)) = self.last_known_good.find(&mut self.vetting, context).await else {
            return Err(error);
        };
        let error = error_chain(&error);
        tracing::warn!(
            error,
            "every token source failed; using the last token that Graph accepted"
        );
        self.sources.set_from_cache(&source);
        Ok(Some(found))
    }

    async fn renew_and_store(
        &mut self,
        outgoing: &Token,
        lock: RefreshLock,
        context: RefreshContext<'_>,
    ) -> Result<ObtainedToken, ObtainError> {
        let pending = self.usable_pending_token(outgoing, context);
        let Some(renewer) = &mut self.renewer else {
            return Err(ObtainError::nothing_new());
        };
        let source = renewer.describe();
        let renewed = match pending {
            Some(token) => token,
            None => renew(&mut **renewer, outgoing, context).await?,
        };
        let store_error = match self.store_renewed(&renewed).await {
            Ok(StoreOutcome::Stored) => None,
            // The next start finds the other token, so it is the one to use.
            Ok(StoreOutcome::Conflict) => match self.check(Reach::All, context).await.found {
                Ok(Some(found)) => return Ok(found),
                Ok(None) | Err(_) => self.store_renewed(&renewed).await.err(),
            },
            // The start after this finds the same token, and asks Graph about its date.
            Err(error) if context.current_is_dead || is_same_token(&renewed, outgoing) => Some(error),
            Err(error) => return Err(error),
        };
        drop(lock);
        match self.vetting.admit(&renewed, &source, context).await {
            Ok(inspection) => Ok(ObtainedToken {
                renewed: true,
                store_error,
                ..ObtainedToken::new(renewed, inspection, source)
            }),
            Err(error) => {
                self.restore_previous(outgoing).await;
                Err(error)
            }
        }
    }

    /// Returns the renewed token that is not stored yet, which is not renewed a second time.
    fn usable_pending_token(&self, outgoing: &Token, context: RefreshContext<'_>) -> Option<Token> {
        let token = &self.pending_store.as_ref()?.token;
        let fingerprint = token.secret.fingerprint();
        let is_usable = fingerprint != outgoing.secret.fingerprint()
            && token.expires_at.is_none_or(|at| at > context.now)
            && !self.vetting.is_denied(fingerprint);
        is_usable.then(|| token.clone())
    }

    /// Stores a renewed token where the next start finds it. A source that is read-only was reported at start.
    async fn store_renewed(&mut self, renewed: &Token) -> Result<StoreOutcome, ObtainError> {
        let Some(pending) = self.sources.for_active(renewed) else {
            return Ok(StoreOutcome::Stored);
        };
        let pending = self.pending_store.insert(Box::new(pending));
        let stored = self.sources.store(pending).await;
        if stored.is_ok() {
            self.pending_store = None;
        }
        stored
    }

    /// Stores the previous token again: the renewed one is invalid, and the next start must not find it.
    async fn restore_previous(&mut self, outgoing: &Token) {
        if let Some(previous) = self.sources.for_active(outgoing)
            && let Err(error) = self.sources.store(&previous).await
        {
            let error = error_chain(&error);
            tracing::warn!(error, "failed to restore the token from before the renewal");
        }
    }
}

fn is_same_token(one: &Token, other: &Token) -> bool {
    one.secret.fingerprint() == other.secret.fingerprint()
}
