//! The sources of a tenant, in order: they are read at the same time, and their results are used in their order.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::select_all;
use futures_util::stream::FuturesOrdered;
use tokio::time::{Instant, timeout};

use super::credential::Token;
use super::error::ObtainError;
use super::traits::{LookInterval, OperatorCommand, RefreshContext, RefreshLock, Source, StoreOutcome};
use crate::types::{Fingerprint, error_chain};

/// The sources of a tenant; the first has priority.
pub(super) struct SourceList {
    sources: Vec<TrackedSource>,
    pub(super) token_origin: TokenOrigin,
    /// The longest load.
    pub(super) load_limit: Duration,
    /// Since when another replica has had the renewal lock while the current token is dead.
    pub(super) locked_since: Option<Instant>,
}

/// Where the current token came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TokenOrigin {
    /// The source with this index, the active one; before the first token, the first source.
    Source(usize),
    /// The cache. The token had come into it from the source with this index, if that is known.
    Cache(Option<usize>),
    /// A source that a reload has removed.
    RemovedSource,
}

/// The sources that a check reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reach {
    /// Those that may replace the current token.
    All,
    /// Of those, the ones that announced a change, and the ones whose look interval is over.
    Due,
}

/// A source, and the token that it returned last.
pub(super) struct TrackedSource {
    source: Box<dyn Source>,
    last_seen: Option<Fingerprint>,
    /// The source announced a change that no load has seen.
    notified: bool,
    loaded_at: Option<Instant>,
    absence: Absence,
}

/// How certainly a source has no token any more.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Absence {
    #[default]
    None,
    /// It said so, first at this time.
    Suspected(Instant),
    /// It said so again later.
    Confirmed,
}

/// A token, and the index of the source that it is from or for.
#[derive(Clone)]
pub(super) struct SourcedToken {
    pub(super) source_index: usize,
    pub(super) token: Token,
}

/// The result of reading one source.
pub(super) struct LoadedSource<'a> {
    pub(super) index: usize,
    pub(super) result: Result<Token, ObtainError>,
    /// Another token that may be used if the loaded one may not.
    pub(super) fallback: Option<Token>,
    pub(super) tracked: &'a mut TrackedSource,
}

/// The time between the two statements of a source that withdraw a token: a row may be deleted and inserted again, and a
/// service may restart.
pub(super) const WITHDRAWAL_INTERVAL: Duration = Duration::from_secs(2);
/// The longest load. Sources have limits of their own; this one is for a source that hangs.
pub(super) const LOAD_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest wait for the renewal lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(25);
/// The longest store.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest change by the operator, the wait for the renewal lock included.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(35);

// === impl SourceList ===

impl SourceList {
    pub(super) fn new(sources: Vec<Box<dyn Source>>) -> Self {
        let tracked = |source| TrackedSource {
            source,
            last_seen: None,
            notified: false,
            loaded_at: None,
            absence: Absence::None,
        };
        Self {
            sources: sources.into_iter().map(tracked).collect(),
            token_origin: TokenOrigin::Source(0),
            load_limit: LOAD_TIMEOUT,
            locked_since: None,
        }
    }

    /// Continues where another list was. `previous` has, for each source, the index that it had there; one that was not there
    /// counts as new, and so does its token.
    pub(super) fn continue_from(&mut self, old: &Self, previous: &[Option<usize>]) {
        for (tracked, index) in self.sources.iter_mut().zip(previous) {
            tracked.last_seen = index.and_then(|index| old.sources.get(index)?.last_seen);
        }
        self.token_origin = match old.token_origin {
            TokenOrigin::Source(active) => {
                let active = previous.iter().position(|index| *index == Some(active));
                active.map_or(TokenOrigin::RemovedSource, TokenOrigin::Source)
            }
            TokenOrigin::Cache(_) => TokenOrigin::Cache(None),
            TokenOrigin::RemovedSource => TokenOrigin::RemovedSource,
        };
    }

    /// Lets the next check read all sources.
    pub(super) fn forget_loads(&mut self) {
        for tracked in &mut self.sources {
            tracked.loaded_at = None;
        }
    }

