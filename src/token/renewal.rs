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
use super::place::late;
use super::ports::{Claim, Deposit, ObtainError, Outgoing};
use super::supply::{Found, InHand, Standing, Supply};

/// The longest wait for the right to mint. Whoever has it and is stopped, not dead, is passed by after this.
const CLAIM: Duration = Duration::from_secs(25);
/// The longest wait for it when nothing is urgent: meanwhile nobody hears what else happens.
const CLAIM_AT_LEISURE: Duration = Duration::from_secs(2);
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
        let fallen = self.fallen.take().filter(|_| self.renewer.is_some());
        let outgoing = match (looked, standing.live, &fallen) {
            (Ok(Some(found)), _, _) => return Ok(found),
            (_, Some(live), _) if self.renewer.is_some() => live.token(),
            // A start that finds nothing but a dead token: what it takes to mint from one works from this one, too.
            (_, None, Some((index, token))) => {
                self.origin = *index;
                token
            }
            (Ok(None), _, _) => return Err(ObtainError::NothingNew),
            (Err(error), _, _) => return Err(error),
        };
        let claim = self.claim(self.origin, CLAIM, standing.dead).await?;
        // Somebody else may have minted while we waited for the claim.
        if !claim.is_free()
            && let Ok(Some(found)) = self.look(standing).await
        {
            return Ok(found);
        }
        self.asked_renewer = true;
        let minted = self.mint(outgoing, standing).await?;
        let not_stored = match self.store(&minted, outgoing).await {
            Ok(Deposit::Kept) => None,
            // Somebody was faster: theirs is what the next start will find.
            Ok(Deposit::Overtaken) => match self.look(standing).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) | Err(_) => self.store(&minted, outgoing).await.err(),
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
                self.put_back(outgoing).await;
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
        let Some(InHand { place, token }) = self.in_hand.clone() else {
            return Ok(());
        };
        let claim = self.claim(place, CLAIM_AT_LEISURE, false).await?;
        // Whoever was faster has put there what the next start had better find.
        let _kept_or_overtaken = self.deposit(place, &token).await?;
        drop(claim);
        self.in_hand = None;
        Ok(())
    }

    /// The right to mint. In need, a place that does not give it does not keep us from minting.
    async fn claim(
        &mut self,
        place: usize,
        within: Duration,
        dead: bool,
    ) -> Result<Claim, ObtainError> {
        let Some(place) = self.places.get_mut(place) else {
            return Ok(Claim::free());
        };
        let claimed = match timeout(within, place.source.claim()).await {
            Ok(claimed) => claimed,
            Err(_elapsed) => {
                let from = place.source.describe();
                Err(late(
                    &from,
                    "grant the right to renew, which somebody else has,",
                    within,
                ))
            }
        };
        match claimed {
            Err(error) if dead => {
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
        outgoing: &Token,
        standing: Standing<'_>,
    ) -> Result<Token, ObtainError> {
        let before = outgoing.secret.fingerprint();
        if let Some(InHand { token, .. }) = &self.in_hand
            && token.secret.fingerprint() != before
            && token.expires_at.is_none_or(|ends| ends > standing.now)
            && self.refused.why(token.secret.fingerprint()).is_none()
        {
            return Ok(token.clone());
        }
        let Some(renewer) = &mut self.renewer else {
            return Err(ObtainError::NothingNew);
        };
        let renewal = renewer.renew(Outgoing {
            token: outgoing,
            dead: standing.dead,
        });
        let token = match timeout(RENEW, renewal).await {
            Ok(token) => token?,
            Err(_elapsed) => return Err(late(&renewer.describe(), "answer", RENEW)),
        };
        let by = renewer.describe();
        if token.expires_at.is_some_and(|ends| ends <= standing.now) {
            let what = format!("{by} answers a token that has expired already");
            return Err(ObtainError::transient("expired", what));
        }
        if token.secret.fingerprint() == before {
            let prolonged = match (token.expires_at, outgoing.expires_at) {
                (Some(ends), Some(before)) => {
                    let longer = ends.duration_since(before);
                    longer.is_ok_and(|longer| longer > PROLONGED)
                }
                // That nobody knew.
                (Some(_), None) => true,
                (None, _) => false,
            };
            if standing.dead || !prolonged {
                let what = format!("{by} answers the token that we have, and prolongs nothing");
                return Err(ObtainError::transient("same_token", what));
            }
        }
        Ok(token)
    }

    /// Puts a minted token where the next start will look. Where that is nowhere was told at start.
    async fn store(&mut self, minted: &Token, outgoing: &Token) -> Result<Deposit, ObtainError> {
        let place = self.places.get(self.origin);
        let nowhere = place.is_none_or(|place| place.source.keeps().is_err());
        // What is there already, and only lives longer, would push the one before it out of its place.
        if nowhere || minted.secret.fingerprint() == outgoing.secret.fingerprint() {
            return Ok(Deposit::Kept);
        }
        self.in_hand = Some(InHand {
            place: self.origin,
            token: minted.clone(),
        });
        let stored = self.deposit(self.origin, minted).await;
        if stored.is_ok() {
            self.in_hand = None;
        }
        stored
    }

    async fn deposit(&mut self, place: usize, token: &Token) -> Result<Deposit, ObtainError> {
        let Some(place) = self.places.get_mut(place) else {
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
    async fn put_back(&mut self, outgoing: &Token) {
        let place = self.places.get(self.origin);
        if place.is_none_or(|place| place.source.keeps().is_err()) {
            return;
        }
        if let Err(error) = self.deposit(self.origin, outgoing).await {
            tracing::warn!(error = %error, "the token before the renewal could not be put back");
        }
    }
}
