//! A token that only counts as dead: Graph cannot be asked, and enough requests were rejected.

use super::super::super::super::{RejectionReport, TokenHealth};
use super::last_known_good::{FakeCache, accept, source_named, start_with};
use super::*;
use crate::graph::{EndpointId, RejectionProof};

/// Graph rejects a request, which proves nothing; the refresher has acted on it.
async fn reject_unproven(tokens: &TokenHandle, path: &str) {
    tokens.report_rejection(RejectionReport {
        generation: tokens.current().unwrap().generation(),
        proof: RejectionProof::Unproven,
        endpoint: EndpointId::of_path(path),
        error: &GraphError::default(),
    });
    tokio::time::sleep(Duration::from_millis(1)).await;
}

async fn reject_at_two_endpoints(tokens: &TokenHandle) {
    for path in ["/1/leadgen_forms", "/1/tabs"] {
        reject_unproven(tokens, path).await;
    }
    tokio::time::sleep(2 * MINUTE).await;
    assert_eq!(tokens.health(), TokenHealth::Dead);
}

#[tokio::test(start_paused = true)]
async fn it_stays_in_the_cache_and_is_used_again_if_its_source_shows_it_again() {
    let (cache, row) = (FakeCache::default(), source_named("row"));
    row.put(token("one"));
    let tokens = start_with(&cache, &[&row]).await;
    accept(&tokens).await;
    reject_at_two_endpoints(&tokens).await;
    assert_eq!(cache.content().unwrap(), "one");
    for next in ["two", "one"] {
        row.put(token(next));
        tokio::time::sleep(MINUTE).await;
        assert_eq!(in_use(&tokens).unwrap(), next);
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_erased_and_refused_once_graph_says_that_it_is_dead() {
    let (cache, row) = (FakeCache::default(), source_named("row"));
    row.put(token("one"));
    let tokens = start_with(&cache, &[&row]).await;
    accept(&tokens).await;
    reject_at_two_endpoints(&tokens).await;
    tokens.mark_rejected(tokens.current().unwrap().generation(), &GraphError::default());
    tokio::time::sleep(MINUTE).await;
    assert_eq!(cache.content(), None);
    row.put(token("two"));
    tokio::time::sleep(MINUTE).await;
    row.put(token("one"));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(in_use(&tokens).unwrap(), "two");
}
