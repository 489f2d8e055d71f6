//! The sources of a tenant, in order: they are read at the same time, and their results are used in their order.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::select_all;
use futures_util::stream::FuturesOrdered;
use tokio::time::timeout;

use super::credential::Token;
use super::traits::{ObtainError, RefreshContext, RefreshLock, Source, StoreOutcome};
use crate::types::Fingerprint;

/// The sources of a tenant; the first has priority.
pub(super) struct SourceList {
    sources: Vec<TrackedSource>,
    /// The index of the source that the current token came from.
    pub(super) active: usize,
}

/// A source, and the token that it returned last.
pub(super) struct TrackedSource {
    source: Box<dyn Source>,
    last_seen: Option<Fingerprint>,
    /// The source announced a change that no load has seen.
    notified: bool,
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
    pub(super) tracked: &'a mut TrackedSource,
}

/// The longest load. Sources have limits of their own; this one is for a source that hangs.
const LOAD_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest store.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);

// === impl SourceList ===

impl SourceList {
    pub(super) fn new(sources: Vec<Box<dyn Source>>) -> Self {
        let tracked = |source| TrackedSource {
            source,
            last_seen: None,
            notified: false,
        };
        Self {
            sources: sources.into_iter().map(tracked).collect(),
            active: 0,
        }
    }

    /// Continues where another list was. `previous` has, for each source, the index that it had there; one that was not there
    /// counts as new, and so does its token.
    pub(super) fn continue_from(&mut self, old: &Self, previous: &[Option<usize>]) {
        for (tracked, index) in self.sources.iter_mut().zip(previous) {
            tracked.last_seen = index.and_then(|index| old.sources.get(index)?.last_seen);
        }
        let active = previous.iter().position(|index| *index == Some(old.active));
        // If the active source is gone, every source may replace its token.
        self.active = active.unwrap_or(self.sources.len());
    }

    pub(super) fn describe(&self) -> String {
        let names: Vec<_> = self.sources.iter().map(TrackedSource::describe).collect();
        names.join(", ")
    }

    pub(super) fn len(&self) -> usize {
        self.sources.len()
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
        context: RefreshContext<'_>,
    ) -> FuturesOrdered<impl Future<Output = LoadedSource<'_>> + use<'_>> {
        let (active, all) = (self.active, context.current_is_dead);
        let sources = self.sources.iter_mut().enumerate();
        let sources = sources.filter(move |(index, tracked)| all || tracked.notified || *index <= active);
        let loads = sources.map(|(index, tracked)| async move {
            let loaded = timeout(LOAD_TIMEOUT, tracked.source.load()).await;
            tracked.notified = false;
            let hung = |_elapsed| Err(timed_out(&tracked.describe(), "respond", LOAD_TIMEOUT));
            let result = loaded.unwrap_or_else(hung);
            LoadedSource { index, result, tracked }
        });
        loads.collect()
    }

    /// Waits for the renewal lock of a source.
    pub(super) async fn lock(&mut self, index: usize, limit: Duration) -> Result<RefreshLock, ObtainError> {
        let Some(tracked) = self.sources.get_mut(index) else {
            return Ok(RefreshLock::uncontended());
        };
        let locked = timeout(limit, tracked.source.lock()).await;
        locked.unwrap_or_else(|_elapsed| {
            let action = "release the renewal lock, which another replica holds,";
            Err(timed_out(&tracked.describe(), action, limit))
        })
    }

    /// Returns the reason of each source in which no token can be stored.
    pub(super) fn read_only_reasons(&self) -> Vec<String> {
        let reason = |tracked: &TrackedSource| tracked.source.check_writable().err();
        self.sources.iter().filter_map(reason).collect()
    }

    /// Returns whether a token can be stored in the active source.
    pub(super) fn active_is_writable(&self) -> bool {
        let tracked = self.sources.get(self.active);
        tracked.is_some_and(|tracked| tracked.source.check_writable().is_ok())
    }

    /// Returns a token that belongs into the active source.
    pub(super) fn for_active(&self, token: &Token) -> SourcedToken {
        SourcedToken {
            source_index: self.active,
            token: token.clone(),
        }
    }

    /// Stores a token in its source, if the source still has the token that it returned last.
    pub(super) async fn store(&mut self, stored: &SourcedToken) -> Result<StoreOutcome, ObtainError> {
        let Some(tracked) = self.sources.get_mut(stored.source_index) else {
            return Ok(StoreOutcome::Stored);
        };
        let token = &stored.token;
        let expected = tracked.last_seen.unwrap_or_else(|| token.secret.fingerprint());
        let Ok(outcome) = timeout(STORE_TIMEOUT, tracked.source.store(token, expected)).await else {
            return Err(timed_out(&tracked.describe(), "store the token", STORE_TIMEOUT));
        };
        if let Ok(StoreOutcome::Stored) = outcome {
            tracked.last_seen = Some(token.secret.fingerprint());
        }
        outcome
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
}

/// Reads the remaining sources, too: a source that announced a change and was not read would announce it again at once.
pub(super) async fn drain(mut loads: FuturesOrdered<impl Future>) {
    while loads.next().await.is_some() {}
}

pub(super) fn timed_out(actor: &str, action: &str, limit: Duration) -> ObtainError {
    let message = format!("{actor} did not {action} within {} s", limit.as_secs());
    ObtainError::transient("timeout", message)
}
