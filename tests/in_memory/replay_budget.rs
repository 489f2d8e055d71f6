//! What is held for replays is counted, and given back.

use std::time::Duration;

use futures_util::future::join_all;
use graphward::proxy::Spool;
use tokio::time::sleep;

use crate::request_bodies::{MIB, assert_healed, pattern};
use crate::support::{
    EXPIRED_ERROR, PROTOCOL_PAIRS, ScriptedResponse, TestBody, TestProxy, TestProxyBuilder, aborted, chunked,
    chunked_with_delay, post_file, sized, stalled, with,
};

#[tokio::test(start_paused = true)]
async fn a_body_is_counted_where_it_is_held_and_by_its_length() {
    for (place, length, step) in [
        ("memory", 600, 600),
        ("memory", 900, 250),
        ("memory", 1_000, 300),
        ("disk", 1_001, 300),
        ("disk", 3_000, 3_000),
    ] {
        let proxy = TestProxyBuilder::new().with_small_limits().start().await;
        proxy.rotate_token();
        proxy.script(ScriptedResponse::expired().delayed(Duration::from_secs(1)));
        let loads = async {
            sleep(Duration::from_millis(500)).await;
            assert_eq!(proxy.replay_bytes_in(place).await, length, "by {step}");
        };
        let body = chunked(pattern(length as usize), step);
        let (answer, ()) = tokio::join!(proxy.app.fetch(post_file(body)), loads);
        assert_eq!(answer.status, 200);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_replayed_body_is_counted_until_graph_has_read_it() {
    for (place, length) in [("memory", MIB), ("disk", 2 * MIB)] {
        let proxy = TestProxyBuilder::new().start().await;
        proxy.rotate_token();
        proxy.script(ScriptedResponse::expired());
        let slow = ScriptedResponse::json(200, "{}").delayed(Duration::from_secs(1));
        proxy.script(slow.before_request_body());
        let loads = async {
            sleep(Duration::from_millis(500)).await;
            assert_eq!(proxy.graph.attempts(), 2);
            assert_eq!(proxy.replay_bytes_in(place).await, length as i64);
        };
        let (answer, ()) = tokio::join!(proxy.app.post(pattern(length)), loads);
        assert_eq!(answer.status, 200);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_spooled_of_a_body_that_streams_is_counted_until_it_is_sent() {
    let proxy = TestProxyBuilder::new()
        .with_small_limits()
        .with(|config| config.heal.body_disk = MIB as u64)
        .start()
        .await;
    let slow = ScriptedResponse::json(200, "{}").delayed(Duration::from_secs(1));
    proxy.script(slow.before_request_body());
    let loads = async {
        sleep(Duration::from_millis(500)).await;
        let spooled = proxy.replay_bytes_in("disk").await;
        assert!((MIB as i64 - 10_000..=MIB as i64).contains(&spooled), "{spooled}");
    };
    let body = chunked(pattern(2 * MIB), 10_000);
    let (answer, ()) = tokio::join!(proxy.app.fetch(post_file(body)), loads);
    assert_eq!(answer.status, 200);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_says_it_is_too_large_is_not_held_at_all() {
    let proxy = TestProxyBuilder::new().with_small_limits().start().await;
    let mut request = post_file(chunked_with_delay(pattern(5_000), 1_000, Duration::from_secs(1)));
    let length = "5000".parse().unwrap();
    request.headers_mut().insert("content-length", length);
    let loads = async {
        sleep(Duration::from_millis(500)).await;
        assert_eq!((proxy.graph.attempts(), proxy.replay_bytes().await), (1, 0));
    };
    let (answer, ()) = tokio::join!(proxy.app.fetch(request), loads);
    assert_eq!(answer.status, 200);
    assert_eq!(proxy.graph.last_request().body, Some(pattern(5_000)));
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_body_past_the_budget_of_all_streams_and_the_budget_comes_back() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start_with(protocols, |config| {
            config.heal.body_memory = 1_000;
            config.heal.memory_total = 1_500;
            config.heal.spool = Spool::Off;
        })
        .await;
        proxy.rotate_token();
        proxy.script(ScriptedResponse::expired().delayed(Duration::from_secs(5)));
        let second = async {
            sleep(Duration::from_secs(1)).await;
            assert_eq!(proxy.replay_bytes().await, 1_000);
            proxy.script(ScriptedResponse::expired());
            let answer = proxy.app.fetch(post_file(sized(pattern(600)))).await;
            assert_eq!(answer.text(), EXPIRED_ERROR, "no room to hold it");
        };
        let (first, ()) = tokio::join!(proxy.app.fetch(post_file(sized(pattern(1_000)))), second);
        assert_eq!(first.status, 200);
        assert_eq!(proxy.replay_bytes().await, 0);
        assert_healed(&proxy, post_file(sized(pattern(1_000))), &pattern(1_000)).await;
        proxy.shutdown().await;
    }
}

/// A request that declares this length.
fn declaring(length: usize, body: TestBody) -> http::Request<TestBody> {
    with(post_file(body), &[("content-length", &length.to_string())])
}

#[tokio::test(start_paused = true)]
async fn bodies_that_have_hardly_begun_do_not_take_the_budget() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        let trickle = || chunked_with_delay(pattern(10), 5, Duration::from_secs(10));
        let slow = (0..72).flat_map(|_| {
            [
                post_file(trickle()),
                // One that would be held in memory, and one on disk.
                declaring(MIB, stalled(b"begin")),
                declaring(64 * MIB, stalled(b"begin")),
            ]
        });
        let slow = join_all(slow.map(|request| proxy.app.fetch(request)));
        let healed = async {
            sleep(Duration::from_secs(15)).await;
            let reserved = proxy.replay_bytes().await;
            assert!((1..10_000).contains(&reserved), "{reserved}");
            assert_healed(&proxy, post_file(sized(pattern(7))), &pattern(7)).await;
            let large = pattern(2 * MIB);
            assert_healed(&proxy, post_file(chunked(large.clone(), MIB)), &large).await;
        };
        let (answers, ()) = tokio::join!(slow, healed);
        let timed_out = answers.iter().filter(|answer| answer.status == 408).count();
        assert_eq!(timed_out, 144);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn large_bodies_leave_room_for_small_ones_and_go_to_disk_then_on_without_a_replay() {
    const KIB: usize = 1024;
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start_with(protocols, |config| {
            config.heal.memory_total = MIB as u64;
            config.heal.body_disk = 512 * KIB as u64;
            config.heal.disk_total = 512 * KIB as u64;
        })
        .await;
        let held = async |memory: usize, disk: usize| {
            let bytes = (
                proxy.replay_bytes_in("memory").await,
                proxy.replay_bytes_in("disk").await,
            );
            assert_eq!(bytes, ((memory * KIB) as i64, (disk * KIB) as i64));
        };
        let app = &proxy.app;
        let post_all = |count: usize, length: usize| {
            // One after the other: those that arrive together share what is left.
            let starts = (0..count).map(|post| Duration::from_millis(100 * post as u64));
            join_all(starts.map(move |start| async move {
                sleep(start).await;
                app.fetch(post_file(sized(pattern(length * KIB)))).await
            }))
        };
        for _ in 0..4 {
            proxy.script(ScriptedResponse::json(200, "{}").delayed(Duration::from_secs(20)));
        }
        let small = async {
            sleep(Duration::from_secs(1)).await;
            held(600, 300).await;
            proxy.rotate_token();
            for _ in 0..7 {
                proxy.script(ScriptedResponse::expired().delayed(Duration::from_secs(5)));
            }
            let loads = async {
                sleep(Duration::from_secs(1)).await;
                held(600 + 6 * 64, 300 + 64).await;
            };
            let (healed, ()) = tokio::join!(post_all(7, 64), loads);
            assert!(healed.iter().all(|answer| answer.status == 200));
            assert_eq!(proxy.requests_with_outcome("healed").await, 7);
        };
        let (large, ()) = tokio::join!(post_all(4, 300), small);
        assert!(large.iter().all(|answer| answer.status == 200));
        assert_eq!(proxy.graph.requests().len(), 4 + 2 * 7, "each was sent at once");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_way_in_which_a_body_ends_gives_its_bytes_back() {
    for protocols in PROTOCOL_PAIRS {
        for (memory, disk) in [(10_000, 10_000), (100, 10_000), (100, 100), (0, 0)] {
            let proxy = TestProxyBuilder::over(protocols)
                .with_small_limits()
                .with(|config| (config.heal.memory_total, config.heal.disk_total) = (memory, disk))
                .start()
                .await;
            let interrupted = [
                post_file(stalled(&[b'a'; 900])),
                post_file(stalled(&[b'a'; 1_500])),
                post_file(aborted(&[b'a'; 900])),
                post_file(aborted(&[b'a'; 1_500])),
                declaring(900, aborted(b"begin")),
                declaring(3_000, aborted(b"begin")),
                declaring(9_000, aborted(b"begin")),
            ];
            for request in interrupted {
                drop(proxy.app.send(request).await);
                sleep(Duration::from_millis(10)).await;
                assert_eq!(proxy.replay_bytes().await, 0);
            }
            for length in [1, 90, 900, 1_500, 9_000] {
                for response in [
                    ScriptedResponse::error(500, 2),
                    ScriptedResponse::expired().before_request_body(),
                ] {
                    for body in [sized(pattern(length)), chunked(pattern(length), 70)] {
                        proxy.script(response.clone());
                        drop(proxy.app.send(post_file(body)).await);
                        sleep(Duration::from_secs(10)).await;
                        assert_eq!(proxy.replay_bytes().await, 0, "{length}");
                    }
                }
            }
            proxy.shutdown().await;
        }
    }
}
