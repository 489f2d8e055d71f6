//! Answers that graphward gives itself are paced, if there are several tenants: an app that sends again at once harms no other.

use std::time::Duration;

use futures_util::future::join_all;
use graphward::config::{Config, EnvVars, Overrides};
use graphward::proxy::DeadTokenPolicy;
use tokio::time::{Instant, sleep};

use crate::support::{PROTOCOL_PAIRS, Protocols, TestProxy, TestProxyBuilder, get, with};

/// The header of the tenant that storms, besides the one of `[token]`: it has no token, and no `GET /me`.
const TWO_TENANTS: &str = "[token]\nsource = { env = \"FIRST\" }\n[routing]\nheader = \"x-tenant-id\"\n\
    [tenants.acme]\nsource = { env = \"SECOND\" }\nallow = \"send-only\"\n";

async fn start(tenants: &str, max_inflight: u32) -> TestProxy {
    start_over(PROTOCOL_PAIRS[0], tenants, max_inflight).await
}

async fn start_over(protocols: Protocols, tenants: &str, max_inflight: u32) -> TestProxy {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), tenants).unwrap();
    let flags = Overrides {
        config: Some(file.path().to_owned()),
        ..Overrides::default()
    };
    let loaded = Config::load(flags, &EnvVars::new()).unwrap().config;
    let builder = TestProxyBuilder::over(protocols).with(|config| *config = loaded);
    builder
        .with(|config| {
            config.heal.hold_timeout = Duration::ZERO;
            config.heal.dead_token = DeadTokenPolicy::Probe;
        })
        .with_max_inflight(max_inflight)
        .start()
        .await
}

/// Sends this many requests on each of many connections, each as soon as the one before is answered. Returns how long the
/// longest took, and all together.
async fn storm(proxy: &TestProxy, connections: usize, each: usize, headers: &[(&str, &str)]) -> (Duration, Duration) {
    let began = Instant::now();
    let connection = async || {
        let mut longest = Duration::ZERO;
        for _ in 0..each {
            let sent = Instant::now();
            let answer = proxy.app.fetch(with(get("/me"), headers)).await;
            assert_ne!(answer.status, 200);
            longest = longest.max(sent.elapsed());
        }
        longest
    };
    let longest = join_all((0..connections).map(|_| connection())).await;
    (longest.into_iter().max().unwrap(), began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn an_app_that_sends_again_at_once_gets_five_hundred_answers_a_second_that_graph_has_not_given() {
    let storms = [&[][..], &[("x-tenant-id", "acme")], &[("x-tenant-id", "gone")]];
    let all = PROTOCOL_PAIRS
        .into_iter()
        .flat_map(|protocols| storms.map(|headers| (protocols, headers)));
    for (protocols, headers) in all {
        let proxy = start_over(protocols, TWO_TENANTS, 10_000).await;
        if headers.is_empty() {
            proxy.graph.expire_all();
            assert_eq!(proxy.app.get("/me").await.status, 401);
        }
        let (longest, all) = storm(&proxy, 100, 10, headers).await;
        // The first hundred are not delayed. Then 100 connections take 200 ms for a round.
        assert!(
            all > Duration::from_millis(1_700) && all < Duration::from_millis(1_900),
            "{headers:?}: {all:?}"
        );
        assert!(longest < Duration::from_millis(250), "{headers:?}: {longest:?}");
        let attempts = proxy.graph.attempts();
        assert!(attempts <= 3, "{headers:?}: {attempts}");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn another_tenant_is_answered_at_once_and_so_is_one_without_neighbors() {
    let proxy = start(TWO_TENANTS, 10_000).await;
    let healthy = async {
        for _ in 0..50 {
            sleep(Duration::from_millis(20)).await;
            let sent = Instant::now();
            assert_eq!(proxy.app.get("/me").await.status, 200);
            assert!(sent.elapsed() < Duration::from_millis(2));
        }
    };
    let acme = [("x-tenant-id", "acme")];
    let ((longest, _all), ()) = tokio::join!(storm(&proxy, 700, 2, &acme), healthy);
    // No answer is delayed for longer than a second.
    assert!(
        longest > Duration::from_millis(950) && longest < Duration::from_millis(1_050),
        "{longest:?}"
    );
    proxy.shutdown().await;

    let proxy = start("[token]\nsource = { env = \"FIRST\" }\n", 10_000).await;
    proxy.graph.expire_all();
    assert_eq!(proxy.app.get("/me").await.status, 401);
    let (_longest, all) = storm(&proxy, 100, 10, &[]).await;
    assert!(all < Duration::from_millis(50), "{all:?}");
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn delayed_answers_leave_half_of_the_requests_in_flight_free() {
    let proxy = start(TWO_TENANTS, 20).await;
    let gone = [("x-tenant-id", "gone")];
    storm(&proxy, 1, 100, &gone).await;
    let healthy = async {
        for _ in 0..50 {
            sleep(Duration::from_millis(1)).await;
            let answer = proxy.app.get("/me").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    };
    tokio::join!(storm(&proxy, 25, 40, &gone), healthy);
    proxy.shutdown().await;
}
