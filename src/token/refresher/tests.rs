mod lifecycle;
mod support;

use std::sync::atomic::Ordering;

use super::super::{Generation, RefreshError, TokenEvent, channel};
use super::*;
use crate::graph::GraphError;
use support::{FakeRenewer, FakeSource, accept, in_five_seconds, spawn, start};

#[tokio::test(start_paused = true)]
async fn five_hundred_waiters_are_served_by_one_renewal() {
    let (source, renewer) = (FakeSource::default(), FakeRenewer::default());
    source.put("first");
    let tokens = start(&source, Some(&renewer)).await;
    let old = tokens.current().unwrap().generation();
    let waiters = (0..500).map(|_| async {
        tokens.mark_rejected(old, &GraphError::default());
        tokens
            .wait_for_newer(old, in_five_seconds())
            .await
            .unwrap()
            .generation()
    });
    let generations = futures_util::future::join_all(waiters).await;
    assert!(generations.iter().all(|generation| *generation == old.next()));
    assert_eq!(renewer.0.calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_refresher_at_rest_and_what_requests_hold_of_it_are_small() {
    let (publisher, tokens) = channel();
    let provider = TokenProvider::from_source(FakeSource::default());
    let refresher = Refresher::new(
        TenantId::default(),
        provider,
        publisher,
        RefreshPolicy::default(),
        Clock::system(),
        Box::new(|_event| {}),
    );
    let size = size_of_val(&refresher.run());
    assert!(size <= 2064, "{size}");
    assert_eq!(size_of_val(&tokens), size_of::<usize>());
}

#[tokio::test(start_paused = true)]
async fn the_first_waiter_may_disconnect_without_canceling_the_renewal() {
    let (source, renewer) = (FakeSource::default(), FakeRenewer::default());
    source.put("first");
    let tokens = start(&source, Some(&renewer)).await;
    let old = tokens.current().unwrap().generation();
    tokens.mark_rejected(old, &GraphError::default());
    let timed_out = tokens
        .wait_for_newer(old, Instant::now() + Duration::from_millis(5))
        .await;
    assert!(matches!(timed_out, Err(RefreshError::TimedOut)));
    assert_eq!(
        tokens
            .wait_for_newer(old, in_five_seconds())
            .await
            .unwrap()
            .generation(),
        old.next()
    );
    assert_eq!(renewer.0.calls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn fifty_late_rejections_cost_no_time_and_discard_nothing() {
    let (source, renewer) = (FakeSource::default(), FakeRenewer::default());
    source.put("first");
    let tokens = start(&source, Some(&renewer)).await;
    let old = tokens.current().unwrap().generation();
    tokens.mark_rejected(old, &GraphError::default());
    let fresh = tokens.wait_for_newer(old, in_five_seconds()).await.unwrap();
    let before = Instant::now();
    for _ in 0..50 {
        tokens.mark_rejected(old, &GraphError::default());
        assert_eq!(
            tokens
                .wait_for_newer(old, in_five_seconds())
                .await
                .unwrap()
                .generation(),
            fresh.generation()
        );
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert!(tokens.is_usable());
    assert_eq!(renewer.0.calls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_shared_and_a_refresher_in_backoff_fails_requests_at_once() {
    let (source, renewer) = (FakeSource::default(), FakeRenewer::default());
    source.put("first");
    renewer.0.fails.store(true, Ordering::Relaxed);
    let tokens = start(&source, Some(&renewer)).await;
    let old = tokens.current().unwrap().generation();
    tokens.mark_rejected(old, &GraphError::default());
    let waiters = (0..50).map(|_| tokens.wait_for_newer(old, in_five_seconds()));
    for result in futures_util::future::join_all(waiters).await {
        assert!(matches!(result, Err(RefreshError::Failed(_))));
    }
    assert_eq!(renewer.0.calls.load(Ordering::Relaxed), 1);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let before = Instant::now();
    assert!(matches!(
        tokens.wait_for_newer(old, in_five_seconds()).await,
        Err(RefreshError::Failed(_))
    ));
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert!(tokens.current().is_some(), "a failure destroys nothing");
}

#[tokio::test(start_paused = true)]
async fn a_touched_source_costs_no_renewal() {
    let (source, renewer) = (FakeSource::default(), FakeRenewer::default());
    source.put("first");
    let tokens = start(&source, Some(&renewer)).await;
    for _ in 0..10 {
        source.put("first");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(tokens.current().unwrap().generation(), Generation::FIRST);
    assert_eq!(renewer.0.calls.load(Ordering::Relaxed), 0);
    assert!(source.0.loads.load(Ordering::Relaxed) >= 10);
}

#[tokio::test(start_paused = true)]
async fn a_token_delivered_during_backoff_is_in_use_within_milliseconds() {
    let source = FakeSource::default();
    source.put("first");
    let tokens = start(&source, None).await;
    let old = tokens.current().unwrap().generation();
    let rejected = tokens.mark_rejected(old, &GraphError::default());
    assert!(matches!(
        tokens.wait_for_newer(old, in_five_seconds()).await,
        Err(RefreshError::Failed(_))
    ));
    let before = Instant::now();
    source.put("second");
    let held = tokens
        .wait_for_successor(&rejected, Duration::from_secs(2), in_five_seconds())
        .await
        .unwrap();
    assert_eq!(held.generation(), old.next());
    assert!(before.elapsed() <= Duration::from_millis(5));
}

#[tokio::test(start_paused = true)]
async fn requests_are_held_until_the_hold_is_over_and_not_longer() {
    let source = FakeSource::default();
    source.put("first");
    let tokens = start(&source, None).await;
    let old = tokens.current().unwrap().generation();
    let hold = Duration::from_secs(2);
    let rejected = tokens.mark_rejected(old, &GraphError::default());
    let before = Instant::now();
    assert!(matches!(
        tokens.wait_for_successor(&rejected, hold, in_five_seconds()).await,
        Err(RefreshError::Failed(_))
    ));
    assert_eq!(before.elapsed(), hold);
    let rejected = tokens.mark_rejected(old, &GraphError::default());
    assert!(matches!(
        tokens.wait_for_successor(&rejected, hold, in_five_seconds()).await,
        Err(RefreshError::Failed(_))
    ));
    assert_eq!(before.elapsed(), hold, "the hold counts from the first rejection");
}

#[tokio::test(start_paused = true)]
async fn the_number_of_held_requests_is_limited_and_the_next_fails_at_once() {
    let source = FakeSource::default();
    source.put("first");
    let tokens = start(&source, None).await;
    let old = tokens.current().unwrap().generation();
    let hold = Duration::from_secs(2);
    let before = Instant::now();
    let rejected = tokens.mark_rejected(old, &GraphError::default());
    tokens.wait_for_newer(old, in_five_seconds()).await.unwrap_err();
    let refreshed_after = before.elapsed();
    let waiters = (0..4097).map(|_| async {
        let late = tokens.wait_for_successor(&rejected, hold, in_five_seconds()).await;
        late.unwrap_err();
        before.elapsed()
    });
    let waited = futures_util::future::join_all(waiters).await;
    let (last, held) = waited.split_last().unwrap();
    assert!(held.iter().all(|waited| *waited == hold));
    assert_eq!(*last, refreshed_after);
    assert_eq!(tokens.waiters(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_ignores_the_failure_of_an_attempt_that_began_before_it() {
    let source = FakeSource::default();
    source.put("first");
    let tokens = start(&source, None).await;
    let old = tokens.current().unwrap().generation();
    // The check that the first token caused is over.
    tokio::time::sleep(Duration::from_millis(10)).await;
    let attempts = tokens.progress().attempts_started;
    *source.0.token.lock().unwrap() = None;
    source.0.changed.notify_one();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(tokens.progress().attempts_started, attempts + 1);
    // The check in progress has read nothing, and will fail; a token a moment later is for the next one.
    *source.0.token.lock().unwrap() = Some("second".to_owned());
    tokens.mark_rejected(old, &GraphError::default());
    let fresh = tokens.wait_for_newer(old, in_five_seconds()).await.unwrap();
    assert_eq!(fresh.generation(), old.next());
}

#[tokio::test(start_paused = true)]
async fn renewals_are_bounded_by_time_whatever_the_traffic() {
    let (source, renewer) = (FakeSource::default(), FakeRenewer::default());
    source.put("first");
    let tokens = start(&source, Some(&renewer)).await;
    let started_at = Instant::now();
    while started_at.elapsed() < Duration::from_secs(10) {
        tokens.mark_rejected(tokens.current().unwrap().generation(), &GraphError::default());
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    assert!(renewer.0.calls.load(Ordering::Relaxed) <= 12);
}

#[tokio::test(start_paused = true)]
async fn a_refresher_that_panicked_is_seen_at_once() {
    let (source, renewer) = (FakeSource::default(), FakeRenewer::default());
    source.put("first");
    renewer.0.panics.store(true, Ordering::Relaxed);
    let tokens = start(&source, Some(&renewer)).await;
    let old = tokens.current().unwrap().generation();
    tokens.mark_rejected(old, &GraphError::default());
    let before = Instant::now();
    assert!(matches!(
        tokens.wait_for_newer(old, in_five_seconds()).await,
        Err(RefreshError::Closed)
    ));
    assert!(before.elapsed() < Duration::from_millis(10), "without a wait");
    accept(&tokens, old);
    assert!(tokens.is_closed() && !tokens.is_usable());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_graph_accepts_again_is_usable_until_the_next_rejection() {
    let source = FakeSource::default();
    source.put("first");
    let tokens = start(&source, None).await;
    let current = tokens.current().unwrap().generation();
    tokens.mark_rejected(current, &GraphError::default());
    assert!(!tokens.is_usable());
    accept(&tokens, current);
    assert!(tokens.is_usable());
    tokio::time::sleep(Duration::from_secs(60)).await;
    let rejected = tokens.mark_rejected(current, &GraphError::default());
    assert!(!tokens.is_usable());
    let (before, hold) = (Instant::now(), Duration::from_secs(2));
    assert!(
        tokens
            .wait_for_successor(&rejected, hold, in_five_seconds())
            .await
            .is_err()
    );
    assert_eq!(before.elapsed(), hold, "the hold is a new one");
}

/// Real threads: a lost wake-up would hang a round, a lost rejection would renew twice.
#[test]
fn threads_that_reject_and_wait_lose_no_wake_up() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (source, renewer) = (FakeSource::default(), FakeRenewer::default());
        source.put("first");
        let provider = TokenProvider::from_source(source.clone()).with_renewer(renewer.clone());
        let (writer, tokens) = channel();
        let policy = RefreshPolicy {
            min_interval: Duration::ZERO,
            // Each of its renewals is rejected at once, on purpose.
            initial_backoff: Duration::ZERO,
            ..RefreshPolicy::default()
        };
        let event_sink = Box::new(|_event: &TokenEvent<'_>| {});
        let refresher = Refresher::new(
            TenantId::default(),
            provider,
            writer,
            policy,
            Clock::system(),
            event_sink,
        );
        drop(spawn(refresher.run()));
        tokens.wait_for_first_check().await;
        for round in 1..=100 {
            let old = tokens.current().unwrap().generation();
            let waiters = (0..64).map(|_| {
                let tokens = tokens.clone();
                spawn(async move {
                    tokens.mark_rejected(old, &GraphError::default());
                    tokens.wait_for_newer(old, in_five_seconds()).await.unwrap();
                })
            });
            for waiter in waiters {
                waiter.await.unwrap();
            }
            assert_eq!(renewer.0.calls.load(Ordering::Relaxed), round);
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_refresher_at_rest_holds_no_room_for_its_operations() {
    let provider = TokenProvider::from_source(FakeSource::default());
    let (tenant, policy) = (TenantId::default(), RefreshPolicy::default());
    let (publisher, _tokens) = channel();
    let refresher = Refresher::new(
        tenant,
        provider,
        publisher,
        policy,
        Clock::system(),
        Box::new(|_event| {}),
    );
    let (itself, running) = (size_of::<Refresher>(), size_of_val(&refresher.run()));
    assert!(running <= 2 * itself + 1024, "{running} bytes for one of {itself}");
}
