//! One of several tenants takes as much of what all have together as it leaves free.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use graphward::config::{Config, EnvVars, Overrides};
use tokio::time::sleep;

use crate::support::{
    ScriptedResponse, ScriptedTable, TestProxy, TestProxyBuilder, TestResponse, get, post_file, request, sized,
    stalled, with,
};

/// Besides the tenant of `[token]`, whose source is the scripted one, a tenant without a token.
const TWO_TENANTS: &str = "[token]\nsource = { env = \"FIRST\" }\n[routing]\nheader = \"x-tenant-id\"\n\
    [tenants.acme]\nsource = { env = \"SECOND\" }\n";

/// Tenants of a table, besides that of `[token]`.
const TABLE: &str = "[token]\nsource = { env = \"FIRST\" }\n[routing]\nheader = \"x-tenant-id\"\n\
    [tenants_from]\nfile = \"/tokens/{tenant}\"\n";
const TABLE_TOKEN: &str = "EAAtable0token0of0the0tests";

/// A proxy with these tenants; for the first four seconds, no tenant has a token.
async fn start(tenants: &str, set: impl FnOnce(&mut Config)) -> TestProxy {
    builder(tenants)
        .with(set)
        .with_max_inflight(10)
        .with_source_delay(Duration::from_secs(4))
        .start()
        .await
}

/// A proxy with four tenants of a table, and a Graph that answers after five seconds.
async fn start_table(set: impl FnOnce(&mut Config)) -> TestProxy {
    let table = ScriptedTable::default();
    for tenant in ["a", "b", "c", "well"] {
        table.set(tenant, TABLE_TOKEN, &[]);
    }
    let proxy = builder(TABLE).with(set).with_table(table).with_max_inflight(12);
    let proxy = proxy.start().await;
    proxy.graph.accept(TABLE_TOKEN);
    let late = ScriptedResponse::json(200, "{}").delayed(Duration::from_secs(5));
    proxy.graph.respond_with(late);
    proxy
}

fn builder(tenants: &str) -> TestProxyBuilder {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), tenants).unwrap();
    let flags = Overrides {
        config: Some(file.path().to_owned()),
        ..Overrides::default()
    };
    let loaded = Config::load(flags, &EnvVars::new()).unwrap().config;
    TestProxyBuilder::new().with(|config| *config = loaded)
}

/// Uploads a file of a tenant.
async fn upload(proxy: &TestProxy, tenant: &str) -> TestResponse {
    let request = post_file(sized(vec![b'x'; 1_000]));
    proxy.app.fetch(with(request, &[("x-tenant-id", tenant)])).await
}

#[tokio::test(start_paused = true)]
async fn a_tenant_has_half_of_the_requests_in_flight_if_no_other_has_any() {
    let proxy = start(TWO_TENANTS, |_| ()).await;
    let storm = join_all((0..5).map(|_| proxy.app.get("/me")));
    let others = async {
        sleep(Duration::from_secs(1)).await;
        let sixth = proxy.app.get("/me").await;
        sixth.refused(503, "connection_limit_reached");
        assert_eq!(sixth.code(), 990_002);
        assert!(sixth.text().contains("as many as it leaves free"), "{}", sixth.text());
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

#[tokio::test(start_paused = true)]
async fn three_storming_tenants_leave_a_place_and_memory_for_a_fourth_one() {
    let proxy = start_table(|config| {
        config.heal.memory_total = 12_000;
        config.heal.disk_total = 0;
    })
    .await;
    let storm = (0..6_u64).flat_map(|round| ["a", "b", "c"].map(|tenant| (round, tenant)));
    let storm = join_all(storm.map(|(round, tenant)| {
        let proxy = &proxy;
        async move {
            sleep(Duration::from_millis(10 * round)).await;
            (tenant, upload(proxy, tenant).await)
        }
    }));
    let fourth = async {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(proxy.replay_bytes_in("memory").await, 9_000);
        let count = async {
            sleep(Duration::from_secs(1)).await;
            proxy.replay_bytes_in("memory").await
        };
        let (response, bytes) = tokio::join!(upload(&proxy, "well"), count);
        assert_eq!((response.status, bytes), (200, 10_000), "{response:?}");
    };
    let (storm, ()) = tokio::join!(storm, fourth);
    for storming in ["a", "b", "c"] {
        let of_tenant = storm.iter().filter(|(tenant, _)| *tenant == storming);
        let (sent, refused): (Vec<_>, Vec<_>) = of_tenant.partition(|(_, response)| response.status == 200);
        assert_eq!((sent.len(), refused.len()), (3, 3), "{storming}");
        assert!(refused.iter().all(|(_, refused)| refused.code() == 990_002));
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_tenant_of_the_configuration_leaves_a_place_for_those_of_a_table() {
    let proxy = start_table(|_| ()).await;
    let storm = join_all((0..12).map(|_| proxy.app.get("/me")));
    let other = async {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(upload(&proxy, "well").await.status, 200);
    };
    let (storm, ()) = tokio::join!(storm, other);
    assert_eq!(storm.iter().filter(|response| response.status == 200).count(), 6);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn requests_whose_tenant_is_not_known_yet_leave_a_place_for_others() {
    let proxy = start_table(|config| config.has_default_tenant = false).await;
    let unnamed = || {
        let body = stalled(b"{\"access_token\":");
        let request = request("POST", "/v25.0/1/messages", body);
        proxy.app.send(with(request, &[("content-type", "application/json")]))
    };
    let mut storm = Vec::new();
    for _ in 0..12 {
        let mut request = Box::pin(unnamed());
        let answer = tokio::time::timeout(Duration::from_millis(10), &mut request).await;
        storm.push((request, answer.ok().map(|answer| answer.unwrap().status().as_u16())));
    }
    let refused = storm.iter().filter_map(|(_, status)| *status);
    assert_eq!(refused.collect::<Vec<_>>(), [503; 6]);
    assert_eq!(upload(&proxy, "well").await.status, 200);
    drop(storm);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_for_the_first_read_of_the_table_leave_places_to_a_tenant_that_is_known() {
    let table = ScriptedTable::default();
    table.set("well", TABLE_TOKEN, &["222"]);
    table.delay_list(Duration::from_secs(3_600));
    let builder = builder(TABLE).with_table(table).with_max_inflight(10);
    // So the start does not wait for the table.
    let proxy = builder.with_source_delay(Duration::from_millis(1)).start().await;
    proxy.graph.accept(TABLE_TOKEN);
    let well = async || {
        let request = with(get("/v25.0/me"), &[("x-tenant-id", "well")]);
        proxy.app.fetch(request).await.status
    };
    assert_eq!(well().await, 200);
    let waiting = join_all((0..12).map(|_number| proxy.app.get("/v25.0/4242")));
    let known = async {
        sleep(Duration::from_secs(1)).await;
        well().await
    };
    let (refused, known) = tokio::join!(waiting, known);
    assert_eq!(known, 200);
    let codes: BTreeSet<_> = refused.iter().map(TestResponse::code).collect();
    assert_eq!(codes, [990_002, 990_003].into());
    proxy.close().await;
}
