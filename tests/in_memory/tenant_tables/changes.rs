//! Tenants that the operator puts and removes, and reads that began before.

use tokio::time::Instant;

use super::*;

/// A proxy that asks Graph about no token.
async fn start_unverified(table: &ScriptedTable) -> TestProxy {
    let proxy = builder(table).with(|config| {
        config.token.verify = false;
        config.app.id = Some("1234".to_owned());
    });
    let proxy = proxy.start().await;
    for token in [ACME_TOKEN, SHOP_TOKEN, NEW_TOKEN] {
        proxy.graph.accept(token);
    }
    proxy
}

async fn operate(proxy: &TestProxy, method: &str, tenant: &str, body: String) -> TestResponse {
    let headers = [
        ("host", "localhost"),
        ("graphward-admin", "yes"),
        ("content-type", "application/json"),
    ];
    let change = request(method, &format!("/admin/tenants/{tenant}"), sized(body));
    proxy.admin().fetch(with(change, &headers)).await
}

async fn put(proxy: &TestProxy, tenant: &str, token: &str) -> TestResponse {
    operate(proxy, "PUT", tenant, format!(r#"{{"accessToken":"{token}"}}"#)).await
}

async fn remove(proxy: &TestProxy, tenant: &str) -> TestResponse {
    operate(proxy, "DELETE", tenant, String::new()).await
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_began_before_a_tenant_was_removed_does_not_bring_it_back() {
    let table = table();
    let proxy = start_unverified(&table).await;
    table.set("later", NEW_TOKEN, &[]);
    table.delay_rows(Duration::from_secs(2));
    let operator = async {
        sleep(Duration::from_secs(1)).await;
        table.delay_rows(Duration::ZERO);
        assert_eq!(remove(&proxy, "later").await.status, 200);
    };
    let (refused, ()) = tokio::join!(get_for(&proxy, "later"), operator);
    assert_eq!(refused.code(), 990_025, "{refused:?}");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(get_for(&proxy, "later").await.code(), 990_025);
    // One that begins after that counts.
    sleep(Duration::from_secs(6)).await;
    table.set("later", NEW_TOKEN, &[]);
    assert_sent_with(&proxy, "later", NEW_TOKEN).await;
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_read_of_the_table_that_began_before_a_tenant_was_removed_does_not_bring_it_back() {
    let table = table();
    let proxy = start_unverified(&table).await;
    table.delay_list(Duration::from_secs(1));
    table.announce();
    sleep(Duration::from_millis(10)).await;
    assert_eq!(remove(&proxy, "shop").await.status, 200);
    for _ in 0..30 {
        assert_eq!(get_for(&proxy, "shop").await.code(), 990_026);
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(put(&proxy, "shop", NEW_TOKEN).await.status, 200);
    assert_sent_with(&proxy, "shop", NEW_TOKEN).await;
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_read_that_began_before_a_row_got_another_app_does_not_bring_the_old_row_back() {
    let table = table();
    let proxy = start_unverified(&table).await;
    table.set_app("1234");
    table.delay_list(Duration::from_secs(1));
    table.announce();
    sleep(Duration::from_millis(10)).await;
    assert_eq!(put(&proxy, "shop", NEW_TOKEN).await.status, 200);
    for _ in 0..30 {
        assert_sent_with(&proxy, "shop", NEW_TOKEN).await;
        sleep(Duration::from_millis(200)).await;
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_operator_does_not_wait_for_a_read_of_the_table() {
    let table = table();
    let proxy = start_unverified(&table).await;
    let reads = table.reads();
    table.delay_list(Duration::from_secs(30));
    table.announce();
    sleep(Duration::from_millis(10)).await;
    assert_eq!(table.reads(), reads + 1);
    let started_at = Instant::now();
    let answer = put(&proxy, "other", NEW_TOKEN).await;
    assert_eq!(
        (answer.status, answer.text().contains(r#""unread":null"#)),
        (200, true),
        "{answer:?}"
    );
    assert_sent_with(&proxy, "other", NEW_TOKEN).await;
    assert_eq!(remove(&proxy, "other").await.status, 200);
    assert_eq!(get_for(&proxy, "other").await.code(), 990_026);
    assert!(
        started_at.elapsed() < Duration::from_secs(1),
        "{:?}",
        started_at.elapsed()
    );
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_was_removed_is_refused_even_if_its_place_cannot_be_read_once_more() {
    let table = table();
    let proxy = start_unverified(&table).await;
    assert_sent_with(&proxy, "shop", SHOP_TOKEN).await;
    table.set_failing(true);
    assert_eq!(remove(&proxy, "shop").await.status, 200);
    assert_eq!(get_for(&proxy, "shop").await.code(), 990_026);
    // What was put is used when it can be read, and the answer says so.
    let answer = put(&proxy, "shop", NEW_TOKEN).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(
        answer.text().contains(r#""unread":"the table is unreachable""#),
        "{}",
        answer.text()
    );
    assert_eq!(get_for(&proxy, "shop").await.code(), 990_026);
    table.set_failing(false);
    table.announce();
    sleep(Duration::from_secs(5)).await;
    assert_sent_with(&proxy, "shop", NEW_TOKEN).await;
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_removal_of_a_tenant_that_is_not_there_says_where_it_was_looked_for() {
    let log = LogCapture::at_info();
    let table = table();
    let proxy = start_unverified(&table).await;
    let refused = remove(&proxy, "nosuch").await;
    assert_eq!(refused.status, 404);
    assert!(
        refused
            .text()
            .contains("the place of [tenants_from] has no such tenant")
            && !refused.text().contains("?tenant"),
        "{}",
        refused.text()
    );
    let lines = log.lines_containing("refused a request of the operator");
    assert_eq!(lines.len(), 1, "{}", log.text());
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn one_statement_that_a_tenant_is_gone_changes_nothing_however_often_it_is_made() {
    let table = table();
    table.hide_list();
    let proxy = start(&table).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    for _ in 0..4 {
        table.remove("acme");
        let reads = table.row_reads();
        while table.row_reads() == reads {
            sleep(Duration::from_millis(100)).await;
        }
        // Longer than another read right after it would take.
        sleep(Duration::from_secs(1)).await;
        table.set("acme", ACME_TOKEN, &["111"]);
        // Until the next poll, and longer than the time after which a statement that is repeated counts.
        for _ in 0..20 {
            assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
            sleep(Duration::from_secs(2)).await;
        }
    }
    table.remove("acme");
    sleep(Duration::from_secs(40)).await;
    assert_eq!(get_for(&proxy, "acme").await.code(), 990_026);
    proxy.shutdown().await;
}
