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
use super::denylist::{DenyReason, TokenDenylist};
use super::tracked_source::{TrackedSource, drain, load_sources, timed_out};
use super::traits::{Inspector, ObtainError, Renewer, Source};
use crate::graph::{Inspection, explain};
use crate::types::Fingerprint;

/// Sources in order, perhaps a renewer, perhaps an inspector, and the rule between them.
pub struct TokenProvider {
    pub(super) sources: Vec<TrackedSource>,
    pub(super) renewer: Option<Box<dyn Renewer>>,
    inspector: Option<Box<dyn Inspector>>,
    /// Which place the live token came from.
    pub(super) active_source: usize,
    pub(super) denylist: TokenDenylist,
    /// A minted token that is not yet where the next start will look.
    pub(super) pending_store: Option<PendingStore>,
    /// The first dead token that the last look found while there was none in use, and where.
    pub(super) dead_candidate: Option<(usize, Token)>,
    /// Whether the last errand came to asking the renewer.
    pub(super) renewer_called: bool,
}

/// How things stand with the live token.
#[derive(Clone, Copy, Debug)]
pub struct RefreshContext<'a> {
    /// The live credential.
    pub current: Option<&'a Credential>,
    /// Whether there is none that works: none at all, or Graph rejected it, or it has ended.
    pub current_is_dead: bool,
    /// Wall time.
    pub now: SystemTime,
}

/// A token that may go into service.
#[derive(Debug)]
pub struct ObtainedToken {
    /// The token.
    pub token: Token,
    /// What Graph says of it, if it was asked and answered.
    pub inspection: Option<Inspection>,
    /// Whether it was minted, which has a price.
    pub renewed: bool,
    /// Where it is from, for people.
    pub from: String,
    /// Why it would be lost with this process, if it would.
    pub store_error: Option<ObtainError>,
    /// Why one that counts more was not taken.
    pub skipped_error: Option<ObtainError>,
}

/// A minted token, and the place that it is for.
#[derive(Clone)]
pub(super) struct PendingStore {
    pub(super) source_index: usize,
    pub(super) token: Token,
}

/// The longest an inspection delays a token.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How soon Graph is asked again about a token that it has called dead, if there is nothing better.
const REINSPECT_INTERVAL: Duration = Duration::from_secs(10);

// === impl Supply ===

impl TokenProvider {
    /// A supply that finds tokens in one place, and mints none.
    #[must_use]
    pub fn from_source(source: impl Source) -> Self {
        Self::from_sources(vec![Box::new(source)])
    }

    /// A supply that finds tokens in several places, the first of which counts most.
    #[must_use]
    pub fn from_sources(sources: Vec<Box<dyn Source>>) -> Self {
        let tracked = |source| TrackedSource {
            source,
            last_seen: None,
            notified: false,
        };
        Self {
            sources: sources.into_iter().map(tracked).collect(),
            renewer: None,
            inspector: None,
            active_source: 0,
            denylist: TokenDenylist::default(),
            pending_store: None,
            dead_candidate: None,
            renewer_called: false,
        }
    }

    /// The same with a renewer.
    #[must_use]
    pub fn with_renewer(self, renewer: impl Renewer) -> Self {
        Self {
            renewer: Some(Box::new(renewer)),
            ..self
        }
    }

    /// The same with somebody who says what a token is worth before it goes into service.
    #[must_use]
    pub fn with_inspector(self, inspector: impl Inspector) -> Self {
        Self {
            inspector: Some(Box::new(inspector)),
            ..self
        }
    }

