//! Tenants whose tokens are in one table.

mod changed_apps;
mod changed_ids;
mod changes;
mod limits;
mod losses;
mod operator;
mod readiness;
mod refused_routes;
mod reports;
mod reserved_ids;
mod slow_sources;
mod unread;

use std::time::Duration;

use futures_util::future::join_all;
use graphward::config::{Config, EnvVars, Overrides};
use graphward::net::Stage;
use tokio::time::sleep;

use crate::support::{
    FIRST_TOKEN, LogCapture, PROTOCOL_PAIRS, RecordedRequest, ScriptedTable, TestProxy, TestProxyBuilder, TestResponse,
    get, request, sized, with,
};

const ACME_TOKEN: &str = "EAAacme0token0of0the0tests";
const SHOP_TOKEN: &str = "EAAshop0token0of0the0tests";
const NEW_TOKEN: &str = "EAAnew0token0of0the0tests00";

/// `acme` owns 111, `shop` owns 222.
fn table() -> ScriptedTable {
    let table = ScriptedTable::default();
    table.set("acme", ACME_TOKEN, &["111"]);
    table.set("shop", SHOP_TOKEN, &["222"]);
    table
}

async fn start(table: &ScriptedTable) -> TestProxy {
    let proxy = builder(table).start().await;
    for token in [ACME_TOKEN, SHOP_TOKEN, NEW_TOKEN] {
        proxy.graph.accept(token);
    }
    proxy
}

fn builder(table: &ScriptedTable) -> TestProxyBuilder {
    with_table(TestProxyBuilder::new(), table)
}

fn with_table(builder: TestProxyBuilder, table: &ScriptedTable) -> TestProxyBuilder {
    builder
        .with(|config| config.routing.header = Some("x-tenant-id".to_owned()))
        .with_table(table.clone())
}

async fn get_for(proxy: &TestProxy, tenant: &str) -> TestResponse {
    proxy.app.fetch(with(get("/me"), &[("x-tenant-id", tenant)])).await
}

/// Sends a request that succeeds for a tenant, and checks with which token.
async fn assert_sent_with(proxy: &TestProxy, tenant: &str, token: &str) {
    let response = get_for(proxy, tenant).await;
    assert_eq!(response.status, 200, "{response:?}");
    proxy.graph.last_request().assert_bearer(token);
}

