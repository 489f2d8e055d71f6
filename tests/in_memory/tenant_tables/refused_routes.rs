//! The records of requests that lead to no tenant.

use graphward::graph::ClientCredentialPolicy;
use serde_json::{Value, json};

use super::*;
use crate::support::TestBody;

const HEADER: &str = "x-tenant-id";

/// The record of a request that is refused with this code.
async fn record_of(proxy: &TestProxy, log: &LogCapture, request: http::Request<TestBody>, code: i64) -> Value {
    let answer = proxy.app.fetch(request).await;
    assert_eq!(answer.code(), code, "{}", answer.text());
    // The record is written after the last byte of the answer.
    sleep(Duration::from_millis(10)).await;
    let records = log.lines_containing(r#""message":"request""#);
    let record: Value = serde_json::from_str(records.last().unwrap()).unwrap();
    assert!(record["outcome"].as_str().unwrap().starts_with("refused_"), "{record}");
    record
}

#[tokio::test(start_paused = true)]
async fn the_record_of_a_refused_route_has_the_tenant_that_was_named_and_never_a_token() {
    let log = LogCapture::at_info();
    let table = table();
    table.set("gone", NEW_TOKEN, &["333"]);
    let builder = builder(&table).with_client_credentials(ClientCredentialPolicy::Refuse);
    let proxy = builder.start().await;
    table.remove("gone");
    table.announce();
    sleep(Duration::from_secs(4)).await;

    let with_name = |path: &str, name: &str| with(get(path), &[(HEADER, name)]);
    let token = "EAAGm0PX4ZCpsBAKZAhunter2hunter2";
    let slot = with(get("/me"), &[("authorization", "Bearer tenant:nosuch")]);
    for (request, code, tenant) in [
        (with_name("/me", "nosuch"), 990_025, json!("nosuch")),
        (slot, 990_025, json!("nosuch")),
        (get("/-/nosuch/me"), 990_025, json!("nosuch")),
        (with_name("/me", "gone"), 990_026, json!("gone")),
        (get("/v25.0/333/messages"), 990_026, json!("gone")),
        (with_name("/v25.0/222/messages", "acme"), 990_027, json!("acme")),
        (with_name("/-/acme/me", "shop"), 990_027, json!("acme")),
        (
            with_name("/me?access_token=EAAGhunter2", "shop"),
            990_009,
            json!("shop"),
        ),
        (with_name("/me", token), 990_025, Value::Null),
        (get(&format!("/-/{token}/me")), 990_025, Value::Null),
        (with_name("/-/shop/me", token), 990_025, json!("shop")),
        (with_name("/me", "not a name"), 990_025, Value::Null),
        (get("/me?access_token=EAAGhunter2"), 990_009, Value::Null),
    ] {
        let record = record_of(&proxy, &log, request, code).await;
        assert_eq!(record["tenant"], tenant, "{record}");
        // At most five of these are logged in a second.
        sleep(Duration::from_secs(1)).await;
    }
    table.set_failing(true);
    let record = record_of(&proxy, &log, with_name("/me", "later"), 990_003).await;
    assert_eq!(record["tenant"], "later", "{record}");
    // A name of the app's makes no series.
    let metrics = proxy.metrics().await;
    assert!(!metrics.contains("nosuch") && !metrics.contains("later"), "{metrics}");
    assert!(!(log.text() + &metrics).contains("hunter2"));
    proxy.shutdown().await;
}
