//! The places of a supply, and how they are asked what they show: all at once, and heard in their order.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::time::timeout;

use super::credential::Token;
use super::traits::{ObtainError, Source};
use crate::types::Fingerprint;

/// A source, and what it showed last.
pub(super) struct TrackedSource {
    pub(super) source: Box<dyn Source>,
    pub(super) last_seen: Option<Fingerprint>,
    /// It may have news that no look has seen.
    pub(super) notified: bool,
}

/// The longest a source may take to show what it has. They have limits of their own; this one is for those that hang.
const LOAD_TIMEOUT: Duration = Duration::from_secs(20);
/// What the places show, in their order: all of them in need, else those that may have news and count.
pub(super) fn load_sources(
    sources: &mut [TrackedSource],
    active_source: usize,
    all: bool,
) -> FuturesOrdered<impl Future<Output = (usize, &mut TrackedSource, Result<Token, ObtainError>)>> {
    let places = sources.iter_mut().enumerate();
    let places = places.filter(move |(index, place)| all || place.notified || *index <= active_source);
    let loads = places.map(|(index, place)| async move {
        let loaded = timeout(LOAD_TIMEOUT, place.source.load()).await;
        place.notified = false;
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(_elapsed) => Err(timed_out(&place.source.describe(), "answer", LOAD_TIMEOUT)),
        };
        (index, place, loaded)
    });
    loads.collect()
}

/// Lets the others be read, too: what has rung and was not read would ring again at once.
pub(super) async fn drain(mut loads: FuturesOrdered<impl Future>) {
    while loads.next().await.is_some() {}
}

pub(super) fn timed_out(who: &str, what: &str, limit: Duration) -> ObtainError {
    let what = format!("{who} did not {what} within {} s", limit.as_secs());
    ObtainError::transient("timeout", what)
}
