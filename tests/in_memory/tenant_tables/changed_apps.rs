//! Rows whose tokens are of another app than before, and rows of an app that is not configured.

use std::fs;

use super::*;
use crate::proofs::proof_of;

/// The secrets of the apps `1111` of `[app]` and `2222` of one of `[tenants]`.
const OWN_SECRET: &str = "00000000000000000000000000000001";
const OTHER_SECRET: &str = "00000000000000000000000000000002";

/// A proxy with two apps, whose `acme` has been used with the first one.
async fn start_with_apps(table: &ScriptedTable) -> TestProxy {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let (own, other) = (file("own", OWN_SECRET), file("other", OTHER_SECRET));
    let settings = format!(
        "[app]\nid = \"1111\"\nsecret = {{ file = {own:?} }}\n[routing]\nheader = \"x-tenant-id\"\n\
         [tenants.other]\nsource = {{ env = \"OTHER\" }}\napp = {{ id = \"2222\", secret = {{ file = {other:?} }} }}\n"
    );
    let flags = Overrides {
        config: Some(file("graphward.toml", &settings)),
        ..Overrides::default()
    };
    let mut loaded = Config::load(flags, &EnvVars::new()).unwrap().config;
    loaded.token.verify = false;
    let proxy = builder(table).with(|config| *config = loaded).start().await;
    proxy.graph.accept(ACME_TOKEN);
    proxy
}

fn assert_proof(proxy: &TestProxy, secret: &str, token: &str) {
    let last = proxy.graph.last_request();
    last.assert_bearer(token);
    let proof = format!("appsecret_proof={}", proof_of(secret, token));
    assert!(last.target().ends_with(&proof), "{} {proof}", last.target());
}

/// Gives the row of `acme` a token of another app, which is found because Graph rejects the old one, not announced.
async fn change_app(proxy: &TestProxy, table: &ScriptedTable, app: &str) {
    assert_eq!(get_for(proxy, "acme").await.status, 200);
    assert_proof(proxy, OWN_SECRET, ACME_TOKEN);
    proxy.graph.expire_all();
    proxy.graph.accept(NEW_TOKEN);
    table.set("acme", NEW_TOKEN, &["111"]);
    table.set_app_of("acme", app);
    let rejected = get_for(proxy, "acme").await;
    assert_eq!(rejected.code(), 190, "{rejected:?}");
    assert!(table.row_reads() > 0);
    let new = format!("Bearer {NEW_TOKEN}");
    let requests = proxy.graph.requests();
    let has_new = |request: &RecordedRequest| request.all("authorization").contains(&&*new);
    assert!(!requests.iter().any(has_new), "its proof would be that of the old app");
    table.announce();
    sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_token_of_another_app_is_used_with_the_proof_of_that_app_only() {
    let table = table();
    let proxy = start_with_apps(&table).await;
    change_app(&proxy, &table, "2222").await;
    assert_eq!(get_for(&proxy, "acme").await.status, 200);
    assert_proof(&proxy, OTHER_SECRET, NEW_TOKEN);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_of_an_app_that_is_not_configured_is_not_used_after_a_rejection() {
    let table = table();
    let proxy = start_with_apps(&table).await;
    change_app(&proxy, &table, "3333").await;
    assert_app_unknown(&proxy).await;
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_row_of_an_app_that_is_not_configured_stays_refused_when_it_is_read_again() {
    let table = table();
    table.set_app_of("acme", "3333");
    let proxy = start_with_apps(&table).await;
    for _ in 0..5 {
        assert_app_unknown(&proxy).await;
        sleep(Duration::from_secs(30)).await;
    }
    assert_eq!(
        operator::operate(&proxy, "POST", "/admin/refresh-token?tenant=acme")
            .await
            .status,
        200
    );
    assert_app_unknown(&proxy).await;
    assert_eq!(proxy.graph.requests().len(), 0);
    proxy.shutdown().await;
}

async fn assert_app_unknown(proxy: &TestProxy) {
    let refused = get_for(proxy, "acme").await;
    assert_eq!((refused.status, refused.code()), (503, 990_003), "{refused:?}");
    assert!(refused.text().contains("names the app 3333"), "{}", refused.text());
}
