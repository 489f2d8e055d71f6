//! A token other than the live one: found, or minted and stored before it is used.
//!
//! # Why
//!
//! Between the answer of whoever mints and its place in storage there is nothing: no check, no other call. A process that
//! is killed there has lost what it never had in hand; a moment later the next start finds it. What cannot be stored is
//! kept in hand and tried again, and used before that only if the one in use is dead.

use std::time::Duration;

use tokio::time::timeout;

use super::credential::{Credential, Token};
use super::ports::{Claim, Deposit, ObtainError, Outgoing};
use super::supply::{Found, Standing, Supply, late};

/// The longest wait for the right to mint. Whoever has it and dies is followed by another within this time.
const CLAIM: Duration = Duration::from_secs(30);
/// The longest renewal.
const RENEW: Duration = Duration::from_secs(20);
/// The longest a source may take to keep a token.
const DEPOSIT: Duration = Duration::from_secs(10);
/// An answer that only prolongs the token's life does so by at least this.
const PROLONGED: Duration = Duration::from_secs(60);

impl Supply {
    /// A token other than the live one: from a source, else minted and stored.
    ///
    /// # Errors
    ///
    /// [`ObtainError::NothingNew`] if no source has one and nothing can be minted; what a source, the renewer or the
    /// storage says otherwise. A source that cannot be read does not keep the renewer from minting.
    pub async fn replace(&mut self, standing: Standing<'_>) -> Result<Found, ObtainError> {
        let looked = self.look(standing).await;
        let (live, renews) = (standing.live, self.renewer.is_some());
        let live = match (looked, live) {
            (Ok(Some(found)), _) => return Ok(found),
            (_, Some(live)) if renews => live,
            (Ok(None), _) => return Err(ObtainError::NothingNew),
            (Err(error), _) => return Err(error),
        };
        let claim = self.claim(standing.dead).await?;
        // Somebody else may have minted while we waited for the claim.
        if !claim.is_free()
            && let Ok(Some(found)) = self.look(standing).await
        {
            return Ok(found);
        }
        let minted = self.mint(live, standing).await?;
        let not_stored = match self.store(&minted, live).await {
            Ok(Deposit::Kept) => None,
            // Somebody was faster: theirs is what the next start will find.
            Ok(Deposit::Overtaken) => match self.look(standing).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) | Err(_) => self.store(&minted, live).await.err(),
            },
            Err(error) if standing.dead => Some(error),
            Err(error) => return Err(error),
        };
        drop(claim);
        let from = self.renewal().unwrap_or_default();
        match self.admit(minted, &from, standing).await {
            Ok(found) => Ok(Found {
                minted: true,
                not_stored,
                ..found
            }),
            Err(error) => {
                self.put_back(live).await;
                Err(error)
            }
        }
    }

    /// Whether a minted token is still not where the next start will look.
    #[must_use]
    pub const fn has_in_hand(&self) -> bool {
        self.in_hand.is_some()
    }

    /// Tries once more to put a minted token where the next start will look.
    ///
    /// # Errors
    ///
    /// Why not, again.
    pub async fn settle(&mut self) -> Result<(), ObtainError> {
        let Some(token) = self.in_hand.clone() else {
            return Ok(());
        };
        let claim = self.claim(true).await?;
        // Whoever was faster has put there what the next start had better find.
        let _kept_or_overtaken = self.deposit(&token).await?;
        drop(claim);
        self.in_hand = None;
        Ok(())
    }

    /// The right to mint. In need, a place that cannot be asked for it does not keep us from minting.
    async fn claim(&mut self, dead: bool) -> Result<Claim, ObtainError> {
        let Some(place) = self.places.get_mut(self.origin) else {
            return Ok(Claim::free());
        };
        let claimed = match timeout(CLAIM, place.source.claim()).await {
            Ok(claimed) => claimed,
            Err(_elapsed) => {
                let from = place.source.describe();
                Err(late(
                    &from,
                    "grant the right to renew, which somebody else has,",
                    CLAIM,
                ))
            }
        };
        match claimed {
            Err(error) if dead && error.reason() != "timeout" => {
                tracing::warn!(
                    error = %error,
                    "the token is renewed without the others knowing: they may renew it, too"
                );
                Ok(Claim::free())
            }
            claimed => claimed,
        }
    }

    /// A minted token: the one in hand, or a new one.
    async fn mint(
        &mut self,
        live: &Credential,
        standing: Standing<'_>,
    ) -> Result<Token, ObtainError> {
        if let Some(token) = &self.in_hand
            && token.secret.fingerprint() != live.fingerprint()
        {
            return Ok(token.clone());
        }
        let Some(renewer) = &mut self.renewer else {
            return Err(ObtainError::NothingNew);
        };
        let outgoing = Outgoing {
            token: live.token(),
            dead: standing.dead,
        };
        let token = match timeout(RENEW, renewer.renew(outgoing)).await {
            Ok(token) => token?,
            Err(_elapsed) => return Err(late(&renewer.describe(), "answer", RENEW)),
        };
        let by = renewer.describe();
        if token.expires_at.is_some_and(|ends| ends <= standing.now) {
            let what = format!("{by} answers a token that has expired already");
            return Err(ObtainError::transient("expired", what));
        }
        if token.secret.fingerprint() == live.fingerprint() {
            let prolonged = match (token.expires_at, live.expires_at()) {
                (Some(ends), Some(before)) => ends > before + PROLONGED,
                (_, _) => false,
            };
            if standing.dead || !prolonged {
                let what = format!("{by} answers the token that we have, and prolongs nothing");
                return Err(ObtainError::transient("same_token", what));
            }
        }
        Ok(token)
    }

    /// Puts a minted token where the next start will look. Where that is nowhere was told at start.
    async fn store(&mut self, minted: &Token, live: &Credential) -> Result<Deposit, ObtainError> {
        let place = self.places.get(self.origin);
        let nowhere = place.is_none_or(|place| place.source.keeps().is_err());
        // What is there already, and only lives longer, would push the one before it out of its place.
        if nowhere || minted.secret.fingerprint() == live.fingerprint() {
            return Ok(Deposit::Kept);
        }
        self.in_hand = Some(minted.clone());
        let stored = self.deposit(minted).await;
        if stored.is_ok() {
            self.in_hand = None;
        }
        stored
    }

    async fn deposit(&mut self, token: &Token) -> Result<Deposit, ObtainError> {
        let Some(place) = self.places.get_mut(self.origin) else {
            return Ok(Deposit::Kept);
        };
        let over = place.shown.unwrap_or_else(|| token.secret.fingerprint());
        let deposit = match timeout(DEPOSIT, place.source.deposit(token, over)).await {
            Ok(deposit) => deposit?,
            Err(_elapsed) => return Err(late(&place.source.describe(), "keep the token", DEPOSIT)),
        };
        if deposit == Deposit::Kept {
            place.shown = Some(token.secret.fingerprint());
        }
        Ok(deposit)
    }

    /// What was minted and stored is dead: the next start had better find the one before.
    async fn put_back(&mut self, live: &Credential) {
        let place = self.places.get(self.origin);
        if place.is_none_or(|place| place.source.keeps().is_err()) {
            return;
        }
        if let Err(error) = self.deposit(live.token()).await {
            tracing::warn!(error = %error, "the token before the renewal could not be put back");
        }
    }
}
