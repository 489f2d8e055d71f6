//! One of several tenants takes half of what all have together at most.

use std::time::Duration;

use futures_util::future::join_all;
use graphward::config::{Config, EnvVars, Overrides};
use tokio::time::sleep;

use crate::support::{TestProxy, TestProxyBuilder, get, post_file, sized, with};

/// Besides the tenant of `[token]`, whose source is the scripted one, a tenant without a token.
const TWO_TENANTS: &str = "[token]\nsource = { env = \"FIRST\" }\n[routing]\nheader = \"x-tenant-id\"\n\
    [tenants.acme]\nsource = { env = \"SECOND\" }\n";

/// A proxy with these tenants; for the first four seconds, no tenant has a token.
async fn start(tenants: &str, set: impl FnOnce(&mut Config)) -> TestProxy {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), tenants).unwrap();
    let flags = Overrides {
        config: Some(file.path().to_owned()),
        ..Overrides::default()
    };
    let loaded = Config::load(flags, &EnvVars::new()).unwrap().config;
    TestProxyBuilder::new()
        .with(|config| *config = loaded)
        .with(set)
        .with_max_inflight(10)
        .with_source_delay(Duration::from_secs(4))
        .start()
        .await
}

#[tokio::test(start_paused = true)]
async fn a_tenant_has_half_of_the_requests_in_flight_and_the_others_are_left() {
    let proxy = start(TWO_TENANTS, |_| ()).await;
    let storm = join_all((0..5).map(|_| proxy.app.get("/me")));
    let others = async {
        sleep(Duration::from_secs(1)).await;
        let sixth = proxy.app.get("/me").await;
        sixth.refused(503, "connection_limit_reached");
        assert_eq!(sixth.code(), 990_002);
        assert!(sixth.text().contains("share is half of all"), "{}", sixth.text());
        let other = proxy.app.fetch(with(get("/me"), &[("x-tenant-id", "acme")])).await;
        assert_eq!(
            other.code(),
            990_003,
            "it has no token, but is not refused for the storm"
        );
    };
    let (storm, ()) = tokio::join!(storm, others);
    assert!(storm.iter().all(|answer| answer.status == 200), "{storm:?}");
    assert_eq!(proxy.app.get("/me").await.status, 200, "its share is free again");
    assert_eq!(proxy.requests_with_outcome("refused_overloaded").await, 1);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_only_tenant_has_all_requests_in_flight() {
    let proxy = start("[token]\nsource = { env = \"FIRST\" }\n", |_| ()).await;
    let all = join_all((0..10).map(|_| proxy.app.get("/me"))).await;
    assert!(all.iter().all(|answer| answer.status == 200), "{all:?}");
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_tenant_keeps_bodies_in_half_of_the_memory() {
    let proxy = start(TWO_TENANTS, |config| {
        config.heal.memory_total = 4_000;
        config.heal.disk_total = 0;
    })
    .await;
    let storm = join_all((0..3).map(|_| proxy.app.fetch(post_file(sized(vec![b'x'; 1_000])))));
    let count = async {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(proxy.replay_bytes_in("memory").await, 2_000, "of 3,000");
    };
    let (storm, ()) = tokio::join!(storm, count);
    assert!(storm.iter().all(|answer| answer.status == 200), "{storm:?}");
    proxy.shutdown().await;
}