    /// What its sources are, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let places: Vec<_> = self.sources.iter().map(|place| place.source.describe()).collect();
        places.join(", ")
    }

    /// What mints its tokens, for people.
    #[must_use]
    pub fn describe_renewer(&self) -> Option<String> {
        self.renewer.as_ref().map(|renewer| renewer.describe())
    }

    /// When a token issued then can be renewed at the earliest; `None` without a renewer.
    #[must_use]
    pub fn earliest_renewal(&self, issued_at: SystemTime) -> Option<SystemTime> {
        let renewer = self.renewer.as_ref()?;
        Some(renewer.earliest_renewal(issued_at))
    }

    /// When a token first seen then is renewed if nobody says when it ends; `None` if it is not.
    #[must_use]
    pub fn renew_at_if_expiry_unknown(&self, seen_at: SystemTime) -> Option<SystemTime> {
        self.renewer.as_ref()?.renew_at_if_expiry_unknown(seen_at)
    }

    /// Why minted tokens would be lost with this process, if they would be: said once, at start. One that descends from a
    /// source's token is kept there and nowhere else.
    ///
    /// # Errors
    ///
    /// What each source says that keeps none.
    pub fn check_writable(&self) -> Result<(), Vec<String>> {
        if self.renewer.is_none() {
            return Ok(());
        }
        let not_writable_reason = |place: &TrackedSource| place.source.check_writable().err();
        let reasons: Vec<_> = self.sources.iter().filter_map(not_writable_reason).collect();
        if reasons.is_empty() && !self.sources.is_empty() {
            Ok(())
        } else {
            Err(reasons)
        }
    }

    /// Completes when a source may have news. Cancel-safe.
    pub async fn changed(&mut self) {
        if self.sources.is_empty() {
            return std::future::pending().await;
        }
        let changes = self.sources.iter_mut().map(|place| place.source.changed());
        let ((), which, _) = select_all(changes).await;
        if let Some(place) = self.sources.get_mut(which) {
            place.notified = true;
        }
    }

    /// Graph rejected this token in service: it is not taken again, or only once it is forgiven.
    pub fn deny(&mut self, token: Fingerprint) {
        self.denylist.add(token, DenyReason::RejectedByGraph);
    }

    /// Graph took it after all.
    pub fn reinstate(&mut self, token: Fingerprint) {
        self.denylist.remove(token);
    }

    /// A token for service, if a source has news; and if the live one is dead, if any source has one that Graph has not
    /// refused. In need, a source that hangs holds up nothing that stands before it.
    ///
    /// # Errors
    ///
    /// What the first source says that has something to say, if none has a token.
    pub async fn check_sources(&mut self, context: RefreshContext<'_>) -> Result<Option<ObtainedToken>, ObtainError> {
        self.dead_candidate = None;
        self.renewer_called = false;
        // The places are lent to their loads, and the rest of the supply weighs what comes of them.
        let mut sources = std::mem::take(&mut self.sources);
        let result = self.check_each(&mut sources, context).await;
        self.sources = sources;
        result
    }

    async fn check_each(
        &mut self,
        sources: &mut [TrackedSource],
        context: RefreshContext<'_>,
    ) -> Result<Option<ObtainedToken>, ObtainError> {
        let live = context.current.map(Credential::fingerprint);
        let (mut first_error, mut skipped_error) = (None, None);
        let mut loads = load_sources(sources, self.active_source, context.current_is_dead);
        while let Some((index, tracked, loaded)) = loads.next().await {
            let token = match loaded {
                Ok(token) => token,
                Err(error) => {
                    first_error = first_error.or(Some(error));
                    continue;
                }
            };
            let fingerprint = token.secret.fingerprint();
            let is_new = tracked.last_seen.replace(fingerprint) != Some(fingerprint);
            if Some(fingerprint) == live {
                if context.current_is_dead {
                    continue;
                }
                // All is well but for what was passed over, and what stands further down the list counts less.
                self.active_source = index;
                drain(loads).await;
                return skipped_error.map_or(Ok(None), Err);
            }
            let has_priority = is_new && index <= self.active_source;
            if !(context.current_is_dead || has_priority) {
                continue;
            }
            let from = tracked.source.describe();
            match self.admit(token.clone(), &from, context).await {
                Ok(found) => {
                    self.active_source = index;
                    // Whoever put it there was faster than we, who could not store ours.
                    self.pending_store.take_if(|in_hand| in_hand.source_index >= index);
                    if !context.current_is_dead {
                        drain(loads).await;
                    }
                    return Ok(Some(ObtainedToken { skipped_error, ..found }));
                }
                Err(error) => {
                    if context.current.is_none() && self.dead_candidate.is_none() {
                        self.dead_candidate = Some((index, token));
                    }
                    // That a token is known to be dead is news only once.
                    if is_new {
                        skipped_error = skipped_error.or(Some(error));
                    } else if error.reason() != "rejected_before" {
                        first_error = first_error.or(Some(error));
                    }
                }
            }
        }
        skipped_error.or(first_error).map_or(Ok(None), Err)
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
        match timeout(INSPECT_TIMEOUT, inspector.inspect(token)).await {
            Ok(inspection) => inspection.map(Some),
            Err(_elapsed) => Err(timed_out("Graph", "say what the token is worth", INSPECT_TIMEOUT)),
        }
    }

    /// Whether a token may go into service.
    pub(super) async fn admit(
        &mut self,
        token: Token,
        from: &str,
        context: RefreshContext<'_>,
    ) -> Result<ObtainedToken, ObtainError> {
        let fingerprint = token.secret.fingerprint();
        match self.denylist.reason(fingerprint) {
            None => {}
            // However often a source rings.
            Some(DenyReason::FailedInspection(at, what))
                if context.current_is_dead && at.elapsed() < REINSPECT_INTERVAL =>
            {
                return Err(ObtainError::permanent("quarantined", what));
            }
            Some(DenyReason::FailedInspection(..)) if context.current_is_dead => {}
            Some(_) => {
                let what = format!(
                    "the token {fingerprint} from {from} is one that Graph has rejected already: it is not taken again; \
                     put another one there"
                );
                return Err(ObtainError::permanent("rejected_before", what));
            }
        }
        if token.expires_at.is_some_and(|ends| ends <= context.now) {
            let what = format!("the token {fingerprint} from {from} has expired already: put a newer one there");
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
        let has_expired = |inspection: &Inspection| {
            inspection
                .expires_at
                .as_system_time()
                .is_some_and(|ends| ends <= context.now)
        };
        if let Some(rejected) = inspection
            .as_ref()
            .filter(|inspection| inspection.error.is_some() || has_expired(inspection))
        {
            let why = rejected
                .error
                .as_ref()
                .map_or_else(|| "it has expired".to_owned(), |error| explain(error).summary);
            let what = format!(
                "the token {fingerprint} from {from} is not taken into service, as Graph says that it is dead: {why} Put \
                 another one there"
            );
            let reason = DenyReason::FailedInspection(Instant::now(), what.clone());
            self.denylist.add(fingerprint, reason);
            return Err(ObtainError::permanent("quarantined", what));
        }
        Ok(ObtainedToken {
            token,
            inspection,
            renewed: false,
            from: from.to_owned(),
            store_error: None,
            skipped_error: None,
        })
    }
}

impl fmt::Debug for TokenProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supply")
            .field("sources", &self.describe())
            .field("renewer", &self.describe_renewer())
            .finish_non_exhaustive()
    }
}
