//! What is held for replays is counted, and given back.

use std::time::Duration;

use graphward::proxy::Spool;
use tokio::time::sleep;

use crate::request_bodies::{MIB, assert_healed, pattern};
use crate::support::{
    EXPIRED_ERROR, PROTOCOL_PAIRS, ScriptedResponse, TestProxy, TestProxyBuilder, chunked, chunked_with_delay,
    post_file, sized,
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
        assert_eq!(proxy.replay_bytes_in("disk").await, MIB as i64);
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
