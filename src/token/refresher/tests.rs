mod life;
mod support;

use std::sync::atomic::Ordering;

use super::super::{Generation, NoSuccessor, Told, pair};
use super::*;
use crate::graph::GraphError;
use support::{Drop, Mint, soon, spawn, start};

#[tokio::test(start_paused = true)]
async fn five_hundred_askers_are_served_by_one_renewal() {
    let (source, mint) = (Drop::default(), Mint::default());
    source.put("first");
    let tokens = start(&source, Some(&mint)).await;
    let old = tokens.current().unwrap().generation();
    let asks = (0..500).map(|_| async {
        tokens.reject(old, &GraphError::default());
        tokens.successor(old, soon()).await.unwrap().generation()
    });
    let answers = futures_util::future::join_all(asks).await;
    assert!(answers.iter().all(|generation| *generation == old.next()));
    assert_eq!(mint.0.calls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn the_first_asker_may_leave_without_cancelling_the_renewal() {
    let (source, mint) = (Drop::default(), Mint::default());
    source.put("first");
    let tokens = start(&source, Some(&mint)).await;
    let old = tokens.current().unwrap().generation();
    tokens.reject(old, &GraphError::default());
    let impatient = tokens
        .successor(old, Instant::now() + Duration::from_millis(5))
        .await;
    assert!(matches!(impatient, Err(NoSuccessor::Late)));
    assert_eq!(
        tokens.successor(old, soon()).await.unwrap().generation(),
        old.next()
    );
    assert_eq!(mint.0.calls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn fifty_late_rejections_cost_no_time_and_wipe_nothing() {
    let (source, mint) = (Drop::default(), Mint::default());
    source.put("first");
    let tokens = start(&source, Some(&mint)).await;
    let old = tokens.current().unwrap().generation();
    tokens.reject(old, &GraphError::default());
    let fresh = tokens.successor(old, soon()).await.unwrap();
    let before = Instant::now();
    for _ in 0..50 {
        tokens.reject(old, &GraphError::default());
        assert_eq!(
            tokens.successor(old, soon()).await.unwrap().generation(),
            fresh.generation()
        );
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert!(tokens.usable());
    assert_eq!(mint.0.calls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_shared_and_a_resting_refresher_answers_at_once() {
    let (source, mint) = (Drop::default(), Mint::default());
    source.put("first");
    mint.0.broken.store(true, Ordering::Relaxed);
    let tokens = start(&source, Some(&mint)).await;
    let old = tokens.current().unwrap().generation();
    tokens.reject(old, &GraphError::default());
    let asks = (0..50).map(|_| tokens.successor(old, soon()));
    for answer in futures_util::future::join_all(asks).await {
        assert!(matches!(answer, Err(NoSuccessor::Failed(_))));
    }
    assert_eq!(mint.0.calls.load(Ordering::Relaxed), 1);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let before = Instant::now();
    assert!(matches!(
        tokens.successor(old, soon()).await,
        Err(NoSuccessor::Failed(_))
    ));
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert!(tokens.current().is_some(), "a failure destroys nothing");
}

#[tokio::test(start_paused = true)]
async fn a_touched_source_costs_no_renewal() {
    let (source, mint) = (Drop::default(), Mint::default());
    source.put("first");
    let tokens = start(&source, Some(&mint)).await;
    for _ in 0..10 {
        source.put("first");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(tokens.current().unwrap().generation(), Generation::FIRST);
    assert_eq!(mint.0.calls.load(Ordering::Relaxed), 0);
    assert!(source.0.loads.load(Ordering::Relaxed) >= 10);
}

#[tokio::test(start_paused = true)]
async fn a_token_dropped_while_resting_is_live_within_milliseconds() {
    let source = Drop::default();
    source.put("first");
    let tokens = start(&source, None).await;
    let old = tokens.current().unwrap().generation();
    tokens.reject(old, &GraphError::default());
    assert!(matches!(
        tokens.successor(old, soon()).await,
        Err(NoSuccessor::Failed(_))
    ));
    let before = Instant::now();
    source.put("second");
    let held = tokens
        .held(old, Duration::from_secs(2), soon())
        .await
        .unwrap();
    assert_eq!(held.generation(), old.next());
    assert!(before.elapsed() <= Duration::from_millis(5));
}

#[tokio::test(start_paused = true)]
async fn requests_are_held_until_the_hold_is_over_and_not_longer() {
    let source = Drop::default();
    source.put("first");
    let tokens = start(&source, None).await;
    let old = tokens.current().unwrap().generation();
    let hold = Duration::from_secs(2);
    tokens.reject(old, &GraphError::default());
    let before = Instant::now();
    assert!(matches!(
        tokens.held(old, hold, soon()).await,
        Err(NoSuccessor::Late)
    ));
    assert_eq!(before.elapsed(), hold);
    assert!(matches!(
        tokens.held(old, hold, soon()).await,
        Err(NoSuccessor::Late)
    ));
    assert_eq!(
        before.elapsed(),
        hold,
        "the hold counts from the first rejection"
    );
}

#[tokio::test(start_paused = true)]
async fn only_so_many_are_held_and_the_next_hears_at_once() {
    let source = Drop::default();
    source.put("first");
    let tokens = start(&source, None).await;
    let old = tokens.current().unwrap().generation();
    let hold = Duration::from_secs(2);
    tokens.reject(old, &GraphError::default());
    let before = Instant::now();
    let asks = (0..4097).map(|_| async {
        let _late = tokens.held(old, hold, soon()).await.unwrap_err();
        before.elapsed()
    });
    let waited = futures_util::future::join_all(asks).await;
    let (last, held) = waited.split_last().unwrap();
    assert!(held.iter().all(|waited| *waited == hold));
    assert_eq!(*last, Duration::ZERO);
    assert_eq!(tokens.waiters(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_failure_of_an_attempt_that_began_before_the_question_is_no_answer_to_it() {
    let source = Drop::default();
    source.put("first");
    let tokens = start(&source, None).await;
    let old = tokens.current().unwrap().generation();
    // The look that the first token rang for is over.
    tokio::time::sleep(Duration::from_millis(10)).await;
    let begun = tokens.progress().begun;
    *source.0.token.lock().unwrap() = None;
    source.0.changed.notify_one();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(tokens.progress().begun, begun + 1);
    // The look under way has read nothing, and will fail; what comes a moment later is for the next one.
    *source.0.token.lock().unwrap() = Some("second".to_owned());
    tokens.reject(old, &GraphError::default());
    let fresh = tokens.successor(old, soon()).await.unwrap();
    assert_eq!(fresh.generation(), old.next());
}

#[tokio::test(start_paused = true)]
async fn renewals_are_bounded_by_time_whatever_the_traffic() {
    let (source, mint) = (Drop::default(), Mint::default());
    source.put("first");
    let tokens = start(&source, Some(&mint)).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        tokens.reject(
            tokens.current().unwrap().generation(),
            &GraphError::default(),
        );
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    assert!(mint.0.calls.load(Ordering::Relaxed) <= 12);
}

#[tokio::test(start_paused = true)]
async fn a_refresher_that_panicked_is_seen_at_once() {
    let (source, mint) = (Drop::default(), Mint::default());
    source.put("first");
    mint.0.panics.store(true, Ordering::Relaxed);
    let tokens = start(&source, Some(&mint)).await;
    let old = tokens.current().unwrap().generation();
    tokens.reject(old, &GraphError::default());
    let before = Instant::now();
    assert!(matches!(
        tokens.successor(old, soon()).await,
        Err(NoSuccessor::Closed)
    ));
    assert!(
        before.elapsed() < Duration::from_millis(10),
        "seen, not waited for"
    );
    tokens.accept(old);
    assert!(tokens.is_abandoned() && !tokens.usable());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_graph_takes_again_is_usable_again_until_the_next_rejection() {
    let source = Drop::default();
    source.put("first");
    let tokens = start(&source, None).await;
    let live = tokens.current().unwrap().generation();
    tokens.reject(live, &GraphError::default());
    assert!(!tokens.usable());
    tokens.accept(live);
    assert!(tokens.usable());
    tokio::time::sleep(Duration::from_secs(60)).await;
    tokens.reject(live, &GraphError::default());
    assert!(!tokens.usable());
    let (before, hold) = (Instant::now(), Duration::from_secs(2));
    assert!(tokens.held(live, hold, soon()).await.is_err());
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
        let (source, mint) = (Drop::default(), Mint::default());
        source.put("first");
        let supply = Supply::of(source.clone()).renewed_by(mint.clone());
        let (writer, tokens) = pair();
        let schedule = Schedule {
            min_gap: Duration::ZERO,
            // Each of its renewals is rejected at once, on purpose.
            rest_first: Duration::ZERO,
            ..Schedule::default()
        };
        let observer = Box::new(|_told: &Told<'_>| {});
        let refresher = Refresher::new(
            TenantId::default(),
            supply,
            writer,
            schedule,
            Clock::system(),
            observer,
        );
        drop(spawn(refresher.run()));
        tokens.looked().await;
        for round in 1..=100 {
            let old = tokens.current().unwrap().generation();
            let askers = (0..64).map(|_| {
                let tokens = tokens.clone();
                spawn(async move {
                    tokens.reject(old, &GraphError::default());
                    tokens.successor(old, soon()).await.unwrap();
                })
            });
            for asker in askers {
                asker.await.unwrap();
            }
            assert_eq!(mint.0.calls.load(Ordering::Relaxed), round);
        }
    });
}
