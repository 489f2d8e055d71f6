//! Where tokens come from: sources in order, perhaps a renewer, and the rule between them.
//!
//! # Why
//!
//! "Different from the live token" is not "new": after a renewal the source may go on showing the superseded
//! token, and adopting it would flap between two tokens for ever. News is what differs *from what the source
//! showed last*. That holds while the live token works; once it is dead, any token that Graph has not refused is worth a
//! try, wherever it stands in the list: an expired file does not hide a live row.

use std::fmt;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use futures_util::future::select_all;
use tokio::time::{Instant, timeout};

use super::credential::{Credential, Token};
use super::place::{Place, finish, late, loads};
use super::ports::{Inspector, ObtainError, Renewer, Source};
use super::refused::{Refused, Why};
use crate::graph::{Inspection, explain};
use crate::types::Fingerprint;

/// Sources in order, perhaps a renewer, perhaps an inspector, and the rule between them.
pub struct Supply {
    pub(super) places: Vec<Place>,
    pub(super) renewer: Option<Box<dyn Renewer>>,
    inspector: Option<Box<dyn Inspector>>,
    /// Which place the live token came from.
    pub(super) origin: usize,
    pub(super) refused: Refused,
    /// A minted token that is not yet where the next start will look.
    pub(super) in_hand: Option<InHand>,
    /// The first dead token that the last look found while there was none in use, and where.
    pub(super) fallen: Option<(usize, Token)>,
    /// Whether the last errand came to asking the renewer.
    pub(super) asked_renewer: bool,
}

/// How things stand with the live token.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// The live credential.
    pub live: Option<&'a Credential>,
    /// Whether there is none that works: none at all, or Graph rejected it, or it has ended.
    pub dead: bool,
    /// Wall time.
    pub now: SystemTime,
}

/// A token that may go into service.
#[derive(Debug)]
pub struct Found {
    /// The token.
    pub token: Token,
    /// What Graph says of it, if it was asked and answered.
    pub inspection: Option<Inspection>,
    /// Whether it was minted, which has a price.
    pub minted: bool,
    /// Where it is from, for people.
    pub from: String,
    /// Why it would be lost with this process, if it would.
    pub not_stored: Option<ObtainError>,
    /// Why one that counts more was not taken.
    pub passed_over: Option<ObtainError>,
}

/// A minted token, and the place that it is for.
#[derive(Clone)]
pub(super) struct InHand {
    pub(super) place: usize,
    pub(super) token: Token,
}

/// The longest an inspection delays a token.
const INSPECT: Duration = Duration::from_secs(3);
/// How soon Graph is asked again about a token that it has called dead, if there is nothing better.
const INSPECT_AGAIN: Duration = Duration::from_secs(10);

// === impl Supply ===

impl Supply {
    /// A supply that finds tokens in one place, and mints none.
    #[must_use]
    pub fn of(source: impl Source) -> Self {
        Self::of_all(vec![Box::new(source)])
    }

    /// A supply that finds tokens in several places, the first of which counts most.
    #[must_use]
    pub fn of_all(sources: Vec<Box<dyn Source>>) -> Self {
        let place = |source| Place {
            source,
            shown: None,
            rang: false,
        };
        Self {
            places: sources.into_iter().map(place).collect(),
            renewer: None,
            inspector: None,
            origin: 0,
            refused: Refused::default(),
            in_hand: None,
            fallen: None,
            asked_renewer: false,
        }
    }

    /// The same with a renewer.
    #[must_use]
    pub fn renewed_by(self, renewer: impl Renewer) -> Self {
        Self {
            renewer: Some(Box::new(renewer)),
            ..self
        }
    }

    /// The same with somebody who says what a token is worth before it goes into service.
    #[must_use]
    pub fn inspected_by(self, inspector: impl Inspector) -> Self {
        Self {
            inspector: Some(Box::new(inspector)),
            ..self
        }
    }