    pub(super) fn describe(&self) -> String {
        let names: Vec<_> = self.sources.iter().map(TrackedSource::describe).collect();
        names.join(", ")
    }

    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }

    /// Returns the shortest look interval of a source, if one has any.
    pub(super) fn look_interval(&self) -> Option<LookInterval> {
        let intervals = self.sources.iter().filter_map(|tracked| tracked.source.look_interval());
        intervals.reduce(LookInterval::min)
    }

    /// Records that the current token came from the cache, and from which source into it.
    pub(super) fn set_from_cache(&mut self, source: &str) {
        let source = self.sources.iter().position(|tracked| tracked.describe() == source);
        self.token_origin = TokenOrigin::Cache(source);
    }

    /// Returns whether the source of the current token said at least once that it has none.
    pub(super) fn is_absence_suspected(&self) -> bool {
        self.current_sources().any(|tracked| tracked.absence != Absence::None)
    }

    /// Returns whether the source of the current token said twice that it has none.
    pub(super) fn is_absence_confirmed(&self) -> bool {
        let mut sources = self.current_sources().peekable();
        sources.peek().is_some() && sources.all(|tracked| tracked.absence == Absence::Confirmed)
    }

    /// Describes the sources that say that they have no token.
    pub(super) fn describe_absent(&self) -> Vec<String> {
        let absent = self.sources.iter().filter(|tracked| tracked.absence != Absence::None);
        absent.map(TrackedSource::describe).collect()
    }

    /// Returns the source that the current token belongs to, also if it came from the cache; all sources, if it is unknown which
    /// one that is.
    fn current_sources(&self) -> impl Iterator<Item = &TrackedSource> {
        let all = self.sources.as_slice();
        let sources = match self.token_origin {
            TokenOrigin::Source(index) | TokenOrigin::Cache(Some(index)) => all.get(index..=index),
            TokenOrigin::Cache(None) => Some(all),
            TokenOrigin::RemovedSource => None,
        };
        sources.unwrap_or_default().iter()
    }

    /// Describes the source that the current token belongs to; empty, if it is unknown.
    pub(super) fn describe_current(&self) -> String {
        let is_known = self.token_origin != TokenOrigin::Cache(None);
        let source = self.current_sources().next().filter(|_| is_known);
        source.map(TrackedSource::describe).unwrap_or_default()
    }

    /// Completes when a source may have changed. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        if self.sources.is_empty() {
            return std::future::pending().await;
        }
        let changes = self.sources.iter_mut().map(|tracked| tracked.source.changed());
        let ((), index, _) = select_all(changes).await;
        if let Some(tracked) = self.sources.get_mut(index) {
            tracked.notified = true;
        }
    }

    /// Reads all sources if the current token is dead, else those up to the active one and those that announced a change.
    pub(super) fn load(
        &mut self,
        reach: Reach,
        context: RefreshContext<'_>,
    ) -> FuturesOrdered<impl Future<Output = LoadedSource<'_>> + use<'_>> {
        let (origin, all, limit) = (self.token_origin, context.current_is_dead, self.load_limit);
        let is_looking = reach == Reach::Due && (all || origin.is_cache());
        let sources = self.sources.iter_mut().enumerate();
        let sources = sources.filter(move |(index, tracked)| {
            let is_wanted = (all || origin.has_priority(*index)) && (!is_looking || tracked.is_look_due());
            tracked.notified || is_wanted
        });
        let loads = sources.map(|(index, tracked)| async move {
            tracked.loaded_at = Some(Instant::now());
            let loaded = timeout(limit, tracked.source.load()).await;
            tracked.notified = false;
            let hung = |_elapsed| Err(timed_out(&tracked.describe(), "respond", limit));
            let result = loaded.unwrap_or_else(hung);
            tracked.record_absence(&result);
            LoadedSource {
                index,
                result,
                fallback: tracked.source.fallback_token(),
                tracked,
            }
        });
        loads.collect()
    }

    /// Takes the renewal lock of the active source, if there is one. If the current token is dead, a holder that is stopped but
    /// not dead is ignored after a while.
    pub(super) async fn lock_for_renewal(&mut self, context: RefreshContext<'_>) -> Result<RefreshLock, ObtainError> {
        let TokenOrigin::Source(index) = self.token_origin else {
            return Ok(RefreshLock::uncontended());
        };
        let locked = self.lock(index, LOCK_TIMEOUT).await;
        let since = self.locked_since.take().unwrap_or_else(Instant::now);
        let is_patient = !context.current_is_dead || since.elapsed() < LOCK_TIMEOUT;
        match locked {
            Err(error) if error.is_locked() && is_patient => {
                self.locked_since = context.current_is_dead.then_some(since);
                Err(error)
            }
            Err(error) if context.current_is_dead => {
                let text = "renewing the token without the renewal lock; other replicas may renew it, too";
                tracing::warn!(error = error_chain(&error), "{text}");
                Ok(RefreshLock::uncontended())
            }
            locked => locked,
        }
    }

    /// Takes the renewal lock of a source.
    pub(super) async fn lock(&mut self, index: usize, limit: Duration) -> Result<RefreshLock, ObtainError> {
        let Some(tracked) = self.sources.get_mut(index) else {
            return Ok(RefreshLock::uncontended());
        };
        let locked = timeout(limit, tracked.source.lock()).await;
        locked.unwrap_or_else(|_elapsed| Err(timed_out(&tracked.describe(), "grant the renewal lock", limit)))
    }

    /// Returns the reason of each source in which no token can be stored.
    pub(super) fn read_only_reasons(&self) -> Vec<String> {
        let reason = |tracked: &TrackedSource| tracked.source.check_writable().err();
        self.sources.iter().filter_map(reason).collect()
    }

    /// Changes the token as the operator requests, and returns it with the description of its source: of the active one, or if
    /// that is read-only, of the nearest before it, whose token is used rather than that of the active one.
    pub(super) async fn change(&mut self, command: &OperatorCommand) -> Result<(Token, String), ObtainError> {
        let origin = self.token_origin;
        let mut candidates = self.sources.iter_mut().enumerate().rev();
        let writable =
            candidates.find(|(index, tracked)| origin.has_priority(*index) && tracked.source.check_writable().is_ok());
        let Some((index, tracked)) = writable else {
            let reasons = self.read_only_reasons().join("; ");
            let what = format!("graphward cannot store it: {reasons}");
            return Err(ObtainError::permanent("not_writable", what));
        };
        let source = tracked.describe();
        let changed = async {
            match command {
                OperatorCommand::Set(token) => tracked.source.replace(token).await?,
                OperatorCommand::RollBack => tracked.source.roll_back().await?,
            }
            tracked.source.load().await
        };
        let changed = timeout(CHANGE_TIMEOUT, changed).await;
        let token = changed.unwrap_or_else(|_elapsed| Err(timed_out(&source, "store the token", CHANGE_TIMEOUT)))?;
        tracked.last_seen = Some(token.secret.fingerprint());
        self.token_origin = TokenOrigin::Source(index);
        Ok((token, source))
    }

    /// Returns a token that belongs into the active source, if one can be stored there.
    pub(super) fn for_active(&self, token: &Token) -> Option<SourcedToken> {
        let TokenOrigin::Source(source_index) = self.token_origin else {
            return None;
        };
        self.sources.get(source_index)?.source.check_writable().ok()?;
        Some(SourcedToken {
            source_index,
            token: token.clone(),
        })
    }

    /// Stores a token in its source, if the source still has the token that it returned last.
    pub(super) async fn store(&mut self, stored: &SourcedToken) -> Result<StoreOutcome, ObtainError> {
        let Some(tracked) = self.sources.get_mut(stored.source_index) else {
            return Ok(StoreOutcome::Stored);
        };
        let token = &stored.token;
        let expected = tracked.last_seen.unwrap_or_else(|| token.secret.fingerprint());
        let Ok(outcome) = timeout(STORE_TIMEOUT, tracked.source.store(token, Some(expected))).await else {
            return Err(timed_out(&tracked.describe(), "store the token", STORE_TIMEOUT));
        };
        if let Ok(StoreOutcome::Stored) = outcome {
            tracked.last_seen = Some(token.secret.fingerprint());
        }
        outcome
    }
}

