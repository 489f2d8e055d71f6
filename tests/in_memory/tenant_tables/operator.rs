//! What the operator sees of the tenants of a table, and can ask for.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_operator_sees_counts_and_the_tenants_that_cannot_be_used() {
    let table = table();
    for number in 0..30 {
        table.set(&format!("t{number}"), NEW_TOKEN, &[]);
    }
    table.set_faulty("bad", "no configured Fernet key decrypts it");
    let proxy = start(&table).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    let ready = proxy.admin_get("/readyz").await;
    assert_eq!(ready.status, 200);
    let state: serde_json::Value = serde_json::from_str(ready.text()).unwrap();
    assert_eq!(state["tenant_count"], 34);
    let counts = ["usable", "dead", "undecryptable"].map(|name| state["tokens"][name].as_u64().unwrap());
    assert_eq!(counts, [33, 0, 1], "{state}");
    let listed = state["tenants"].as_object().unwrap();
    assert_eq!(listed.keys().collect::<Vec<_>>(), ["bad"]);
    assert!(
        listed["bad"]["reason"].to_string().contains("no configured Fernet key"),
        "{state}"
    );
    assert_eq!(proxy.metric(r#"graphward_tokens{state="usable"}"#).await, 33);
    assert_eq!(proxy.metric(r#"graphward_tokens{state="undecryptable"}"#).await, 1);
    table.remove("acme");
    table.announce();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(proxy.metric(r#"graphward_tokens{state="withdrawn"}"#).await, 1);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_token_of_a_tenant_at_rest_is_set_through_the_admin_listener() {
    let table = table();
    let proxy = start(&table).await;
    let answer = set_token(&proxy, "shop", NEW_TOKEN).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_sent_with(&proxy, "shop", NEW_TOKEN).await;
    assert_eq!(set_token(&proxy, "other", NEW_TOKEN).await.status, 404);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_read_that_began_before_a_token_was_stored_does_not_bring_the_old_one_back() {
    let table = table();
    let proxy = start(&table).await;
    assert_sent_with(&proxy, "shop", SHOP_TOKEN).await;
    table.announce();
    sleep(Duration::from_millis(10)).await;
    let reads = table.reads();
    assert_eq!(set_token(&proxy, "shop", NEW_TOKEN).await.status, 200);
    for _ in 0..10 {
        assert_sent_with(&proxy, "shop", NEW_TOKEN).await;
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(table.reads(), reads);

    // The table is read again, in case that the old token was there on purpose.
    table.set("shop", SHOP_TOKEN, &["222"]);
    sleep(Duration::from_secs(3)).await;
    assert_sent_with(&proxy, "shop", SHOP_TOKEN).await;
    proxy.shutdown().await;
}

/// Sets the token of a tenant, as an operator does.
async fn set_token(proxy: &TestProxy, tenant: &str, token: &str) -> TestResponse {
    let body = sized(format!(r#"{{"access_token":"{token}"}}"#));
    let headers = [
        ("host", "localhost"),
        ("graphward-admin", "yes"),
        ("content-type", "application/json"),
    ];
    let set = request("PUT", &format!("/admin/token?tenant={tenant}"), body);
    proxy.admin().fetch(with(set, &headers)).await
}

/// Sends a request that an operator may send.
pub(super) async fn operate(proxy: &TestProxy, method: &str, target: &str) -> TestResponse {
    let headers = [("host", "localhost"), ("graphward-admin", "yes")];
    proxy
        .admin()
        .fetch(with(request(method, target, sized("")), &headers))
        .await
}

#[tokio::test(start_paused = true)]
async fn the_operator_lets_a_truncated_table_count_at_once() {
    let table = table();
    let proxy = start(&table).await;
    table.clear();
    table.announce();
    sleep(Duration::from_secs(30)).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    let alerts = r#"graphward_token_alerts_total{tenant="",cause="tenants_missing"}"#;
    assert_eq!(proxy.metric(alerts).await, 1);
    assert_eq!(
        proxy.app.get("/admin/refresh-token").await.status,
        200,
        "it is Graph's path there"
    );
    let without_header = proxy
        .admin()
        .fetch(request("POST", "/admin/refresh-token", sized("")))
        .await;
    assert_eq!(without_header.status, 403);
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    assert_eq!(operate(&proxy, "GET", "/admin/refresh-token").await.status, 405);
    let answer = operate(&proxy, "POST", "/admin/refresh-token").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(get_for(&proxy, "acme").await.code(), 990_026);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_operator_lets_a_row_and_a_source_be_read_at_once() {
    let table = table();
    let proxy = start(&table).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    // Nothing is announced.
    table.set("acme", NEW_TOKEN, &["111"]);
    let answer = operate(&proxy, "POST", "/admin/refresh-token?tenant=acme").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(
        answer.text().contains(r#""tenants":[{"tenant":"acme","usable":true"#),
        "{}",
        answer.text()
    );
    assert_sent_with(&proxy, "acme", NEW_TOKEN).await;
    proxy.add_token(SHOP_TOKEN);
    assert_eq!(
        operate(&proxy, "POST", "/admin/refresh-token?tenant=default")
            .await
            .status,
        200
    );
    assert_eq!(proxy.app.get("/me").await.status, 200);
    proxy.graph.last_request().assert_bearer(SHOP_TOKEN);
    for (unknown, status) in [
        ("?tenant=other", 404),
        ("?tenant=", 404),
        ("?name=acme", 400),
        ("?limit=0", 400),
    ] {
        let refused = operate(&proxy, "POST", &format!("/admin/refresh-token{unknown}")).await;
        assert_eq!(refused.status, status, "{unknown}");
    }
    // All are looked at, of which the answer lists one.
    table.set("acme", ACME_TOKEN, &["111"]);
    let answer = operate(&proxy, "POST", "/admin/refresh-token?limit=1").await;
    assert!(answer.text().contains(r#""next":"acme""#), "{}", answer.text());
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_look_that_takes_too_long_is_an_error_and_not_taken_for_done() {
    let table = table();
    let names: Vec<_> = (0..40).map(|number| format!("t{number}")).collect();
    for name in &names {
        table.set(name, NEW_TOKEN, &[]);
    }
    let proxy = start(&table).await;
    for name in &names {
        assert_sent_with(&proxy, name, NEW_TOKEN).await;
    }
    assert_eq!(operate(&proxy, "POST", "/admin/refresh-token").await.status, 200);
    // Eight are read at the same time: five times as long is more than the operator waits.
    table.delay_rows(Duration::from_secs(14));
    assert_eq!(
        operate(&proxy, "POST", "/admin/refresh-token?tenant=t1").await.status,
        200
    );
    let answer = operate(&proxy, "POST", "/admin/refresh-token").await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.text().contains("some are slow"), "{}", answer.text());
    proxy.shutdown().await;
}
