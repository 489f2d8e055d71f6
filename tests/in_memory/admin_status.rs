//! What the operators see: the status of each token, the names of the tenants, the last events.

use std::time::Duration;

use graphward::types::Rfc3339Timestamp;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::{
    FIRST_TOKEN, SECOND_TOKEN, ScriptedTable, TestProxy, TestProxyBuilder, request, sized, start_time, with,
};

async fn look(proxy: &TestProxy, target: &str) -> Value {
    let answer = proxy.admin_get(target).await;
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

fn names(page: &Value) -> Vec<&str> {
    let tenants = page["tenants"].as_array().unwrap().iter();
    tenants.map(|tenant| tenant["tenant"].as_str().unwrap()).collect()
}

fn kinds(events: &Value) -> Vec<&str> {
    let events = events["events"].as_array().unwrap().iter();
    events.map(|event| event["kind"].as_str().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_status_of_a_token_says_how_long_it_lives_and_where_it_is_from() {
    let proxy = TestProxyBuilder::new().start().await;
    sleep(Duration::from_secs(60)).await;
    proxy
        .source
        .set_expiry(start_time() + Duration::from_secs(10 * 24 * 60 * 60));
    proxy.publish_token(SECOND_TOKEN);
    sleep(Duration::from_millis(1)).await;
    let status = look(&proxy, "/admin/token-status").await;
    assert_eq!((&status["ready"], &status["stage"]), (&json!(true), &json!("serving")));
    assert_eq!(
        (&status["tenant_count"], &status["accepts_changes"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(status["changes_refused"], Value::Null);
    assert_eq!(status["counts"]["usable"], 1);
    assert_eq!(status["counts"], status["tokens"]);
    assert_eq!(status["next"], Value::Null);
    let token = &status["tenants"][0];
    assert_eq!((&token["tenant"], &token["usable"]), (&json!("default"), &json!(true)));
    assert_eq!((&token["state"], &token["generation"]), (&json!("usable"), &json!(2)));
    assert_eq!(token["reason"], "token available");
    assert_eq!(token["days_left"], 9.9);
    assert!(token["expires_at"].as_str().unwrap().ends_with('Z'), "{token}");
    let seen_at = start_time() + Duration::from_secs(60);
    assert_eq!(token["first_seen_at"], Rfc3339Timestamp(seen_at).to_string());
    assert_eq!(token["fingerprint"].as_str().unwrap().len(), 8);
    assert!(token["source"].is_string());
    for unknown in ["data_access_expires_at", "scopes", "issued_at", "last_rejection"] {
        assert_eq!(token[unknown], Value::Null, "{unknown}: {token}");
    }
    assert_eq!(token["last_refresh"]["outcome"], "found", "{token}");
    assert!(!status.to_string().contains(SECOND_TOKEN));
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_rejection_is_shown_with_its_reason_and_advice_which_goes_with_a_new_token() {
    let proxy = TestProxyBuilder::new().start().await;
    proxy.graph.expire_all();
    assert_eq!(proxy.app.post("x").await.status, 401);
    let status = look(&proxy, "/admin/token-status").await;
    let token = &status["tenants"][0];
    assert_eq!((&token["usable"], &token["state"]), (&json!(false), &json!("dead")));
    assert!(token["last_rejection"]["at"].is_string(), "{token}");
    let reason = token["last_rejection"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("Graph rejected the token"), "{reason}");
    assert!(
        token["advice"].as_str().unwrap().contains("store a new token"),
        "{token}"
    );
    assert!(token["last_refresh"]["outcome"].is_string(), "{token}");
    proxy.publish_token(SECOND_TOKEN);
    sleep(Duration::from_millis(1)).await;
    let status = look(&proxy, "/admin/token-status").await;
    let token = &status["tenants"][0];
    assert_eq!((&token["usable"], &token["advice"]), (&json!(true), &Value::Null));
    assert!(
        token["last_rejection"]["reason"].is_string(),
        "the last one stays: {token}"
    );
    let events = look(&proxy, "/admin/events").await;
    assert_eq!(kinds(&events), ["loaded", "rejected", "loaded"]);
    let text = events.to_string();
    assert!(!text.contains(FIRST_TOKEN) && !text.contains(SECOND_TOKEN), "{text}");
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_token_the_advice_says_what_helps() {
    let proxy = TestProxyBuilder::new().empty().start().await;
    let status = look(&proxy, "/admin/token-status?tenant=default").await;
    let token = &status["tenants"][0];
    assert_eq!((&token["usable"], &token["fingerprint"]), (&json!(false), &Value::Null));
    let advice = token["advice"].as_str().unwrap();
    assert!(advice.ends_with("PUT /admin/token?tenant=default."), "{advice}");
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn thousands_of_tenants_are_listed_page_by_page_and_searched() {
    let table = ScriptedTable::default();
    for number in 0..1_200 {
        table.set(&format!("t{number:04}"), SECOND_TOKEN, &[]);
    }
    table.set_faulty("Bad", "no configured Fernet key decrypts it");
    let proxy = TestProxyBuilder::new().with_table(table.clone()).start().await;
    let first = look(&proxy, "/admin/tenants").await;
    assert_eq!(first["counts"]["usable"], 1_201);
    assert_eq!((names(&first).len(), names(&first)[0]), (100, "Bad"));
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = look(&proxy, &format!("/admin/tenants?limit=500&after={after}")).await;
        seen.extend(names(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next"].as_str() else { break };
        after = next.to_owned();
    }
    assert_eq!(seen.len(), 1_202);
    assert!(seen.is_sorted());
    for (query, expected) in [
        ("search=T0007", vec!["t0007"]),
        ("state=undecryptable", vec!["Bad"]),
        ("state=dead", vec![]),
        ("tenant=t0001", vec!["t0001"]),
        ("tenant=nosuch", vec![]),
        ("state=usable&after=t1198", vec!["t1199"]),
        ("search=b%61d", vec!["Bad"]),
    ] {
        for path in ["/admin/tenants", "/admin/token-status"] {
            assert_eq!(
                names(&look(&proxy, &format!("{path}?{query}")).await),
                expected,
                "{path} {query}"
            );
        }
    }
    let bad = look(&proxy, "/admin/token-status?tenant=Bad").await;
    assert!(
        bad["tenants"][0]["reason"].as_str().unwrap().contains("Fernet"),
        "{bad}"
    );
    let advice = bad["tenants"][0]["advice"].as_str().unwrap();
    assert!(advice.ends_with("PUT /admin/token?tenant=Bad."), "{advice}");
    let closed = look(&proxy, "/admin/token-status?tenant=t0001").await;
    assert!(closed["tenants"][0]["first_seen_at"].is_string(), "{closed}");
    for query in ["limit=0", "limit=5000", "name=x", "state", "state=expired"] {
        for path in ["/admin/tenants", "/admin/token-status"] {
            let answer = proxy.admin_get(&format!("{path}?{query}")).await;
            assert_eq!(answer.status, 400, "{path} {query}: {}", answer.text());
            let names_states = answer.text().contains("ends_7d, ends_1d, undecryptable");
            assert_eq!(names_states, query.starts_with("state"), "{}", answer.text());
        }
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_for_the_next_event_and_a_stop_ends_the_wait() {
    let proxy = TestProxyBuilder::new().start().await;
    for query in ["wait=31", "wait=-1", "after=x", "since=1"] {
        let answer = proxy.admin_get(&format!("/admin/events?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
    }
    let all = look(&proxy, "/admin/events").await;
    let first = all["last"].as_u64().unwrap();
    assert_eq!((kinds(&all), &all["events"][0]["id"]), (vec!["loaded"], &all["last"]));
    let path = |after: u64, wait: u8| format!("/admin/events?after={after}&wait={wait}");
    let paths = [path(first, 20), path(first + 1, 30)];
    let started = Instant::now();
    let none = look(&proxy, &paths[0]).await;
    assert_eq!((kinds(&none).len(), &none["last"]), (0, &json!(first)));
    assert_eq!(started.elapsed().as_secs(), 20);
    let publish = proxy.publish_token_after(SECOND_TOKEN, Duration::from_secs(5));
    let (next, ()) = tokio::join!(look(&proxy, &paths[0]), publish);
    assert_eq!((kinds(&next), &next["last"]), (vec!["loaded"], &json!(first + 1)));
    assert_eq!(started.elapsed().as_secs(), 25);
    let (waiting, ()) = tokio::join!(look(&proxy, &paths[1]), async {
        sleep(Duration::from_secs(1)).await;
        proxy.stop().await;
    });
    assert!(kinds(&waiting).is_empty());
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
    proxy.wait_exit().await;
}

#[tokio::test(start_paused = true)]
async fn a_look_that_the_operator_asks_for_answers_with_the_new_status_and_is_an_event() {
    let proxy = TestProxyBuilder::new().start().await;
    proxy.add_token(SECOND_TOKEN);
    let look_now = with(
        request("POST", "/admin/refresh-token?", sized("")),
        &[("graphward-admin", "yes")],
    );
    let answer = proxy.admin().fetch(look_now).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let status: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(status["tenants"][0]["generation"], 2, "{status}");
    let events = look(&proxy, "/admin/events").await;
    assert_eq!(kinds(&events), ["loaded", "refresh_requested", "loaded"]);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_path_with_another_method_says_which_it_takes() {
    let proxy = TestProxyBuilder::new().start().await;
    for (method, path, allowed) in [
        ("POST", "/admin/token-status", "GET, HEAD"),
        ("DELETE", "/admin/events", "GET, HEAD"),
        ("GET", "/admin/token", "PUT"),
        ("PUT", "/admin/refresh-token", "POST"),
    ] {
        let answer = proxy.admin().fetch(request(method, path, sized(""))).await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, allowed),
            "{method} {path}"
        );
    }
    let unknown = proxy.admin_get("/admin/nothing").await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.text().contains("GET /openapi.json"), "{}", unknown.text());
    proxy.shutdown().await;
}