// === impl TokenOrigin ===

impl TokenOrigin {
    /// Returns whether the current token came from the cache, and no source has shown one since.
    pub(super) const fn is_cache(self) -> bool {
        matches!(self, Self::Cache(_))
    }

    /// Returns whether a new token of this source replaces the current one while that is valid: the source is the active one
    /// or before it, or there is no active one.
    pub(super) const fn has_priority(self, index: usize) -> bool {
        match self {
            Self::Source(active) => index <= active,
            Self::Cache(_) | Self::RemovedSource => true,
        }
    }
}

// === impl TrackedSource ===

impl TrackedSource {
    /// Records the token that the source returned; returns whether it differs from the previous one.
    pub(super) fn record_if_new(&mut self, token: Fingerprint) -> bool {
        self.last_seen.replace(token) != Some(token)
    }

    pub(super) fn describe(&self) -> String {
        self.source.describe()
    }

    fn record_absence(&mut self, result: &Result<Token, ObtainError>) {
        self.absence = match (self.absence, result) {
            (Absence::None, Err(error)) if error.is_absence() => Absence::Suspected(Instant::now()),
            (Absence::Suspected(at), Err(error)) if error.is_absence() && at.elapsed() >= WITHDRAWAL_INTERVAL => {
                Absence::Confirmed
            }
            (known, Err(error)) if error.is_absence() => known,
            (_, Ok(_) | Err(_)) => Absence::None,
        };
    }

    /// Returns whether the source has not been read for about its look interval (the planner's is a little shorter or longer),
    /// or has to repeat its statement.
    fn is_look_due(&self) -> bool {
        let interval = self.source.look_interval();
        let is_over = |at: Instant| interval.is_some_and(|interval| at.elapsed() >= interval.first.mul_f64(0.85));
        matches!(self.absence, Absence::Suspected(_)) || self.loaded_at.is_none_or(is_over)
    }
}

/// Reads the remaining sources, too: a source that announced a change and was not read would announce it again at once.
pub(super) async fn drain(mut loads: FuturesOrdered<impl Future>) {
    while loads.next().await.is_some() {}
}

pub(super) fn timed_out(actor: &str, action: &str, limit: Duration) -> ObtainError {
    let message = format!("{actor} did not {action} within {} s", limit.as_secs());
    ObtainError::transient("timeout", message)
}
