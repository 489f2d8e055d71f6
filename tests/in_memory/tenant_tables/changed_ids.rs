//! Rows whose ids change, alone or with their tokens, while requests are on their way.

use std::time::Duration;

use tokio::time::sleep;

use super::{ACME_TOKEN, NEW_TOKEN, SHOP_TOKEN, assert_sent_with, builder, get_for, start, table};
use crate::support::{ScriptedTable, TestProxy, chunked_with_delay, get, request, with};

/// Lets the two rows exchange everything except their names.
fn exchange(table: &ScriptedTable) {
    table.set("acme", SHOP_TOKEN, &["222"]);
    table.set("shop", ACME_TOKEN, &["111"]);
}

async fn assert_sent_by_id(proxy: &TestProxy, id: &str, token: &str) {
    let response = proxy.app.get(&format!("/v25.0/{id}/message_templates")).await;
    assert_eq!(response.status, 200, "{response:?}");
    proxy.graph.last_request().assert_bearer(token);
}

#[tokio::test(start_paused = true)]
async fn a_request_keeps_the_token_that_its_id_had_when_it_began() {
    let table = table();
    let proxy = start(&table).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    assert_sent_with(&proxy, "shop", SHOP_TOKEN).await;
    let body = chunked_with_delay(r#"{"to": "15550100200"}"#, 5, Duration::from_secs(1));
    let slow = with(
        request("POST", "/v25.0/111/messages", body),
        &[("content-type", "application/json")],
    );
    let exchanging = async {
        sleep(Duration::from_secs(1)).await;
        exchange(&table);
        table.announce();
        sleep(Duration::from_secs(1)).await;
        // Those that begin now have the rows as they are now.
        assert_sent_by_id(&proxy, "111", ACME_TOKEN).await;
        assert_sent_by_id(&proxy, "222", SHOP_TOKEN).await;
        assert_sent_with(&proxy, "acme", SHOP_TOKEN).await;
        assert_sent_with(&proxy, "shop", ACME_TOKEN).await;
    };
    let (response, ()) = tokio::join!(proxy.app.fetch(slow), exchanging);
    assert_eq!(response.status, 200, "{response:?}");
    proxy.graph.last_request().assert_bearer(ACME_TOKEN);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_rejected_request_is_not_sent_with_a_token_whose_row_has_other_ids_now() {
    let table = table();
    let proxy = start(&table).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    proxy.graph.expire_all();
    proxy.graph.accept(SHOP_TOKEN);
    // Nothing is announced, so that the rejection finds it first.
    exchange(&table);
    let by_id = get("/v25.0/111/message_templates");
    let response = proxy.app.fetch(by_id).await;
    assert_eq!(response.code(), 190, "{response:?}");
    assert!(proxy.graph.accepted().len() == 1, "only the first request is sent");
    table.announce();
    sleep(Duration::from_secs(1)).await;
    assert_sent_by_id(&proxy, "222", SHOP_TOKEN).await;
    assert_sent_with(&proxy, "acme", SHOP_TOKEN).await;
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn ids_that_a_rejection_finds_first_are_used_when_they_are_announced() {
    let table = table();
    let proxy = start(&table).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    proxy.graph.expire_all();
    proxy.graph.accept(NEW_TOKEN);
    table.set("acme", NEW_TOKEN, &["111", "112"]);
    assert_sent_with(&proxy, "acme", NEW_TOKEN).await;
    table.announce();
    sleep(Duration::from_secs(1)).await;
    assert_sent_by_id(&proxy, "112", NEW_TOKEN).await;
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_held_when_its_tenant_gets_one_more_id_is_healed() {
    let table = table();
    let proxy = builder(&table)
        .with(|config| config.heal.hold_timeout = Duration::from_secs(60))
        .start()
        .await;
    proxy.graph.accept(ACME_TOKEN);
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    proxy.graph.expire_all();
    let changing = async {
        sleep(Duration::from_secs(1)).await;
        table.set("acme", ACME_TOKEN, &["111", "112"]);
        table.announce();
        sleep(Duration::from_secs(1)).await;
        let healing = async {
            sleep(Duration::from_secs(1)).await;
            proxy.graph.accept(NEW_TOKEN);
            table.set("acme", NEW_TOKEN, &["111", "112"]);
            table.announce();
        };
        let (later, ()) = tokio::join!(get_for(&proxy, "acme"), healing);
        later
    };
    let (held, later) = tokio::join!(get_for(&proxy, "acme"), changing);
    assert_eq!((held.status, later.status), (200, 200), "{held:?} {later:?}");
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_id_that_a_look_up_finds_in_another_row_is_no_other_tenants_and_soon_that_of_the_new_one() {
    let table = table();
    let proxy = start(&table).await;
    assert_sent_by_id(&proxy, "111", ACME_TOKEN).await;
    table.set("acme", ACME_TOKEN, &["1110"]);
    table.set("moved", NEW_TOKEN, &["111"]);
    proxy.graph.accept(NEW_TOKEN);
    table.delay_list(Duration::from_secs(3));
    sleep(Duration::from_secs(2)).await;
    // Nothing was announced: the row is looked up, and the list still has the id in two rows.
    assert_sent_with(&proxy, "moved", NEW_TOKEN).await;
    let by_id = proxy.app.get("/v25.0/111/message_templates").await;
    assert_eq!((by_id.status, by_id.code()), (503, 990_003), "{by_id:?}");
    let mixed_up = get("/v25.0/111/message_templates");
    let mixed_up = proxy.app.fetch(with(mixed_up, &[("x-tenant-id", "shop")])).await;
    assert_eq!((mixed_up.status, mixed_up.code()), (503, 990_003), "{mixed_up:?}");
    let named = get("/v25.0/111/message_templates");
    let named = proxy.app.fetch(with(named, &[("x-tenant-id", "moved")])).await;
    assert_eq!(named.status, 200, "{named:?}");
    proxy.graph.last_request().assert_bearer(NEW_TOKEN);
    sleep(Duration::from_secs(5)).await;
    assert_sent_by_id(&proxy, "111", NEW_TOKEN).await;
    assert_sent_by_id(&proxy, "1110", ACME_TOKEN).await;
    proxy.shutdown().await;
}