    /// What its sources are, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let places: Vec<_> = self
            .places
            .iter()
            .map(|place| place.source.describe())
            .collect();
        places.join(", ")
    }

    /// What mints its tokens, for people.
    #[must_use]
    pub fn renewal(&self) -> Option<String> {
        self.renewer.as_ref().map(|renewer| renewer.describe())
    }

    /// When a token issued then can be renewed at the earliest; `None` without a renewer.
    #[must_use]
    pub fn earliest(&self, issued_at: SystemTime) -> Option<SystemTime> {
        let renewer = self.renewer.as_ref()?;
        Some(renewer.earliest(issued_at))
    }

    /// When a token first seen then is renewed if nobody says when it ends; `None` if it is not.
    #[must_use]
    pub fn unless_told(&self, seen_at: SystemTime) -> Option<SystemTime> {
        self.renewer.as_ref()?.unless_told(seen_at)
    }

    /// Why minted tokens would be lost with this process, if they would be: said once, at start. One that descends from a
    /// source's token is kept there and nowhere else.
    ///
    /// # Errors
    ///
    /// What each source says that keeps none.
    pub fn keeps(&self) -> Result<(), Vec<String>> {
        if self.renewer.is_none() {
            return Ok(());
        }
        let why_not = |place: &Place| place.source.keeps().err();
        let reasons: Vec<_> = self.places.iter().filter_map(why_not).collect();
        if reasons.is_empty() && !self.places.is_empty() {
            Ok(())
        } else {
            Err(reasons)
        }
    }

    /// Completes when a source may have news. Cancel-safe.
    pub async fn changed(&mut self) {
        if self.places.is_empty() {
            return std::future::pending().await;
        }
        let changes = self.places.iter_mut().map(|place| place.source.changed());
        let ((), which, _) = select_all(changes).await;
        if let Some(place) = self.places.get_mut(which) {
            place.rang = true;
        }
    }

    /// Graph rejected this token in service: it is not taken again, or only once it is forgiven.
    pub fn refuse(&mut self, token: Fingerprint) {
        self.refused.add(token, Why::Rejected);
    }

    /// Graph took it after all.
    pub fn forgive(&mut self, token: Fingerprint) {
        self.refused.forget(token);
    }

    /// A token for service, if a source has news; and if the live one is dead, if any source has one that Graph has not
    /// refused. In need, a source that hangs holds up nothing that stands before it.
    ///
    /// # Errors
    ///
    /// What the first source says that has something to say, if none has a token.
    pub async fn look(&mut self, standing: Standing<'_>) -> Result<Option<Found>, ObtainError> {
        self.fallen = None;
        self.asked_renewer = false;
        // The places are lent to their loads, and the rest of the supply weighs what comes of them.
        let mut places = std::mem::take(&mut self.places);
        let looked = self.look_at(&mut places, standing).await;
        self.places = places;
        looked
    }

    async fn look_at(
        &mut self,
        places: &mut [Place],
        standing: Standing<'_>,
    ) -> Result<Option<Found>, ObtainError> {
        let live = standing.live.map(Credential::fingerprint);
        let (mut trouble, mut passed_over) = (None, None);
        let mut loads = loads(places, self.origin, standing.dead);
        while let Some((index, place, loaded)) = loads.next().await {
            let token = match loaded {
                Ok(token) => token,
                Err(error) => {
                    trouble = trouble.or(Some(error));
                    continue;
                }
            };
            let fingerprint = token.secret.fingerprint();
            let news = place.shown.replace(fingerprint) != Some(fingerprint);
            if Some(fingerprint) == live {
                if standing.dead {
                    continue;
                }
                // All is well but for what was passed over, and what stands further down the list counts less.
                self.origin = index;
                finish(loads).await;
                return passed_over.map_or(Ok(None), Err);
            }
            let counts = news && index <= self.origin;
            if !(standing.dead || counts) {
                continue;
            }
            let from = place.source.describe();
            match self.admit(token.clone(), &from, standing).await {
                Ok(found) => {
                    self.origin = index;
                    // Whoever put it there was faster than we, who could not store ours.
                    self.in_hand.take_if(|in_hand| in_hand.place >= index);
                    if !standing.dead {
                        finish(loads).await;
                    }
                    return Ok(Some(Found {
                        passed_over,
                        ..found
                    }));
                }
                Err(error) => {
                    if standing.live.is_none() && self.fallen.is_none() {
                        self.fallen = Some((index, token));
                    }
                    // That a token is known to be dead is news only once.
                    if news {
                        passed_over = passed_over.or(Some(error));
                    } else if error.reason() != "rejected_before" {
                        trouble = trouble.or(Some(error));
                    }
                }
            }
        }
        passed_over.or(trouble).map_or(Ok(None), Err)
    }

    /// What Graph says of the live token now; `None` if nobody can be asked.
    ///
    /// # Errors
    ///
    /// What the inspector says.
    pub async fn inspect(&mut self, token: &Token) -> Result<Option<Inspection>, ObtainError> {
        let Some(inspector) = &mut self.inspector else {
            return Ok(None);
        };
        match timeout(INSPECT, inspector.inspect(token)).await {
            Ok(inspection) => inspection.map(Some),
            Err(_elapsed) => Err(late("Graph", "say what the token is worth", INSPECT)),
        }
    }

    /// Whether a token may go into service.
    pub(super) async fn admit(
        &mut self,
        token: Token,
        from: &str,
        standing: Standing<'_>,
    ) -> Result<Found, ObtainError> {
        let fingerprint = token.secret.fingerprint();
        match self.refused.why(fingerprint) {
            None => {}
            // However often a source rings.
            Some(Why::Inspected(at, what)) if standing.dead && at.elapsed() < INSPECT_AGAIN => {
                return Err(ObtainError::permanent("quarantined", what));
            }
            Some(Why::Inspected(..)) if standing.dead => {}
            Some(_) => {
                let what = format!(
                    "the token {fingerprint} from {from} is one that Graph has rejected already: it is not taken again; \
                     put another one there"
                );
                return Err(ObtainError::permanent("rejected_before", what));
            }
        }
        if token.expires_at.is_some_and(|ends| ends <= standing.now) {
            let what = format!(
                "the token {fingerprint} from {from} has expired already: put a newer one there"
            );
            return Err(ObtainError::permanent("expired", what));
        }
        let inspection = match self.inspect(&token).await {
            Ok(inspection) => inspection,
            Err(error) => {
                tracing::warn!(
                    %fingerprint,
                    from,
                    error = %error,
                    "the token goes into service unchecked, as Graph cannot be asked about it"
                );
                None
            }
        };
        let ended = |inspection: &Inspection| {
            inspection
                .expires
                .at()
                .is_some_and(|ends| ends <= standing.now)
        };
        if let Some(dead) = inspection
            .as_ref()
            .filter(|inspection| inspection.dead.is_some() || ended(inspection))
        {
            let why = dead.dead.as_ref().map_or_else(
                || "it has expired".to_owned(),
                |error| explain(error).happened,
            );
            let what = format!(
                "the token {fingerprint} from {from} is not taken into service, as Graph says that it is dead: {why} Put \
                 another one there"
            );
            let refused = Why::Inspected(Instant::now(), what.clone());
            self.refused.add(fingerprint, refused);
            return Err(ObtainError::permanent("quarantined", what));
        }
        Ok(Found {
            token,
            inspection,
            minted: false,
            from: from.to_owned(),
            not_stored: None,
            passed_over: None,
        })
    }
}

impl fmt::Debug for Supply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supply")
            .field("sources", &self.describe())
            .field("renewer", &self.renewal())
            .finish_non_exhaustive()
    }
}
