//! Ids that no row has for a while: they are not those of the default tenant, and what passes is refused for now only.

use super::*;

/// The answer to a request with this id and no other sign.
async fn by_id(proxy: &TestProxy, id: &str) -> TestResponse {
    proxy.app.get(&format!("/v25.0/{id}/message_templates")).await
}

/// The answer to a request with this id that names a tenant, too.
async fn named(proxy: &TestProxy, id: &str, tenant: &str) -> TestResponse {
    let request = get(&format!("/v25.0/{id}/message_templates"));
    proxy.app.fetch(with(request, &[("x-tenant-id", tenant)])).await
}

async fn assert_sent_by_id(proxy: &TestProxy, id: &str, token: &str) {
    let response = by_id(proxy, id).await;
    assert_eq!(response.status, 200, "{id}: {response:?}");
    proxy.graph.last_request().assert_bearer(token);
}

#[track_caller]
fn assert_undecided(response: &TestResponse) {
    assert_eq!((response.status, response.code()), (503, 990_003), "{response:?}");
    assert!(response.text().contains("\"is_transient\":true"), "{response:?}");
}

#[track_caller]
fn assert_inactive(response: &TestResponse) {
    assert_eq!((response.status, response.code()), (403, 990_026), "{response:?}");
}

/// Lets the table be read.
async fn read(table: &ScriptedTable) {
    table.announce();
    sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn an_id_that_moves_to_another_row_in_two_steps_is_refused_for_now_and_never_that_of_the_default_tenant() {
    const FREEING: fn(&ScriptedTable) = |table| table.set("acme", ACME_TOKEN, &["112"]);
    const TAKING: fn(&ScriptedTable) = |table| table.set("moved", NEW_TOKEN, &["111"]);
    for [first, second] in [[FREEING, TAKING], [TAKING, FREEING]] {
        let table = table();
        let proxy = start(&table).await;
        assert_sent_by_id(&proxy, "111", ACME_TOKEN).await;
        first(&table);
        read(&table).await;
        assert_undecided(&by_id(&proxy, "111").await);
        assert_undecided(&named(&proxy, "111", "shop").await);
        assert_eq!(named(&proxy, "111", "acme").await.status, 200);
        second(&table);
        read(&table).await;
        assert_sent_by_id(&proxy, "111", NEW_TOKEN).await;
        assert_sent_by_id(&proxy, "112", ACME_TOKEN).await;
        sleep(Duration::from_secs(60)).await;
        assert_sent_by_id(&proxy, "111", NEW_TOKEN).await;
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_that_two_reads_find_in_no_row_is_refused_for_good_until_a_row_has_it() {
    let table = table();
    let proxy = start(&table).await;
    table.set("acme", ACME_TOKEN, &["112"]);
    read(&table).await;
    assert_undecided(&by_id(&proxy, "111").await);
    // Nothing more is announced.
    sleep(Duration::from_secs(3)).await;
    for _ in 0..3 {
        assert_inactive(&by_id(&proxy, "111").await);
        sleep(Duration::from_secs(600)).await;
    }
    assert_eq!(named(&proxy, "111", "shop").await.status, 200, "it is named otherwise");
    proxy.graph.last_request().assert_bearer(SHOP_TOKEN);
    table.set("shop", SHOP_TOKEN, &["222", "111"]);
    read(&table).await;
    assert_sent_by_id(&proxy, "111", SHOP_TOKEN).await;
    assert_sent_by_id(&proxy, "4242", FIRST_TOKEN).await;
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_id_that_two_rows_have_is_refused_for_now_until_a_second_read_finds_the_same() {
    let table = table();
    let proxy = start(&table).await;
    table.set("third", NEW_TOKEN, &["222"]);
    read(&table).await;
    assert_undecided(&by_id(&proxy, "222").await);
    assert_eq!(named(&proxy, "222", "third").await.status, 200);
    sleep(Duration::from_secs(3)).await;
    let disputed = by_id(&proxy, "222").await;
    assert_eq!((disputed.status, disputed.code()), (400, 990_024), "{disputed:?}");
    assert_eq!(named(&proxy, "222", "acme").await.code(), 990_027);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_row_that_comes_back_without_an_id_leaves_it_to_no_other_tenant() {
    let table = table();
    let proxy = start(&table).await;
    table.remove("acme");
    read(&table).await;
    sleep(Duration::from_secs(3)).await;
    assert_inactive(&by_id(&proxy, "111").await);
    table.set("acme", NEW_TOKEN, &["333"]);
    read(&table).await;
    assert_sent_by_id(&proxy, "333", NEW_TOKEN).await;
    assert_inactive(&by_id(&proxy, "111").await);
    proxy.shutdown().await;
}

/// Twenty rows, each with an id.
fn many() -> ScriptedTable {
    let table = ScriptedTable::default();
    for number in 10..30 {
        table.set(&format!("t{number}"), ACME_TOKEN, &[&format!("5{number}")]);
    }
    table
}

#[tokio::test(start_paused = true)]
async fn the_ids_of_a_read_that_is_not_used_yet_are_not_those_of_the_default_tenant() {
    for outcome in ["it is used", "it was wrong"] {
        let table = many();
        let proxy = start(&table).await;
        table.clear();
        table.set("later", SHOP_TOKEN, &["222"]);
        read(&table).await;
        assert_undecided(&by_id(&proxy, "222").await);
        assert_sent_by_id(&proxy, "510", ACME_TOKEN).await;
        assert_sent_by_id(&proxy, "4242", FIRST_TOKEN).await;
        if outcome == "it is used" {
            sleep(Duration::from_secs(310)).await;
            assert_sent_by_id(&proxy, "222", SHOP_TOKEN).await;
            assert_inactive(&by_id(&proxy, "510").await);
        } else {
            table.remove("later");
            for number in 10..30 {
                table.set(&format!("t{number}"), ACME_TOKEN, &[&format!("5{number}")]);
            }
            read(&table).await;
            assert_sent_by_id(&proxy, "222", FIRST_TOKEN).await;
        }
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_of_an_unused_row_with_the_name_of_the_default_tenant_is_always_that_tenants() {
    let table = many();
    table.set("default", SHOP_TOKEN, &["222"]);
    let proxy = start(&table).await;
    assert_sent_by_id(&proxy, "222", FIRST_TOKEN).await;
    // A read that is not used yet.
    table.clear();
    table.set("default", SHOP_TOKEN, &["222", "223"]);
    read(&table).await;
    for id in ["222", "223"] {
        assert_sent_by_id(&proxy, id, FIRST_TOKEN).await;
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_ids_of_a_renamed_row_are_those_of_its_new_name_at_once() {
    let table = table();
    let proxy = start(&table).await;
    table.remove("acme");
    table.set("renamed", NEW_TOKEN, &["111"]);
    read(&table).await;
    assert_sent_by_id(&proxy, "111", NEW_TOKEN).await;
    assert_sent_with(&proxy, "renamed", NEW_TOKEN).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    sleep(Duration::from_secs(3)).await;
    assert_sent_by_id(&proxy, "111", NEW_TOKEN).await;
    assert_inactive(&get_for(&proxy, "acme").await);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn while_many_rows_are_renamed_an_id_is_served_by_the_old_name_or_by_the_new_one() {
    let table = many();
    let proxy = start(&table).await;
    table.clear();
    for number in 10..30 {
        table.set(&format!("new{number}"), NEW_TOKEN, &[&format!("5{number}")]);
    }
    read(&table).await;
    assert_sent_by_id(&proxy, "510", ACME_TOKEN).await;
    assert_sent_with(&proxy, "new10", NEW_TOKEN).await;
    assert_sent_by_id(&proxy, "510", NEW_TOKEN).await;
    assert_sent_by_id(&proxy, "511", ACME_TOKEN).await;
    sleep(Duration::from_secs(310)).await;
    assert_sent_by_id(&proxy, "511", NEW_TOKEN).await;
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_active_again_is_looked_up_by_its_name_and_by_its_id() {
    for is_named in [true, false] {
        let table = table();
        let proxy = start(&table).await;
        let request = async || match is_named {
            true => get_for(&proxy, "acme").await,
            false => by_id(&proxy, "111").await,
        };
        table.remove("acme");
        read(&table).await;
        sleep(Duration::from_secs(3)).await;
        let looked_up = table.row_reads();
        for _ in 0..5 {
            assert_inactive(&request().await);
        }
        assert_eq!(table.row_reads() - looked_up, 1, "that no row has it is remembered");
        sleep(Duration::from_secs(6)).await;
        // Nothing is announced.
        table.set("acme", NEW_TOKEN, &["111"]);
        assert_eq!(request().await.status, 200, "{is_named}");
        proxy.graph.last_request().assert_bearer(NEW_TOKEN);
        proxy.shutdown().await;
    }
}
