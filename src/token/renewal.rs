//! A token other than the live one: found, or minted and stored before it is used.
//!
//! # Why
//!
//! Between the answer of whoever mints and its place in storage there is nothing: no check, no other call. A process that
//! is killed there has lost what it never had in hand; a moment later the next start finds it. What cannot be stored is
//! kept in hand and tried again, and used before that only if the one in use is dead.

use std::time::Duration;

use tokio::time::timeout;

use super::credential::Token;
use super::provider::{ObtainedToken, PendingStore, RefreshContext, TokenProvider};
use super::tracked_source::timed_out;
use super::traits::{ObtainError, RefreshLock, RenewalRequest, StoreOutcome};

/// The longest wait for the right to mint. Whoever has it and is stopped, not dead, is passed by after this.
const LOCK_TIMEOUT: Duration = Duration::from_secs(25);
/// The longest wait for it when nothing is urgent: meanwhile nobody hears what else happens.
const BACKGROUND_LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest renewal.
const RENEW_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest a source may take to keep a token.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer that only prolongs the token's life does so by at least this.
const MIN_EXTENSION: Duration = Duration::from_secs(60);

impl TokenProvider {
    /// A token other than the live one: from a source, else minted and stored.
    ///
    /// # Errors
    ///
    /// [`ObtainError::NothingNew`] if no source has one and nothing can be minted; what a source, the renewer or the
    /// storage says otherwise. A source that cannot be read does not keep the renewer from minting.
    pub async fn refresh(&mut self, context: RefreshContext<'_>) -> Result<ObtainedToken, ObtainError> {
        let checked = self.check_sources(context).await;
        let dead_candidate = self.dead_candidate.take().filter(|_| self.renewer.is_some());
        let outgoing = match (checked, context.current, &dead_candidate) {
            (Ok(Some(found)), _, _) => return Ok(found),
            (_, Some(live), _) if self.renewer.is_some() => live.token(),
            // A start that finds nothing but a dead token: what it takes to mint from one works from this one, too.
            (_, None, Some((index, token))) => {
                self.active_source = *index;
                token
            }
            (Ok(None), _, _) => return Err(ObtainError::NothingNew),
            (Err(error), _, _) => return Err(error),
        };
        let lock = self
            .lock(self.active_source, LOCK_TIMEOUT, context.current_is_dead)
            .await?;
        // Somebody else may have minted while we waited for the claim.
        if !lock.is_uncontended()
            && let Ok(Some(found)) = self.check_sources(context).await
        {
            return Ok(found);
        }
        self.renewer_called = true;
        let renewed = self.renew(outgoing, context).await?;
        let store_error = match self.store_renewed(&renewed, outgoing).await {
            Ok(StoreOutcome::Stored) => None,
            // Somebody was faster: theirs is what the next start will find.
            Ok(StoreOutcome::Conflict) => match self.check_sources(context).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) | Err(_) => self.store_renewed(&renewed, outgoing).await.err(),
            },
            Err(error) if context.current_is_dead => Some(error),
            Err(error) => return Err(error),
        };
        drop(lock);
        let from = self.describe_renewer().unwrap_or_default();
        match self.admit(renewed, &from, context).await {
            Ok(found) => Ok(ObtainedToken {
                renewed: true,
                store_error,
                ..found
            }),
            Err(error) => {
                self.restore_previous(outgoing).await;
                Err(error)
            }
        }
    }

    /// Whether a minted token is still not where the next start will look.
    #[must_use]
    pub const fn has_pending_store(&self) -> bool {
        self.pending_store.is_some()
    }

    /// Tries once more to put a minted token where the next start will look.
    ///
    /// # Errors
    ///
    /// Why not, again.
    pub async fn retry_store(&mut self) -> Result<(), ObtainError> {
        let Some(PendingStore {
            source_index: place,
            token,
        }) = self.pending_store.clone()
        else {
            return Ok(());
        };
        let lock = self.lock(place, BACKGROUND_LOCK_TIMEOUT, false).await?;
        // Whoever was faster has put there what the next start had better find.
        let _stored_or_conflict = self.store_at(place, &token).await?;
        drop(lock);
        self.pending_store = None;
        Ok(())
    }

    /// The right to mint. In need, a place that does not give it does not keep us from minting.
    async fn lock(
        &mut self,
        source_index: usize,
        limit: Duration,
        current_is_dead: bool,
    ) -> Result<RefreshLock, ObtainError> {
        let Some(tracked) = self.sources.get_mut(source_index) else {
            return Ok(RefreshLock::uncontended());
        };
        let locked = match timeout(limit, tracked.source.lock()).await {
            Ok(claimed) => claimed,
            Err(_elapsed) => {
                let from = tracked.source.describe();
                Err(timed_out(
                    &from,
                    "grant the right to renew, which somebody else has,",
                    limit,
                ))
            }
        };
        match locked {
            Err(error) if current_is_dead => {
                tracing::warn!(
                    error = %error,
                    "the token is renewed without the others knowing: they may renew it, too"
                );
                Ok(RefreshLock::uncontended())
            }
            result => result,
        }
    }

    /// A minted token: the one in hand, or a new one.
    async fn renew(&mut self, outgoing: &Token, context: RefreshContext<'_>) -> Result<Token, ObtainError> {
        let previous = outgoing.secret.fingerprint();
        if let Some(PendingStore { token, .. }) = &self.pending_store
            && token.secret.fingerprint() != previous
            && token.expires_at.is_none_or(|ends| ends > context.now)
            && self.denylist.reason(token.secret.fingerprint()).is_none()
        {
            return Ok(token.clone());
        }
        let Some(renewer) = &mut self.renewer else {
            return Err(ObtainError::NothingNew);
        };
        let renewal = renewer.renew(RenewalRequest {
            token: outgoing,
            is_dead: context.current_is_dead,
        });
        let token = match timeout(RENEW_TIMEOUT, renewal).await {
            Ok(token) => token?,
            Err(_elapsed) => return Err(timed_out(&renewer.describe(), "answer", RENEW_TIMEOUT)),
        };
        let renewer_name = renewer.describe();
        if token.expires_at.is_some_and(|ends| ends <= context.now) {
            let what = format!("{renewer_name} answers a token that has expired already");
            return Err(ObtainError::transient("expired", what));
        }
        if token.secret.fingerprint() == previous {
            let is_extended = match (token.expires_at, outgoing.expires_at) {
                (Some(ends), Some(previous)) => {
                    let extension = ends.duration_since(previous);
                    extension.is_ok_and(|longer| longer > MIN_EXTENSION)
                }
                // That nobody knew.
                (Some(_), None) => true,
                (None, _) => false,
            };
            if context.current_is_dead || !is_extended {
                let what = format!("{renewer_name} answers the token that we have, and prolongs nothing");
                return Err(ObtainError::transient("same_token", what));
            }
        }
        Ok(token)
    }

    /// Puts a minted token where the next start will look. Where that is nowhere was told at start.
    async fn store_renewed(&mut self, renewed: &Token, outgoing: &Token) -> Result<StoreOutcome, ObtainError> {
        let place = self.sources.get(self.active_source);
        let is_read_only = place.is_none_or(|place| place.source.check_writable().is_err());
        // What is there already, and only lives longer, would push the one before it out of its place.
        if is_read_only || renewed.secret.fingerprint() == outgoing.secret.fingerprint() {
            return Ok(StoreOutcome::Stored);
        }
        self.pending_store = Some(PendingStore {
            source_index: self.active_source,
            token: renewed.clone(),
        });
        let stored = self.store_at(self.active_source, renewed).await;
        if stored.is_ok() {
            self.pending_store = None;
        }
        stored
    }

    async fn store_at(&mut self, source_index: usize, token: &Token) -> Result<StoreOutcome, ObtainError> {
        let Some(tracked) = self.sources.get_mut(source_index) else {
            return Ok(StoreOutcome::Stored);
        };
        let expected = tracked.last_seen.unwrap_or_else(|| token.secret.fingerprint());
        let outcome = match timeout(STORE_TIMEOUT, tracked.source.store(token, expected)).await {
            Ok(deposit) => deposit?,
            Err(_elapsed) => {
                return Err(timed_out(&tracked.source.describe(), "keep the token", STORE_TIMEOUT));
            }
        };
        if outcome == StoreOutcome::Stored {
            tracked.last_seen = Some(token.secret.fingerprint());
        }
        Ok(outcome)
    }

    /// What was minted and stored is dead: the next start had better find the one before.
    async fn restore_previous(&mut self, outgoing: &Token) {
        let place = self.sources.get(self.active_source);
        if place.is_none_or(|place| place.source.check_writable().is_err()) {
            return;
        }
        if let Err(error) = self.store_at(self.active_source, outgoing).await {
            tracing::warn!(error = %error, "the token before the renewal could not be put back");
        }
    }
}
