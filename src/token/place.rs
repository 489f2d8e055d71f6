//! The places of a supply, and how they are asked what they show: all at once, and heard in their order.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::time::timeout;

use super::credential::Token;
use super::ports::{ObtainError, Source};
use crate::types::Fingerprint;

/// A source, and what it showed last.
pub(super) struct Place {
    pub(super) source: Box<dyn Source>,
    pub(super) shown: Option<Fingerprint>,
    /// It may have news that no look has seen.
    pub(super) rang: bool,
}

/// The longest a source may take to show what it has. They have limits of their own; this one is for those that hang.
const LOAD: Duration = Duration::from_secs(20);
/// What the places show, in their order: all of them in need, else those that may have news and count.
pub(super) fn loads(
    places: &mut [Place],
    origin: usize,
    all: bool,
) -> FuturesOrdered<impl Future<Output = (usize, &mut Place, Result<Token, ObtainError>)>> {
    let places = places.iter_mut().enumerate();
    let places = places.filter(move |(index, place)| all || place.rang || *index <= origin);
    let loads = places.map(|(index, place)| async move {
        let loaded = timeout(LOAD, place.source.load()).await;
        place.rang = false;
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(_elapsed) => Err(late(&place.source.describe(), "answer", LOAD)),
        };
        (index, place, loaded)
    });
    loads.collect()
}

/// Lets the others be read, too: what has rung and was not read would ring again at once.
pub(super) async fn finish(mut loads: FuturesOrdered<impl Future>) {
    while loads.next().await.is_some() {}
}

pub(super) fn late(who: &str, what: &str, limit: Duration) -> ObtainError {
    let what = format!("{who} did not {what} within {} s", limit.as_secs());
    ObtainError::transient("timeout", what)
}