#[tokio::test(start_paused = true)]
async fn each_tenant_is_sent_with_its_token_by_name_and_by_id_and_the_default_stays() {
    let table = table();
    let proxy = start(&table).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    assert_sent_with(&proxy, "shop", SHOP_TOKEN).await;
    assert_eq!(proxy.app.get("/v25.0/222/message_templates").await.status, 200);
    proxy.graph.last_request().assert_bearer(SHOP_TOKEN);
    assert_eq!(proxy.app.get("/me").await.status, 200);
    proxy.graph.last_request().assert_bearer(FIRST_TOKEN);
    let mixed_up = with(get("/v25.0/222/message_templates"), &[("x-tenant-id", "acme")]);
    assert_eq!(proxy.app.fetch(mixed_up).await.code(), 990_027);
    // What was to name the tenant was empty: that is not a request without a sign.
    for nameless in ["Bearer tenant:", "OAuth tenant: "] {
        let nameless = proxy.app.fetch(with(get("/me"), &[("authorization", nameless)])).await;
        assert_eq!((nameless.status, nameless.code()), (404, 990_025), "{nameless:?}");
    }
    assert_eq!(
        (table.reads(), table.row_reads()),
        (1, 0),
        "nothing is asked on the path"
    );
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn all_tenants_share_one_connection_to_graph() {
    for protocols in PROTOCOL_PAIRS {
        let table = table();
        let proxy = with_table(TestProxyBuilder::over(protocols), &table).start().await;
        for token in [ACME_TOKEN, SHOP_TOKEN] {
            proxy.graph.accept(token);
        }
        for _ in 0..3 {
            assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
            assert_sent_with(&proxy, "shop", SHOP_TOKEN).await;
            assert_eq!(proxy.app.get("/me").await.status, 200);
            proxy.graph.last_request().assert_bearer(FIRST_TOKEN);
        }
        assert_eq!(proxy.graph.connections(), 1, "{protocols:?}");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_row_is_used_when_it_is_announced_by_open_and_by_closed_tenants() {
    let table = table();
    let proxy = start(&table).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    table.set("acme", NEW_TOKEN, &["333"]);
    table.set("shop", NEW_TOKEN, &["222"]);
    table.announce();
    sleep(Duration::from_secs(1)).await;
    assert_sent_with(&proxy, "acme", NEW_TOKEN).await;
    assert_sent_with(&proxy, "shop", NEW_TOKEN).await;
    let by_id = |id: &str| get(&format!("/v25.0/{id}/phone_numbers"));
    assert_eq!(proxy.app.fetch(by_id("333")).await.status, 200);
    proxy.graph.last_request().assert_bearer(NEW_TOKEN);
    let freed = proxy.app.fetch(by_id("111")).await;
    assert_eq!(freed.status, 503, "another row may get it: {freed:?}");
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_rejected_request_is_healed_by_one_read_of_its_row() {
    let table = table();
    let proxy = start(&table).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    proxy.graph.expire_all();
    proxy.graph.accept(NEW_TOKEN);
    // Nothing is announced.
    table.set("acme", NEW_TOKEN, &["111"]);
    let requests = (0..20).map(|_| get_for(&proxy, "acme"));
    let responses = join_all(requests).await;
    assert!(responses.iter().all(|response| response.status == 200), "{responses:?}");
    assert_eq!(table.row_reads(), 1);
    assert_eq!(table.reads(), 1);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_not_listed_is_looked_up_once_for_all_who_wait() {
    let table = table();
    let proxy = start(&table).await;
    table.set("later", NEW_TOKEN, &[]);
    let responses = join_all((0..20).map(|_| get_for(&proxy, "later"))).await;
    assert!(responses.iter().all(|response| response.status == 200), "{responses:?}");
    assert_eq!(table.row_reads(), 1);
    proxy.graph.last_request().assert_bearer(NEW_TOKEN);
    let in_body = request("POST", "/v25.0/me/x", sized(r#"{"access_token":"tenant:another"}"#));
    let in_body = with(in_body, &[("content-type", "application/json")]);
    assert_eq!(proxy.app.fetch(in_body).await.code(), 990_025);
    assert_eq!(table.row_reads(), 2);
    for _ in 0..5 {
        let unknown = get_for(&proxy, "another").await;
        assert_eq!((unknown.status, unknown.code()), (404, 990_025));
    }
    assert_eq!(table.row_reads(), 2, "that no row has it is remembered");
    sleep(Duration::from_secs(6)).await;
    table.set("another", SHOP_TOKEN, &[]);
    assert_sent_with(&proxy, "another", SHOP_TOKEN).await;
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_name_that_cannot_be_looked_up_is_refused_for_now() {
    let table = table();
    let proxy = start(&table).await;
    table.set_failing(true);
    let unknown = get_for(&proxy, "later").await;
    assert_eq!((unknown.status, unknown.code()), (503, 990_003));
    assert!(unknown.text().contains("\"is_transient\":true"), "{}", unknown.text());
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_removed_row_withdraws_its_tenant_after_a_second_read_and_comes_back() {
    let table = table();
    let proxy = start(&table).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    table.remove("acme");
    table.announce();
    sleep(Duration::from_secs(1)).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    sleep(Duration::from_secs(2)).await;
    let withdrawn = get_for(&proxy, "acme").await;
    assert_eq!((withdrawn.status, withdrawn.code()), (403, 990_026));
    assert_eq!(
        proxy.app.get("/v25.0/111/messages").await.code(),
        990_026,
        "its ids are not those of another one"
    );
    assert_sent_with(&proxy, "shop", SHOP_TOKEN).await;
    table.set("acme", NEW_TOKEN, &["111"]);
    table.announce();
    sleep(Duration::from_secs(1)).await;
    assert_sent_with(&proxy, "acme", NEW_TOKEN).await;
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_tenant_whose_row_a_rejection_finds_gone_is_inactive_at_once() {
    let table = table();
    table.set("other", NEW_TOKEN, &[]);
    let proxy = start(&table).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    proxy.graph.expire_all();
    // Nothing is announced: the row is read because Graph rejects its token.
    table.remove("acme");
    for _ in 0..4 {
        let refused = get_for(&proxy, "acme").await;
        let answer = (refused.status, refused.code());
        assert!(matches!(answer, (401, 190) | (403, 990_026)), "{refused:?}");
        sleep(Duration::from_millis(100)).await;
    }
    let withdrawn = get_for(&proxy, "acme").await;
    assert_eq!((withdrawn.status, withdrawn.code()), (403, 990_026));
    // A row that is there and has no token is another matter.
    table.set_empty("shop");
    table.announce();
    sleep(Duration::from_secs(1)).await;
    let without_token = get_for(&proxy, "shop").await;
    assert_eq!((without_token.status, without_token.code()), (403, 990_023));
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_truncated_table_withdraws_no_tenant_for_five_minutes() {
    let log = LogCapture::at_info();
    let table = table();
    let proxy = start(&table).await;
    table.clear();
    table.announce();
    sleep(Duration::from_secs(280)).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    assert_sent_with(&proxy, "shop", SHOP_TOKEN).await;
    assert_eq!(
        log.text()
            .matches("many tenants, tokens or ids are missing at once")
            .count(),
        1
    );
    sleep(Duration::from_secs(30)).await;
    assert_eq!(get_for(&proxy, "acme").await.code(), 990_026);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_row_without_a_usable_token_is_one_tenants_trouble() {
    let table = table();
    table.set_faulty("bad", "no configured Fernet key decrypts it");
    let proxy = start(&table).await;
    let refused = get_for(&proxy, "bad").await;
    assert_eq!((refused.status, refused.code()), (503, 990_003));
    assert!(
        refused.text().contains("no configured Fernet key decrypts it"),
        "{}",
        refused.text()
    );
    assert!(refused.text().contains("\"is_transient\":false"), "{}", refused.text());
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    table.set("bad", NEW_TOKEN, &[]);
    table.announce();
    sleep(Duration::from_secs(1)).await;
    assert_sent_with(&proxy, "bad", NEW_TOKEN).await;
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_table_that_cannot_be_read_keeps_its_tenants_and_the_start_waits_for_it() {
    let table = table();
    table.set_failing(true);
    let proxy = builder(&table)
        .with_source_delay(Duration::from_millis(1))
        .start()
        .await;
    proxy.graph.accept(ACME_TOKEN);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(proxy.admin_get("/startupz").await.status, 503);
    table.set_failing(false);
    table.announce();
    proxy.stages.wait_for(Stage::Serving).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    table.set_failing(true);
    table.announce();
    sleep(Duration::from_secs(600)).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_is_not_used_is_closed_and_opened_again_with_the_token_of_its_row() {
    let table = table();
    let proxy = start(&table).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    for _ in 0..30 {
        sleep(Duration::from_secs(60)).await;
    }
    assert_eq!(table.row_reads(), 0);
    table.set("acme", NEW_TOKEN, &["111"]);
    table.announce();
    sleep(Duration::from_secs(1)).await;
    assert_sent_with(&proxy, "acme", NEW_TOKEN).await;
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_table_that_lists_nothing_is_asked_for_each_name() {
    let table = table();
    table.hide_list();
    let proxy = start(&table).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    assert_eq!(table.row_reads(), 1);
    assert_eq!(get_for(&proxy, "other").await.code(), 990_025);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_tenant_of_a_table_that_lists_nothing_is_read_again_only_while_it_is_used() {
    let table = table();
    table.hide_list();
    let proxy = start(&table).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    table.set("acme", NEW_TOKEN, &["111"]);
    sleep(Duration::from_secs(40)).await;
    assert_sent_with(&proxy, "acme", NEW_TOKEN).await;
    // It is idle after ten minutes, and a moment longer open for the requests that may still use it.
    sleep(Duration::from_secs(12 * 60)).await;
    let reads = table.row_reads();
    assert!(reads > 10, "{reads}");
    sleep(Duration::from_secs(60 * 60)).await;
    assert_eq!(table.row_reads(), reads);
    assert_sent_with(&proxy, "acme", NEW_TOKEN).await;
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_row_named_default_serves_no_request_without_a_sign() {
    let table = table();
    table.set("default", NEW_TOKEN, &["333"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        "[tenants.other]\nsource = { env = \"OTHER\" }\n[routing]\nheader = \"x-tenant-id\"",
    )
    .unwrap();
    let flags = Overrides {
        config: Some(file.path().to_owned()),
        ..Overrides::default()
    };
    let loaded = Config::load(flags, &EnvVars::new()).unwrap().config;
    let proxy = TestProxyBuilder::new()
        .with(|config| *config = loaded)
        .with_table(table)
        .start()
        .await;
    proxy.graph.accept(NEW_TOKEN);
    assert_eq!(proxy.app.get("/me").await.code(), 990_024);
    assert_sent_with(&proxy, "default", NEW_TOKEN).await;
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn open_tenants_do_not_delay_a_stop() {
    let table = table();
    let proxy = start(&table).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    let stopped_at = tokio::time::Instant::now();
    proxy.stop().await;
    proxy.wait_exit().await;
    assert!(
        stopped_at.elapsed() < Duration::from_millis(400),
        "{:?}",
        stopped_at.elapsed()
    );
}
